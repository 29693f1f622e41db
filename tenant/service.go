package tenant

import (
	"context"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/prometheus/client_golang/prometheus"

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

	metrics metrics
	used    usedKeys
}

// New makes a Service on the log. issuerURL is where tokens say they come from, without a trailing slash: verifiers find
// a tenant's keys below it. registry is where the metrics go; nil for nowhere.
func New(log *store.Store, masterKeys *token.MasterKeys, issuerURL string, now func() time.Time, registry prometheus.Registerer) *Service {
	s := &Service{log: log, masterKeys: masterKeys, issuerURL: strings.TrimSuffix(issuerURL, "/"), now: now}
	s.metrics = newMetrics(s, registry)
	return s
}

// Definitions are the tables of this package.
func Definitions() []store.Definition {
	return []store.Definition{tenants, baselines, versions, auditLog, APIKeys, keyRefs, keyUses, SigningKeys, Idempotencies, Accounts}
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
func (s *Service) Create(ctx context.Context, n NewTenant, by Actor) (Tenant, Secret, error) {
	if len(n.Config) == 0 {
		n.Config = jsontext.Value("{}")
	}
	patch, err := parsePatch(n.Config)
	if err != nil {
		return Tenant{}, Secret{}, within("config", err)
	}
	secret := newSecret(apiKeyPrefix)
	t, err := prepared(func() (Tenant, error) { return s.create(ctx, n.Name, patch, secret, by) })
	return t, secret, err
}

func (s *Service) create(ctx context.Context, name string, patch settingsPatch, secret Secret, by Actor) (Tenant, error) {
	b, baseline := baselineOf(s.log.Snapshot())
	made, err := b.choose(Overrides{}, nil, patch, by)
	if err != nil {
		return Tenant{}, within("config", err)
	}
	now := s.now()
	t, err := compile(stored{ID: NewID(now), Name: name, Status: StatusActive, CreatedAt: usher.At(now),
		Overrides: made.overrides, Ceilings: made.ceilings, Version: 1}, b)
	if err != nil {
		return Tenant{}, usher.Internal(err, "create a tenant")
	}
	signingKey, err := s.newSigningKey(t.Settings.SigningAlgorithm, now, now)
	if err != nil {
		return Tenant{}, err
	}
	diff, err := Diff(Defaults(), t.Settings)
	if err != nil {
		return Tenant{}, usher.Internal(err, "compare the settings of %s with the defaults", t.ID)
	}
	key := APIKey{ID: newKeyID(now), TenantID: t.ID, Name: "first key", Scopes: AllScopes(), CreatedAt: usher.At(now), Main: true}
	return write(ctx, s, t.ID, Removing, nil, func(tx *store.Tx) (Tenant, error) {
		if _, now := baselineOf(tx); now != baseline {
			return Tenant{}, errMoved
		}
		tenants.Put(tx, string(t.ID), compiledEntry(t, baseline))
		note(tx, t, diff, by, t.CreatedAt)
		SigningKeys.Put(tx, signingKeyPath(t.ID, signingKey.KID), signingKey)
		key.keep(tx, secret)
		return t, record(tx, t.ID, by, now, "tenant.create", "", detail{"name": t.Name})
	})
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

// ofBody calls a patch that is wrong as a whole what every other request is called.
func ofBody(err error) error {
	e := usher.AsError(err)
	if len(e.Fields) == 1 && e.Fields[0].Field == "" {
		e.Fields[0].Field = "body"
	}
	return e
}

// Get finds a tenant.
func (s *Service) Get(id ID) (Tenant, error) { return Find(s.log.Snapshot(), id) }

// List gives up to limit tenants with ids greater than after, in the order of their ids, and says whether there are
// more. Those created after the revision pin are left out; 0 leaves out none.
func (s *Service) List(after ID, pin int64, limit int) (list []Tenant, more bool, revision int64) {
	snapshot := s.log.Snapshot()
	if pin == 0 {
		pin = snapshot.Revision()
	}
	b, baseline := baselineOf(snapshot)
	list = []Tenant{}
	for row := range tenants.Scan(snapshot, "", string(after)) {
		if row.Created > pin || row.Value.record.Status == statusDeleting {
			continue
		}
		if len(list) == limit {
			return list, true, pin
		}
		if t, err := row.Value.on(b, baseline); err == nil {
			list = append(list, t)
		}
	}
	return list, false, pin
}

// AllowedOrigins is the set of origins that any tenant allows, and channels of which one is closed when it may be another.
func (s *Service) AllowedOrigins() (all map[string]struct{}, changed [2]<-chan struct{}) {
	snapshot := s.log.Snapshot()
	changed = [2]<-chan struct{}{tenants.Changed(snapshot, ""), baselines.Changed(snapshot, "")}
	all = make(map[string]struct{})
	for t := range All(snapshot, "") {
		for _, origin := range t.Settings.AllowedOrigins {
			all[origin] = struct{}{}
		}
	}
	return all, changed
}

// Update is the request to change a tenant.
type Update struct {
	Name string `json:"name"`
}

// Validate cleans the request and lists what is wrong with it.
func (u *Update) Validate() []usher.FieldError { return validateName(&u.Name) }

// Update changes a tenant.
func (s *Service) Update(ctx context.Context, id ID, u Update, by Actor) (Tenant, error) {
	return s.change(ctx, id, purposeOf(by), func(tx *store.Tx, t Tenant) (Tenant, error) {
		if t.Name == u.Name {
			return t, nil
		}
		before := t.Name
		t.Name = u.Name
		t.keep(tx)
		return t, record(tx, id, by, s.now(), "tenant.rename", "", detail{"from": before, "to": u.Name})
	})
}

// PatchSettings applies a JSON Merge Patch (RFC 7396) to the tenant's settings. ifMatch, when not empty, is the If-Match
// header that their ETag must satisfy. A patch that changes nothing makes no new version.
func (s *Service) PatchSettings(ctx context.Context, id ID, patch []byte, ifMatch string, by Actor) (Tenant, error) {
	changes, err := parsePatch(patch)
	if err != nil {
		return Tenant{}, ofBody(err)
	}
	return s.changeSettings(ctx, id, ifMatch, by, "config.update", func(_ store.Reader, t Tenant, b Baseline) (choice, error) {
		return b.choose(t.Overrides, t.Ceilings, changes, by)
	})
}

// Trial is what a patch would do.
type Trial struct {
	Before, After Settings
	Document      []byte // of After
	Diff          []Difference
}

// TryPatch says what PatchSettings would do, and refuses what it would refuse.
func (s *Service) TryPatch(id ID, patch []byte, ifMatch string, by Actor) (trial Trial, err error) {
	changes, err := parsePatch(patch)
	if err != nil {
		return trial, ofBody(err)
	}
	snapshot := s.log.Snapshot()
	t, err := Find(snapshot, id)
	if err != nil {
		return trial, err
	}
	if !usher.IfMatch(ifMatch, t.ETag) {
		return trial, errSettingsChanged()
	}
	b, _ := baselineOf(snapshot)
	made, err := b.choose(t.Overrides, t.Ceilings, changes, by)
	if err != nil {
		return trial, err
	}
	changed := t.stored
	changed.Overrides, changed.Ceilings = made.overrides, made.ceilings
	after, err := compile(changed, b)
	if err == nil {
		trial.Before, trial.After, trial.Document = t.Settings, after.Settings, after.Document
		trial.Diff, err = Diff(trial.Before, trial.After)
	}
	if err != nil {
		return trial, usher.Internal(err, "try a patch on the settings of %s", id)
	}
	return trial, nil
}

func errSettingsChanged() error {
	return usher.Errorf(usher.CodePreconditionFailed, "The settings have changed: read them again and repeat the change.")
}

// change has decide change a tenant, which writes what it changes.
func (s *Service) change(ctx context.Context, id ID, p Purpose, decide func(*store.Tx, Tenant) (Tenant, error)) (Tenant, error) {
	return writeRecord(ctx, s, id, p, onTenant(id, decide))
}

// onTenant has decide decide on the tenant as it is.
func onTenant(id ID, decide func(*store.Tx, Tenant) (Tenant, error)) func(*store.Tx) (Tenant, error) {
	return func(tx *store.Tx) (Tenant, error) {
		before, err := Find(tx, id)
		if err != nil {
			return Tenant{}, err
		}
		return decide(tx, before)
	}
}
