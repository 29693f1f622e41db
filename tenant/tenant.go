package tenant

import (
	"fmt"

	"github.com/go-json-experiment/json"

	"usher"
	"usher/store"
)

// Status says whether a tenant is served.
type Status string

// A suspended tenant's credentials are refused; its data stays.
const (
	StatusActive    Status = "active"
	StatusSuspended Status = "suspended"
)

// Tenant is a customer of the company that runs Usher. A value read from the index is complete and must not be changed.
type Tenant struct {
	ID        ID
	Name      string
	Status    Status
	CreatedAt usher.Time
	Overrides Overrides // the settings that the tenant has set itself
	Version   int64     // of the settings: 1 at creation, one more with each change
	KID       string    // of the signing key in use

	// What follows from the above, ready for requests:
	Settings     Settings // the overrides on top of the defaults
	Document     []byte   // the settings as JSON, complete
	ETag         string   // of Document, quoted
	ClientConfig []byte   // the part of Document that a participant's client is given
}

// record is a tenant as the log holds it.
type record struct {
	ID        ID         `json:"id"`
	Name      string     `json:"name"`
	Status    Status     `json:"status"`
	CreatedAt usher.Time `json:"created_at"`
	Overrides Overrides  `json:"config"`
	Version   int64      `json:"config_version"`
	KID       string     `json:"signing_kid"`
}

// Tenants is the table of tenants: {tenant}.
var Tenants = store.Table[Tenant]{
	Name:      "tenants",
	Aggregate: true,
	Decode: func(_ string, value []byte) (Tenant, error) {
		var r record
		if err := json.Unmarshal(value, &r); err != nil {
			return Tenant{}, err
		}
		return compile(r)
	},
	Encode: func(t Tenant) ([]byte, error) {
		return json.Marshal(record{ID: t.ID, Name: t.Name, Status: t.Status, CreatedAt: t.CreatedAt,
			Overrides: t.Overrides, Version: t.Version, KID: t.KID})
	},
}

// compile works out all that follows from a record.
func compile(r record) (Tenant, error) {
	settings, err := Resolve(r.Overrides)
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
	return Tenant{
		ID: r.ID, Name: r.Name, Status: r.Status, CreatedAt: r.CreatedAt, Overrides: r.Overrides, Version: r.Version, KID: r.KID,
		Settings: settings, Document: document, ETag: usher.ETag(document), ClientConfig: client,
	}, nil
}

// recompile is t with other settings.
func (t Tenant) recompile(o Overrides, version int64) (Tenant, error) {
	return compile(record{ID: t.ID, Name: t.Name, Status: t.Status, CreatedAt: t.CreatedAt, Overrides: o, Version: version, KID: t.KID})
}
