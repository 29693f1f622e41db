//go:build !race

package store

import (
	"fmt"
	"testing"
)

// A look-up allocates what memdb does for it, and nothing of ours; an event, the copied path to its row.
func TestTheIndexAllocatesLittle(t *testing.T) {
	ix, err := newIndex([]Definition{numbers})
	if err != nil {
		t.Fatal(err)
	}
	const events = 64
	revision := int64(0)
	apply := func() {
		revision++
		changes := make([]change, events)
		for i := range changes {
			path := fmt.Sprintf("%08d/%d", revision%1000, i)
			changes[i] = change{table: numbers, path: path, revision: revision, row: &Row[int]{Path: path, Modified: revision}}
		}
		if err := ix.apply(changes, revision); err != nil {
			t.Fatal(err)
		}
	}
	if n := testing.AllocsPerRun(100, apply) / events; n > 14 {
		t.Errorf("an event allocates %v times, want 14 at most", n)
	}
	snapshot := ix.snapshot()
	if n := testing.AllocsPerRun(100, func() { numbers.Get(snapshot, "00000001/1") }); n > 1 {
		t.Errorf("a look-up allocates %v times, want once at most", n)
	}
}
