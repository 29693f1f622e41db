package store

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
)

// Tx is what one decision sees and changes: a snapshot, and on it the changes of the decisions taken before it in the
// same group. Nothing of it reaches the log before the writer commits the group as a whole.
//
// What a decision reads by key is compared when it commits: the record itself, or the one that guards its table
// (Table.GuardedBy). A scan is compared on the record that guards all that it may find; where there is none it is
// refused. Unguarded is the way around, for reads that may be out of date without harm.
type Tx struct {
	tables   map[string]Definition
	snapshot *Snapshot
	prefix   string          // of every key in the log
	changes  map[Key]edit    // the newest change of each key
	order    []Key           // keys in the order of their first change, so that transactions are reproducible
	guards   map[Key]guarded // records that must be unchanged for the commit
	memo     map[string]any  // see Memo
	undo     []undo          // how to take back what was done since a mark

	bytes  int    // of the keys and values that are written, and of the keys that are compared
	grown  int64  // by how many bytes the records that are kept have grown; see Growth
	before int64  // grown, when the decision that is under way began
	begun  int    // the length of undo then
	failed error  // why the decision that is under way cannot be committed, whatever it says itself
	reads  *[]Key // what was looked for in the snapshot, when somebody wants to know
}

// edit is a change with the value that the log gets: nil for a delete, and for a table with a Size, whose value is made
// when it is sent: a room is written by every decision about it, and sent once.
type edit struct {
	change
	value []byte
	size  int // of the value, at most
}

// guarded is what the snapshot has of a record that is compared, when it was looked for.
type guarded struct {
	row    record // nil: there is none
	looked bool
}

// undo is one step back: either a guard that was added, or a change that took the place of before.
type undo struct {
	key     Key
	guard   bool
	before  edit
	existed bool
	grown   int64
}

func newTx(tables map[string]Definition, snapshot *Snapshot, prefix string) *Tx {
	return &Tx{tables: tables, snapshot: snapshot, prefix: prefix, changes: make(map[Key]edit), guards: make(map[Key]guarded)}
}

// begin notes that another decision is under way.
func (tx *Tx) begin() { tx.before, tx.begun, tx.failed = tx.grown, len(tx.undo), nil }

// Changed says whether the decision has written anything.
func (tx *Tx) Changed() bool {
	return slices.ContainsFunc(tx.undo[tx.begun:], func(u undo) bool { return !u.guard })
}

// Growth is by how many bytes the decision has made what is kept grow, by what its tables count (Table.Size); negative
// when it takes away more than it adds.
func (tx *Tx) Growth() int64 { return tx.grown - tx.before }

// Unguarded reads what the transaction sees without having it compared when it commits. Whoever uses it says why what it
// reads may be out of date.
func (tx *Tx) Unguarded() Reader { return unguarded{tx} }

type unguarded struct{ tx *Tx }

func (u unguarded) get(l layout, path string) (record, bool) { return u.tx.look(l, path) }

func (u unguarded) scan(l layout, prefix, after string) iter.Seq[record] {
	return u.tx.merge(l, prefix, after)
}

