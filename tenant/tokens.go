package tenant

import (
	"errors"
	"time"

	"usher"
	"usher/store"
	"usher/tenant/token"
)

// Seat is what the tokens of a participant say of it.
type Seat struct {
	Participant, RoomID, RoomName, Name, ExternalUserID, Role string
}

// Tokens are the credentials of a seat.
type Tokens = token.SeatTokens

var errNoSigningKey = errors.New("there is no signing key")

// clockSkew is how far the clocks of replicas may differ: a token that one has just signed is good on every other.
const clockSkew = 5 * time.Second

// SeatSigner signs the tokens of a tenant's seats at one moment.
type SeatSigner struct {
	service         *Service
	tenant          Tenant
	signer          *token.Signer
	algorithm       token.Algorithm
	issuer          string
	now             time.Time
	access, refresh time.Duration // lifetimes
}

// SeatSigner is ready to sign with the tenant's current key.
func (s *Service) SeatSigner(r store.Reader, t Tenant) (SeatSigner, error) {
	now := s.now()
	key, ok := current(r, t.ID, now)
	if !ok {
		return SeatSigner{}, usher.Internal(errNoSigningKey, "sign for %s", t.ID)
	}
	signer, err := s.signer(t.ID, key)
	if err != nil {
		return SeatSigner{}, err
	}
	access, refresh := time.Duration(t.Settings.AccessTokenTTLSeconds)*time.Second, time.Duration(t.Settings.RefreshTokenTTLSeconds)*time.Second
	return SeatSigner{
		service: s, tenant: t, signer: signer, algorithm: key.Algorithm, issuer: s.Issuer(t.ID), now: now,
		access: key.atMost(now, s.whileStale(access)), refresh: key.atMost(now, s.whileStale(refresh)),
	}, nil
}

// staleLifetime is for how long tokens live that a STALE replica issues (product §6): it may not know who was removed.
const staleLifetime = 5 * time.Minute

func (s *Service) whileStale(lifetime time.Duration) time.Duration {
	if state, _ := s.log.State(); state == store.Stale {
		return min(lifetime, staleLifetime)
	}
	return lifetime
}

// Sign makes the tokens of seats, in their order. To sign many at once costs less than one after the other.
func (s *SeatSigner) Sign(seats ...Seat) ([]Tokens, error) {
	claims := make([]token.Claims, len(seats))
	for i, seat := range seats {
		claims[i] = token.Claims{
			Issuer: s.issuer, Subject: seat.Participant, IssuedAt: s.now, TenantID: string(s.tenant.ID),
			RoomID: seat.RoomID, RoomName: seat.RoomName, Name: seat.Name, ExternalUserID: seat.ExternalUserID,
			Role: seat.Role, Grants: s.tenant.Settings.Roles[seat.Role].Strings(),
		}
	}
	tokens, err := s.signer.SignSeats(claims, s.access, s.refresh)
	if err != nil {
		return nil, usher.Internal(err, "sign for %d participants of %s", len(seats), s.tenant.ID)
	}
	s.service.metrics.sign(s.algorithm, 3*len(seats))
	return tokens, nil
}

// atMost is the lifetime of a token that is signed now: a token does not outlive its key, even where the tenant has made
// its tokens' lifetimes longer since the key's end was fixed.
func (k *SigningKey) atMost(now time.Time, lifetime time.Duration) time.Duration {
	if k.NotAfter.IsZero() {
		return lifetime
	}
	return max(time.Second, min(lifetime, k.NotAfter.Sub(now)))
}

// Issuer is the iss of the tenant's tokens, and the URL below which its public keys are found.
func (s *Service) Issuer(id ID) string { return s.issuerURL + "/api/v1/tenants/" + string(id) }

// VerifyToken says what a participant's token says, when it is one of the audiences' and genuine. Whether the
// participant is still in the room is not asked here.
func (s *Service) VerifyToken(compact string, audiences ...token.Audience) (token.Claims, Tenant, error) {
	claims, owner, alg, err := s.verify(compact, audiences)
	s.metrics.verify(alg, err)
	return claims, owner, err
}

// verify also says the algorithm of the token's key, when there is one.
func (s *Service) verify(compact string, audiences []token.Audience) (claims token.Claims, owner Tenant, alg token.Algorithm, err error) {
	snapshot := s.log.Snapshot()
	unverified, err := token.Parse(compact)
	if err != nil {
		return claims, owner, "", err
	}
	id := ID(unverified.TenantID())
	found, unknown := Find(snapshot, id)
	key, ok := SigningKeys.Get(snapshot, signingKeyPath(id, unverified.KID()))
	if unknown != nil || !ok {
		return claims, owner, "", usher.Errorf(usher.CodeInvalidToken, "The token was signed by a key that is not known here.")
	}
	alg = key.Value.Algorithm
	said, err := unverified.Verify(key.Value.Public, token.Expect{
		Issuer: s.Issuer(id), TenantID: string(id), Audiences: audiences, Now: s.now(), Leeway: clockSkew,
	})
	if err != nil {
		return claims, owner, alg, err
	}
	if key.Value.State(s.now()) == KeyRetired { // all it has signed has expired, so somebody else has signed this
		return claims, owner, alg, usher.Errorf(usher.CodeInvalidToken, "The token's key is no longer in use.")
	}
	if found.Status == StatusSuspended {
		return claims, owner, alg, ErrSuspended()
	}
	return said, found, alg, nil
}
