package participants

import (
	"usher/tenant"
	"usher/tenant/token"
)

// Introspection is what is known of a token now.
type Introspection struct {
	Live   bool // everything else is zero when it is not
	Claims token.Claims
	Grants tenant.Grants // of a seat's role, by the tenant's settings as they are now
}

// Introspect says whether a token of the tenant is live: genuine, not expired, and its participant in the room; or, of a
// service token, its API key alive. A token of another tenant is as one that is none.
func (s *Service) Introspect(t tenant.ID, compact string) Introspection {
	claims, owner, err := s.tenants.VerifyToken(compact, token.AudienceMedia, token.AudienceAPI, token.AudienceRefresh, token.AudienceService)
	if err != nil || owner.ID != t {
		return Introspection{}
	}
	if claims.Audience == token.AudienceService {
		return Introspection{Live: s.tenants.ServiceTokenLives(owner, claims), Claims: claims}
	}
	who, reason, err := s.identify(compact, []token.Audience{claims.Audience})
	if err != nil || reason != "" {
		return Introspection{}
	}
	return Introspection{Live: true, Claims: claims, Grants: who.Grants}
}
