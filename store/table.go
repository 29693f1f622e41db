package store

import (
	"iter"
	"strings"
)

// Table is one kind of record: the first segment of its keys, and how a value is read and written. It is declared once,
// by the package that owns the records, and handed to Open.
type Table[R any] struct {
	// Name is the first segment of every key: "rooms" for rooms/{tenant}/{room}.
	Name string
	// Aggregate says that a record of this table guards others: a decision that writes one is committed only if the
	// record has not changed since the snapshot it was decided on.
	Aggregate bool
	// Bucket is, for a table of many small records, how many leading segments of a path they have in common that are
	// read together: 2 for {tenant}/{room}/{participant}. The index then holds them together. 0 for each by itself.
	Bucket int
	// GuardedBy names the record that guards those of this table, where it is not each itself: whoever writes one of them
	// writes that one too, in the same change. A decision that reads one, or scans them, is compared on it.
	GuardedBy Guard
	// Size is for how many bytes a record counts, beside its key, in what its owner keeps (Tx.Growth); nil: for as many as
	// its value has. It must never be less than the value's, and may be more, to set aside what the record will need.
	Size func(R) int
	// Live, when set, says of which records most questions about many are: the participants who have not left. Where the
	// table has buckets, ScanLive passes over the others without looking at them. It must follow from the record alone.
	Live func(R) bool
	// By, when set, gives each record a second path, by which ScanBy finds it: {tenant}/{name}/{room} for {tenant}/{room}.
	// No two records may have the same; the empty one is none. It must follow from the path and the record alone. It costs
	// the index a row of its own for each record, written when the second path changes.
	By func(path string, value R) string
	// Decode reads a stored value. It must not keep path or value unless R is meant to hold them: they are never
	// changed afterwards, so R may. An error keeps the key's last good record.
	Decode func(path string, value []byte) (R, error)
	// Encode writes what Decode reads, and Decode reads what was given to Encode: a replica may not decode what it has
	// written itself.
	Encode func(R) ([]byte, error)
}

// Guard names a record by the beginning of the paths that it guards: {"rooms", 2} is rooms/{tenant}/{room} for everything
// at or below {tenant}/{room}. The zero Guard is none.
type Guard struct {
	Table    string
	Segments int
}

// of is the record that guards the one at the path.
func (g Guard) of(path string) (Key, bool) {
	if key, ok := g.over(path); ok {
		return key, true
	}
	return Key{g.Table, path}, g.Segments > 0 && strings.Count(path, "/") == g.Segments-1
}

// over is the record that guards all whose paths begin with prefix.
func (g Guard) over(prefix string) (Key, bool) {
	end := 0
	for range g.Segments {
		slash := strings.IndexByte(prefix[end:], '/')
		if slash < 0 {
			return Key{}, false
		}
		end += slash + 1
	}
	if end == 0 {
		return Key{}, false
	}
	return Key{g.Table, prefix[:end-1]}, true
}

// Row is a record as the index holds it. It is never mutated: a change is a new Row.
type Row[R any] struct {
	Path     string // the key below the table: "{tenant}/{room}"
	Created  int64  // the revision that created the key; 0 for a row not yet committed
	Modified int64  // the revision that last wrote it; 0 for a row not yet committed
	Value    R
}

// Reader is what a table can be read from: a Snapshot, or the Tx of a decision.
type Reader interface {
	get(l layout, path string) (row record, ok bool)
	scan(l layout, prefix, after string) iter.Seq[record]
	scanLive(t Definition, prefix string) iter.Seq[record]
}

// Get finds the record at the path.
func (t Table[R]) Get(r Reader, path string) (*Row[R], bool) {
	row, ok := r.get(t.layout(), path)
	if !ok {
		return nil, false
	}
	return row.(*Row[R]), true
}

// Scan yields the records whose path begins with prefix and is greater than after (empty: from the first), in order of
// path.
func (t Table[R]) Scan(r Reader, prefix, after string) iter.Seq[*Row[R]] {
	return func(yield func(*Row[R]) bool) {
		for row := range r.scan(t.layout(), prefix, after) {
			if !yield(row.(*Row[R])) {
				return
			}
		}
	}
}

