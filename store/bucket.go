package store

import (
	"cmp"
	"encoding/binary"
	"math/bits"
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
	by   uint64 // the transaction that has made it, and may change it until it commits
	runs []run  // all but the last; none is empty
	last []item // empty in an empty bucket only
	live mask   // of the last
	own  bool   // no other bucket has the list of runs
}

// run is neighbours in a bucket, and which of them are live (see Table.Live): a scan of those passes over a run without
// any by its mask.
type run struct {
	items []item
	live  mask
}

// mask has a bit for each item of a run.
type mask uint32

// runLength is how many rows are copied at most for one that comes or goes among others. So is the list of runs, once in
// a transaction: 32 B for each.
const runLength = 32

// with is the mask with the bit of the item at the place set or not.
func (m mask) with(at int, live bool) mask {
	if live {
		return m | 1<<at
	}
	return m &^ (1 << at)
}

// insert makes room for an item at the place.
func (m mask) insert(at int) mask { return m&(1<<at-1) | m&^(1<<at-1)<<1 }

// remove takes out the item at the place.
func (m mask) remove(at int) mask { return m&(1<<at-1) | m>>1&^(1<<at-1) }

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
	return &bucket{path: b.path, by: by, runs: b.runs, last: b.last, live: b.live}
}

func (b *bucket) empty() bool { return len(b.last) == 0 }

func (b *bucket) get(path *lookUp) record {
	n, at, found := b.find(b.item(path))
	if !found {
		return nil
	}
	return b.run(n).items[at].row
}

func (b *bucket) put(row record, live bool) {
	i := b.item(row)
	if b.empty() || compare(b.last[len(b.last)-1], i) < 0 {
		if len(b.last) == runLength {
			b.runs, b.last, b.live = append(b.runs, run{b.last, b.live}), nil, 0
		}
		b.live = b.live.with(len(b.last), live)
		b.last = append(b.last, i)
		return
	}
	n, at, found := b.find(i)
	r := b.run(n)
	if found {
		items := slices.Clone(r.items)
		items[at] = i
		b.replace(n, run{items, r.live.with(at, live)})
		return
	}
	items := slices.Insert(slices.Clip(r.items), at, i)
	if len(items) <= runLength {
		b.replace(n, run{items, r.live.insert(at).with(at, live)})
		return
	}
	half := len(items) / 2 // the mask of all has a bit more than a mask can have
	all := uint64(r.live)
	all = all&(1<<at-1) | all&^(1<<at-1)<<1
	if live {
		all |= 1 << at
	}
	b.replace(n, run{slices.Clip(items[:half]), mask(all & (1<<half - 1))}, run{items[half:], mask(all >> half)})
}

func (b *bucket) remove(path *lookUp) {
	n, at, found := b.find(b.item(path))
	if !found {
		return
	}
	r := b.run(n)
	if len(r.items) > 1 {
		b.replace(n, run{slices.Concat(r.items[:at], r.items[at+1:]), r.live.remove(at)})
		return
	}
	b.replace(n)
}

// replace puts others, or none, in the place of a run.
func (b *bucket) replace(n int, by ...run) {
	if n == len(b.runs) && len(by) == 1 {
		b.last, b.live = by[0].items, by[0].live
		return
	}
	if !b.own {
		b.runs, b.own = slices.Clone(b.runs), true
	}
	if n < len(b.runs) {
		b.runs = slices.Replace(b.runs, n, n+1, by...)
		return
	}
	b.runs, b.last, b.live = append(b.runs, by...), nil, 0
	if n := len(b.runs) - 1; n >= 0 {
		last := b.runs[n]
		b.runs, b.last, b.live = b.runs[:n], slices.Clip(last.items), last.live
	}
}

func (b *bucket) run(n int) run {
	if n == len(b.runs) {
		return run{b.last, b.live}
	}
	return b.runs[n]
}

// find says where the item is, or where it would have to come.
func (b *bucket) find(i item) (n, at int, found bool) {
	n = len(b.runs)
	if n > 0 && compare(i, b.last[0]) < 0 {
		n, found = slices.BinarySearchFunc(b.runs, i, func(r run, i item) int { return compare(r.items[0], i) })
		if !found {
			n = max(n-1, 0)
		}
	}
	at, found = slices.BinarySearchFunc(b.run(n).items, i, compare)
	return n, at, found
}

// scan yields the rows whose path begins with prefix and is greater than after. Either begins in this bucket or before it.
func (b *bucket) scan(prefix, after string, yield func(record) bool) (more bool) {
	all := len(prefix) <= len(b.path) && after < b.path
	n, at := 0, 0
	if !all {
		n, at, _ = b.find(b.item(&lookUp{path: max(prefix, after)}))
	}
	for ; n <= len(b.runs); n, at = n+1, 0 {
		for _, i := range b.run(n).items[at:] {
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

// scanLive yields the live rows whose path begins with prefix, and looks at no other row but the one that it begins at.
func (b *bucket) scanLive(prefix string, yield func(record) bool) (more bool) {
	all := len(prefix) <= len(b.path)
	n, at := 0, 0
	if !all {
		n, at, _ = b.find(b.item(&lookUp{path: prefix}))
	}
	for ; n <= len(b.runs); n, at = n+1, 0 {
		r := b.run(n)
		for left := r.live >> at << at; left != 0; left &= left - 1 {
			row := r.items[bits.TrailingZeros32(uint32(left))].row
			if !all && !strings.HasPrefix(row.rowPath(), prefix) {
				return false
			}
			if !yield(row) {
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