func (u unguarded) scanLive(t Definition, prefix string) iter.Seq[record] {
	return u.tx.mergeLive(t, prefix)
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
	for row := range tx.merge(of.layout(), prefix, "") { // whatever is there by then: another replica's deletion does no harm
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

// get is look, compared.
func (tx *Tx) get(l layout, path string) (record, bool) {
	if c, ok := tx.changes[Key{l.name, path}]; ok {
		return c.row, c.row != nil
	}
	if key, ok := tx.tables[l.name].guardedBy().of(path); ok {
		tx.guard(key)
		return tx.read(l, path)
	}
	key := Key{l.name, path}
	known, guards := tx.guards[key]
	if known.looked {
		return known.row, known.row != nil
	}
	if !guards {
		tx.guard(key)
	}
	row, ok := tx.read(l, path)
	if !ok {
		row = nil
	}
	tx.guards[key] = guarded{row: row, looked: true}
	return row, ok
}

// read looks into the snapshot.
func (tx *Tx) read(l layout, path string) (record, bool) {
	if tx.reads != nil {
		*tx.reads = append(*tx.reads, Key{l.name, path})
	}
	return tx.snapshot.get(l, path)
}

// look finds the record as the transaction has left it.
func (tx *Tx) look(l layout, path string) (record, bool) {
	if c, ok := tx.changes[Key{l.name, path}]; ok {
		return c.row, c.row != nil
	}
	return tx.read(l, path)
}

// scan is merge, compared.
func (tx *Tx) scan(l layout, prefix, after string) iter.Seq[record] {
	if !tx.guardScan(l, prefix) {
		return func(func(record) bool) {}
	}
	return tx.merge(l, prefix, after)
}

// guardScan has a scan compared, or refuses the decision.
func (tx *Tx) guardScan(l layout, prefix string) (ok bool) {
	key, ok := tx.tables[l.name].guardedBy().over(prefix)
	if !ok {
		tx.failed = fmt.Errorf("a decision scans %s/%s, which no record guards", l.name, prefix)
		return false
	}
	tx.guard(key)
	return true
}

// merge puts the snapshot's rows and the transaction's changes together, in order of path.
func (tx *Tx) merge(l layout, prefix, after string) iter.Seq[record] {
	changed := make(map[string]record)
	for _, c := range tx.changes {
		if c.table.layout() == l && strings.HasPrefix(c.path, prefix) && c.path > after {
			changed[c.path] = c.row
		}
	}
	if len(changed) == 0 {
		return tx.snapshot.scan(l, prefix, after)
	}
	return overlaid(tx.snapshot.scan(l, prefix, after), changed)
}

// overlaid puts the rows and the changes together, in order of path: a change takes the place of its row, and nil takes it out.
func overlaid(rows iter.Seq[record], changed map[string]record) iter.Seq[record] {
	paths := slices.Sorted(maps.Keys(changed))
	return func(yield func(record) bool) {
		for row := range rows {
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
	if after, ok := tx.edited(table, path, row); ok {
		before, existed := tx.changes[after.key()]
		grown := tx.counted(after) - tx.countedBefore(table, path, before, existed)
		tx.record(undo{key: after.key(), before: before, existed: existed, grown: grown}, after)
	}
}

// create is put for a key that there has never been.
func (tx *Tx) create(table Definition, path string, row record) {
	if after, ok := tx.edited(table, path, row); ok {
		tx.record(undo{key: after.key(), grown: tx.counted(after)}, after)
	}
}

// edited is the change with the length of its value; one that has none fails the decision.
func (tx *Tx) edited(table Definition, path string, row record) (after edit, ok bool) {
	after = edit{change: change{table: table, path: path, row: row}}
	if err := after.measure(); err != nil {
		tx.failed = fmt.Errorf("encode %s: %w", after.key(), err)
		return after, false
	}
	return after, true
}

// measure finds out how long the value is.
func (e *edit) measure() (err error) {
	switch {
	case e.row == nil:
	case e.table.sized():
		e.size = e.table.size(e.row, 0)
	default:
		e.value, err = e.table.encode(e.row)
		e.size = len(e.value)
	}
	return err
}

// record notes the change.
func (tx *Tx) record(step undo, after edit) {
	key, before, existed, table := step.key, step.before, step.existed, after.table
	if last := len(tx.undo) - 1; last >= tx.begun && existed && !tx.undo[last].guard && tx.undo[last].key == key {
		tx.undo[last].grown += step.grown // one step back goes past both
	} else {
		tx.undo = append(tx.undo, step)
	}
	if existed {
		tx.bytes -= before.size
	} else {
		tx.order = append(tx.order, key)
		tx.bytes += len(key.Table) + len(key.Path)
	}
	tx.bytes += after.size
	tx.grown += step.grown
	if table.aggregate() {
		tx.guard(key)
	}
	tx.changes[key] = after
}

// counted is for how many bytes what is written counts.
func (tx *Tx) counted(e edit) int64 {
	if e.row == nil {
		return 0
	}
	return tx.countedAs(e.table.layout(), e.path, e.size)
}

// countedAs is for how many bytes a record of the size counts.
func (tx *Tx) countedAs(l layout, path string, size int) int64 {
	return int64(len(tx.prefix) + len(l.name) + 1 + len(path) + size)
}

// countedBefore is for how many bytes the record counted before the change.
func (tx *Tx) countedBefore(table Definition, path string, before edit, existed bool) int64 {
	if existed {
		return tx.counted(before)
	}
	known := tx.guards[Key{table.layout().name, path}]
	row := known.row
	if !known.looked {
		row, _ = tx.snapshot.get(table.layout(), path)
	}
	if row == nil {
		return 0
	}
	old := edit{change: change{table: table, path: path, row: row}}
	_ = old.measure() // it was decoded, so it can be encoded
	return tx.counted(old)
}

// guard makes the commit depend on the record's being unchanged since the snapshot.
func (tx *Tx) guard(key Key) {
	if _, ok := tx.guards[key]; ok {
		return
	}
	tx.guards[key] = guarded{}
	tx.bytes += len(key.Table) + len(key.Path)
	tx.undo = append(tx.undo, undo{key: key, guard: true})
}

// mark is a point to which a rollback can go back.
func (tx *Tx) mark() int { return len(tx.undo) }

// rollback takes back everything since the mark.
func (tx *Tx) rollback(mark int) {
	for i := len(tx.undo) - 1; i >= mark; i-- {
		if u := tx.undo[i]; u.guard {
			delete(tx.guards, u.key)
			tx.bytes -= len(u.key.Table) + len(u.key.Path)
		} else {
			tx.revert(u)
		}
	}
	tx.undo = tx.undo[:mark]
}

// rollbackChanges takes back the changes since the mark and leaves the guards: a refusal holds only as long as the
// records do that it was decided on.
func (tx *Tx) rollbackChanges(mark int) {
	guards := make([]undo, 0, 4)
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
	tx.grown -= u.grown
	tx.bytes -= tx.changes[u.key].size
	if u.existed {
		tx.changes[u.key] = u.before
		tx.bytes += u.before.size
		return
	}
	delete(tx.changes, u.key)
	tx.bytes -= len(u.key.Table) + len(u.key.Path)
	tx.order = tx.order[:len(tx.order)-1] // steps are taken back newest first, so it is the last
}

// operations is what the transaction counts against etcd's max-txn-ops: the larger of its compares and its writes.
func (tx *Tx) operations() int { return max(len(tx.guards), len(tx.order)) }
