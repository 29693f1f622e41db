package store

import (
	"iter"
	"strings"
)

// scanLive is mergeLive, compared.
func (tx *Tx) scanLive(t Definition, prefix string) iter.Seq[record] {
	if !tx.guardScan(t.layout(), prefix) {
		return func(func(record) bool) {}
	}
	return tx.mergeLive(t, prefix)
}

// mergeLive merges the snapshot's live rows with what the transaction has written: a row that is no longer live in it is
// passed over, and one that has become so is there.
func (tx *Tx) mergeLive(t Definition, prefix string) iter.Seq[record] {
	name := t.layout().name
	changed := make(map[string]record)
	for key, c := range tx.changes {
		if key.Table != name || !strings.HasPrefix(key.Path, prefix) {
			continue
		}
		changed[key.Path] = nil
		if c.row != nil && t.live(c.row) {
			changed[key.Path] = c.row
		}
	}
	rows := tx.snapshot.scanLive(t, prefix)
	if len(changed) == 0 {
		return rows
	}
	return overlaid(rows, changed)
}
