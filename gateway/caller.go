package gateway

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/netip"
	"strings"

	"usher"
	"usher/participants"
	"usher/rooms"
	"usher/tenant"
	"usher/tenant/token"
)

// access says who may take a route. The operator may take every one.
type access struct {
	anybody  bool
	anyTime  bool         // the answer does not come from the index, so its state does not matter
	scope    tenant.Scope // that an API key needs; "" lets none in
	byPath   bool         // the tenant is the one in the path, and an API key must be its own
	tenantly bool         // the route is about one tenant's things: the operator has to say whose
	seat     bool         // a participant's auth_token is let in, in its own room
	grant    tenant.Grant // that the participant's role then needs; "" for none
	anyKey   bool         // an API key is let in whatever its scopes
	own      bool         // its token is let in for its own seat only, and also when it has left
	refresh  bool         // its refresh_token is let in too
}

func byAnybody() access              { return access{anybody: true} }
func byOperator() access             { return access{} }
func byKey(s tenant.Scope) access    { return access{scope: s, tenantly: true} }
func byAnyKey() access               { return access{anyKey: true, tenantly: true} }
func ofTenant(s tenant.Scope) access { return access{scope: s, byPath: true} }

func (a access) atAnyTime() access {
	a.anyTime = true
	return a
}

func (a access) orSeat(g tenant.Grant) access {
	a.seat, a.grant = true, g
	return a
}

func (a access) orOwnSeat() access {
	a.seat, a.own = true, true
	return a
}

func (a access) orRefreshToken() access {
	a.refresh = true
	return a
}

// audiences are the kinds of participants' tokens that the route takes.
func (a access) audiences() []token.Audience {
	if a.refresh {
		return []token.Audience{token.AudienceAPI, token.AudienceRefresh}
	}
	return []token.Audience{token.AudienceAPI}
}

// caller is on whose behalf a call is made.
type caller struct {
	tenant     tenant.Tenant // zero for the operator on routes that are about no tenant
	credential credential
	key        tenant.APIKey // when it came with one, or with a service token in its place
	standing   tenant.Standing
	identity   participants.Identity // when it came with a participant's token
}

// credential is a kind of credential, as metrics name it.
type credential string

const (
	operatorKey  credential = "operator_key"
	apiKey       credential = "api_key"
	serviceJWT   credential = "service_token"
	seatJWT      credential = "participant_token"
	noCredential credential = "none" // or none of ours
)

// actor is the caller as the audit log names it.
func (c *call) actor() tenant.Actor {
	key := c.caller.key
	if c.caller.credential == operatorKey {
		return tenant.Actor{By: tenant.ByOperator, RequestID: c.id}
	}
	return tenant.Actor{By: string(key.ID), RequestID: c.id, Key: key.ID, Scopes: key.Scopes, ExpiresAt: key.ExpiresAt, CIDRs: key.CIDRs}
}

// authorize finds out who calls and whether the route is for them.
func (g *Gateway) authorize(c *call) error {
	if c.route.access.anybody {
		return nil
	}
	c.caller.credential = noCredential
	err := g.authenticate(c)
	g.metrics.authorized(c.caller.credential, err)
	return err
}

func (g *Gateway) authenticate(c *call) error {
	given, err := credentialOf(c)
	if err != nil {
		return err
	}
	switch {
	case tenant.IsAPIKey(given): // no operator's key begins so
		c.caller.credential = apiKey
		return g.authorizeKey(c, given)
	case g.isOperator(given):
		c.caller.credential = operatorKey
		return g.authorizeOperator(c)
	case tenant.IsServiceToken(given):
		c.caller.credential = serviceJWT
		return g.authorizeService(c, given)
	case strings.Count(given, ".") == 2:
		c.caller.credential = seatJWT
		return g.authorizeSeat(c, given)
	}
	return usher.Errorf(usher.CodeUnauthenticated, "The credential is not one of ours.")
}

