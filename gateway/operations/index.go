package operations

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json"

	"usher/store"
)

// indexSummary tells of what the index of this replica consists. At one revision it is the same on all replicas, and
// what etcd holds.
type indexSummary struct {
	Revision string                  `json:"revision"`
	Tables   map[string]tableSummary `json:"tables"`
	Rejected []string                `json:"rejected,omitzero"` // keys whose newest value does not decode: an older one is in force
}

type tableSummary struct {
	Records int    `json:"records"`
	Digest  string `json:"digest"` // SHA-256 of the table's lines, in hex
}

// appendLine is a record as a line of text: its path, the revisions that created and last wrote it, and the digest of
// its value.
func appendLine(b []byte, r store.Record) []byte {
	return fmt.Appendf(b, "%s %d %d %s\n", r.Path, r.Created, r.Modified, r.Digest)
}

// index summarises the index. It reads every record, so it takes a while on a large one.
func (o *Operations) index(log *store.Store, w http.ResponseWriter, r *http.Request) {
	snapshot := log.Snapshot()
	summary := indexSummary{Revision: strconv.FormatInt(snapshot.Revision(), 10), Tables: make(map[string]tableSummary)}
	var line []byte
	for _, table := range log.Tables() {
		sum, t := sha256.New(), tableSummary{}
		for record, err := range log.Inspect(snapshot, table) {
			if err == nil {
				err = r.Context().Err()
			}
			if err != nil {
				o.failed(w, err)
				return
			}
			line = appendLine(line[:0], record)
			_, _ = sum.Write(line) // a hash never fails
			t.Records++
		}
		t.Digest = hex.EncodeToString(sum.Sum(nil))
		summary.Tables[table] = t
	}
	for _, rejected := range log.Rejected() {
		summary.Rejected = append(summary.Rejected, rejected.Key.String())
	}
	body, err := json.Marshal(summary, json.Deterministic(true))
	if err != nil {
		o.failed(w, err)
		return
	}
	write(w, http.StatusOK, "application/json", body)
}

// indexTable lists a table's records, to find the one that differs. The revision that they show is in Usher-Revision.
func (o *Operations) indexTable(log *store.Store, w http.ResponseWriter, r *http.Request) {
	table := r.PathValue("table")
	if !slices.Contains(log.Tables(), table) {
		text(w, http.StatusNotFound, "There is no such table; /debug/index names them.")
		return
	}
	snapshot := log.Snapshot()
	header := w.Header()
	header.Set("Content-Type", "text/plain; charset=utf-8")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", "no-store")
	header.Set("Usher-Revision", strconv.FormatInt(snapshot.Revision(), 10))
	out := bufio.NewWriter(w)
	var line []byte
	for record, err := range log.Inspect(snapshot, table) {
		if err == nil {
			line = appendLine(line[:0], record)
			_, err = out.Write(line)
		}
		if err != nil {
			o.Logger.Warn("the list of a table was cut off", "table", table, "error", err)
			panic(http.ErrAbortHandler) // so that the caller does not take a part for the whole
		}
	}
	_ = out.Flush() // the caller is gone, if this fails
}

func (o *Operations) failed(w http.ResponseWriter, err error) {
	o.Logger.Warn("the index could not be summarised", "error", err)
	text(w, http.StatusInternalServerError, "The index could not be summarised; the log says why.")
}
