package store

import (
	"context"
	"sync"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// TestALeaderWhoseLeaseIsGoneIsReplaced takes the lease of office away, as its end does for a leader that died.
func TestALeaderWhoseLeaseIsGoneIsReplaced(t *testing.T) {
	t.Parallel()
	s := openStore(t, newPrefix())
	ctx, stop := context.WithCancel(deadline(t))
	terms, resigned := make(chan int, 10), make(chan int, 10)
	var running sync.WaitGroup
	for i := range 2 {
		running.Go(func() {
			s.Lead(ctx, "test", func(office context.Context) {
				terms <- i
				<-office.Done()
				resigned <- i
			})
		})
	}
	first := <-terms
	key, err := etcd.requests.Get(ctx, s.options.Prefix+"leaders/test/", clientv3.WithFirstCreate()...)
	if err != nil || len(key.Kvs) != 1 {
		t.Fatalf("who leads? %v %v", key, err)
	}
	if _, err := etcd.requests.Revoke(ctx, clientv3.LeaseID(key.Kvs[0].Lease)); err != nil {
		t.Fatal(err)
	}
	if next := <-terms; next == first {
		t.Errorf("%d leads again, before the one that waited", next)
	}
	if gone := <-resigned; gone != first {
		t.Errorf("%d has resigned", gone)
	}
	stop()
	running.Wait()
	if left, err := etcd.requests.Get(deadline(t), s.options.Prefix+"leaders/", clientv3.WithPrefix()); err != nil || len(left.Kvs) != 0 {
		t.Errorf("after all have resigned: %v %v", left, err)
	}
}
