package store

import (
	"iter"
	"maps"
	"slices"
	"strings"
)

// scanLive is mergeLive, compared.
func (tx *Tx) scanLive(t Definition, prefix string) iter.Seq[record] {
	if !tx.guardScan(t.layout(), prefix) {
		return func(func(record) bool) {}
	}
	return tx.mergeLive(t, prefix)
}

// mergeLive merges the snapshot's live rows with what the transaction has written: a row that is no longer live in it is
// passed over, and one that has become so is there.
func (tx *Tx) mergeLive(t Definition, prefix string) iter.Seq[record] {
	name := t.layout().name
	changed := make(map[string]record)
	for key, c := range tx.changes {
		if key.Table == name && strings.HasPrefix(key.Path, prefix) {
			changed[key.Path] = c.row
		}
	}
	if len(changed) == 0 {
		return tx.snapshot.scanLive(t, prefix)
	}
	paths := slices.Sorted(maps.Keys(changed))
	return func(yield func(record) bool) {
		// upTo yields what has changed and comes before the path, or all that is left.
		upTo := func(path string, end bool) (more bool) {
			for len(paths) > 0 && (end || paths[0] < path) {
				row := changed[paths[0]]
				paths = paths[1:]
				if row != nil && t.live(row) && !yield(row) {
					return false
				}
			}
			return true
		}
		for row := range tx.snapshot.scanLive(t, prefix) {
			path := row.rowPath()
			if !upTo(path, false) {
				return
			}
			if _, superseded := changed[path]; !superseded && !yield(row) {
				return
			}
		}
		upTo("", true)
	}
}
