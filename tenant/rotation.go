package tenant

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"usher"
	"usher/store"
	"usher/tenant/token"
)

// PublishAhead is for how long a signing key is published before it signs: verifiers may keep the set of keys for
// KeySetLifetime, and replicas' clocks may differ.
const (
	KeySetLifetime = 5 * time.Minute
	PublishAhead   = KeySetLifetime + 2*clockSkew
)

// retiredFor is how long a retired key is still listed, without its private half.
const retiredFor = 30 * 24 * time.Hour

// KeyRotation is the request to replace the signing key.
type KeyRotation struct {
	// Immediately has the new key sign at once. Verifiers that keep the old set do not know it for some minutes.
	Immediately bool `json:"immediately"`
}

// Validate finds nothing wrong with any.
func (*KeyRotation) Validate() []usher.FieldError { return nil }

// What bounds a tenant's signing keys: anybody may fetch those that verify, and to make one takes time.
const (
	maxVerifying  = 8  // keys that are not retired
	maxSigning    = 16 // keys in all; the oldest retired ones make room
	maxRotations  = 20 // in rotationsTime, keys counted that were deleted since
	rotationsTime = time.Hour
)

// rotationPlan is what a rotation does to the keys that there are.
type rotationPlan struct {
	retire    []SigningKey // that sign now
	forget    []string     // kids: what has not begun to sign, and the oldest retired ones
	rotations []usher.Time // of the last hour, with this one
}

// planRotation refuses a rotation that would pass a bound.
func planRotation(t Tenant, keys []SigningKey, r KeyRotation, by Actor, now time.Time) (p rotationPlan, refused error) {
	var retired []SigningKey
	verifying := 1 // the new one
	for _, k := range keys {
		switch k.State(now) {
		case KeyNext:
			if !k.ActiveFrom.After(now.Add(clockSkew)) { // where the clock is ahead it signs already
				p.retire = append(p.retire, k)
				verifying++
				continue
			}
			if !r.Immediately {
				return p, usher.Errorf(usher.CodeSigningKeyInUse,
					"The key %s has not begun to sign yet. Wait for it, delete it, or rotate immediately.", k.KID)
			}
			p.forget = append(p.forget, k.KID) // nothing was signed with it
		case KeyActive:
			p.retire = append(p.retire, k)
			verifying++
		case KeyRetiring:
			verifying++
		case KeyRetired:
			retired = append(retired, k)
		}
	}
	if verifying > maxVerifying {
		return p, usher.Errorf(usher.CodeSigningKeyLimit,
			"The tenant may have %d signing keys whose tokens may be in use. Wait until one is retired, or delete one with ?force=true.", maxVerifying)
	}
	for _, at := range t.Rotations {
		if now.Sub(at.Time) < rotationsTime {
			p.rotations = append(p.rotations, at)
		}
	}
	if len(p.rotations) >= maxRotations && by.By != bySchedule {
		return p, &usher.Error{Code: usher.CodeRateLimited, RetryAfter: p.rotations[len(p.rotations)-maxRotations].Add(rotationsTime).Sub(now),
			Detail: fmt.Sprintf("The signing keys of a tenant are rotated %d times an hour at most.", maxRotations)}
	}
	p.rotations = append(p.rotations, usher.At(now))
	slices.SortFunc(retired, func(a, b SigningKey) int { return a.NotAfter.Compare(b.NotAfter.Time) })
	excess := verifying + len(retired) - maxSigning
	for _, k := range retired[:min(max(excess, 0), len(retired), maxSigning)] {
		p.forget = append(p.forget, k.KID)
	}
	return p, nil
}

func signingKeysOf(r store.Reader, t ID) (keys []SigningKey) {
	for row := range SigningKeys.Scan(r, string(t)+"/", "") {
		keys = append(keys, row.Value)
	}
	return keys
}

