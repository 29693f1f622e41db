package store

import (
	"log/slog"
	"testing"
	"time"
)

// notes is a table whose records live for a short time, the shortest that etcd has.
var notes = Table[string]{
	Name: "notes", Aggregate: true, Lifetime: 2 * time.Second,
	Decode: func(_ string, value []byte) (string, error) { return string(value), nil },
	Encode: func(s string) ([]byte, error) { return []byte(s), nil },
}

func note(path, text string) Change[struct{}] {
	return Change[struct{}]{
		Aggregates: func(*Snapshot) []Key { return []Key{notes.Key(path)} },
		Decide: func(tx *Tx) (struct{}, error) {
			notes.Put(tx, path, text)
			return struct{}{}, nil
		},
	}
}

func openNotes(t *testing.T) *Store {
	t.Helper()
	s, err := Open(etcd, Options{Prefix: newPrefix(), Logger: slog.New(slog.DiscardHandler)}, notes, numbers)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if err := s.WaitReady(deadline(t)); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestRecordsOfALifetimeGoByThemselves(t *testing.T) {
	t.Parallel()
	s, ctx := openNotes(t), deadline(t)
	began := time.Now()
	if _, err := Commit(ctx, s, note("a", "x")); err != nil {
		t.Fatal(err)
	}
	if _, err := Commit(ctx, s, add(1, 9, "n")); err != nil {
		t.Fatal(err)
	}
	for {
		if _, there := notes.Get(s.Snapshot(), "a"); !there {
			break
		}
		if err := s.WaitRevision(ctx, s.Revision()+1); err != nil {
			t.Fatal(err)
		}
	}
	if lived := time.Since(began); lived < 2*time.Second {
		t.Errorf("it lived for %s", lived)
	}
	if _, there := numbers.Get(s.Snapshot(), "n"); !there {
		t.Error("a record without a lifetime went too")
	}
}

func TestALostLeaseIsReplaced(t *testing.T) {
	t.Parallel()
	s, ctx := openNotes(t), deadline(t)
	if _, err := Commit(ctx, s, note("a", "x")); err != nil {
		t.Fatal(err)
	}
	stored, err := etcd.requests.Get(ctx, s.options.Prefix+"notes/a")
	if err != nil || len(stored.Kvs) != 1 || stored.Kvs[0].Lease == 0 {
		t.Fatalf("no lease: %v %v", stored, err)
	}
	leases, err := etcd.requests.Leases(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range leases.Leases {
		if int64(l.ID) == stored.Kvs[0].Lease {
			if _, err := etcd.requests.Revoke(ctx, l.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := Commit(ctx, s, note("b", "y")); err != nil {
		t.Fatalf("after the lease was lost: %v", err)
	}
}
