package store

import (
	"container/heap"
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/hashicorp/go-memdb"
)

// index is every record in memory, as of one revision of the log.
type index struct {
	tables map[string]Definition
	db     *memdb.MemDB

	// current is what readers see. It is replaced as a whole after each apply, so that rows and revision always agree.
	current atomic.Pointer[Snapshot]

	mu       sync.Mutex          // serialises apply and replace, and guards what follows
	waiters  waiterHeap          // by revision, lowest first
	rejected map[Key]Rejected    // values that did not decode, by key, until a good one or a delete comes
	listing  bool                // a list is on its way; see advance and replacement
	onApply  func(applied int64) // told each new revision, under mu
}

// Rejected is a value in the log that does not decode. The key's last good record stays in force.
type Rejected struct {
	Key      Key
	Revision int64
	Err      error
}

// change is one watch event or list entry, already decoded.
type change struct {
	table    Definition
	path     string
	row      any   // nil for a delete
	revision int64 // of the event
}

func (c change) key() Key { return Key{c.table.name(), c.path} }

// pathIndex is the one index of every table: the key below the table's name, as it stands. Keys begin with their tenant
// and then their room, so the same index serves a get and an ordered list; a second index would double the cost of an
// insert and the memory of a row (research: 9 against 18 µs, 480 against 1000 B).
type pathIndex struct{}

const pathIndexName = "id"

// FromObject, FromArgs and PrefixFromArgs are what memdb asks for; the last makes "id_prefix".

func (pathIndex) FromObject(row any) (bool, []byte, error) {
	return true, bytesOf(row.(interface{ rowPath() string }).rowPath()), nil
}

func (pathIndex) FromArgs(args ...any) ([]byte, error) {
	if asked, ok := args[0].(*lookUp); ok {
		return bytesOf(asked.path), nil
	}
	return bytesOf(args[0].(string)), nil
}

func (pathIndex) PrefixFromArgs(args ...any) ([]byte, error) { return bytesOf(args[0].(string)), nil }

// bytesOf is the bytes of the string itself. memdb keeps them as keys and never writes to them; a copy would be a tenth
// of what a row takes in memory, and an allocation for each look-up.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) } // #nosec G103

func newIndex(tables []Definition) (*index, error) {
	ix := &index{tables: make(map[string]Definition, len(tables)), rejected: make(map[Key]Rejected)}
	schema := &memdb.DBSchema{Tables: make(map[string]*memdb.TableSchema, len(tables))}
	for _, t := range tables {
		ix.tables[t.name()] = t
		schema.Tables[t.name()] = &memdb.TableSchema{
			Name:    t.name(),
			Indexes: map[string]*memdb.IndexSchema{pathIndexName: {Name: pathIndexName, Unique: true, Indexer: pathIndex{}}},
		}
	}
	db, err := memdb.NewMemDB(schema)
	if err != nil {
		return nil, fmt.Errorf("make the index: %w", err)
	}
	ix.db = db
	ix.current.Store(&Snapshot{txn: db.Txn(false)})
	return ix, nil
}

// Snapshot is the index as of one revision. It does not change, and costs nothing to take: all who read the revision have
// the same one.
type Snapshot struct {
	txn      *memdb.Txn // for reading: many may at once, since all that it holds is immutable
	revision int64
}

func (ix *index) snapshot() *Snapshot { return ix.current.Load() }

func (ix *index) applied() int64 { return ix.current.Load().revision }

// Revision is the log's revision that the snapshot shows.
func (s *Snapshot) Revision() int64 { return s.revision }

func (s *Snapshot) get(table, path string) (any, bool) {
	if path == "" { // memdb would take that for a question about all
		return nil, false
	}
	asked := lookUps.Get().(*lookUp)
	asked.path, asked.args[0] = path, asked
	// First fails only for a table or index that the schema does not have, and the schema is made from the same tables.
	row, err := s.txn.First(table, pathIndexName, asked.args[:]...)
	asked.path = ""
	lookUps.Put(asked)
	return row, err == nil && row != nil
}

// lookUp is what memdb is asked for, kept for the next look-up: a request makes half a dozen, and each would allocate the
// list of arguments and the argument.
type lookUp struct {
	path string
	args [1]any // the look-up itself
}

var lookUps = sync.Pool{New: func() any { return new(lookUp) }}

func (s *Snapshot) scan(table, prefix, after string) iter.Seq2[string, any] {
	return func(yield func(string, any) bool) {
		if after < prefix { // as nearly always; memdb then knows by itself where the prefix ends
			rows, err := s.txn.Get(table, pathIndexName+"_prefix", prefix)
			if err != nil { // only for a table that is none of ours
				return
			}
			for row := rows.Next(); row != nil; row = rows.Next() {
				if !yield(row.(interface{ rowPath() string }).rowPath(), row) {
					return
				}
			}
			return
		}
		rows, err := s.txn.LowerBound(table, pathIndexName, after)
		if err != nil {
			return
		}
		for row := rows.Next(); row != nil; row = rows.Next() {
			path := row.(interface{ rowPath() string }).rowPath()
			if path == after {
				continue
			}
			if !strings.HasPrefix(path, prefix) || !yield(path, row) {
				return
			}
		}
	}
}

