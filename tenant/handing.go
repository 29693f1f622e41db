package tenant

import (
	"net/netip"
	"slices"
	"time"

	"usher"
	"usher/store"
)

// What a credential hands on is never more than it has itself, on any axis: scopes, expiry, networks, lifetime. Who is no
// API key, the operator or the schedule, has no bounds to hand on.

// maxMakers is how many keys may stand behind a key, each made by the one before.
const maxMakers = 4

// isKey says whether the actor is an API key, or a service token in its place.
func (a Actor) isKey() bool { return a.Key != "" }

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

// hand bounds the key that is asked for by what the actor has. What is not asked for becomes the actor's own.
func (a Actor) hand(key *APIKey) error {
	if err := a.mayGive(key.Scopes); err != nil {
		return err
	}
	if !a.isKey() {
		return nil
	}
	switch ends := a.ExpiresAt; {
	case ends.IsZero():
	case key.ExpiresAt.IsZero():
		key.ExpiresAt = ends
	case key.ExpiresAt.After(ends.Time):
		return usher.Invalid(usher.FieldError{Field: "expires_at",
			Message: "must not be later than " + ends.Format(time.RFC3339) + ", when the credential that makes the key ends"})
	}
	switch {
	case len(a.CIDRs) == 0:
	case len(key.CIDRs) == 0:
		key.CIDRs = a.CIDRs
	default:
		for _, network := range key.CIDRs {
			if !slices.ContainsFunc(a.CIDRs, func(own string) bool { return contains(own, network) }) {
				return usher.Invalid(usher.FieldError{Field: "cidrs",
					Message: "must lie within the networks of the key that makes it, and " + network + " does not"})
			}
		}
	}
	return nil
}

// handOn bounds a key that takes another's place by what the actor has: the earlier end, and the networks of both.
func (a Actor) handOn(key *APIKey) error {
	if err := a.mayGive(key.Scopes); err != nil || !a.isKey() {
		return err
	}
	if !a.ExpiresAt.IsZero() && (key.ExpiresAt.IsZero() || a.ExpiresAt.Before(key.ExpiresAt.Time)) {
		key.ExpiresAt = a.ExpiresAt
	}
	switch {
	case len(a.CIDRs) == 0:
	case len(key.CIDRs) == 0:
		key.CIDRs = a.CIDRs
	default:
		if key.CIDRs = common(a.CIDRs, key.CIDRs); len(key.CIDRs) == 0 {
			return usher.Errorf(usher.CodeForbidden, "The two API keys have no network in common, so neither can rotate the other.")
		}
	}
	return nil
}

// contains says whether all of one network lies in another.
func contains(outer, inner string) bool {
	o, err := netip.ParsePrefix(outer)
	if err != nil {
		return false
	}
	i, err := netip.ParsePrefix(inner)
	return err == nil && o.Bits() <= i.Bits() && o.Contains(i.Addr())
}

// common are the networks that lie in both lists.
func common(some, others []string) (both []string) {
	for _, one := range some {
		for _, other := range others {
			switch {
			case contains(one, other):
				both = append(both, other)
			case contains(other, one):
				both = append(both, one)
			}
		}
	}
	slices.Sort(both)
	both = slices.Compact(both)
	return both[:min(len(both), maxCIDRs)]
}

// makers are the keys that a key of the actor's making dies with: the actor's own makers, and itself.
func (a Actor) makers(r store.Reader, t ID) ([]KeyID, error) {
	if !a.isKey() {
		return nil, nil
	}
	own, _, ok := findKey(r, t, a.Key)
	if !ok {
		return nil, errKeyGone()
	}
	if len(own.Makers) >= maxMakers {
		return nil, usher.Errorf(usher.CodeForbidden,
			"Behind this API key there are %d others, each made by the one before. It makes none; use one of those.", maxMakers)
	}
	return append(slices.Clone(own.Makers), a.Key), nil
}

func errKeyGone() error {
	return usher.Errorf(usher.CodeUnauthenticated, "The API key is not known, or has expired or been revoked.")
}

// guards are the records that what the actor hands on is compared on.
func (a Actor) guards(t ID) []store.Key {
	if !a.isKey() {
		return nil
	}
	return []store.Key{keyRefs.Key(keyRefPath(t, a.Key))}
}

// orphaned says whether a key that stands behind this one is gone, and this one with it.
func (k APIKey) orphaned(r store.Reader) bool {
	return slices.ContainsFunc(k.Makers, func(maker KeyID) bool {
		_, ok := keyRefs.Get(r, keyRefPath(k.TenantID, maker))
		return !ok
	})
}

// findKey finds a tenant's key by its id, and where it lies.
func findKey(r store.Reader, t ID, id KeyID) (key APIKey, hash string, ok bool) {
	ref, ok := keyRefs.Get(r, keyRefPath(t, id))
	if !ok {
		return APIKey{}, "", false
	}
	row, ok := APIKeys.Get(r, ref.Value.Hash)
	if !ok {
		return APIKey{}, "", false
	}
	return row.Value, ref.Value.Hash, true
}
