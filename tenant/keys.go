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
var keyRefs = store.Table[keyRef]{Name: "api-key-ids", Aggregate: true, GuardedBy: guardedByTenant, Decode: decodeJSON[keyRef], Encode: encodeJSON[keyRef]}

func keyRefPath(t ID, id KeyID) string { return string(t) + "/" + string(id) }

// maxKeys is how many API keys a tenant may have.
const maxKeys = 100

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

// CreateKey makes an API key. Nobody can give a key more than it has itself.
func (s *Service) CreateKey(ctx context.Context, t ID, n NewKey, by Actor) (APIKey, Secret, error) {
	now := s.now()
	key := APIKey{ID: newKeyID(now), TenantID: t, Name: n.Name, Scopes: n.Scopes, CreatedAt: usher.At(now), ExpiresAt: n.ExpiresAt, CIDRs: n.CIDRs}
	if !key.ExpiresAt.IsZero() && !key.ExpiresAt.After(now) {
		return APIKey{}, Secret{}, usher.Invalid(usher.FieldError{Field: "expires_at", Message: "must lie ahead"})
	}
	secret := newSecret(apiKeyPrefix)
	key, err := store.Commit(ctx, s.log, store.Change[APIKey]{
		Aggregates: func(*store.Snapshot) []store.Key { return []store.Key{Aggregate(t)} },
		Decide: func(tx *store.Tx) (APIKey, error) {
			if _, err := Find(tx, t); err != nil {
				return APIKey{}, err
			}
			if err := by.mayGive(key.Scopes); err != nil {
				return APIKey{}, err
			}
			count := 0
			for range keyRefs.Scan(tx, string(t)+"/", "") {
				count++
			}
			if count >= maxKeys {
				return APIKey{}, usher.Errorf(usher.CodeKeyLimitReached, "The tenant may have %d API keys; revoke one first.", maxKeys)
			}
			key.keep(tx, secret)
			return key, record(tx, t, by, now, "key.create", string(key.ID), detail{"name": key.Name, "scopes": key.Scopes})
		},
	})
	return key, secret, err
}

// mayGive refuses to give away scopes that the actor does not have.
func (a Actor) mayGive(scopes []Scope) error {
	if a.By == ByOperator || a.By == bySchedule {
		return nil
	}
	for _, scope := range scopes {
		if !slices.Contains(a.Scopes, scope) {
			return usher.Errorf(usher.CodeForbidden, "The API key lacks the scope %s, so it cannot give it to another.", scope)
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
}

// View is the key without what is only ours.
func (k APIKey) View(lastUsed usher.Time) KeyView {
	return KeyView{ID: k.ID, Name: k.Name, Scopes: k.Scopes, CIDRs: k.CIDRs, Main: k.Main, CreatedAt: k.CreatedAt, ExpiresAt: k.ExpiresAt, LastUsedAt: lastUsed}
}

// Keys lists the tenant's API keys in the order of their making, expired ones included.
func (s *Service) Keys(t ID) ([]KeyView, error) {
	snapshot := s.log.Snapshot()
	if _, err := Find(snapshot, t); err != nil {
		return nil, err
	}
	list := []KeyView{}
	for ref := range keyRefs.Scan(snapshot, string(t)+"/", "") {
		if row, ok := APIKeys.Get(snapshot, ref.Value.Hash); ok {
			list = append(list, row.Value.View(s.lastUsed(snapshot, row.Value)))
		}
	}
	return list, nil
}

// onKey has decide change one of the tenant's keys.
func (s *Service) onKey(ctx context.Context, t ID, id KeyID, decide func(tx *store.Tx, key APIKey, hash string) (APIKey, error)) (APIKey, error) {
	return store.Commit(ctx, s.log, store.Change[APIKey]{
		Aggregates: func(*store.Snapshot) []store.Key {
			return []store.Key{Aggregate(t), keyRefs.Key(keyRefPath(t, id))}
		},
		Decide: func(tx *store.Tx) (APIKey, error) {
			ref, ok := keyRefs.Get(tx, keyRefPath(t, id))
			if !ok {
				return APIKey{}, usher.Errorf(usher.CodeKeyNotFound, "There is no API key of this id.")
			}
			row, ok := APIKeys.Get(tx, ref.Value.Hash)
			if !ok {
				return APIKey{}, usher.Errorf(usher.CodeKeyNotFound, "There is no API key of this id.")
			}
			return decide(tx, row.Value, ref.Value.Hash)
		},
	})
}

// RevokeKey takes a key away. When it returns, this replica refuses the key, and the others within milliseconds.
func (s *Service) RevokeKey(ctx context.Context, t ID, id KeyID, by Actor) error {
	_, err := s.onKey(ctx, t, id, func(tx *store.Tx, key APIKey, hash string) (APIKey, error) {
		APIKeys.Delete(tx, hash)
		keyRefs.Delete(tx, keyRefPath(t, id))
		keyUses.Delete(tx, keyRefPath(t, id))
		return key, record(tx, t, by, s.now(), "key.revoke", string(id), detail{"name": key.Name})
	})
	return err
}

// RotateKey makes a key that may do the same, and ends the old one after the grace period. An expiry is not carried over:
// it was the old secret's.
func (s *Service) RotateKey(ctx context.Context, t ID, id KeyID, r Rotation, by Actor) (APIKey, Secret, error) {
	secret, now := newSecret(apiKeyPrefix), s.now()
	fresh, err := s.onKey(ctx, t, id, func(tx *store.Tx, old APIKey, hash string) (APIKey, error) {
		if err := by.mayGive(old.Scopes); err != nil {
			return APIKey{}, err
		}
		fresh := APIKey{ID: newKeyID(now), TenantID: t, Name: old.Name, Scopes: old.Scopes, CIDRs: old.CIDRs, Main: old.Main, CreatedAt: usher.At(now)}
		fresh.keep(tx, secret)
		ends := usher.At(now.Add(time.Duration(r.GraceSeconds) * time.Second))
		if old.ExpiresAt.IsZero() || ends.Before(old.ExpiresAt.Time) {
			old.ExpiresAt = ends
		}
		old.Main = false
		APIKeys.Put(tx, hash, old)
		return fresh, record(tx, t, by, now, "key.rotate", string(id), detail{"new_key": fresh.ID, "old_key_expires_at": old.ExpiresAt})
	})
	return fresh, secret, err
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
