package store

import (
	"context"
	"testing"

	"usher"
)

// TestAChangeThatWasGivenUpIsNotWritten: a caller that runs out of time while its change is being decided is told that
// nothing was written, and so nothing is.
func TestAChangeThatWasGivenUpIsNotWritten(t *testing.T) {
	t.Parallel()
	s := openStore(t, newPrefix())
	ctx, giveUp := context.WithCancel(deadline(t))
	told := make(chan struct{})
	c := add(1, 9, "given-up")
	decide := c.Decide
	c.Decide = func(tx *Tx) (int, error) {
		giveUp()
		<-told
		return decide(tx)
	}
	_, err := Commit(ctx, s, c)
	close(told)
	if !usher.HasCode(err, usher.CodeUnavailable) {
		t.Fatalf("the caller was told %v", err)
	}
	if _, err := Commit(deadline(t), s, add(1, 9, "afterwards")); err != nil {
		t.Fatal(err)
	}
	if row, ok := numbers.Get(s.Snapshot(), "given-up"); ok {
		t.Errorf("it was written: %v", row)
	}
}
