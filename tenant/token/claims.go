package token

import (
	"fmt"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Audience is whom a token is for, its aud.
type Audience string

// The audiences. A seat has one token for each of the first three.
const (
	AudienceMedia   Audience = "media"   // the media servers: the seat's access_token
	AudienceAPI     Audience = "api"     // Usher's own API: the seat's auth_token
	AudienceRefresh Audience = "refresh" // Usher's token route only: the seat's refresh_token
	AudienceService Audience = "service" // Usher's own API: a short-lived stand-in for an API key
)

// typ is the header's typ that goes with the audience, and "" for an audience that is none. Each kind of token has a type
// of its own, so that even a verifier that forgets to look at aud cannot take one for another (RFC 8725, sections 3.11
// and 3.12). The media token is an access token in the sense of RFC 9068, which names its type; the type "JWT" says
// nothing and is not used.
func (a Audience) typ() string {
	switch a {
	case AudienceMedia:
		return "at+jwt"
	case AudienceAPI:
		return "api+jwt"
	case AudienceRefresh:
		return "refresh+jwt"
	case AudienceService:
		return "service+jwt"
	}
	return ""
}

// Claims are what a token says. Times are in whole seconds; a fraction is cut off.
type Claims struct {
	Issuer         string    // iss: the tenant's issuer URL
	Subject        string    // sub: the participant, or the API key
	Audience       Audience  // aud: exactly one, as a plain string
	ID             string    // jti
	IssuedAt       time.Time // iat
	NotBefore      time.Time // nbf
	ExpiresAt      time.Time // exp
	TenantID       string    // tenant_id
	Scope          string    // scope: of a service token, and of no other; separated by spaces
	RoomID         string    // room_id: of a seat's token, as is all that follows
	RoomName       string    // room_name
	Name           string    // name: what others in the room see
	ExternalUserID string    // external_user_id: left out when empty
	Role           string    // role
	Grants         []string  // grants: e.g. publish, subscribe
}

// maxNumericDate is the end of the year 9999, the last moment that RFC 3339 can write. Times beyond it would overflow.
const maxNumericDate = 253402300799

// check says what a token of these claims would lack. Sign refuses to make what Verify would refuse to take, so both ask
// here.
func (c *Claims) check() error {
	for _, required := range [...]struct{ name, value string }{
		{"iss", c.Issuer}, {"sub", c.Subject}, {"jti", c.ID}, {"tenant_id", c.TenantID}, {"room_id", c.RoomID},
	} {
		if required.value == "" && (required.name != "room_id" || c.Audience != AudienceService) {
			return fmt.Errorf("has no %s", required.name)
		}
	}
	for _, date := range [...]struct {
		name  string
		value time.Time
	}{{"iat", c.IssuedAt}, {"nbf", c.NotBefore}, {"exp", c.ExpiresAt}} {
		if seconds := date.value.Unix(); seconds <= 0 || seconds > maxNumericDate {
			return fmt.Errorf("has no sensible %s", date.name)
		}
	}
	if c.Audience.typ() == "" {
		return fmt.Errorf("has an aud that is none of %s, %s, %s, %s", AudienceMedia, AudienceAPI, AudienceRefresh, AudienceService)
	}
	return nil
}

// appendShared appends the claims that the tokens of one seat have in common, or those of a service, as an object that is
// still open.
func (c *Claims) appendShared(dst []byte) []byte {
	dst = append(dst, `{"iss":`...)
	dst = appendString(dst, c.Issuer)
	dst = append(dst, `,"sub":`...)
	dst = appendString(dst, c.Subject)
	dst = append(dst, `,"tenant_id":`...)
	dst = appendString(dst, c.TenantID)
	if c.RoomID == "" {
		dst = append(dst, `,"scope":`...)
		return c.appendTimes(appendString(dst, c.Scope))
	}
	dst = append(dst, `,"room_id":`...)
	dst = appendString(dst, c.RoomID)
	dst = append(dst, `,"room_name":`...)
	dst = appendString(dst, c.RoomName)
	dst = append(dst, `,"name":`...)
	dst = appendString(dst, c.Name)
	if c.ExternalUserID != "" {
		dst = append(dst, `,"external_user_id":`...)
		dst = appendString(dst, c.ExternalUserID)
	}
	dst = append(dst, `,"role":`...)
	dst = appendString(dst, c.Role)
	dst = append(dst, `,"grants":[`...)
	for i, grant := range c.Grants {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, grant)
	}
	return c.appendTimes(append(dst, ']'))
}

func (c *Claims) appendTimes(dst []byte) []byte {
	dst = append(dst, `,"iat":`...)
	dst = strconv.AppendInt(dst, c.IssuedAt.Unix(), 10)
	dst = append(dst, `,"nbf":`...)
	return strconv.AppendInt(dst, c.NotBefore.Unix(), 10)
}

// appendOwn appends the claims that one token has for itself, and closes the object.
func (c *Claims) appendOwn(dst []byte) []byte {
	dst = append(dst, `,"exp":`...)
	dst = strconv.AppendInt(dst, c.ExpiresAt.Unix(), 10)
	dst = append(dst, `,"aud":`...)
	dst = appendString(dst, string(c.Audience))
	dst = append(dst, `,"jti":`...)
	dst = appendString(dst, c.ID)
	return append(dst, '}')
}

// appendString appends s as a JSON string. The error would say that s is not valid UTF-8; what is not has been replaced by
// U+FFFD then, so the JSON is valid whatever s is.
func appendString(dst []byte, s string) []byte {
	dst, _ = jsontext.AppendQuote(dst, s)
	return dst
}

// wireClaims is how Claims are read.
type wireClaims struct {
	Issuer         string   `json:"iss"`
	Subject        string   `json:"sub"`
	Audience       Audience `json:"aud"`
	ID             string   `json:"jti"`
	IssuedAt       int64    `json:"iat"`
	NotBefore      int64    `json:"nbf"`
	ExpiresAt      int64    `json:"exp"`
	TenantID       string   `json:"tenant_id"`
	Scope          string   `json:"scope"`
	RoomID         string   `json:"room_id"`
	RoomName       string   `json:"room_name"`
	Name           string   `json:"name"`
	ExternalUserID string   `json:"external_user_id"`
	Role           string   `json:"role"`
	Grants         []string `json:"grants"`
}

func (w *wireClaims) claims() Claims {
	return Claims{
		Issuer:         w.Issuer,
		Subject:        w.Subject,
		Audience:       w.Audience,
		ID:             w.ID,
		IssuedAt:       numericDate(w.IssuedAt),
		NotBefore:      numericDate(w.NotBefore),
		ExpiresAt:      numericDate(w.ExpiresAt),
		TenantID:       w.TenantID,
		Scope:          w.Scope,
		RoomID:         w.RoomID,
		RoomName:       w.RoomName,
		Name:           w.Name,
		ExternalUserID: w.ExternalUserID,
		Role:           w.Role,
		Grants:         w.Grants,
	}
}

// numericDate gives the zero time for seconds out of range, which check refuses.
func numericDate(seconds int64) time.Time {
	if seconds <= 0 || seconds > maxNumericDate {
		return time.Time{}
	}
	return time.Unix(seconds, 0).UTC()
}
