package store

import (
	"fmt"
	"iter"
	"strings"
	"sync"
	"unsafe"

	"github.com/hashicorp/go-memdb"
)

// record is a Row of any type.
type record interface {
	rowPath() string
	revisions() (created, modified int64)
}

// layout is how a table lies in memdb. Its rows are rows there, each by its path or, in a table that has buckets, the
// buckets are: memdb spends 330 B and the walk down a radix tree on whatever it holds, which is most of the cost of
// a small record that is one of many.
type layout struct {
	name   string
	bucket int // how many leading segments of a path name its bucket; 0 for a table without
}

// bucketOf is the path's bucket, with the slash behind it, and in a table without buckets the path. A path that has too
// few segments is in a bucket of its own; since all buckets of a table have the same depth, they and what is in them have
// the same order as the paths.
func (l layout) bucketOf(path string) string {
	if l.bucket == 0 {
		return path
	}
	end := 0
	for range l.bucket {
		slash := strings.IndexByte(path[end:], '/')
		if slash < 0 {
			return path
		}
		end += slash + 1
	}
	return path[:end]
}

// pathIndex is the one index of every memdb table: the key below the table's name, as it stands, or the path of the
// bucket. Keys begin with their tenant and then their room, so the same index serves a get and an ordered list; a second
// index would double the cost of an insert and the memory of a row (research: 9 against 18 µs, 480 against 1000 B).
type pathIndex struct{}

const pathIndexName = "id"

// FromObject, FromArgs and PrefixFromArgs are what memdb asks for; the last makes "id_prefix".

func (pathIndex) FromObject(row any) (bool, []byte, error) {
	return true, bytesOf(row.(interface{ rowPath() string }).rowPath()), nil
}

func (pathIndex) FromArgs(args ...any) ([]byte, error) {
	if asked, ok := args[0].(*lookUp); ok {
		return bytesOf(asked.in), nil
	}
	return bytesOf(args[0].(string)), nil
}

func (pathIndex) PrefixFromArgs(args ...any) ([]byte, error) { return bytesOf(args[0].(string)), nil }

// bytesOf is the bytes of the string itself. memdb keeps them as keys and never writes to them; a copy would be a tenth
// of what a row takes in memory, and an allocation for each look-up.
// An empty path has bytes too, if none: to memdb nil is a question about all.
func bytesOf(s string) []byte {
	if s == "" {
		return []byte{}
	}
	return unsafe.Slice(unsafe.StringData(s), len(s)) // #nosec G103
}

func newRows(tables []Definition) (*memdb.MemDB, error) {
	schema := &memdb.DBSchema{Tables: make(map[string]*memdb.TableSchema, len(tables))}
	for _, t := range tables {
		name := t.layout().name
		schema.Tables[name] = tableSchema(name)
		if t.ordered() {
			schema.Tables[orderOf(name)] = tableSchema(orderOf(name))
		}
	}
	return memdb.NewMemDB(schema)
}

func tableSchema(name string) *memdb.TableSchema {
	return &memdb.TableSchema{
		Name:    name,
		Indexes: map[string]*memdb.IndexSchema{pathIndexName: {Name: pathIndexName, Unique: true, Indexer: pathIndex{}}},
	}
}

// rows is all that the index holds at a time.
type rows struct {
	txn *memdb.Txn // for reading: many may at once, since all that it holds is immutable
}

// lookUp is what memdb or a bucket is asked for, kept for the next look-up: a request makes half a dozen, and each would
// allocate the list of arguments and the argument.
type lookUp struct {
	in   string // the path that memdb has
	path string
	args [1]any // the look-up itself
}

func (l *lookUp) rowPath() string                      { return l.path }
func (l *lookUp) revisions() (created, modified int64) { return 0, 0 }

var lookUps = sync.Pool{New: func() any { return new(lookUp) }}

func (r rows) get(l layout, path string) (record, bool) {
	asked := lookUps.Get().(*lookUp)
	asked.in, asked.path, asked.args[0] = l.bucketOf(path), path, asked
	// First fails only for a table or index that the schema does not have, and the schema is made from the same tables.
	found, err := r.txn.First(l.name, pathIndexName, asked.args[:]...)
	var row record
	if in, ok := found.(*bucket); ok {
		row = in.get(asked)
	} else if err == nil && found != nil {
		row = found.(record)
	}
	asked.in, asked.path = "", ""
	lookUps.Put(asked)
	return row, row != nil
}