// RotateSigningKey makes the tenant's next signing key, of the algorithm that its settings name. It is published now,
// signs after PublishAhead, and the one before it goes on verifying until its last token has expired. What would pass a
// bound is refused before a key is made.
func (s *Service) RotateSigningKey(ctx context.Context, t ID, r KeyRotation, by Actor) (SigningKey, error) {
	snapshot, now := s.log.Snapshot(), s.now()
	owner, err := Find(snapshot, t)
	if err != nil {
		return SigningKey{}, err
	}
	if _, refused := planRotation(owner, signingKeysOf(snapshot, t), r, by, now); refused != nil {
		return SigningKey{}, refused
	}
	begins := now.Add(PublishAhead)
	if r.Immediately {
		begins = now
	}
	fresh, err := s.newSigningKey(owner.Settings.SigningAlgorithm, now, begins) // outside the writer: RSA keys take long
	if err != nil {
		return SigningKey{}, err
	}
	return write(ctx, s, t, purposeOf(by), by.guards(t), func(tx *store.Tx) (SigningKey, error) {
		owner, err := Find(tx, t)
		if err != nil {
			return SigningKey{}, err
		}
		now := s.now() // others may have rotated since
		plan, refused := planRotation(owner, signingKeysOf(tx, t), r, by, now)
		if refused != nil {
			return SigningKey{}, refused
		}
		fresh, begins := fresh, begins
		if r.Immediately {
			begins = now
			fresh.ActiveFrom = usher.At(now)
		}
		for _, kid := range plan.forget {
			SigningKeys.Delete(tx, signingKeyPath(t, kid))
		}
		for _, old := range plan.retire {
			old.retire(begins, owner.Settings)
			SigningKeys.Put(tx, signingKeyPath(t, old.KID), old)
		}
		owner.Rotations = plan.rotations
		owner.keep(tx)
		SigningKeys.Put(tx, signingKeyPath(t, fresh.KID), fresh)
		return fresh, record(tx, t, by, now, "signing_key.rotate", fresh.KID, detail{"alg": fresh.Algorithm, "active_from": fresh.ActiveFrom})
	})
}

// retire fixes the key's end: no token that it signs until then lives longer.
func (k *SigningKey) retire(from time.Time, s Settings) {
	longest := time.Duration(max(s.AccessTokenTTLSeconds, s.RefreshTokenTTLSeconds)) * time.Second
	k.RetiringFrom = usher.At(from)
	k.NotAfter = usher.At(from.Add(longest + clockSkew))
}

// ListSigningKeys gives the tenant's signing keys, without their private halves.
func (s *Service) ListSigningKeys(t ID) (keys []SigningKey, err error) {
	snapshot := s.log.Snapshot()
	if _, err := Find(snapshot, t); err != nil {
		return nil, err
	}
	for row := range SigningKeys.Scan(snapshot, string(t)+"/", "") {
		key := row.Value
		key.Sealed = ""
		keys = append(keys, key)
	}
	return keys, nil
}

// DeleteSigningKey takes a key away, and with it every token that it has signed. One that may have live tokens is kept,
// unless forced; the one that signs is kept in any case.
func (s *Service) DeleteSigningKey(ctx context.Context, t ID, kid string, force bool, by Actor) error {
	_, err := write(ctx, s, t, Removing, nil, onTenant(t, func(tx *store.Tx, owner Tenant) (Tenant, error) {
		row, ok := SigningKeys.Get(tx, signingKeyPath(t, kid))
		if !ok {
			return owner, usher.Errorf(usher.CodeKeyNotFound, "There is no signing key of this kid.")
		}
		now := s.now()
		state := row.Value.State(now)
		switch {
		case state == KeyActive:
			return owner, usher.Errorf(usher.CodeSigningKeyInUse, "This key signs. Rotate first, immediately if it is not safe any more.")
		case state == KeyRetiring && !force:
			return owner, usher.Errorf(usher.CodeSigningKeyInUse, "Tokens of this key may be in use until %s. With ?force=true they are refused from now on.",
				row.Value.NotAfter.Format(time.RFC3339)).With("not_after", row.Value.NotAfter)
		}
		SigningKeys.Delete(tx, row.Path)
		if state == KeyNext {
			s.unretire(tx, t)
		}
		owner.keep(tx)
		return owner, record(tx, t, by, now, "signing_key.delete", kid, detail{"state": state})
	}))
	return err
}

// unretire has the key that was about to be replaced go on, when its successor is taken away before it began.
func (s *Service) unretire(tx *store.Tx, t ID) {
	if found, ok := current(tx, t, s.now()); ok {
		k := *found
		k.RetiringFrom, k.NotAfter = usher.Time{}, usher.Time{}
		SigningKeys.Put(tx, signingKeyPath(t, k.KID), k)
	}
}

