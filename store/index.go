package store

import (
	"container/heap"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

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
	writings uint64              // how many there have been
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
	row      record // nil for a delete
	revision int64  // of the event
}

func (c change) key() Key { return Key{c.table.layout().name, c.path} }

func newIndex(tables []Definition) (*index, error) {
	ix := &index{tables: make(map[string]Definition, len(tables)), rejected: make(map[Key]Rejected)}
	for _, t := range tables {
		ix.tables[t.layout().name] = t
	}
	db, err := newRows(tables)
	if err != nil {
		return nil, fmt.Errorf("make the index: %w", err)
	}
	ix.db = db
	ix.current.Store(&Snapshot{rows: rows{db.Txn(false)}})
	return ix, nil
}

// Snapshot is the index as of one revision. It does not change, and costs nothing to take: all who read the revision have
// the same one.
type Snapshot struct {
	rows
	revision int64
}

func (ix *index) snapshot() *Snapshot { return ix.current.Load() }

func (ix *index) applied() int64 { return ix.current.Load().revision }

// Revision is the log's revision that the snapshot shows.
func (s *Snapshot) Revision() int64 { return s.revision }

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
	w := ix.write()
	if err := w.change(changes); err != nil {
		w.abort()
		return err
	}
	w.commit()
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
	before := ix.snapshot()
	for i, c := range changes {
		if c.row == nil {
			continue
		}
		created := revision
		if old, ok := before.get(c.table.layout(), c.path); ok {
			created, _ = old.revisions()
		}
		changes[i].row = c.table.adopt(c.row, created, revision)
	}
	if err := ix.commit(changes); err != nil {
		return fmt.Errorf("apply revision %d: %w", revision, err)
	}
	ix.publish(revision)
	return nil
}

// write begins to change the index. Called under mu.
func (ix *index) write() *writing {
	ix.writings++
	return &writing{txn: ix.db.Txn(true), id: ix.writings}
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

// publish shows readers the committed state and wakes everybody who waits for it. Called under mu.
func (ix *index) publish(revision int64) {
	ix.current.Store(&Snapshot{rows: rows{ix.db.Txn(false)}, revision: revision})
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
