package store

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
)

func benchStore(b *testing.B) *Store {
	b.Helper()
	s, err := Open(etcd, Options{Prefix: newPrefix(), Logger: slog.New(slog.DiscardHandler)}, numbers)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(s.Close)
	if err := s.WaitReady(context.Background()); err != nil {
		b.Fatal(err)
	}
	return s
}

// BenchmarkRawTransaction is what Commit is measured against: one compare and one put, with nothing around it.
func BenchmarkRawTransaction(b *testing.B) {
	prefix := newPrefix()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		key := prefix + strconv.Itoa(i)
		if _, err := etcd.requests.Txn(context.Background()).If(clientv3.Compare(clientv3.ModRevision(key), "=", 0)).
			Then(clientv3.OpPut(key, "1")).Commit(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCommit is one change at a time, from Commit's call to its answer.
func BenchmarkCommit(b *testing.B) {
	s := benchStore(b)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := Commit(context.Background(), s, add(1, 10, strconv.Itoa(i))); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCommitParallel is 64 at once, each on a record of its own.
func BenchmarkCommitParallel(b *testing.B) {
	s := benchStore(b)
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		path := strconv.FormatInt(prefixes.Add(1), 10)
		for pb.Next() {
			if _, err := Commit(context.Background(), s, add(1, 1<<30, path)); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkApply is what a watch response of so many events costs the index, for each event.
func BenchmarkApply(b *testing.B) {
	for _, n := range []int{1, 64} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			ix, err := newIndex([]Definition{numbers})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			revision := int64(0)
			for b.Loop() {
				revision++
				changes := make([]change, n)
				for i := range changes {
					path := fmt.Sprintf("%08d/%d", revision%1000, i)
					changes[i] = change{table: numbers, path: path, revision: revision, row: &Row[int]{Path: path, Modified: revision}}
				}
				if err := ix.apply(changes, revision); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/event")
		})
	}
}

// BenchmarkGet is one look-up in an index of 100 000 rows.
func BenchmarkGet(b *testing.B) {
	ix, err := newIndex([]Definition{numbers})
	if err != nil {
		b.Fatal(err)
	}
	changes, paths := make([]change, 100_000), make([]string, 100_000)
	for i := range changes {
		paths[i] = fmt.Sprintf("tenant_01m84s322sfk09gx3043gc4hrx/room_01m84f8xckf3n88r7a9bktfmpy/%d", i)
		changes[i] = change{table: numbers, path: paths[i], revision: 1, row: &Row[int]{Path: paths[i], Modified: 1}}
	}
	if err := ix.apply(changes, 1); err != nil {
		b.Fatal(err)
	}
	snapshot := ix.snapshot()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, ok := numbers.Get(snapshot, paths[i*7919%len(paths)]); !ok {
			b.Fatal("not found")
		}
	}
}