func (r rows) scan(l layout, prefix, after string) iter.Seq[record] {
	return func(yield func(record) bool) {
		for found := range r.walk(l.name, l.bucketOf(prefix), l.bucketOf(after)) {
			in, ok := found.(*bucket)
			if !ok {
				if row := found.(record); row.rowPath() != after && !yield(row) {
					return
				}
				continue
			}
			if !in.scan(prefix, after, yield) {
				return
			}
		}
	}
}

func (r rows) scanLive(t Definition, prefix string) iter.Seq[record] {
	l := t.layout()
	return func(yield func(record) bool) {
		for found := range r.walk(l.name, l.bucketOf(prefix), "") {
			in, ok := found.(*bucket)
			if !ok {
				if row := found.(record); t.live(row) && !yield(row) {
					return
				}
				continue
			}
			if !in.scanLive(prefix, yield) {
				return
			}
		}
	}
}

// walk yields what memdb has in the table under the prefix, from the path on.
func (r rows) walk(table, prefix, from string) iter.Seq[any] {
	return func(yield func(any) bool) {
		if from <= prefix { // as nearly always; memdb then knows by itself where the prefix ends
			found, err := r.txn.Get(table, pathIndexName+"_prefix", prefix)
			if err != nil { // only for a table that is none of ours
				return
			}
			for row := found.Next(); row != nil; row = found.Next() {
				if !yield(row) {
					return
				}
			}
			return
		}
		found, err := r.txn.LowerBound(table, pathIndexName, from)
		if err != nil {
			return
		}
		for row := found.Next(); row != nil; row = found.Next() {
			if !strings.HasPrefix(row.(interface{ rowPath() string }).rowPath(), prefix) || !yield(row) {
				return
			}
		}
	}
}

func (r rows) changed(l layout, prefix string) <-chan struct{} {
	found, err := r.txn.Get(l.name, pathIndexName+"_prefix", l.bucketOf(prefix))
	if err != nil { // only for a table that is none of ours
		return nil
	}
	return found.WatchCh()
}

// writing is a transaction on the index: memdb's, with the buckets that it changes.
type writing struct {
	txn  *memdb.Txn
	id   uint64  // no other has it
	last *bucket // the one that was written to last: rows come in order more often than not
	of   string  // whose table that is
}

func (w *writing) commit() { w.txn.Commit() }
func (w *writing) abort()  { w.txn.Abort() } // after a commit it does nothing

func (w *writing) change(changes []change) error {
	for _, c := range changes {
		if c.row == nil {
			if err := w.remove(c.table, c.path); err != nil {
				return err
			}
			continue
		}
		if err := w.put(c.table, c.row); err != nil {
			return err
		}
	}
	return nil
}

func (w *writing) put(t Definition, row record) error {
	l := t.layout()
	err := w.order(t, row.rowPath(), row)
	if err != nil {
		return err
	}
	if l.bucket == 0 {
		err = w.txn.Insert(l.name, row)
	} else {
		var in *bucket
		if in, err = w.bucket(l, l.bucketOf(row.rowPath())); err == nil {
			in.put(row, t.live(row))
		}
	}
	if err != nil {
		return fmt.Errorf("write %s/%s: %w", l.name, row.rowPath(), err)
	}
	return nil
}

// remove takes the row out, if there is one. (memdb's DeleteAll would take all whose path begins so.)
func (w *writing) remove(t Definition, path string) error {
	if err := w.order(t, path, nil); err != nil {
		return err
	}
	l := t.layout()
	at := l.bucketOf(path)
	row, err := w.txn.First(l.name, pathIndexName, at)
	if in, ok := row.(*bucket); ok && err == nil {
		asked := &lookUp{path: path}
		if in.get(asked) == nil {
			return nil
		}
		if in, err = w.bucket(l, at); err == nil {
			in.remove(asked)
			if row = in; !in.empty() {
				return nil
			}
			w.last = nil
		}
	}
	if err == nil && row != nil {
		err = w.txn.Delete(l.name, row)
	}
	if err != nil {
		return fmt.Errorf("remove %s/%s: %w", l.name, path, err)
	}
	return nil
}

// bucket is the bucket at the path, made or copied, so that this transaction may change it.
func (w *writing) bucket(l layout, path string) (*bucket, error) {
	if w.last != nil && w.last.path == path && w.of == l.name {
		return w.last, nil
	}
	found, err := w.txn.First(l.name, pathIndexName, path)
	if err != nil {
		return nil, err
	}
	in, ok := found.(*bucket)
	switch {
	case !ok:
		in = &bucket{path: path, by: w.id} // of the row's own path, which costs less than a copy
	case in.by != w.id:
		in = in.copy(w.id)
	}
	if !ok || in != found {
		if err := w.txn.Insert(l.name, in); err != nil {
			return nil, err
		}
	}
	w.last, w.of = in, l.name
	return in, nil
}