// sweepSigningKeys rotates keys that are due, destroys the private halves of retired ones, and forgets them later.
func (s *Service) sweepSigningKeys(ctx context.Context) error {
	snapshot, now := s.log.Snapshot(), s.now()
	var failures []error
	for t := range All(snapshot, "") {
		failures = append(failures, s.rotateIfDue(ctx, snapshot, t, now))
		for row := range SigningKeys.Scan(snapshot, string(t.ID)+"/", "") {
			k := row.Value
			if k.State(now) == KeyRetired && (k.Sealed != "" || now.Sub(k.NotAfter.Time) > retiredFor) {
				failures = append(failures, s.destroy(ctx, t.ID, k))
			}
		}
	}
	return errors.Join(failures...)
}

func (s *Service) rotateIfDue(ctx context.Context, r store.Reader, t Tenant, now time.Time) error {
	days := t.Settings.SigningKeyRotationDays
	key, ok := current(r, t.ID, now)
	if days == 0 || !ok || !key.RetiringFrom.IsZero() || now.Before(key.ActiveFrom.AddDate(0, 0, days)) {
		return nil
	}
	_, err := s.RotateSigningKey(ctx, t.ID, KeyRotation{}, Actor{By: bySchedule, RequestID: bySchedule})
	if usher.HasCode(err, usher.CodeSigningKeyLimit) {
		return nil // it is due until one is retired
	}
	return err
}

func (s *Service) destroy(ctx context.Context, t ID, k SigningKey) error {
	_, err := write(ctx, s, t, Removing, nil, onTenant(t, func(tx *store.Tx, owner Tenant) (Tenant, error) {
		path, now := signingKeyPath(t, k.KID), s.now()
		row, ok := SigningKeys.Get(tx, path)
		if !ok || row.Value.State(now) != KeyRetired {
			return owner, nil
		}
		if now.Sub(row.Value.NotAfter.Time) > retiredFor {
			SigningKeys.Delete(tx, path)
			return owner, nil
		}
		bare := row.Value
		bare.Sealed, bare.opened = "", new(openedKey)
		SigningKeys.Put(tx, path, bare)
		return owner, nil
	}))
	return err
}

// Uninformed are the replicas that could not read what is sealed with the first master key: they have not loaded it.
func (s *Service) Uninformed() []store.Replica {
	return uninformed(s.log.ListReplicas(), s.masterKeys.SealingKeyID())
}

func uninformed(replicas []store.Replica, key string) (lacking []store.Replica) {
	for _, r := range replicas {
		if len(r.MasterKeys) > 0 && !slices.Contains(r.MasterKeys, key) {
			lacking = append(lacking, r)
		}
	}
	return lacking
}

// Reencrypt seals every signing key under the first master key that is sealed under another, and says how many of how
// many it has done. Cut short, it can be repeated: what is done stays done.
func (s *Service) Reencrypt(ctx context.Context, progress func(done, of int)) (done int, err error) {
	var due []*store.Row[SigningKey]
	for row := range SigningKeys.Scan(s.log.Snapshot(), "", "") {
		if row.Value.Sealed == "" {
			continue
		}
		by, err := token.SealedBy(row.Value.Sealed)
		if err != nil {
			return 0, fmt.Errorf("signing key %s: %w", row.Path, err)
		}
		if by != s.masterKeys.SealingKeyID() {
			due = append(due, row)
		}
	}
	for _, row := range due {
		if err := s.reencrypt(ctx, row); err != nil {
			return done, fmt.Errorf("signing key %s: %w", row.Path, err)
		}
		done++
		progress(done, len(due))
	}
	return done, nil
}

func (s *Service) reencrypt(ctx context.Context, row *store.Row[SigningKey]) error {
	key, err := token.OpenSigningKey(row.Value.Sealed, s.masterKeys)
	if err != nil {
		return err
	}
	sealed, err := key.Seal(s.masterKeys)
	if err != nil {
		return err
	}
	_, err = write(ctx, s, tenantOf(row.Path), Removing, nil, func(tx *store.Tx) (struct{}, error) {
		now, ok := SigningKeys.Get(tx, row.Path)
		if ok && now.Value.Sealed == row.Value.Sealed {
			again := now.Value
			again.Sealed = sealed
			SigningKeys.Put(tx, row.Path, again)
		}
		return struct{}{}, nil
	})
	return err
}

// StateOf is the key's state now.
func (s *Service) StateOf(k SigningKey) KeyState { return k.State(s.now()) }
