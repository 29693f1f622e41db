package tenant

import (
	"context"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"usher"
	"usher/store"
)

// keyRef is where a tenant's key lies: it is found by its id through this, and by itself through its hash.
type keyRef struct {
	Hash string `json:"hash"`
}

// keyRefs is the table of a tenant's keys: {tenant}/{key}.
var keyRefs = store.Table[keyRef]{
	Name: "api-key-ids", Aggregate: true, GuardedBy: guardedByAccount, Size: func(keyRef) int { return keyRefBytes },
	Decode: decodeJSON[keyRef], Encode: encodeJSON[keyRef],
}

// keyRefBytes is what the record takes, and what is noted of the key's use.
const keyRefBytes = 320

func keyRefPath(t ID, id KeyID) string { return string(t) + "/" + string(id) }

const (
	maxKeys       = 100 // how many API keys a tenant may have
	rotationSpare = 20  // how many more there may be while old ones go on beside what they were rotated to
)

// NewKey is the request for an API key.
type NewKey struct {
	Name      string     `json:"name"`
	Scopes    []Scope    `json:"scopes"`
	ExpiresAt usher.Time `json:"expires_at"`
	CIDRs     []string   `json:"cidrs"`
}

const (
	maxCIDRs = 50
	maxGrace = 30 * 24 * time.Hour
)

func scopesText() string {
	texts := make([]string, len(AllScopes()))
	for i, s := range AllScopes() {
		texts[i] = string(s)
	}
	return strings.Join(texts, ", ")
}

func errNoScope() string { return "is not a scope; there are " + scopesText() }

// maxScopes is more than there are, for whoever names one twice.
const maxScopes = 20

// checkScopes lists what are no scopes.
func checkScopes(scopes []Scope) (problems []usher.FieldError) {
	if len(scopes) > maxScopes {
		return []usher.FieldError{{Field: "scopes", Message: "must be at most " + strconv.Itoa(maxScopes)}}
	}
	for i, scope := range scopes {
		if !slices.Contains(AllScopes(), scope) {
			problems = append(problems, usher.FieldError{Field: "scopes." + strconv.Itoa(i), Message: errNoScope()})
		}
	}
	return problems
}

// Validate cleans the request and lists what is wrong with it.
func (n *NewKey) Validate() []usher.FieldError {
	problems := validateName(&n.Name)
	note := func(field, message string) {
		problems = append(problems, usher.FieldError{Field: field, Message: message})
	}
	if len(n.Scopes) == 0 {
		note("scopes", "must list at least one of "+scopesText())
	}
	problems = append(problems, checkScopes(n.Scopes)...)
	if len(problems) == 0 {
		slices.Sort(n.Scopes)
		n.Scopes = slices.Compact(n.Scopes)
	}
	if len(n.CIDRs) > maxCIDRs {
		note("cidrs", "must be at most "+strconv.Itoa(maxCIDRs))
		return problems
	}
	for i, text := range n.CIDRs {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			note("cidrs."+strconv.Itoa(i), "must be a network, for instance 203.0.113.0/24")
			continue
		}
		n.CIDRs[i] = prefix.Masked().String()
	}
	return problems
}

// Rotation is the request to replace a key.
type Rotation struct {
	GraceSeconds int `json:"grace_seconds"` // for how long the old key goes on
}

// Validate lists what is wrong with the request.
func (r *Rotation) Validate() []usher.FieldError {
	if most := int(maxGrace / time.Second); r.GraceSeconds < 0 || r.GraceSeconds > most {
		return []usher.FieldError{{Field: "grace_seconds", Message: "must be between 0 and " + strconv.Itoa(most)}}
	}
	return nil
}

// CreateKey makes an API key. Nobody can give a key more than it has itself, and what a key has made dies with it.
func (s *Service) CreateKey(ctx context.Context, t ID, n NewKey, by Actor) (APIKey, Secret, error) {
	now := s.now()
	key := APIKey{ID: newKeyID(now), TenantID: t, Name: n.Name, Scopes: n.Scopes, CreatedAt: usher.At(now), ExpiresAt: n.ExpiresAt, CIDRs: n.CIDRs}
	if !key.ExpiresAt.IsZero() && !key.ExpiresAt.After(now) {
		return APIKey{}, Secret{}, usher.Invalid(usher.FieldError{Field: "expires_at", Message: "must lie ahead"})
	}
	if err := by.hand(&key); err != nil {
		return APIKey{}, Secret{}, err
	}
	secret := newSecret(apiKeyPrefix)
	key, err := write(ctx, s, t, purposeOf(by), by.guards(t), func(tx *store.Tx) (made APIKey, err error) {
		if _, err := Find(tx, t); err != nil {
			return APIKey{}, err
		}
		made = key
		if made.Makers, err = by.makers(tx, t); err != nil {
			return APIKey{}, err
		}
		if err := oneMoreKey(tx, t, maxKeys); err != nil {
			return APIKey{}, err
		}
		made.keep(tx, secret)
		return made, record(tx, t, by, now, "key.create", string(made.ID), detail{"name": made.Name, "scopes": made.Scopes})
	})
	return key, secret, err
}

