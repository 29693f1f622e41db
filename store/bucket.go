package store

import (
	"cmp"
	"encoding/binary"
	"slices"
	"strings"
)

// bucket is one row of memdb for all rows of a table whose paths begin alike: those of one room, in their order. It
// changes as a memdb row must: who holds one sees it as it was. Nearly all that is new comes behind all that there is,
// since ids grow, so that is what costs least: it is appended to an array that older buckets have, behind what they see
// of it. That is safe because buckets follow one another in a line (there is one writer at a time, and what it takes back
// nobody has seen), and as long as an array that they share is never cut and then appended to.
type bucket struct {
	path string
	by   uint64   // the transaction that has made it, and may change it until it commits
	runs [][]item // all but the last; none is empty
	last []item   // empty in an empty bucket only
	own  bool     // no other bucket has the list of runs
}

// runLength is how many rows are copied at most for one that comes or goes among others. So is the list of runs, once in
// a transaction: 24 B for each.
const runLength = 32

// item is a row with the first bytes of its path behind the bucket's. They nearly always tell which of two comes first;
// to look into the rows would cost a search two misses of the cache for each that it passes.
type item struct {
	head [2]uint64
	row  record
}

func compare(a, b item) int {
	if c := cmp.Compare(a.head[0], b.head[0]); c != 0 {
		return c
	}
	if c := cmp.Compare(a.head[1], b.head[1]); c != 0 {
		return c
	}
	return cmp.Compare(a.row.rowPath(), b.row.rowPath())
}

func (b *bucket) rowPath() string { return b.path }

// copy is the same bucket for another transaction.
func (b *bucket) copy(by uint64) *bucket {
	return &bucket{path: b.path, by: by, runs: b.runs, last: b.last}
}

func (b *bucket) empty() bool { return len(b.last) == 0 }

func (b *bucket) get(path *lookUp) record {
	run, at, found := b.find(b.item(path))
	if !found {
		return nil
	}
	return b.run(run)[at].row
}

func (b *bucket) put(row record) {
	i := b.item(row)
	if b.empty() || compare(b.last[len(b.last)-1], i) < 0 {
		if len(b.last) == runLength {
			b.runs, b.last = append(b.runs, b.last), nil
		}
		b.last = append(b.last, i)
		return
	}
	run, at, found := b.find(i)
	items := b.run(run)
	if found {
		items = slices.Clone(items)
		items[at] = i
		b.replace(run, items)
		return
	}
	items = slices.Insert(slices.Clip(items), at, i)
	if len(items) <= runLength {
		b.replace(run, items)
		return
	}
	half := len(items) / 2
	b.replace(run, slices.Clip(items[:half]), items[half:])
}

func (b *bucket) remove(path *lookUp) {
	run, at, found := b.find(b.item(path))
	if !found {
		return
	}
	items := b.run(run)
	if len(items) > 1 {
		b.replace(run, slices.Concat(items[:at], items[at+1:]))
		return
	}
	b.replace(run)
}

// replace puts others, or none, in the place of a run.
func (b *bucket) replace(run int, by ...[]item) {
	if run == len(b.runs) && len(by) == 1 {
		b.last = by[0]
		return
	}
	if !b.own {
		b.runs, b.own = slices.Clone(b.runs), true
	}
	if run < len(b.runs) {
		b.runs = slices.Replace(b.runs, run, run+1, by...)
		return
	}
	b.runs, b.last = append(b.runs, by...), nil
	if n := len(b.runs) - 1; n >= 0 {
		b.runs, b.last = b.runs[:n], slices.Clip(b.runs[n])
	}
}

func (b *bucket) run(run int) []item {
	if run == len(b.runs) {
		return b.last
	}
	return b.runs[run]
}

// find says where the item is, or where it would have to come.
func (b *bucket) find(i item) (run, at int, found bool) {
	run = len(b.runs)
	if run > 0 && compare(i, b.last[0]) < 0 {
		run, found = slices.BinarySearchFunc(b.runs, i, func(items []item, i item) int { return compare(items[0], i) })
		if !found {
			run = max(run-1, 0)
		}
	}
	at, found = slices.BinarySearchFunc(b.run(run), i, compare)
	return run, at, found
}

// scan yields the rows whose path begins with prefix and is greater than after. Either begins in this bucket or before it.
func (b *bucket) scan(prefix, after string, yield func(record) bool) (more bool) {
	all := len(prefix) <= len(b.path) && after < b.path
	run, at := 0, 0
	if !all {
		run, at, _ = b.find(b.item(&lookUp{path: max(prefix, after)}))
	}
	for ; run <= len(b.runs); run, at = run+1, 0 {
		for _, i := range b.run(run)[at:] {
			if !all {
				if path := i.row.rowPath(); path == after {
					continue
				} else if !strings.HasPrefix(path, prefix) {
					return false
				}
			}
			if !yield(i.row) {
				return false
			}
		}
	}
	return true
}

// item is the row, whose path must be in the bucket.
func (b *bucket) item(row record) item {
	var head [16]byte
	copy(head[:], row.rowPath()[len(b.path):])
	return item{[2]uint64{binary.BigEndian.Uint64(head[:8]), binary.BigEndian.Uint64(head[8:])}, row}
}
