package store

import (
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// checkLive holds ScanLive against Scan, on a snapshot of the past or the present and on a transaction that has changed
// some of it, and taken some of that back.
func (m *mapOfRows) checkLive(t *rapid.T, s *Snapshot, prefix string) {
	m.compareLive(t, s, prefix)
	tx := newTx(map[string]Definition{m.table.Name: m.table}, s, "")
	for _, c := range m.drafts(t) {
		tx.put(m.table, c.path, c.row)
	}
	mark := tx.mark()
	m.compareLive(t, tx, prefix)
	for _, c := range m.drafts(t) {
		tx.put(m.table, c.path, c.row)
	}
	m.compareLive(t, tx, prefix)
	tx.rollback(mark)
	m.compareLive(t, tx, prefix)
}

// drafts are a few changes that nobody commits.
func (m *mapOfRows) drafts(t *rapid.T) []change {
	paths := rapid.SliceOfNDistinct(somePaths, 0, 5, rapid.ID[string]).Draw(t, "drafts")
	changes := make([]change, 0, len(paths))
	for i, path := range paths {
		c := change{table: m.table, path: path}
		if path != "" && rapid.IntRange(0, 3).Draw(t, "delete") > 0 {
			c.row = &Row[int]{Path: path, Value: i}
		}
		changes = append(changes, c)
	}
	return changes
}

func (m *mapOfRows) compareLive(t *rapid.T, r Reader, prefix string) {
	var want []Row[int]
	for row := range m.table.Scan(r, prefix, "") {
		if m.table.Live(row.Value) {
			want = append(want, *row)
		}
	}
	if got := all(m.table.ScanLive(r, prefix)); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("live under %q in %T is\n%v, want\n%v", prefix, r, got, want)
	}
	for row := range m.table.ScanLive(r, prefix) { // whoever stops is given no more
		if row.Path != want[0].Path {
			t.Fatalf("the first is %q, want %q", row.Path, want[0].Path)
		}
		break
	}
}

func all(rows iter.Seq[*Row[int]]) (all []Row[int]) {
	for row := range rows {
		all = append(all, *row)
	}
	return all
}

// manyLeft is a bucket of so many rows, in the order of their paths, of which those of the paths are live.
func manyLeft(t testing.TB, table Table[int], rows int, live []int) *Snapshot {
	ix, err := newIndex([]Definition{table})
	if err != nil {
		t.Fatal(err)
	}
	changes := make([]change, rows)
	for i := range changes {
		path := fmt.Sprintf("t/r/%06d", i)
		changes[i] = change{table: table, path: path, revision: 1, row: &Row[int]{Path: path}}
	}
	for _, i := range live {
		changes[i].row = &Row[int]{Path: changes[i].path, Value: 1}
	}
	if err := ix.apply(changes, 1); err != nil {
		t.Fatal(err)
	}
	return ix.snapshot()
}

// TestAScanOfTheLiveLooksAtNoOthers counts the rows that a scan judges or yields, in a snapshot and in a transaction that
// has taken one of them out: those that left do not count, however many there are.
func TestAScanOfTheLiveLooksAtNoOthers(t *testing.T) {
	t.Parallel()
	live := []int{0, 31, 32, 500, 998, 999}
	looked := 0
	table := numbers
	table.Bucket = 2
	table.Live = func(n int) bool { looked++; return n > 0 }
	for _, rows := range []int{1000, 50_000} {
		snapshot := manyLeft(t, table, rows, live)
		looked = 0
		if n := len(all(table.ScanLive(snapshot, "t/r/"))); n != len(live) || looked != 0 {
			t.Errorf("of %d rows %d are live, and %d others were looked at", rows, n, looked)
		}
		tx := newTx(map[string]Definition{table.Name: table}, snapshot, "")
		table.Put(tx, "t/r/000500", 0)
		table.Put(tx, "t/r/x", 1)
		paths := []string{}
		for row := range table.ScanLive(tx.Unguarded(), "t/r/") {
			paths = append(paths, row.Path)
		}
		if want := []string{"t/r/000000", "t/r/000031", "t/r/000032", "t/r/000998", "t/r/000999", "t/r/x"}; !slices.Equal(paths, want) || looked != 2 {
			t.Errorf("of %d rows %v are live in the transaction, want %v; %d were looked at", rows, paths, want, looked)
		}
	}
}

// BenchmarkScanLive is a hundred live rows of a room, alone and among 100 000 that have left.
func BenchmarkScanLive(b *testing.B) {
	table := numbers
	table.Bucket = 2
	table.Live = func(n int) bool { return n > 0 }
	for _, left := range []int{0, 100_000} {
		b.Run(fmt.Sprint("left=", left), func(b *testing.B) {
			live := make([]int, 100)
			for i := range live {
				live[i] = left + i
			}
			snapshot := manyLeft(b, table, left+len(live), live)
			b.ReportAllocs()
			for b.Loop() {
				n := 0
				for range table.ScanLive(snapshot, "t/r/") {
					n++
				}
				if n != len(live) {
					b.Fatal(n)
				}
			}
		})
	}
}

// TestTheMaskFollowsItsRun puts rows among others until runs divide, changes them, and takes them out, in any order.
func TestTheMaskFollowsItsRun(t *testing.T) {
	t.Parallel()
	table := numbers
	table.Bucket = 2
	table.Live = func(n int) bool { return n%3 == 0 }
	random := rand.New(rand.NewPCG(3, 2))
	for range 20 {
		ix, err := newIndex([]Definition{table})
		if err != nil {
			t.Fatal(err)
		}
		want := make(map[string]bool) // live
		for revision := range int64(600) {
			path := fmt.Sprintf("t/r/%03d", random.IntN(400))
			c := change{table: table, path: path, revision: revision + 1}
			if n := random.IntN(1000); n < 750 {
				c.row = &Row[int]{Path: path, Value: n}
				want[path] = n%3 == 0
			} else {
				delete(want, path)
			}
			if err := ix.apply([]change{c}, revision+1); err != nil {
				t.Fatal(err)
			}
			if revision%50 != 0 {
				continue
			}
			live := slices.Sorted(maps.Keys(want))
			live = slices.DeleteFunc(live, func(path string) bool { return !want[path] })
			got := []string{}
			for row := range table.ScanLive(ix.snapshot(), "t/r/") {
				got = append(got, row.Path)
			}
			if !slices.Equal(got, live) {
				t.Fatalf("after %d changes\n%v are live, want\n%v", revision+1, got, live)
			}
		}
	}
}
