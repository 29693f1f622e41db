package store

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
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

// BenchmarkApply is what a watch response of so many events costs the index, for each event: alone in memdb, and in
// buckets, which grow to 100.
func BenchmarkApply(b *testing.B) {
	eachLayout(b, func(b *testing.B, table Table[int]) {
		for _, n := range []int{1, 64} {
			b.Run(strconv.Itoa(n), func(b *testing.B) {
				ix, err := newIndex([]Definition{table})
				if err != nil {
					b.Fatal(err)
				}
				b.ReportAllocs()
				revision := int64(0)
				for b.Loop() {
					revision++
					changes := make([]change, n)
					for i := range changes {
						path := fmt.Sprintf("%08d/%016d", int(revision)/100*n+i, revision)
						changes[i] = change{table: table, path: path, revision: revision, row: &Row[int]{Path: path, Modified: revision}}
					}
					if err := ix.apply(changes, revision); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/event")
			})
		}
	})
}

func eachLayout(b *testing.B, run func(*testing.B, Table[int])) {
	for _, bucket := range []int{0, 1} {
		table := numbers
		table.Bucket = bucket
		b.Run(fmt.Sprintf("Bucket=%d", bucket), func(b *testing.B) { run(b, table) })
	}
}

// BenchmarkGet is one look-up in an index of 100 000 rows.
func BenchmarkGet(b *testing.B) {
	eachLayout(b, func(b *testing.B, table Table[int]) {
		snapshot, paths := filled(b, table)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if _, ok := table.Get(snapshot, paths[i*7919%len(paths)]); !ok {
				b.Fatal("not found")
			}
		}
	})
}

// BenchmarkScan is a hundred rows read in their order.
func BenchmarkScan(b *testing.B) {
	eachLayout(b, func(b *testing.B, table Table[int]) {
		snapshot, paths := filled(b, table)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			prefix, _, _ := strings.Cut(paths[i*7919%len(paths)], "/")
			n := 0
			for range table.Scan(snapshot, prefix+"/", "") {
				n++
			}
			if n != 100 {
				b.Fatal(n)
			}
		}
	})
}

// filled is an index of 100 000 rows, a hundred to a room.
func filled(b *testing.B, table Table[int]) (*Snapshot, []string) {
	ix, err := newIndex([]Definition{table})
	if err != nil {
		b.Fatal(err)
	}
	changes, paths := make([]change, 100_000), make([]string, 100_000)
	for i := range changes {
		paths[i] = fmt.Sprintf("tenant_01m84s322sfk09gx3043gc4hrx_room_01m84f8xckf3n88r7a9b%06d/p_01m84f8%07dr7a9bktfmpy8", i/100, i)
		changes[i] = change{table: table, path: paths[i], revision: 1, row: &Row[int]{Path: paths[i], Modified: 1}}
	}
	if err := ix.apply(changes, 1); err != nil {
		b.Fatal(err)
	}
	return ix.snapshot(), paths
}
