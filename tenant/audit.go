package tenant

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"usher"
	"usher/store"
)

// Actor is who changes something, and by which request.
type Actor struct {
	By        string // "operator", "schedule", or the id of an API key
	RequestID string

	// Of an API key, or of a service token in its place: which key it is, and the bounds of the credential.
	Key       KeyID
	Scopes    []Scope
	ExpiresAt usher.Time // zero: never
	CIDRs     []string   // none: anywhere
}

// Who is no API key, as an Actor: the operator, and what time brings about.
const (
	ByOperator = "operator"
	bySchedule = "schedule"
)

// raisesCeilings says whether the actor may set more than the ceilings of a tenant.
func (a Actor) raisesCeilings() bool { return a.By == ByOperator }

// AuditEntry is one change of a tenant by an operator or the tenant itself. It tells no secret.
type AuditEntry struct {
	ID        AuditID        `json:"id"`
	At        usher.Time     `json:"at"`
	By        string         `json:"by"`
	RequestID string         `json:"request_id"`
	Action    string         `json:"action"`           // what was done, as resource.verb: "config.update"
	Target    string         `json:"target,omitzero"`  // the id of what it was done to, beside the tenant
	Details   jsontext.Value `json:"details,omitzero"` // an object that depends on the action
}

// AuditID names an entry: a TypeID, "evt_" and 26 characters. Ids are in the order of the changes.
type AuditID string

const auditIDPrefix = "evt"

// auditLog is the table of entries: {tenant}/{entry}. It is written by the change itself, so there is none without its
// entry, and no entry of what did not happen.
var auditLog = store.Table[AuditEntry]{Name: "audit", Decode: decodeJSON[AuditEntry], Encode: encodeJSON[AuditEntry]}

// operatorLog is where changes stand that concern no single tenant.
const operatorLog ID = "operator"

// detail is the details of an entry.
type detail map[string]any

// record appends an entry to the tenant's log.
func record(tx *store.Tx, t ID, by Actor, now time.Time, action, target string, d detail) error {
	entry := AuditEntry{
		ID: AuditID(FormatTypeID(auditIDPrefix, NewUUID(now))), At: usher.At(now), By: by.By, RequestID: by.RequestID,
		Action: action, Target: target,
	}
	if len(d) > 0 {
		encoded, err := json.Marshal(d, json.Deterministic(true))
		if err != nil {
			return usher.Internal(err, "write the audit entry of %s", action)
		}
		entry.Details = encoded
	}
	auditLog.Put(tx, string(t)+"/"+string(entry.ID), entry)
	return nil
}

// AuditPage is a part of a tenant's audit log.
type AuditPage struct {
	Entries []AuditEntry
	More    bool
	Pin     int64
}

// Audit gives the entries after the one named, in the order of the changes. Pages are pinned: what is appended after the
// first was read is not in the later ones. An empty tenant asks for what concerns no single one.
func (s *Service) Audit(t ID, after AuditID, pin int64, limit int) AuditPage {
	if t == "" {
		t = operatorLog
	}
	snapshot := s.log.Snapshot()
	page := AuditPage{Entries: []AuditEntry{}, Pin: pin}
	if page.Pin == 0 {
		page.Pin = snapshot.Revision()
	}
	prefix := string(t) + "/"
	for row := range auditLog.Scan(snapshot, prefix, prefix+string(after)) {
		if row.Created > page.Pin {
			continue
		}
		if len(page.Entries) == limit {
			page.More = true
			break
		}
		page.Entries = append(page.Entries, row.Value)
	}
	return page
}

const (
	auditStep = 100 // how many entries one transaction of the sweep takes away
	// operatorRetention is for how long changes that concern no single tenant are kept.
	operatorRetention = 365 * 24 * time.Hour
)

// Sweep takes away what the audit logs keep no longer, and says how many entries; and it does what is due with API keys
// and signing keys.
func (s *Service) Sweep(ctx context.Context) (removed int, err error) {
	snapshot, now := s.log.Snapshot(), s.now()
	removed, err = s.sweepAudit(ctx, operatorLog, s.auditDue(snapshot, operatorLog, now.Add(-operatorRetention)))
	for t := range All(snapshot, "") {
		if err != nil {
			return removed, err
		}
		var some int
		some, err = s.sweepAudit(ctx, t.ID, s.auditDue(snapshot, t.ID, now.Add(-time.Duration(t.Settings.AuditRetentionDays)*24*time.Hour)))
		removed += some
	}
	return removed, errors.Join(err, s.sweepKeys(ctx), s.sweepSigningKeys(ctx))
}

// sweepAudit takes away the entries at the paths, which are of one log.
func (s *Service) sweepAudit(ctx context.Context, t ID, due []string) (removed int, err error) {
	for some := range slices.Chunk(due, auditStep) {
		take := func(tx *store.Tx) (struct{}, error) {
			for _, path := range some {
				auditLog.Delete(tx, path)
			}
			return struct{}{}, nil
		}
		if t == operatorLog { // which is nobody's
			_, err = store.Commit(ctx, s.log, store.Change[struct{}]{Aggregates: func(*store.Snapshot) []store.Key { return nil }, Decide: take})
		} else {
			_, err = write(ctx, s, t, Removing, nil, take)
		}
		if err != nil {
			return removed, err
		}
		removed += len(some)
	}
	return removed, nil
}

// auditDue lists the paths of the entries that are older than the moment. They come first, so few others are looked at.
func (s *Service) auditDue(r store.Reader, t ID, before time.Time) (due []string) {
	for row := range auditLog.Scan(r, string(t)+"/", "") {
		if !row.Value.At.Before(before) {
			break
		}
		due = append(due, strings.Clone(row.Path))
	}
	return due
}
