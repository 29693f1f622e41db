package tenant

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"usher"
	"usher/tenant/token"
)

// NewServiceToken is the request to exchange an API key for a token that ends soon, to be handed to a part of the
// tenant's backend that should not have the key.
type NewServiceToken struct {
	Scopes    []Scope `json:"scopes"`     // of the key's; all of them when none is named
	ExpiresIn int     `json:"expires_in"` // seconds; 0 means defaultServiceToken
}

const (
	leastServiceToken   = time.Minute
	mostServiceToken    = time.Hour
	defaultServiceToken = 15 * time.Minute
)

// Validate lists what is wrong with the request.
func (n *NewServiceToken) Validate() (problems []usher.FieldError) {
	if n.ExpiresIn == 0 {
		n.ExpiresIn = int(defaultServiceToken.Seconds())
	}
	if n.ExpiresIn < int(leastServiceToken/time.Second) || n.ExpiresIn > int(mostServiceToken/time.Second) {
		problems = append(problems, usher.FieldError{Field: "expires_in", Message: "must be between 60 and 3600"})
	}
	return append(problems, checkScopes(n.Scopes)...)
}

// ServiceToken is a token that stands in for an API key.
type ServiceToken struct {
	Compact   string
	ExpiresIn time.Duration
	Scopes    []Scope
}

// ExchangeKey signs a service token for the key. It dies with the key, and ends no later.
func (s *Service) ExchangeKey(owner Tenant, key APIKey, n NewServiceToken) (ServiceToken, error) {
	scopes := n.Scopes
	if len(scopes) == 0 {
		scopes = key.Scopes
	}
	if err := (Actor{Scopes: key.Scopes}).mayGive(scopes); err != nil {
		return ServiceToken{}, err
	}
	now := s.now()
	signing, ok := current(s.log.Snapshot(), owner.ID, now)
	if !ok {
		return ServiceToken{}, usher.Internal(errNoSigningKey, "sign for %s", owner.ID)
	}
	signer, err := s.signer(owner.ID, signing)
	if err != nil {
		return ServiceToken{}, err
	}
	lifetime := signing.atMost(now, s.whileStale(time.Duration(n.ExpiresIn)*time.Second))
	if !key.ExpiresAt.IsZero() {
		lifetime = max(time.Second, min(lifetime, key.ExpiresAt.Sub(now)))
	}
	compact, err := signer.Sign(token.Claims{
		Issuer: s.Issuer(owner.ID), Subject: string(key.ID), Audience: token.AudienceService, IssuedAt: now, NotBefore: now,
		ExpiresAt: now.Add(lifetime), TenantID: string(owner.ID), Scope: joinScopes(scopes),
	})
	if err != nil {
		return ServiceToken{}, usher.Internal(err, "sign for %s", key.ID)
	}
	s.metrics.sign(signing.Algorithm, 1)
	return ServiceToken{Compact: compact, ExpiresIn: lifetime, Scopes: scopes}, nil
}

func joinScopes(scopes []Scope) string {
	names := make([]string, len(scopes))
	for i, scope := range scopes {
		names[i] = string(scope)
	}
	return strings.Join(names, " ")
}

// IsServiceToken says whether a credential means to be a service token.
func IsServiceToken(compact string) bool {
	unverified, err := token.Parse(compact)
	return err == nil && unverified.Audience() == token.AudienceService
}

// AuthenticateService finds the API key that a service token stands in for, with the token's scopes and its end. The key
// must be alive, and be used from where it may.
func (s *Service) AuthenticateService(compact string, from func() netip.Addr) (APIKey, Tenant, Standing, error) {
	claims, owner, err := s.VerifyToken(compact, token.AudienceService)
	if err != nil {
		return APIKey{}, Tenant{}, Standing{}, err
	}
	standing := Standing{until: claims.ExpiresAt}
	var key APIKey
	key, standing.path, err = s.keyOf(owner, claims)
	switch {
	case err != nil:
		return APIKey{}, Tenant{}, Standing{}, err
	case !key.allows(from):
		return APIKey{}, Tenant{}, Standing{}, errNotFromHere(from())
	}
	s.used.note(key, s.now())
	scopes := strings.Fields(claims.Scope)
	key.Scopes = slices.DeleteFunc(slices.Clone(key.Scopes), func(scope Scope) bool { return !slices.Contains(scopes, string(scope)) })
	if ends := usher.At(claims.ExpiresAt); key.ExpiresAt.IsZero() || ends.Before(key.ExpiresAt.Time) {
		key.ExpiresAt = ends
	}
	return key, owner, standing, nil
}

// keyOf is the key that a service token stands in for, while it is alive, and where its record lies.
func (s *Service) keyOf(owner Tenant, claims token.Claims) (key APIKey, path string, err error) {
	snapshot := s.log.Snapshot()
	ref, ok := keyRefs.Get(snapshot, keyRefPath(owner.ID, KeyID(claims.Subject)))
	if !ok {
		return APIKey{}, "", errKeyOfToken()
	}
	if key, _, err = authenticate(snapshot, ref.Value.Hash, s.now()); usher.HasCode(err, usher.CodeUnauthenticated) {
		err = errKeyOfToken()
	}
	return key, ref.Value.Hash, err
}

func errKeyOfToken() error {
	return usher.Errorf(usher.CodeInvalidToken, "The API key of the token has expired or been revoked.")
}

// ServiceTokenLives says whether the API key of a service token is alive.
func (s *Service) ServiceTokenLives(owner Tenant, claims token.Claims) bool {
	_, _, err := s.keyOf(owner, claims)
	return err == nil
}
