package gateway

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/netip"
	"slices"
	"strconv"
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
	cost     int          // in ordinary requests, as the caller's limits count it
}

func byAnybody() access              { return access{anybody: true, cost: 1} }
func byOperator() access             { return access{cost: 1} }
func byKey(s tenant.Scope) access    { return access{scope: s, tenantly: true, cost: 1} }
func byAnyKey() access               { return access{anyKey: true, tenantly: true, cost: 1} }
func ofTenant(s tenant.Scope) access { return access{scope: s, byPath: true, cost: 1} }

func (a access) atAnyTime() access {
	a.anyTime = true
	return a
}

func (a access) costing(n int) access {
	a.cost = n
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
	seat       participants.Identity // when it came with a participant's token
	key        tenant.APIKey         // when it came with one, or with a service token in its place
	standing   tenant.Standing       // of the key
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

// authorize finds out who calls, has them pay, and says whether the route is for them. Only then may they wait for the
// revision that they ask for, and are looked at again by what is known then.
func (g *Gateway) authorize(c *call) error {
	if c.route.access.anybody {
		if err := g.chargeVisitor(c); err != nil {
			return err
		}
		_, err := g.catchUp(c, 0)
		return err
	}
	seen := g.Log.Revision() // at least, by what follows
	failure := g.authenticate(c)
	err := g.chargeFor(c, failure)
	if err == nil && (failure == nil || g.unknownYet(c, seen)) {
		var newer bool
		if newer, err = g.catchUp(c, seen); newer {
			stranger := failure != nil
			if failure = g.authenticate(c); failure == nil && stranger {
				err = g.charge(c, c.route.access.cost)
			}
		}
	}
	if failure == nil && err == nil {
		failure = g.permit(c)
	}
	g.metrics.authorized(c.caller.credential, failure)
	if err != nil {
		return err
	}
	return failure
}

// chargeFor has the caller pay, or its address if the credential is not valid.
func (g *Gateway) chargeFor(c *call, failure error) error {
	if failure != nil {
		return g.chargeStranger(c, failure)
	}
	return g.charge(c, c.route.access.cost)
}

// authenticate finds out who calls.
func (g *Gateway) authenticate(c *call) error {
	c.caller = caller{credential: noCredential}
	given, err := credentialOf(c)
	if err != nil {
		return err
	}
	switch {
	case tenant.IsAPIKey(given): // no operator's key begins so
		c.caller.credential = apiKey
		return g.authenticateKey(c, given)
	case g.isOperator(given):
		c.caller.credential = operatorKey
		return nil
	case tenant.IsServiceToken(given):
		c.caller.credential = serviceJWT
		return c.came(g.Tenants.AuthenticateService(given, func() netip.Addr { return g.address(c) }))
	case strings.Count(given, ".") == 2:
		c.caller.credential = seatJWT
		return g.authenticateSeat(c, given)
	}
	return usher.Errorf(usher.CodeUnauthenticated, "The credential is not one of ours.")
}

// permit says whether the route is for the caller.
func (g *Gateway) permit(c *call) error {
	switch c.caller.credential {
	case operatorKey:
		return g.permitOperator(c)
	case seatJWT:
		return g.permitSeat(c)
	default:
		return c.permitKey()
	}
}

// unknownYet says whether a credential that was refused by what was seen may be valid by what the caller asks to be seen: it
// is well-formed, and made by a key, or for a participant, that is not in the index. Whose signature is wrong has nothing to wait for.
func (g *Gateway) unknownYet(c *call, seen int64) bool {
	wanted, err := strconv.ParseInt(c.Header.Get("Usher-Min-Revision"), 10, 64)
	if err != nil || wanted <= seen {
		return false
	}
	given, _ := credentialOf(c)
	switch c.caller.credential {
	case apiKey:
		_, ok := tenant.ParseAPIKey(given)
		return ok
	case serviceJWT, seatJWT:
		unverified, err := token.Parse(given)
		if err != nil {
			return false
		}
		known, err := g.Tenants.ListSigningKeys(tenant.ID(unverified.TenantID()))
		if err != nil || !slices.ContainsFunc(known, func(k tenant.SigningKey) bool { return k.KID == unverified.KID() }) {
			return true
		}
		_, _, err = g.Tenants.VerifyToken(given, token.AudienceAPI, token.AudienceRefresh, token.AudienceService)
		return err == nil
	default:
		return false
	}
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

func (g *Gateway) permitOperator(c *call) error {
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

func (g *Gateway) authenticateKey(c *call, credential string) error {
	secret, ok := tenant.ParseAPIKey(credential)
	if !ok {
		return usher.Errorf(usher.CodeUnauthenticated, "The API key is mistyped or cut off: its checksum does not match.")
	}
	return c.came(g.Tenants.Authenticate(secret, func() netip.Addr { return g.address(c) }))
}

// came notes for whom the call is made, unless the key is not valid here: then it is nobody's.
func (c *call) came(key tenant.APIKey, owner tenant.Tenant, standing tenant.Standing, err error) error {
	if err == nil {
		c.caller.key, c.caller.tenant, c.caller.standing = key, owner, standing
	}
	return err
}

// permitKey says whether the route is for the API key, or for a service token in its place, within the token's scopes.
func (c *call) permitKey() error {
	key, owner := c.caller.key, c.caller.tenant.ID
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
	if id, err := c.segment("id"); err != nil || id != string(owner) {
		return errNoTenant()
	}
	return nil
}

func errNoTenant() error {
	return usher.Errorf(usher.CodeTenantNotFound, "There is no tenant of this id.")
}

// authenticateSeat finds the participant that a token speaks for. On a route for its own seat it may have left.
func (g *Gateway) authenticateSeat(c *call, credential string) error {
	authenticate, audiences := g.Participants.Authenticate, access{}.audiences()
	if c.route != nil {
		audiences = c.route.access.audiences()
		if c.route.access.own {
			authenticate = g.Participants.AuthenticateGone
		}
	}
	who, err := authenticate(credential, audiences...)
	if err != nil {
		return err
	}
	c.caller.tenant, c.caller.seat = who.Tenant, who
	return nil
}

// permitSeat lets a participant's own token in. Whether the path's room exists makes no difference to a token of another
// room.
func (g *Gateway) permitSeat(c *call) error {
	a, by := c.route.access, &c.caller
	if !a.seat || (a.grant != "" && !by.seat.Grants.Has(a.grant)) {
		return usher.Errorf(usher.CodeForbidden, "A participant's token of this role may not do this.")
	}
	ref, err := c.room()
	if err != nil {
		return err
	}
	if room, err := g.Rooms.Get(by.tenant.ID, ref); err != nil || room.ID != by.seat.Room {
		return usher.Errorf(usher.CodeForbidden, "The token is for another room.")
	}
	if pid, _ := c.segment("pid"); a.own && pid != string(by.seat.Participant) {
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
