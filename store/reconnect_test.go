package store

import (
	"context"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"usher/store/porttest"
)

// TestAHundredReplicasComeBackAtOnce: etcd goes away under a hundred replicas and comes back; each follows it again and
// has everything, what was written while it was away included.
func TestAHundredReplicasComeBackAtOnce(t *testing.T) {
	t.Parallel()
	options := EmbedOptions{Dir: t.TempDir(), ListenClient: "http://" + porttest.Free(t), Logger: slog.New(slog.DiscardHandler)}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute) // a hundred take their time on a small machine
	t.Cleanup(cancel)
	server, err := Embed(ctx, options)
	if err != nil {
		t.Fatal(err)
	}
	const replicas = 100
	stores := make([]*Store, replicas)
	var all, closing sync.WaitGroup
	t.Cleanup(closing.Wait)
	for i := range stores {
		all.Go(func() {
			log, err := Dial(ctx, DialOptions{Endpoints: []string{options.ListenClient}, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Error(err)
				return
			}
			t.Cleanup(func() { closing.Go(func() { _ = log.Close() }) })
			s, err := Open(log, Options{Logger: slog.New(slog.DiscardHandler)}, numbers)
			if err != nil {
				t.Error(err)
				return
			}
			t.Cleanup(func() { closing.Go(s.Close) })
			if err := s.WaitReady(ctx); err != nil {
				t.Error(err)
			}
			stores[i] = s
		})
	}
	all.Wait()
	if t.Failed() {
		t.FailNow()
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	if server, err = Embed(ctx, options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	back, last := time.Now(), int64(0)
	for i := range 50 {
		response, err := server.requests.Put(ctx, DefaultPrefix+"numbers/"+strconv.Itoa(i), "1")
		if err != nil {
			t.Fatal(err)
		}
		last = response.Header.Revision
	}
	for i, s := range stores {
		if err := s.WaitRevision(ctx, last); err != nil {
			t.Fatalf("replica %d: %v", i, err)
		}
		n := 0
		for range numbers.Scan(s.Snapshot(), "", "") {
			n++
		}
		if n != 50 {
			t.Errorf("replica %d has %d records", i, n)
		}
	}
	t.Logf("%d replicas are back after %s", replicas, time.Since(back).Round(time.Millisecond))
}

// TestAClockThatJumpsIsOutlived: a store whose wall clock jumps, and that has no other, is ready again with its next
// probe.
func TestAClockThatJumpsIsOutlived(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64
	s, err := Open(etcd, Options{Prefix: newPrefix(), Logger: slog.New(slog.DiscardHandler),
		Now: func() time.Time { return time.Now().Round(0).Add(time.Duration(ahead.Load())) }}, numbers)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	ctx := deadline(t)
	if err := s.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	for i, jump := range []time.Duration{time.Hour, -2 * time.Hour, 48 * time.Hour, 0} {
		ahead.Store(int64(jump))
		began := time.Now()
		for {
			_, err := Commit(ctx, s, add(1, 9, "n"))
			if err == nil {
				break
			}
			if time.Since(began) > 5*time.Second {
				t.Fatalf("after a jump of %s: %v", jump, err)
			}
			<-time.After(tick)
		}
		if row, ok := numbers.Get(s.Snapshot(), "n"); !ok || row.Value != i+1 {
			t.Errorf("after a jump of %s: %v", jump, row)
		}
	}
}