func (s *Snapshot) changed(table, prefix string) <-chan struct{} {
	rows, err := s.txn.Get(table, pathIndexName+"_prefix", prefix)
	if err != nil { // only for a table that is none of ours
		return nil
	}
	return rows.WatchCh()
}

// apply writes the changes in one memdb transaction and moves the applied revision forward. Without changes it is
// progress: the log has reached the revision and nothing here has changed.
func (ix *index) apply(changes []change, revision int64) error {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	known := ix.applied()
	changes = slices.DeleteFunc(changes, func(c change) bool { return c.revision <= known })
	if err := ix.commit(changes); err != nil {
		return fmt.Errorf("apply revision %d: %w", revision, err)
	}
	ix.publish(max(revision, known))
	return nil
}

// commit writes the changes in one memdb transaction. Called under mu.
func (ix *index) commit(changes []change) error {
	if len(changes) == 0 {
		return nil
	}
	txn := ix.db.Txn(true)
	if err := write(txn, changes); err != nil {
		txn.Abort()
		return err
	}
	txn.Commit()
	for _, c := range changes {
		delete(ix.rejected, c.key())
	}
	return nil
}

// advance applies what this replica has committed at the revision, if the index shows the revision before it. It does not
// while a list is on its way: that one may be older, and the index must not go back from what callers have been told.
func (ix *index) advance(changes []change, revision int64) error {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	if ix.listing || ix.applied() != revision-1 {
		return nil
	}
	before := ix.db.Txn(false)
	for i, c := range changes {
		if c.row == nil {
			continue
		}
		created := revision
		if old, err := before.First(c.table.name(), pathIndexName, c.path); err == nil && old != nil {
			_, created, _ = c.table.meta(old)
		}
		changes[i].row = c.table.adopt(c.row, created, revision)
	}
	if err := ix.commit(changes); err != nil {
		return fmt.Errorf("apply revision %d: %w", revision, err)
	}
	ix.publish(revision)
	return nil
}

// reject notes a value that did not decode.
func (ix *index) reject(r Rejected) {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	ix.rejected[r.Key] = r
}

func (ix *index) countRejected() int {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	return len(ix.rejected)
}

func write(txn *memdb.Txn, changes []change) error {
	for _, c := range changes {
		if c.row != nil {
			if err := txn.Insert(c.table.name(), c.row); err != nil {
				return err
			}
			continue
		}
		if err := remove(txn, c.table.name(), c.path); err != nil {
			return err
		}
	}
	return nil
}

// remove takes the row out, if there is one. (memdb's DeleteAll would take all whose path begins so.)
func remove(txn *memdb.Txn, table, path string) error {
	row, err := txn.First(table, pathIndexName, path)
	if err != nil || row == nil {
		return err
	}
	return txn.Delete(table, row)
}

// publish shows readers the committed state and wakes everybody who waits for it. Called under mu.
func (ix *index) publish(revision int64) {
	ix.current.Store(&Snapshot{txn: ix.db.Txn(false), revision: revision})
	for len(ix.waiters) > 0 && ix.waiters[0].revision <= revision {
		close(heap.Pop(&ix.waiters).(*waiter).reached)
	}
	if ix.onApply != nil {
		ix.onApply(revision)
	}
}

// wait returns when the index has applied the revision, or with the context's error.
func (ix *index) wait(ctx context.Context, revision int64) error {
	if ix.applied() >= revision {
		return nil
	}
	ix.mu.Lock()
	if ix.applied() >= revision {
		ix.mu.Unlock()
		return nil
	}
	w := &waiter{revision: revision, reached: make(chan struct{})}
	heap.Push(&ix.waiters, w)
	ix.mu.Unlock()
	select {
	case <-w.reached:
		return nil
	case <-ctx.Done():
		ix.forget(w)
		return fmt.Errorf("wait for revision %d (at %d): %w", revision, ix.applied(), ctx.Err())
	}
}

func (ix *index) forget(w *waiter) {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	if w.at >= 0 {
		heap.Remove(&ix.waiters, w.at)
	}
}

func (ix *index) waiting() bool {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	return len(ix.waiters) > 0
}

// waiter is somebody who waits until the index has reached a revision.
type waiter struct {
	revision int64
	reached  chan struct{} // closed when it has
	at       int           // place in the heap; -1 once out of it
}

type waiterHeap []*waiter

func (h waiterHeap) Len() int           { return len(h) }
func (h waiterHeap) Less(i, j int) bool { return h[i].revision < h[j].revision }
func (h waiterHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

func (h *waiterHeap) Push(x any) {
	w := x.(*waiter)
	w.at = len(*h)
	*h = append(*h, w)
}

func (h *waiterHeap) Pop() any {
	old := *h
	w := old[len(old)-1]
	w.at = -1
	*h = old[:len(old)-1]
	return w
}
