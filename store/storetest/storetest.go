// Package storetest holds what the tests of every package with tables ask of them.
package storetest

import (
	"bytes"
	"testing"

	"usher/store"
)

// Settles fails the test when the table reads a value, and what it then writes is not read and written the same again. A
// value that it refuses is fine.
func Settles[R any](t *testing.T, table store.Table[R], value []byte) {
	t.Helper()
	r, err := table.Decode("a/b", value)
	if err != nil {
		return
	}
	once, err := table.Encode(r)
	if err != nil {
		t.Fatalf("%s: %q was read and cannot be written: %v", table.Name, value, err)
	}
	again, err := table.Decode("a/b", once)
	if err != nil {
		t.Fatalf("%s: %q was written as %s, which cannot be read: %v", table.Name, value, once, err)
	}
	if twice, err := table.Encode(again); err != nil || !bytes.Equal(once, twice) {
		t.Fatalf("%s: %q was written as %s and then as %s (%v)", table.Name, value, once, twice, err)
	}
}
