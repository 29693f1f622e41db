package store

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// Whatever is written, taken back or listed anew, an index with buckets shows what a map of the paths would, and a
// snapshot goes on showing what it did.
func TestRowsAreWhatAMapWouldHold(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		table := numbers
		table.Bucket = rapid.IntRange(0, 2).Draw(t, "bucket")
		table.Live = func(n int) bool { return n%3 == 0 }
		table.By = secondPath
		ix, err := newIndex([]Definition{table})
		if err != nil {
			t.Fatal(err)
		}
		m := &mapOfRows{table: table, ix: ix, rows: make(map[string]Row[int])}
		t.Repeat(map[string]func(*rapid.T){
			"": m.check, "apply": m.apply, "abort": m.abort, "list": m.list, "abandon": m.abandon,
		})
	})
}

// mapOfRows is the model, beside the index.
type mapOfRows struct {
	table    Table[int]
	ix       *index
	revision int64
	rows     map[string]Row[int]
	seen     []seen
}

// seen is a snapshot with what it must show, for ever.
type seen struct {
	snapshot *Snapshot
	rows     map[string]Row[int]
}

// somePaths are so few that they meet, most of three segments, some of fewer; '!' is before the slash, and '0' behind it.
var somePaths = rapid.OneOf(
	rapid.Just(""),
	rapid.StringMatching(`[ab][!0]?/[xy][!0]?/[0-9]{2}`),
	rapid.StringMatching(`a/x/[0-9]{3}`),
	rapid.StringMatching(`[ab]/?[xy!0]?/?`),
)

func (m *mapOfRows) changes(t *rapid.T) []change {
	m.revision++
	paths := rapid.SliceOfNDistinct(somePaths, 0, 200, rapid.ID[string]).Draw(t, "paths")
	changes := make([]change, len(paths))
	for i, path := range paths {
		changes[i] = change{table: m.table, path: path, revision: m.revision}
		if path != "" && rapid.IntRange(0, 3).Draw(t, "delete") > 0 { // no record has an empty path
			changes[i].row = &Row[int]{Path: path, Created: m.revision, Modified: m.revision, Value: i}
		}
	}
	return changes
}

func (m *mapOfRows) apply(t *rapid.T) {
	changes := m.changes(t)
	before := m.ix.snapshot()
	prefixes := rapid.SliceOf(somePaths).Draw(t, "prefixes")
	watched := make([]<-chan struct{}, len(prefixes))
	for i, prefix := range prefixes {
		watched[i] = m.table.Changed(before, prefix)
	}
	if err := m.ix.apply(slices.Clone(changes), m.revision); err != nil {
		t.Fatal(err)
	}
	for _, c := range changes {
		_, had := m.rows[c.path]
		for i, prefix := range prefixes {
			if strings.HasPrefix(c.path, prefix) && (had || c.row != nil) && !closed(watched[i]) {
				t.Fatalf("%q has changed, and who watches %q was not told", c.path, prefix)
			}
		}
		if c.row == nil {
			delete(m.rows, c.path)
		} else {
			m.rows[c.path] = *c.row.(*Row[int])
		}
	}
	m.keep()
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func (m *mapOfRows) abort(t *rapid.T) {
	changes := m.changes(t)
	m.ix.mu.Lock()
	defer m.ix.mu.Unlock()
	w := m.ix.write()
	if err := w.change(changes); err != nil {
		t.Fatal(err)
	}
	w.abort()
}

// begin lists some of what there is, unchanged, and some new.
func (m *mapOfRows) begin(t *rapid.T) (r *replacement, listed map[string]Row[int]) {
	listed = make(map[string]Row[int])
	for _, c := range m.changes(t) {
		if old, ok := m.rows[c.path]; ok && c.row == nil {
			listed[c.path] = old
		} else if c.row != nil {
			listed[c.path] = *c.row.(*Row[int])
		}
	}
	r = m.ix.replace(true)
	for _, path := range slices.Sorted(maps.Keys(listed)) {
		row := listed[path]
		if err := r.add(change{table: m.table, path: path, row: &row}); err != nil {
			t.Fatal(err)
		}
	}
	return r, listed
}

func (m *mapOfRows) list(t *rapid.T) {
	r, listed := m.begin(t)
	if err := r.finish(m.revision); err != nil {
		t.Fatal(err)
	}
	r.abandon()
	m.rows = listed
	m.keep()
}

func (m *mapOfRows) abandon(t *rapid.T) {
	r, _ := m.begin(t)
	r.abandon()
}

func (m *mapOfRows) keep() {
	m.seen = append(m.seen, seen{m.ix.snapshot(), maps.Clone(m.rows)})
}

func (m *mapOfRows) check(t *rapid.T) {
	m.keep()
	m.seen = m.seen[max(0, len(m.seen)-5):]
	prefix, after := rapid.OneOf(rapid.Just(""), somePaths).Draw(t, "prefix"), rapid.OneOf(rapid.Just(""), somePaths).Draw(t, "after")
	for _, s := range m.seen {
		for path, want := range s.rows {
			if row, ok := m.table.Get(s.snapshot, path); !ok || *row != want {
				t.Fatalf("%q is %v, want %v", path, row, want)
			}
		}
		if row, ok := m.table.Get(s.snapshot, prefix); ok && row.Path != prefix {
			t.Fatalf("%q is found at %q", row.Path, prefix)
		}
		for _, prefix := range []string{"", prefix} {
			var want, got []Row[int]
			for _, path := range slices.Sorted(maps.Keys(s.rows)) {
				if strings.HasPrefix(path, prefix) && (after == "" || path > after) {
					want = append(want, s.rows[path])
				}
			}
			for row := range m.table.Scan(s.snapshot, prefix, after) {
				got = append(got, *row)
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Fatalf("under %q after %q there is\n%v, want\n%v", prefix, after, got, want)
			}
			m.checkLive(t, s.snapshot, prefix)
			m.checkOrder(t, s)
		}
	}
}