// oneMoreKey refuses another key when the tenant has as many as it may. Whoever makes a key writes the tenant's record: of
// two that are made at once, on whichever replicas, one is decided again and counts the other.
func oneMoreKey(tx *store.Tx, t ID, most int) error {
	count := 0
	for range keyRefs.Scan(tx, string(t)+"/", "") {
		if count++; count >= most {
			return usher.Errorf(usher.CodeKeyLimitReached, "The tenant may have %d API keys; revoke one first.", maxKeys)
		}
	}
	return nil
}

// keep writes a new key.
func (k APIKey) keep(tx *store.Tx, secret Secret) {
	APIKeys.Put(tx, keyPath(secret), k)
	keyRefs.Put(tx, keyRefPath(k.TenantID, k.ID), keyRef{Hash: keyPath(secret)})
}

// KeyView is a key as its owner sees it.
type KeyView struct {
	ID         KeyID      `json:"id"`
	Name       string     `json:"name"`
	Scopes     []Scope    `json:"scopes"`
	CIDRs      []string   `json:"cidrs,omitempty"`
	Main       bool       `json:"main"`
	CreatedAt  usher.Time `json:"created_at"`
	ExpiresAt  usher.Time `json:"expires_at,omitzero"`
	LastUsedAt usher.Time `json:"last_used_at,omitzero"` // to the minute
	MadeBy     KeyID      `json:"made_by,omitzero"`      // the key that made it, and that it dies with
}

// View is the key without what is only ours.
func (k APIKey) View(lastUsed usher.Time) KeyView {
	v := KeyView{ID: k.ID, Name: k.Name, Scopes: k.Scopes, CIDRs: k.CIDRs, Main: k.Main, CreatedAt: k.CreatedAt, ExpiresAt: k.ExpiresAt, LastUsedAt: lastUsed}
	if n := len(k.Makers); n > 0 {
		v.MadeBy = k.Makers[n-1]
	}
	return v
}

// Keys lists the tenant's API keys in the order of their making, expired ones included, and those not that died with
// what made them.
func (s *Service) Keys(t ID) ([]KeyView, error) {
	snapshot := s.log.Snapshot()
	if _, err := Find(snapshot, t); err != nil {
		return nil, err
	}
	list := []KeyView{}
	for ref := range keyRefs.Scan(snapshot, string(t)+"/", "") {
		if row, ok := APIKeys.Get(snapshot, ref.Value.Hash); ok && !row.Value.orphaned(snapshot) {
			list = append(list, row.Value.View(s.lastUsed(snapshot, row.Value)))
		}
	}
	return list, nil
}

// onKey has decide change one of the tenant's keys.
func (s *Service) onKey(ctx context.Context, t ID, id KeyID, p Purpose, by Actor, decide func(tx *store.Tx, key APIKey, hash string) (APIKey, error)) (APIKey, error) {
	return write(ctx, s, t, p, append(by.guards(t), keyRefs.Key(keyRefPath(t, id))), func(tx *store.Tx) (APIKey, error) {
		if _, err := Find(tx, t); err != nil {
			return APIKey{}, err
		}
		key, hash, ok := findKey(tx, t, id)
		if !ok || key.orphaned(tx) {
			return APIKey{}, usher.Errorf(usher.CodeKeyNotFound, "There is no API key of this id.")
		}
		return decide(tx, key, hash)
	})
}

// RevokeKey takes a key away, and with it what it has made. When it returns, this replica refuses them, and the others
// within milliseconds.
func (s *Service) RevokeKey(ctx context.Context, t ID, id KeyID, by Actor) error {
	_, err := s.onKey(ctx, t, id, Removing, by, func(tx *store.Tx, key APIKey, hash string) (APIKey, error) {
		key.drop(tx, hash)
		return key, record(tx, t, by, s.now(), "key.revoke", string(id), detail{"name": key.Name})
	})
	return err
}

