package tenant

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"usher"
	"usher/store"
)

// What a change of settings costs depends on what a caller sends, and the writer that decides it is everybody's. So a
// change is worked out before, on the goroutine of whoever wants it, from a snapshot; the decision only looks whether
// what it was worked out from is still so. If not, it is worked out again.

// errMoved is the refusal of a decision whose preparation rests on what is no longer so. No caller sees it.
var errMoved = store.ErrMoved

// maxPreparations is how often a change is worked out before it is given up.
const maxPreparations = 16

// prepared has attempt prepare a change and commit it, again while it refuses with errMoved.
func prepared[T any](attempt func() (T, error)) (T, error) {
	for range maxPreparations {
		if done, err := attempt(); !errors.Is(err, errMoved) {
			return done, err
		}
	}
	var none T
	return none, &usher.Error{Code: usher.CodeUnavailable, RetryAfter: time.Second, Err: errMoved,
		Detail: "The write was not done: others change the same all the time. Try again."}
}

// chooser says what a tenant's settings shall be.
type chooser func(store.Reader, Tenant, Baseline) (choice, error)

// settingsChange is a change of a tenant's settings that was worked out.
type settingsChange struct {
	id       ID
	exists   bool
	from     stored // what it was worked out from, with
	baseline int64  // the Baseline of this revision

	refusal error  // why nothing is changed
	after   Tenant // equals from where the change changes nothing
	diff    []Difference
	details jsontext.Value // the difference, for the audit log
	raised  bool           // whether the tenant's own ceilings are others
}

// prepareSettings works out the change that choose makes.
func (s *Service) prepareSettings(id ID, ifMatch string, choose chooser) (c settingsChange) {
	snapshot := s.log.Snapshot()
	b, revision := baselineOf(snapshot)
	c = settingsChange{id: id, baseline: revision}
	before, err := Find(snapshot, id)
	if err != nil {
		c.refusal = err
		return c
	}
	c.exists, c.from, c.after = true, before.stored, before
	if !usher.IfMatch(ifMatch, before.ETag) {
		c.refusal = errSettingsChanged()
		return c
	}
	made, err := choose(snapshot, before, b)
	if err != nil {
		c.refusal = err
		return c
	}
	changed := before.stored
	changed.Overrides, changed.Ceilings = made.overrides, made.ceilings
	if changed.hasSettingsOf(before.stored) {
		return c
	}
	changed.Version++
	if c.after, err = compile(changed, b); err != nil {
		c.refusal = usher.Internal(err, "change the settings of %s", id)
		return c
	}
	if c.diff, err = Diff(before.Settings, c.after.Settings); err == nil {
		c.details, err = json.Marshal(c.diff)
		c.raised = !maps.Equal(before.Ceilings, changed.Ceilings)
	}
	if err != nil {
		c.refusal = usher.Internal(err, "compare the settings of %s", id)
	}
	return c
}

// decide makes the change on what is there now.
func (c *settingsChange) decide(tx *store.Tx, by Actor, action string, now time.Time) (Tenant, error) {
	row, ok := tenants.Get(tx, string(c.id))
	if exists := ok && row.Value.record.Status != statusDeleting; exists != c.exists {
		return Tenant{}, errMoved
	}
	if !c.exists {
		return Tenant{}, c.refusal
	}
	record, after := row.Value.record, c.after
	if _, baseline := baselineOf(tx); baseline != c.baseline || !record.hasSettingsOf(c.from) {
		return Tenant{}, errMoved
	}
	if c.refusal != nil {
		return Tenant{}, c.refusal
	}
	settings := after.stored
	after.stored = record
	after.Overrides, after.Ceilings, after.Version = settings.Overrides, settings.Ceilings, settings.Version
	if after.hasSettingsOf(record) {
		return after, nil
	}
	tenants.Put(tx, string(c.id), compiledEntry(after, c.baseline))
	note(tx, after, c.diff, by, usher.At(now))
	return after, c.record(tx, by, now, action)
}

func (c *settingsChange) record(tx *store.Tx, by Actor, now time.Time, action string) error {
	details := detail{"version": c.after.Version, "diff": c.details}
	if c.raised {
		details["ceilings"] = c.after.Ceilings
	}
	return record(tx, c.id, by, now, action, "", details)
}

// hasSettingsOf says whether both records resolve to the same settings on the same Baseline.
func (r stored) hasSettingsOf(other stored) bool {
	return r.Version == other.Version && r.Overrides.Equal(other.Overrides) && maps.Equal(r.Ceilings, other.Ceilings)
}

// changeSettings gives the tenant the settings that choose chooses, as a new version, with its entry in the audit log.
func (s *Service) changeSettings(ctx context.Context, id ID, ifMatch string, by Actor, action string, choose chooser) (Tenant, error) {
	return prepared(func() (Tenant, error) {
		c := s.prepareSettings(id, ifMatch, choose)
		return writeRecord(ctx, s, id, purposeOf(by), func(tx *store.Tx) (Tenant, error) { return c.decide(tx, by, action, s.now()) })
	})
}
