package store

import (
	"fmt"
	"iter"
	"maps"
)

// replacement makes the index equal to a list of the whole log, while the list comes in. Readers see nothing of it before
// finish. Rows whose revision is unchanged are left alone, so that a list which brings no news costs no memory.
type replacement struct {
	ix    *index
	trust bool // equal revisions mean equal rows: false for a log with another history, where they prove nothing
	into  *writing
	bad   map[Key]struct{} // what the list has and does not decode

	before  *Snapshot  // the index as it was
	table   Definition // whose rows are coming in
	last    string     // path of the last one
	pending record     // the first row of the table, as it was, that may still come; nil when there are no more
	next    func() (record, bool)
	stop    func()          // ends the walk that next makes
	done    map[string]bool // tables that have come in
}

// replace begins a replacement; it must be finished or abandoned. Only one goroutine, the follower, does so, and nobody
// else writes to the index meanwhile (see advance).
func (ix *index) replace(trustRevisions bool) *replacement {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	ix.listing = true
	return &replacement{ix: ix, trust: trustRevisions, into: ix.write(), before: ix.snapshot(), stop: func() {},
		bad: make(map[Key]struct{}), done: make(map[string]bool)}
}

// add takes the next row of the list, in the order of their keys. One without a value did not decode: the last good row
// stays.
func (r *replacement) add(c change) error {
	if r.table == nil || r.table.layout() != c.table.layout() {
		if err := r.begin(c.table); err != nil {
			return err
		}
	} else if c.path <= r.last {
		return fmt.Errorf("the list is not in order: %s/%s after %s", c.table.layout().name, c.path, r.last)
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
		_, was := old.revisions()
		if _, is := c.row.revisions(); was == is {
			return nil
		}
	}
	return r.into.put(c.table, c.row)
}

// begin turns to another table.
func (r *replacement) begin(t Definition) error {
	if err := r.end(); err != nil {
		return err
	}
	name := t.layout().name
	if r.done[name] {
		return fmt.Errorf("the list comes back to table %s", name)
	}
	r.table, r.last = t, ""
	r.done[name] = true
	r.next, r.stop = iter.Pull(r.before.scan(t.layout(), "", ""))
	r.pending, _ = r.next()
	return nil
}

// passTo deletes the rows that come before the path, which the list does not have, and gives the one at the path.
func (r *replacement) passTo(path string) (old record, err error) {
	for r.pending != nil {
		row := r.pending
		if row.rowPath() > path {
			return nil, nil
		}
		r.pending, _ = r.next()
		if row.rowPath() == path {
			return row, nil
		}
		if err := r.into.remove(r.table, row.rowPath()); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// end deletes what is left of the table.
func (r *replacement) end() error {
	for ; r.pending != nil; r.pending, _ = r.next() {
		if err := r.into.remove(r.table, r.pending.rowPath()); err != nil {
			return err
		}
	}
	r.stop()
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
	r.into.commit()
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
	r.into.abort()
	r.stop()
	r.ix.listing = false
}
