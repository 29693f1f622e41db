package store

import (
	"iter"
	"maps"
	"slices"
	"strings"
)

// Tx is what one decision sees and changes: a snapshot, and on it the changes of the decisions taken before it in the
// same group. Nothing of it reaches the log before the writer commits the group as a whole.
type Tx struct {
	tables   map[string]Definition
	snapshot *Snapshot
	changes  map[Key]change   // the newest change of each key
	order    []Key            // keys in the order of their first change, so that transactions are reproducible
	guards   map[Key]struct{} // records that must be unchanged for the commit
	memo     map[string]any   // see Memo
	undo     []undo           // how to take back what was done since a mark
}

// undo is one step back: either a guard that was added, or a change that took the place of before.
type undo struct {
	key     Key
	guard   bool
	before  change
	existed bool
}

func newTx(tables map[string]Definition, snapshot *Snapshot) *Tx {
	return &Tx{tables: tables, snapshot: snapshot, changes: make(map[Key]change), guards: make(map[Key]struct{})}
}

// Revision is the log's revision that the decision is based on.
func (tx *Tx) Revision() int64 { return tx.snapshot.revision }

// Memo keeps what build made of the snapshot for the other decisions of the group. What build returns must depend on
// the snapshot alone, never on changes of the transaction, and must not be changed.
func (tx *Tx) Memo(key string, build func(*Snapshot) any) any {
	if made, ok := tx.memo[key]; ok {
		return made
	}
	if tx.memo == nil {
		tx.memo = make(map[string]any)
	}
	made := build(tx.snapshot)
	tx.memo[key] = made
	return made
}

// DeleteUnder removes up to limit records of the named table whose path begins with prefix, whoever owns the table, and
// says how many it has, and whether more are left.
func (tx *Tx) DeleteUnder(table, prefix string, limit int) (deleted int, more bool) {
	var paths []string
	of := tx.tables[table]
	for row := range tx.scan(of.layout(), prefix, "") {
		if len(paths) == limit {
			more = true
			break
		}
		paths = append(paths, row.rowPath())
	}
	for _, path := range paths {
		tx.put(of, path, nil)
	}
	return len(paths), more
}

func (tx *Tx) get(l layout, path string) (record, bool) {
	if c, ok := tx.changes[Key{l.name, path}]; ok {
		return c.row, c.row != nil
	}
	return tx.snapshot.get(l, path)
}

// scan merges the snapshot's rows with the transaction's changes, in order of path.
func (tx *Tx) scan(l layout, prefix, after string) iter.Seq[record] {
	changed := make(map[string]record)
	for _, c := range tx.changes {
		if c.table.layout() == l && strings.HasPrefix(c.path, prefix) && c.path > after {
			changed[c.path] = c.row
		}
	}
	if len(changed) == 0 {
		return tx.snapshot.scan(l, prefix, after)
	}
	paths := slices.Sorted(maps.Keys(changed))
	return func(yield func(record) bool) {
		for row := range tx.snapshot.scan(l, prefix, after) {
			path := row.rowPath()
			for len(paths) > 0 && paths[0] < path {
				if row := changed[paths[0]]; row != nil && !yield(row) {
					return
				}
				paths = paths[1:]
			}
			if _, superseded := changed[path]; !superseded && !yield(row) {
				return
			}
		}
		for _, path := range paths {
			if row := changed[path]; row != nil && !yield(row) {
				return
			}
		}
	}
}

// put records a change; a nil row is a delete.
func (tx *Tx) put(table Definition, path string, row record) {
	key := Key{table.layout().name, path}
	before, existed := tx.changes[key]
	tx.undo = append(tx.undo, undo{key: key, before: before, existed: existed})
	if !existed {
		tx.order = append(tx.order, key)
	}
	if table.aggregate() {
		tx.guard(key)
	}
	tx.changes[key] = change{table: table, path: path, row: row}
}

// guard makes the commit depend on the record's being unchanged since the snapshot.
func (tx *Tx) guard(key Key) {
	if _, ok := tx.guards[key]; ok {
		return
	}
	tx.guards[key] = struct{}{}
	tx.undo = append(tx.undo, undo{key: key, guard: true})
}

// mark is a point to which a rollback can go back.
func (tx *Tx) mark() int { return len(tx.undo) }

// rollback takes back everything since the mark.
func (tx *Tx) rollback(mark int) {
	for i := len(tx.undo) - 1; i >= mark; i-- {
		if u := tx.undo[i]; u.guard {
			delete(tx.guards, u.key)
		} else {
			tx.revert(u)
		}
	}
	tx.undo = tx.undo[:mark]
}

// rollbackChanges takes back the changes since the mark and leaves the guards: a refusal holds only as long as the
// records do that it was decided on.
func (tx *Tx) rollbackChanges(mark int) {
	guards := make([]undo, 0, 2)
	for i := len(tx.undo) - 1; i >= mark; i-- {
		if u := tx.undo[i]; u.guard {
			guards = append(guards, u)
		} else {
			tx.revert(u)
		}
	}
	tx.undo = append(tx.undo[:mark], guards...)
}

func (tx *Tx) revert(u undo) {
	if u.existed {
		tx.changes[u.key] = u.before
		return
	}
	delete(tx.changes, u.key)
	tx.order = tx.order[:len(tx.order)-1] // steps are taken back newest first, so it is the last
}

// operations is what the transaction counts against etcd's max-txn-ops: the larger of its compares and its writes.
func (tx *Tx) operations() int { return max(len(tx.guards), len(tx.order)) }
