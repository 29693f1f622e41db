package store

import (
	"fmt"
	"maps"

	"github.com/hashicorp/go-memdb"
)

// replacement makes the index equal to a list of the whole log, while the list comes in. Readers see nothing of it before
// finish. Rows whose revision is unchanged are left alone, so that a list which brings no news costs no memory.
type replacement struct {
	ix    *index
	trust bool // equal revisions mean equal rows: false for a log with another history, where they prove nothing
	txn   *memdb.Txn
	bad   map[Key]struct{} // what the list has and does not decode

	before  *memdb.Txn // the index as it was
	table   Definition // whose rows are coming in
	last    string     // path of the last one
	pending any        // the first row of the table, as it was, that may still come; nil when there are no more
	rows    memdb.ResultIterator
	done    map[string]bool // tables that have come in
}

// replace begins a replacement; it must be finished or abandoned. Only one goroutine, the follower, does so, and nobody
// else writes to the index meanwhile (see advance).
func (ix *index) replace(trustRevisions bool) *replacement {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	ix.listing = true
	return &replacement{ix: ix, trust: trustRevisions, txn: ix.db.Txn(true), before: ix.db.Txn(false),
		bad: make(map[Key]struct{}), done: make(map[string]bool)}
}

// add takes the next row of the list, in the order of their keys. One without a value did not decode: the last good row
// stays.
func (r *replacement) add(c change) error {
	if r.table == nil || r.table.name() != c.table.name() {
		if err := r.begin(c.table); err != nil {
			return err
		}
	} else if c.path <= r.last {
		return fmt.Errorf("the list is not in order: %s/%s after %s", c.table.name(), c.path, r.last)
	}
	r.last = c.path
	old, err := r.passTo(c.path)
	if err != nil {
		return err
	}
	if c.row == nil {
		r.bad[c.key()] = struct{}{}
		return nil
	}
	if old != nil && r.trust {
		_, _, was := c.table.meta(old)
		if _, _, is := c.table.meta(c.row); was == is {
			return nil
		}
	}
	if err := r.txn.Insert(c.table.name(), c.row); err != nil {
		return fmt.Errorf("write %s/%s: %w", c.table.name(), c.path, err)
	}
	return nil
}

// begin turns to another table.
func (r *replacement) begin(t Definition) (err error) {
	if err := r.end(); err != nil {
		return err
	}
	if r.done[t.name()] {
		return fmt.Errorf("the list comes back to table %s", t.name())
	}
	r.table, r.last = t, ""
	r.done[t.name()] = true
	if r.rows, err = r.before.LowerBound(t.name(), pathIndexName, ""); err != nil {
		return fmt.Errorf("read table %s: %w", t.name(), err)
	}
	r.pending = r.rows.Next()
	return nil
}

// passTo deletes the rows that come before the path, which the list does not have, and gives the one at the path.
func (r *replacement) passTo(path string) (old any, err error) {
	for r.pending != nil {
		at, _, _ := r.table.meta(r.pending)
		if at > path {
			return nil, nil
		}
		row := r.pending
		r.pending = r.rows.Next()
		if at == path {
			return row, nil
		}
		if err := r.remove(at); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// end deletes what is left of the table.
func (r *replacement) end() error {
	for ; r.pending != nil; r.pending = r.rows.Next() {
		at, _, _ := r.table.meta(r.pending)
		if err := r.remove(at); err != nil {
			return err
		}
	}
	return nil
}

func (r *replacement) remove(path string) error {
	if err := remove(r.txn, r.table.name(), path); err != nil {
		return fmt.Errorf("remove %s/%s: %w", r.table.name(), path, err)
	}
	return nil
}

// finish shows the list, which was complete at the revision.
func (r *replacement) finish(revision int64) error {
	if err := r.end(); err != nil {
		return err
	}
	for name, t := range r.ix.tables {
		if !r.done[name] { // the list has nothing of it
			if err := r.begin(t); err != nil {
				return err
			}
			if err := r.end(); err != nil {
				return err
			}
		}
	}
	r.ix.mu.Lock()
	defer r.ix.mu.Unlock()
	r.txn.Commit()
	maps.DeleteFunc(r.ix.rejected, func(key Key, _ Rejected) bool {
		_, still := r.bad[key]
		return !still
	})
	r.ix.listing = false
	r.ix.publish(revision)
	return nil
}

// abandon ends a replacement that was not finished: the index stays as it is.
func (r *replacement) abandon() {
	r.ix.mu.Lock()
	defer r.ix.mu.Unlock()
	r.txn.Abort() // after Commit this does nothing
	r.ix.listing = false
}
