package tenant

import (
	"fmt"
	"iter"
	"sync/atomic"

	"github.com/go-json-experiment/json"

	"usher"
	"usher/store"
)

// Status says whether a tenant is served.
type Status string

// A suspended tenant's credentials are refused; its data stays. One that is being deleted exists for nobody.
const (
	StatusActive    Status = "active"
	StatusSuspended Status = "suspended"
	statusDeleting  Status = "deleting"
)

// Tenant is a customer of the company that runs Usher. A value that was read is complete and must not be changed.
type Tenant struct {
	stored

	// What follows from the record and the operator's Baseline, ready for requests:
	Settings     Settings // the overrides on top of the defaults
	InForce      Ceilings // the most that the tenant itself may set, its own ceilings included
	Document     []byte   // the settings as JSON, complete
	ETag         string   // of Document, quoted
	ClientConfig []byte   // the part of Document that a participant's client is given
}

// stored is a tenant as the log holds it.
type stored struct {
	ID        ID         `json:"id"`
	Name      string     `json:"name"`
	Status    Status     `json:"status"`
	CreatedAt usher.Time `json:"created_at"`
	Overrides Overrides  `json:"config"`             // the settings that the tenant has set itself
	Ceilings  Ceilings   `json:"ceilings,omitempty"` // that an operator has raised for this tenant
	Version   int64      `json:"config_version"`     // of the settings: 1 at creation, one more with each change
	EndRooms  bool       `json:"end_rooms,omitzero"` // of a suspended tenant: the sweep ends its rooms

	Rotations []usher.Time `json:"rotations,omitempty"` // of signing keys in the last hour, the oldest first
	Bytes     setAside     `json:"bytes,omitzero"`
}

// entry is a tenant as the index holds it: its record, and what followed from it the last time that it was read.
type entry struct {
	record   stored
	compiled atomic.Pointer[compiled]
}

type compiled struct {
	baseline int64 // the revision of the Baseline it was compiled with
	tenant   Tenant
}

// tenants is the table of tenants: {tenant}. A record that cannot be compiled does not decode.
var tenants = store.Table[*entry]{
	Name:      "tenants",
	Aggregate: true,
	Decode: func(_ string, value []byte) (*entry, error) {
		e := &entry{}
		if err := json.Unmarshal(value, &e.record); err != nil {
			return nil, err
		}
		_, err := e.on(Baseline{}, 0)
		return e, err
	},
	Encode: func(e *entry) ([]byte, error) { return json.Marshal(e.record, json.Deterministic(true)) },
}

// guardedByAccount is the Guard of a tenant's keys: whoever writes one writes the tenant's account too (write).
var guardedByAccount = store.Guard{Table: "accounts", Segments: 1}

// on is the tenant on the Baseline of the revision. It is compiled once for each, when it is first read.
func (e *entry) on(b Baseline, revision int64) (Tenant, error) {
	if c := e.compiled.Load(); c != nil && c.baseline == revision {
		return c.tenant, nil
	}
	t, err := compile(e.record, b)
	if err != nil {
		return Tenant{}, err
	}
	if revision != uncommitted {
		e.compiled.Store(&compiled{baseline: revision, tenant: t})
	}
	return t, nil
}

// compile works out all that follows from a record.
func compile(r stored, b Baseline) (Tenant, error) {
	b = b.InForce(r.Ceilings)
	settings, err := Resolve(r.Overrides, b)
	if err != nil {
		return Tenant{}, fmt.Errorf("resolve the settings: %w", err)
	}
	settings.Version = r.Version
	document, err := settings.Document()
	if err != nil {
		return Tenant{}, fmt.Errorf("write the settings: %w", err)
	}
	client, err := settings.ClientDocument()
	if err != nil {
		return Tenant{}, fmt.Errorf("write the client's settings: %w", err)
	}
	return Tenant{stored: r, Settings: settings, InForce: b.Ceilings, Document: document, ETag: usher.ETag(document), ClientConfig: client}, nil
}

// compiledEntry is the tenant as the index holds it, when it was compiled on the Baseline of the revision already.
func compiledEntry(t Tenant, baseline int64) *entry {
	e := &entry{record: t.stored}
	e.compiled.Store(&compiled{baseline: baseline, tenant: t})
	return e
}

// with is the entry with another record that has the same settings.
func (e *entry) with(record stored) *entry {
	other := &entry{record: record}
	if c := e.compiled.Load(); c != nil {
		t := c.tenant
		t.stored = record
		other.compiled.Store(&compiled{baseline: c.baseline, tenant: t})
	}
	return other
}

// keep writes a tenant that was found in the transaction, with settings as they were.
func (t Tenant) keep(tx *store.Tx) {
	e := &entry{record: t.stored}
	if _, baseline := baselineOf(tx); baseline != uncommitted {
		e = compiledEntry(t, baseline)
	}
	tenants.Put(tx, string(t.ID), e)
}

// Aggregate is the tenant's record as what guards changes of it.
func Aggregate(id ID) store.Key { return tenants.Key(string(id)) }

// Find finds a tenant on a given state.
func Find(r store.Reader, id ID) (Tenant, error) {
	row, ok := tenants.Get(r, string(id))
	if !ok || row.Value.record.Status == statusDeleting {
		return Tenant{}, usher.Errorf(usher.CodeTenantNotFound, "There is no tenant of this id.")
	}
	t, err := row.Value.on(baselineOf(r))
	if err != nil {
		return Tenant{}, usher.Internal(err, "compile tenant %s", id)
	}
	return t, nil
}

// All yields the tenants with ids greater than after, in the order of their ids.
func All(r store.Reader, after ID) iter.Seq[Tenant] {
	b, revision := baselineOf(r)
	return func(yield func(Tenant) bool) {
		for row := range tenants.Scan(r, "", string(after)) {
			if row.Value.record.Status == statusDeleting {
				continue
			}
			if t, err := row.Value.on(b, revision); err == nil && !yield(t) {
				return
			}
		}
	}
}
