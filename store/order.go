package store

import (
	"fmt"
	"iter"
)

// The second order of a table that has one (Table.By) is a table of memdb beside it, of rows that only point. A second
// index of the same table would be written with every change of a row, which doubles what that costs; these rows are
// written when the second path changes, and a room changes with each join, but seldom its name.

// placed is a row by its second path.
type placed struct{ by, path string }

func (p *placed) rowPath() string { return p.by }

// orderOf is memdb's name of the second order of the table; no table has a slash in its name.
func orderOf(table string) string { return table + "/by" }

// order moves the row at the path to where it belongs in the second order; nil takes it out. It comes before the row
// itself is written.
func (w *writing) order(t Definition, path string, row record) error {
	if !t.ordered() {
		return nil
	}
	was, is := "", ""
	if old, ok := (rows{w.txn}).get(t.layout(), path); ok {
		was = t.by(old)
	}
	if row != nil {
		is = t.by(row)
	}
	if was == is {
		return nil
	}
	name := orderOf(t.layout().name)
	if was != "" {
		if err := w.txn.Delete(name, &placed{was, path}); err != nil {
			return fmt.Errorf("remove %s/%s: %w", name, was, err)
		}
	}
	if is != "" {
		if err := w.txn.Insert(name, &placed{is, path}); err != nil {
			return fmt.Errorf("write %s/%s: %w", name, is, err)
		}
	}
	return nil
}

// scanBy yields the rows whose second path begins with prefix and is greater than after, in the order of those paths.
func (r rows) scanBy(l layout, prefix, after string) iter.Seq[record] {
	return func(yield func(record) bool) {
		for found := range r.walk(orderOf(l.name), prefix, after) {
			at := found.(*placed)
			if at.by == after {
				continue
			}
			if row, ok := r.get(l, at.path); ok && !yield(row) {
				return
			}
		}
	}
}

// ScanBy yields the records whose second path begins with prefix and is greater than after (empty: from the first), in
// order of those paths. The table must have a By.
func (t Table[R]) ScanBy(s *Snapshot, prefix, after string) iter.Seq[*Row[R]] {
	return func(yield func(*Row[R]) bool) {
		for row := range s.scanBy(t.layout(), prefix, after) {
			if !yield(row.(*Row[R])) {
				return
			}
		}
	}
}