func credentialOf(c *call) (string, error) {
	if key := c.Header.Get(headerAPIKey); key != "" {
		return key, nil
	}
	scheme, credential, _ := strings.Cut(c.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || credential == "" {
		return "", usher.Errorf(usher.CodeUnauthenticated, "Send an API key as X-API-Key, or a credential as Authorization: Bearer.")
	}
	return strings.TrimSpace(credential), nil
}

// isOperator compares digests, so that the time tells nothing of the key, its length included.
func (g *Gateway) isOperator(credential string) bool {
	got := sha256.Sum256([]byte(credential))
	return subtle.ConstantTimeCompare(g.operator[:], got[:]) == 1
}

// tenantHeader names the tenant for which the operator calls a route that is about one tenant's things.
const tenantHeader = "Usher-Tenant"

func (g *Gateway) authorizeOperator(c *call) error {
	if !c.route.access.tenantly {
		return nil
	}
	given := c.Header.Get(tenantHeader)
	id, ok := tenant.ParseID(given)
	switch {
	case given == "":
		return usher.Invalid(usher.FieldError{Field: tenantHeader, Message: "is required with the operator key: the id of the tenant that the call is for"})
	case !ok:
		return usher.Invalid(usher.FieldError{Field: tenantHeader, Message: "must be a tenant's id, tenant_…"})
	}
	owner, err := g.Tenants.Get(id)
	c.caller.tenant = owner
	return err
}

func (g *Gateway) authorizeKey(c *call, credential string) error {
	secret, ok := tenant.ParseAPIKey(credential)
	if !ok {
		return usher.Errorf(usher.CodeUnauthenticated, "The API key is mistyped or cut off: its checksum does not match.")
	}
	key, owner, standing, err := g.Tenants.Authenticate(secret, func() netip.Addr { return g.address(c) })
	if err != nil {
		return err
	}
	c.caller.standing = standing
	return c.admitKey(owner, key)
}

// authorizeService lets a service token in where its API key would be, within the token's scopes.
func (g *Gateway) authorizeService(c *call, credential string) error {
	key, owner, standing, err := g.Tenants.AuthenticateService(credential, func() netip.Addr { return g.address(c) })
	if err != nil {
		return err
	}
	c.caller.standing = standing
	return c.admitKey(owner, key)
}

// admitKey says whether the route is for the key.
func (c *call) admitKey(owner tenant.Tenant, key tenant.APIKey) error {
	c.caller.tenant, c.caller.key = owner, key
	if scope := c.route.access.scope; c.route.access.anyKey {
		return nil
	} else if scope == "" {
		return usher.Errorf(usher.CodeForbidden, "Only the operator may do this.")
	} else if !key.Has(scope) {
		return usher.Errorf(usher.CodeForbidden, "The API key lacks the scope %s.", scope)
	}
	if !c.route.access.byPath {
		return nil
	}
	if id, err := c.segment("id"); err != nil || id != string(owner.ID) {
		return errNoTenant()
	}
	return nil
}

func errNoTenant() error {
	return usher.Errorf(usher.CodeTenantNotFound, "There is no tenant of this id.")
}

// authorizeSeat lets a participant's own token in. Whether the path's room exists makes no difference to a token of
// another room.
func (g *Gateway) authorizeSeat(c *call, credential string) error {
	a := c.route.access
	authenticate := g.Participants.Authenticate
	if a.own {
		authenticate = g.Participants.AuthenticateGone
	}
	who, err := authenticate(credential, a.audiences()...)
	if err != nil {
		return err
	}
	c.caller.tenant, c.caller.identity = who.Tenant, who
	if !a.seat || (a.grant != "" && !who.Grants.Has(a.grant)) {
		return usher.Errorf(usher.CodeForbidden, "A participant's token of this role may not do this.")
	}
	ref, err := c.room()
	if err != nil {
		return err
	}
	if room, err := g.Rooms.Get(who.Tenant.ID, ref); err != nil || room.ID != who.Room {
		return usher.Errorf(usher.CodeForbidden, "The token is for another room.")
	}
	if pid, _ := c.segment("pid"); a.own && pid != string(who.Participant) {
		return usher.Errorf(usher.CodeForbidden, "The token is for another participant.")
	}
	return nil
}

// room is the room that the path refers to.
func (c *call) room() (rooms.Ref, error) {
	s, err := c.segment("id")
	if err != nil {
		return rooms.Ref{}, err
	}
	ref, refused := rooms.ParseRef(s)
	if refused != nil {
		return rooms.Ref{}, refused
	}
	return ref, nil
}

// participant is the one that the path refers to.
func (c *call) participant() (participants.ID, error) {
	s, err := c.segment("pid")
	if err != nil {
		return "", err
	}
	id, ok := participants.ParseID(s)
	if !ok {
		return "", usher.Errorf(usher.CodeParticipantNotFound, "There is no such participant in this room.")
	}
	return id, nil
}