// ScanLive yields the live records whose path begins with prefix, in order of path: what Scan yields and Live holds of. In
// a table with buckets its cost grows with them, and not with the others: those take a 32nd of a step each. In a table
// without Live all are live.
func (t Table[R]) ScanLive(r Reader, prefix string) iter.Seq[*Row[R]] {
	return func(yield func(*Row[R]) bool) {
		for row := range r.scanLive(t, prefix) {
			if !yield(row.(*Row[R])) {
				return
			}
		}
	}
}

// Changed gives a channel that is closed when any record whose path begins with prefix is no longer as the snapshot shows
// it; it may be closed for another one's sake too. It is closed before a later snapshot is to be had. Whoever keeps what
// follows from many records looks at it to know whether to work it out anew.
func (t Table[R]) Changed(s *Snapshot, prefix string) <-chan struct{} {
	return s.changed(t.layout(), prefix)
}

// Put writes the record at the path within the transaction.
func (t Table[R]) Put(tx *Tx, path string, value R) {
	tx.put(t, path, &Row[R]{Path: path, Value: value})
}

// Growth is by how many bytes Put would make what is kept grow. The table must have a Size.
func (t Table[R]) Growth(tx *Tx, path string, value R) int64 {
	before, existed := tx.changes[t.Key(path)]
	return tx.countedAs(t.layout(), path, t.Size(value)) - tx.countedBefore(t, path, before, existed)
}

// Create is Put for a path that there has never been, such as that of a new id, and looks for no record there.
func (t Table[R]) Create(tx *Tx, path string, value R) {
	tx.create(t, path, &Row[R]{Path: path, Value: value})
}

// Delete removes the record at the path within the transaction; one that does not exist stays so.
func (t Table[R]) Delete(tx *Tx, path string) {
	tx.put(t, path, nil)
}

// Pending yields the records under prefix that the transaction has written so far, in no order. A deleted one is not
// among them.
func (t Table[R]) Pending(tx *Tx, prefix string) iter.Seq[*Row[R]] {
	return func(yield func(*Row[R]) bool) {
		for _, change := range tx.changes {
			if change.table.layout().name != t.Name || change.row == nil || !strings.HasPrefix(change.path, prefix) {
				continue
			}
			if !yield(change.row.(*Row[R])) {
				return
			}
		}
	}
}

// Key is where the record at the path lies below the store's prefix.
func (t Table[R]) Key(path string) Key { return Key{t.Name, path} }

// Key names one record.
type Key struct{ Table, Path string }

// String is the key as the log has it, below the store's prefix.
func (k Key) String() string { return k.Table + "/" + k.Path }

// Definition is a Table of any record type, as Open takes it.
type Definition interface {
	layout() layout
	aggregate() bool
	guardedBy() Guard
	sized() bool
	size(row record, encoded int) int
	decode(path string, value []byte, created, modified int64) (record, error)
	encode(row record) ([]byte, error)
	adopt(row record, created, modified int64) record
	live(row record) bool
	ordered() bool // has a By
	by(row record) string
}

func (t Table[R]) layout() layout  { return layout{t.Name, t.Bucket} }
func (t Table[R]) aggregate() bool { return t.Aggregate }

func (t Table[R]) guardedBy() Guard { return t.GuardedBy }
func (t Table[R]) sized() bool      { return t.Size != nil }

// size is for how many bytes the row counts, whose value has so many.
func (t Table[R]) size(row record, encoded int) int {
	if t.Size == nil {
		return encoded
	}
	return t.Size(row.(*Row[R]).Value)
}

func (t Table[R]) decode(path string, value []byte, created, modified int64) (record, error) {
	decoded, err := t.Decode(path, value)
	if err != nil {
		return nil, err
	}
	return &Row[R]{Path: path, Created: created, Modified: modified, Value: decoded}, nil
}

func (t Table[R]) encode(row record) ([]byte, error) { return t.Encode(row.(*Row[R]).Value) }

// adopt is the row that was written, as it is in the log now.
func (t Table[R]) adopt(row record, created, modified int64) record {
	written := row.(*Row[R])
	return &Row[R]{Path: written.Path, Created: created, Modified: modified, Value: written.Value}
}

func (t Table[R]) live(row record) bool { return t.Live == nil || t.Live(row.(*Row[R]).Value) }

func (t Table[R]) ordered() bool { return t.By != nil }

func (t Table[R]) by(row record) string { return t.By(row.rowPath(), row.(*Row[R]).Value) }

func (r *Row[R]) rowPath() string                      { return r.Path }
func (r *Row[R]) revisions() (created, modified int64) { return r.Created, r.Modified }
