package store

import (
	"context"
	"strconv"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"
)

// follower is a store that does not follow by itself any more; what it gives follows until the test ends.
func follower(t *testing.T, prefix string) (s *Store, follow func()) {
	t.Helper()
	s = openStore(t, prefix)
	s.Close()
	return s, func() {
		ctx, stop := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() { // ends with ctx
			defer close(ended)
			_, _ = s.watch(ctx)
		}()
		t.Cleanup(func() { stop(); <-ended })
	}
}

// TestAWatchThatWasAwayMissesNothing: etcd brings what was missed in batches of a thousand revisions, each of which bears
// the newest revision of all.
func TestAWatchThatWasAwayMissesNothing(t *testing.T) {
	t.Parallel()
	prefix, ctx := newPrefix(), deadline(t)
	s, follow := follower(t, prefix)
	const missed = 2500 // revisions
	var writing errgroup.Group
	writing.SetLimit(50) // many at once share an fsync
	for i := range missed {
		writing.Go(func() error {
			_, err := etcd.requests.Put(ctx, prefix+"numbers/"+strconv.Itoa(i), "1")
			return err
		})
	}
	if err := writing.Wait(); err != nil {
		t.Fatal(err)
	}
	all, err := etcd.requests.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil || all.Count != missed {
		t.Fatal(err, all)
	}
	follow()
	if err := s.WaitRevision(ctx, all.Header.Revision); err != nil {
		t.Fatal(err)
	}
	there := 0
	for range numbers.Scan(s.Snapshot(), "", "") {
		there++
	}
	if there != missed {
		t.Errorf("at revision %d the index has %d records, the log %d", s.Revision(), there, missed)
	}
}

// TestManyChangesOfOneRevisionAreShownAtOnce: what one revision holds is never seen in part.
func TestManyChangesOfOneRevisionAreShownAtOnce(t *testing.T) {
	t.Parallel()
	prefix, ctx := newPrefix(), deadline(t)
	s := openStore(t, prefix)
	const records = 3000
	for i := range records / 100 {
		var puts []clientv3.Op
		for j := range 100 {
			puts = append(puts, clientv3.OpPut(prefix+"numbers/"+strconv.Itoa(100*i+j), "1"))
		}
		if _, err := etcd.requests.Txn(ctx).Then(puts...).Commit(); err != nil {
			t.Fatal(err)
		}
	}
	count := func() (n int) {
		for range numbers.Scan(s.Snapshot(), "", "") {
			n++
		}
		return n
	}
	done := make(chan struct{})
	seen := make(map[int]bool)
	response, err := etcd.requests.Put(ctx, prefix+"numbers/0", "1")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.WaitRevision(ctx, response.Header.Revision); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(done)
		for until := time.Now().Add(20 * time.Second); !seen[0] && time.Now().Before(until); {
			seen[count()] = true
		}
	}()
	if _, err := etcd.requests.Delete(ctx, prefix+"numbers/", clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}
	<-done
	if delete(seen, records); len(seen) != 1 || !seen[0] {
		t.Errorf("a reader saw %v records between all and none", seen)
	}
}
