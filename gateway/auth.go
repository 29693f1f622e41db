package gateway

import (
	"net/url"
	"strings"

	"usher"
	"usher/participants"
	"usher/tenant"
)

type serviceToken struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   int    `json:"expires_in"`
	Scope       string `json:"scope"` // separated by spaces (RFC 6749, section 3.3)
}

func (g *Gateway) exchangeKey(c *call) (answer, error) {
	if c.caller.credential != apiKey {
		return answer{}, usher.Errorf(usher.CodeForbidden, "Only an API key itself can be exchanged.")
	}
	request, err := decodeOptional[tenant.NewServiceToken](c)
	if err != nil {
		return answer{}, err
	}
	if problems := request.Validate(); len(problems) > 0 { // a body that was left out is completed too
		return answer{}, usher.Invalid(problems...)
	}
	t, err := g.Tenants.ExchangeKey(c.caller.tenant, c.caller.key, request)
	if err != nil {
		return answer{}, err
	}
	scopes := make([]string, len(t.Scopes))
	for i, scope := range t.Scopes {
		scopes[i] = string(scope)
	}
	return ok(serviceToken{AccessToken: t.Compact, TokenType: tokenType, ExpiresIn: int(t.ExpiresIn.Seconds()), Scope: strings.Join(scopes, " ")}), nil
}

// introspection is what is told of a token (RFC 7662, section 2.2). Of one that is not live now nothing is told.
type introspection struct {
	Active         bool     `json:"active"`
	Scope          string   `json:"scope,omitzero"` // of a service token; a seat has grants
	TokenType      string   `json:"token_type,omitzero"`
	Exp            int64    `json:"exp,omitzero"`
	Iat            int64    `json:"iat,omitzero"`
	Nbf            int64    `json:"nbf,omitzero"`
	Sub            string   `json:"sub,omitzero"`
	Aud            string   `json:"aud,omitzero"`
	Iss            string   `json:"iss,omitzero"`
	Jti            string   `json:"jti,omitzero"`
	TenantID       string   `json:"tenant_id,omitzero"`
	RoomID         string   `json:"room_id,omitzero"`
	RoomName       string   `json:"room_name,omitzero"`
	Name           string   `json:"name,omitzero"`
	ExternalUserID string   `json:"external_user_id,omitzero"`
	Role           string   `json:"role,omitzero"`
	Grants         []string `json:"grants,omitempty"`
}

func (g *Gateway) introspect(c *call) (answer, error) {
	body, err := bodyOf(c, "application/x-www-form-urlencoded")
	if err != nil {
		return answer{}, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return answer{}, usher.Errorf(usher.CodeInvalidRequest, "The body is not a form.")
	}
	compact := form.Get("token")
	if compact == "" {
		return answer{}, usher.Invalid(usher.FieldError{Field: "token", Message: "is required"})
	}
	return ok(introspectionOf(g.Participants.Introspect(c.caller.tenant.ID, compact))), nil
}

func introspectionOf(i participants.Introspection) introspection {
	if !i.Live {
		return introspection{}
	}
	cl := i.Claims
	return introspection{
		Active: true, Scope: cl.Scope, TokenType: tokenType, Exp: cl.ExpiresAt.Unix(), Iat: cl.IssuedAt.Unix(), Nbf: cl.NotBefore.Unix(),
		Sub: cl.Subject, Aud: string(cl.Audience), Iss: cl.Issuer, Jti: cl.ID, TenantID: cl.TenantID, RoomID: cl.RoomID,
		RoomName: cl.RoomName, Name: cl.Name, ExternalUserID: cl.ExternalUserID, Role: cl.Role, Grants: i.Grants.Strings(),
	}
}
