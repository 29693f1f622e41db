package store

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"iter"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
)

// Record is a record of the index as it can be compared with the log, or with another replica.
type Record struct {
	Path     string // below the table
	Created  int64  // the revisions that created and last wrote it
	Modified int64
	Digest   string // of the value: SHA-256 of its canonical JSON (RFC 8785), in hex
}

// Tables are the names of all tables, in order.
func (s *Store) Tables() []string {
	names := make([]string, 0, len(s.index.tables))
	for name := range s.index.tables {
		names = append(names, name)
	}
	slices.SortFunc(names, cmp.Compare[string])
	return names
}

// Inspect yields the table's records as the snapshot shows them, in order of path. The values are written anew from what
// the index holds. An unknown table has no records.
func (s *Store) Inspect(snapshot *Snapshot, table string) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		t, ok := s.index.tables[table]
		if !ok {
			return
		}
		for row := range snapshot.scan(t.layout(), "", "") {
			record := Record{Path: row.rowPath()}
			record.Created, record.Modified = row.revisions()
			value, err := t.encode(row)
			if err == nil {
				record.Digest, err = digest(value)
			}
			if err != nil {
				err = fmt.Errorf("inspect %s/%s: %w", table, record.Path, err)
			}
			if !yield(record, err) || err != nil {
				return
			}
		}
	}
}

// digest is the same for the same JSON, however it is written. What is no JSON counts as it stands.
func digest(value []byte) (string, error) {
	canonical := jsontext.Value(slices.Clone(value))
	if canonical.IsValid() {
		if err := canonical.Canonicalize(); err != nil {
			return "", fmt.Errorf("make the value canonical: %w", err)
		}
	}
	sum := sha256.Sum256(canonical)
	return hex.EncodeToString(sum[:]), nil
}
