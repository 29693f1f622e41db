package tenant

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"usher"
	"usher/store"
	"usher/tenant/token"
)

// Service keeps tenants, their settings and their keys.
type Service struct {
	log        *store.Store
	masterKeys *token.MasterKeys
	issuerURL  string
	now        func() time.Time

	signers sync.Map // kid → *token.Signer; a kid is bound to one key for ever, so entries never go stale
}

// New makes a Service on the log. issuerURL is where tokens say they come from, without a trailing slash: verifiers find
// a tenant's keys below it.
func New(log *store.Store, masterKeys *token.MasterKeys, issuerURL string, now func() time.Time) *Service {
	return &Service{log: log, masterKeys: masterKeys, issuerURL: strings.TrimSuffix(issuerURL, "/"), now: now}
}

// Definitions are the tables of this package.
func Definitions() []store.Definition {
	return []store.Definition{Tenants, APIKeys, SigningKeys, Idempotencies}
}

// NewTenant is the request to create a tenant.
type NewTenant struct {
	Name   string         `json:"name"`
	Config jsontext.Value `json:"config"` // a merge patch on the defaults; empty for none
}

const maxNameLength = 200 // characters

// Validate cleans the request and lists what is wrong with it, but for the settings.
func (n *NewTenant) Validate() []usher.FieldError { return validateName(&n.Name) }

func validateName(name *string) []usher.FieldError {
	*name = strings.TrimSpace(*name)
	if problem := usher.CheckText(*name, maxNameLength); problem != "" {
		return []usher.FieldError{{Field: "name", Message: problem}}
	}
	return nil
}

// Create makes a tenant with a signing key and its first API key, which has every scope and is shown only here.
func (s *Service) Create(ctx context.Context, n NewTenant) (Tenant, Secret, error) {
	var overrides Overrides
	settings := Defaults()
	if len(n.Config) > 0 {
		var err error
		if overrides, settings, err = overrides.Patch(n.Config); err != nil {
			return Tenant{}, Secret{}, within("config", err)
		}
	}
	signingKey, err := s.newSigningKey(settings.SigningAlgorithm)
	if err != nil {
		return Tenant{}, Secret{}, err
	}
	now := s.now()
	t, err := compile(record{ID: NewID(now), Name: n.Name, Status: StatusActive, CreatedAt: usher.At(now),
		Overrides: overrides, Version: 1, KID: signingKey.KID})
	if err != nil {
		return Tenant{}, Secret{}, usher.Internal(err, "create tenant %s", t.ID)
	}
	secret := newSecret(apiKeyPrefix)
	key := APIKey{ID: newKeyID(now), TenantID: t.ID, Name: "first key", Scopes: AllScopes(), CreatedAt: usher.At(now)}
	t, err = store.Commit(ctx, s.log, store.Change[Tenant]{
		Aggregates: func(*store.Snapshot) []store.Key { return []store.Key{Tenants.Key(string(t.ID))} },
		Decide: func(tx *store.Tx) (Tenant, error) {
			Tenants.Put(tx, string(t.ID), t)
			SigningKeys.Put(tx, signingKeyPath(t.ID, signingKey.KID), signingKey)
			APIKeys.Put(tx, keyPath(secret), key)
			return t, nil
		},
	})
	return t, secret, err
}

// within says that the fields of a validation error lie below the field.
func within(field string, err error) error {
	e := usher.AsError(err)
	if e.Code != usher.CodeInvalidRequest || len(e.Fields) == 0 {
		return err
	}
	fields := make([]usher.FieldError, len(e.Fields))
	for i, f := range e.Fields {
		fields[i] = usher.FieldError{Field: strings.TrimSuffix(field+"."+f.Field, "."), Message: f.Message}
	}
	return usher.Invalid(fields...)
}

// Get finds a tenant.
func (s *Service) Get(id ID) (Tenant, error) { return Find(s.log.Snapshot(), id) }

// Find is Get on a given state.
func Find(r store.Reader, id ID) (Tenant, error) {
	row, ok := Tenants.Get(r, string(id))
	if !ok {
		return Tenant{}, usher.Errorf(usher.CodeTenantNotFound, "There is no tenant of this id.")
	}
	return row.Value, nil
}

// List gives up to limit tenants with ids greater than after, in the order of their ids, and says whether there are
// more. Those created after the revision pin are left out; 0 leaves out none.
func (s *Service) List(after ID, pin int64, limit int) (tenants []Tenant, more bool, revision int64) {
	snapshot := s.log.Snapshot()
	if pin == 0 {
		pin = snapshot.Revision()
	}
	tenants = []Tenant{}
	for row := range Tenants.Scan(snapshot, "", string(after)) {
		if row.Created > pin {
			continue
		}
		if len(tenants) == limit {
			return tenants, true, pin
		}
		tenants = append(tenants, row.Value)
	}
	return tenants, false, pin
}

// Update is the request to change a tenant.
type Update struct {
	Name string `json:"name"`
}

// Validate cleans the request and lists what is wrong with it.
func (u *Update) Validate() []usher.FieldError { return validateName(&u.Name) }

// Update changes a tenant.
func (s *Service) Update(ctx context.Context, id ID, u Update) (Tenant, error) {
	return s.change(ctx, id, func(t Tenant) (Tenant, error) {
		t.Name = u.Name
		return t, nil
	})
}

// PatchSettings applies a JSON Merge Patch (RFC 7396) to the tenant's settings. ifMatch, when not empty, is the ETag
// that the settings must still have. A patch that changes nothing makes no new version.
func (s *Service) PatchSettings(ctx context.Context, id ID, patch []byte, ifMatch string) (Tenant, error) {
	return s.change(ctx, id, func(t Tenant) (Tenant, error) {
		if !usher.IfMatch(ifMatch, t.ETag) {
			return t, usher.Errorf(usher.CodePreconditionFailed, "The settings have changed: read them again and repeat the change.")
		}
		overrides, _, err := t.Overrides.Patch(patch)
		if err != nil || overrides.Equal(t.Overrides) {
			return t, err
		}
		return t.recompile(overrides, t.Version+1)
	})
}

func (s *Service) change(ctx context.Context, id ID, decide func(Tenant) (Tenant, error)) (Tenant, error) {
	return store.Commit(ctx, s.log, store.Change[Tenant]{
		Aggregates: func(*store.Snapshot) []store.Key { return []store.Key{Tenants.Key(string(id))} },
		Decide: func(tx *store.Tx) (Tenant, error) {
			before, err := Find(tx, id)
			if err != nil {
				return Tenant{}, err
			}
			after, err := decide(before)
			if err != nil {
				return Tenant{}, err
			}
			Tenants.Put(tx, string(id), after)
			return after, nil
		},
	})
}