// drop takes the key away.
func (k APIKey) drop(tx *store.Tx, hash string) {
	APIKeys.Delete(tx, hash)
	keyRefs.Delete(tx, keyRefPath(k.TenantID, k.ID))
	keyUses.Delete(tx, keyRefPath(k.TenantID, k.ID))
}

// RotateKey makes a key that may do the same, and ends the old one after the grace period. Without one the old key is
// revoked, and what it has made dies with it. An operator's rotation carries no expiry over: it was the old secret's. One
// by a key keeps it, and is bounded by what that key has itself.
func (s *Service) RotateKey(ctx context.Context, t ID, id KeyID, r Rotation, by Actor) (APIKey, Secret, error) {
	secret, now := newSecret(apiKeyPrefix), s.now()
	fresh, err := s.onKey(ctx, t, id, purposeOf(by), by, func(tx *store.Tx, old APIKey, hash string) (APIKey, error) {
		fresh, err := old.successor(tx, by, now)
		if err != nil {
			return APIKey{}, err
		}
		if r.GraceSeconds == 0 {
			if slices.Contains(fresh.Makers, id) {
				return APIKey{}, usher.Errorf(usher.CodeForbidden, "The API key that you call with was made by this one and would end with it. Rotate with grace_seconds.")
			}
			old.drop(tx, hash)
		}
		if err := oneMoreKey(tx, t, maxKeys+rotationSpare); err != nil {
			return APIKey{}, err
		}
		ends := usher.At(now.Add(time.Duration(r.GraceSeconds) * time.Second))
		if r.GraceSeconds > 0 {
			if old.ExpiresAt.IsZero() || ends.Before(old.ExpiresAt.Time) {
				old.ExpiresAt = ends
			}
			ends, old.Main = old.ExpiresAt, false
			APIKeys.Put(tx, hash, old)
		}
		fresh.keep(tx, secret)
		return fresh, record(tx, t, by, now, "key.rotate", string(id), detail{"new_key": fresh.ID, "old_key_expires_at": ends})
	})
	return fresh, secret, err
}

// successor is the key that takes this one's place. A key that rotates itself stays what it was made by; what it makes of
// another is its own making.
func (k APIKey) successor(tx *store.Tx, by Actor, now time.Time) (APIKey, error) {
	fresh := APIKey{ID: newKeyID(now), TenantID: k.TenantID, Name: k.Name, Scopes: k.Scopes, CIDRs: k.CIDRs, Main: k.Main, CreatedAt: usher.At(now), Makers: k.Makers}
	if !by.isKey() {
		return fresh, by.mayGive(k.Scopes)
	}
	if k.expired(now) {
		return APIKey{}, usher.Errorf(usher.CodeForbidden, "The API key has expired, and an API key cannot make it live again. Create another.")
	}
	fresh.ExpiresAt = k.ExpiresAt
	if err := by.handOn(&fresh); err != nil {
		return APIKey{}, err
	}
	if by.Key == k.ID {
		return fresh, nil
	}
	makers, err := by.makers(tx, k.TenantID)
	fresh.Makers = makers
	return fresh, err
}

// RotateMainKey is RotateKey of the key that the tenant was made with, or what it was rotated to.
func (s *Service) RotateMainKey(ctx context.Context, t ID, r Rotation, by Actor) (APIKey, Secret, error) {
	keys, err := s.Keys(t)
	if err != nil {
		return APIKey{}, Secret{}, err
	}
	for _, key := range keys {
		if key.Main {
			return s.RotateKey(ctx, t, key.ID, r, by)
		}
	}
	return APIKey{}, Secret{}, usher.Errorf(usher.CodeKeyNotFound, "The tenant's main key was revoked; create a key instead.")
}

// allows says whether the key may be used from the address.
func (k APIKey) allows(address func() netip.Addr) bool {
	if len(k.CIDRs) == 0 {
		return true
	}
	from := address()
	return slices.ContainsFunc(k.CIDRs, func(text string) bool {
		prefix, err := netip.ParsePrefix(text)
		return err == nil && prefix.Contains(from.Unmap())
	})
}

// ParseKeyID reads a key's id and says whether it is one.
func ParseKeyID(s string) (KeyID, bool) {
	_, ok := ParseTypeID(keyIDPrefix, s)
	return KeyID(strings.Clone(s)), ok
}
