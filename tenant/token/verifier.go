package token

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"usher"
)

// maxKIDLength is far above what a thumbprint needs. It keeps a stranger's kid from becoming a long key to look up.
const maxKIDLength = 128

// Unverified is a token that is well formed and of which nothing else is known: anybody may have written it. It says only
// what is needed to find the key; the rest comes out of Verify.
type Unverified struct {
	redacted
	header    wireHeader
	claims    Claims
	signed    []byte // header and claims as sent, and the dot between: what the signature is over (RFC 7515, section 5.1)
	signature []byte
}

// wireHeader is how a token's header is read. What is not named here is never looked at: jwk, jku, x5c and x5u would let
// a token bring its own key.
type wireHeader struct {
	Algorithm Algorithm      `json:"alg"`
	KID       string         `json:"kid"`
	Type      string         `json:"typ"`
	Critical  jsontext.Value `json:"crit"`
	Unencoded jsontext.Value `json:"b64"`
}

// Parse reads a token in compact form without believing it. Errors are *usher.Error with usher.CodeInvalidToken.
func Parse(compact string) (Unverified, error) {
	if len(compact) > MaxTokenBytes {
		return Unverified{}, invalid("the token is longer than %d bytes", MaxTokenBytes)
	}
	header, rest, _ := strings.Cut(compact, ".")
	claims, signature, _ := strings.Cut(rest, ".")
	if header == "" || claims == "" || signature == "" || strings.Contains(signature, ".") {
		return Unverified{}, invalid("the token is not a JWT: want three parts with dots between")
	}

	var u Unverified
	var wire wireClaims
	var err error
	if err = decodeJSON(header, &u.header); err != nil {
		return Unverified{}, unreadable("header", err)
	}
	if err = u.header.check(); err != nil {
		return Unverified{}, err
	}
	if err = decodeJSON(claims, &wire); err != nil {
		return Unverified{}, unreadable("claims", err)
	}
	if wire.TenantID == "" {
		return Unverified{}, invalid("the token has no tenant_id")
	}
	if u.signature, err = decodeBase64(signature); err != nil {
		return Unverified{}, invalid("the token's signature is not base64url")
	}
	u.claims = wire.claims()
	u.signed = []byte(compact[:len(header)+1+len(claims)])
	return u, nil
}

func (h *wireHeader) check() error {
	if _, err := ParseAlgorithm(string(h.Algorithm)); err != nil { // "none" and HMAC end here
		return invalid("the token's alg is not one of %s, %s, %s", EdDSA, ES256, RS256)
	}
	// RFC 7515, section 4.1.11: who does not understand an extension named in crit must refuse the token. None is
	// understood here; RFC 7797's b64 is the one that would change what the signature covers.
	if h.Critical != nil || h.Unencoded != nil {
		return invalid("the token's header has a crit or b64 parameter, and none is supported")
	}
	if !saneKID(h.KID) {
		return invalid("the token's kid is missing or not a key id")
	}
	return nil
}

// saneKID lets only base64url through, which our kids are: a kid goes into a look-up before anything is verified, and
// must not be a path, a pattern or a line break there (RFC 8725, section 3.10).
func saneKID(kid string) bool {
	if kid == "" || len(kid) > maxKIDLength {
		return false
	}
	for i := range len(kid) {
		switch c := kid[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}

// KID names the key that the token claims to be signed with.
func (u Unverified) KID() string { return u.header.KID }

// Algorithm is what the token claims to be signed with. It is one of ours; whether it is the key's, Verify decides.
func (u Unverified) Algorithm() Algorithm { return u.header.Algorithm }

// Audience is whom the token claims to be for.
func (u Unverified) Audience() Audience { return u.claims.Audience }

// TenantID is the tenant that the token claims to belong to. It is not empty, and may be anything else.
func (u Unverified) TenantID() string { return u.claims.TenantID }

// Expect is what a token has to be. Nothing in it is optional but Leeway: an empty Issuer, TenantID or Audiences is met
// by no token.
type Expect struct {
	Issuer    string
	TenantID  string
	Audiences []Audience    // any of them
	Now       time.Time     // the time to judge exp, nbf and iat by
	Leeway    time.Duration // how far the issuer's clock may be off; zero means not at all
}

// Verify believes the token if it is signed with key and is what want says. The error is an *usher.Error with
// usher.CodeTokenExpired when that it has expired is all that is wrong with it, else with usher.CodeInvalidToken. That its
// seat still exists is for the caller to find out.
func (u Unverified) Verify(key PublicKey, want Expect) (Claims, error) {
	// The key decides the algorithm, not the token (RFC 8725, section 3.1).
	if u.header.KID != key.KID() || u.header.Algorithm != key.Algorithm() {
		return Claims{}, invalid("the token's kid and alg are not those of its key")
	}
	if !key.verifies(u.signed, u.signature) {
		return Claims{}, invalid("the token's signature does not match")
	}
	if err := want.check(u.header.Type, &u.claims); err != nil {
		return Claims{}, err
	}
	return u.claims, nil
}

func quoted(audiences []Audience) string {
	texts := make([]string, len(audiences))
	for i, a := range audiences {
		texts[i] = strconv.Quote(string(a))
	}
	return strings.Join(texts, " or ")
}

// check judges the claims of a token whose signature is good.
func (want Expect) check(typ string, c *Claims) error {
	if err := c.check(); err != nil {
		return invalid("the token %v", err)
	}
	switch {
	case c.Issuer != want.Issuer:
		return invalid("the token is from another issuer")
	case c.TenantID != want.TenantID:
		return invalid("the token belongs to another tenant")
	case !slices.Contains(want.Audiences, c.Audience):
		return invalid("the token is for the audience %q; one for %s is taken here", c.Audience, quoted(want.Audiences))
	case typ != c.Audience.typ():
		return invalid("the token's typ does not go with its audience %q", c.Audience)
	case want.Now.Add(want.Leeway).Before(c.IssuedAt):
		return invalid("the token was issued in the future, at %s", c.IssuedAt.Format(time.RFC3339))
	case want.Now.Add(want.Leeway).Before(c.NotBefore):
		return invalid("the token is not valid before %s", c.NotBefore.Format(time.RFC3339))
	case !want.Now.Add(-want.Leeway).Before(c.ExpiresAt):
		return usher.Errorf(usher.CodeTokenExpired, "the token expired at %s", c.ExpiresAt.Format(time.RFC3339))
	}
	return nil
}

func invalid(format string, args ...any) error {
	return usher.Errorf(usher.CodeInvalidToken, format, args...)
}

// unreadable keeps the decoder's words for the log: they may quote the token.
func unreadable(part string, err error) error {
	return &usher.Error{
		Code:   usher.CodeInvalidToken,
		Detail: "the token's " + part + " cannot be read: want base64url of a JSON object whose names do not repeat",
		Err:    err,
	}
}
