package token

import (
	"encoding/base64"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jws"

	"usher"
)

// now is when every test takes place.
var now = time.Date(2026, 1, 6, 10, 0, 0, 0, time.UTC)

var everyAlgorithm = []Algorithm{EdDSA, ES256, RS256}

// seat is an ordinary seat; tests change what they are about.
func seat() Claims {
	return Claims{
		Issuer:         "https://usher.example/api/v1/tenants/tenant_01h2xcejqtf2nbrexx3vqjhp41",
		Subject:        "p_01h455vb4pex5vsknk084sn02q",
		IssuedAt:       now,
		NotBefore:      now,
		TenantID:       "tenant_01h2xcejqtf2nbrexx3vqjhp41",
		RoomID:         "room_01h455vb4pex5vsknk084sn02r",
		RoomName:       "CS101 Lecture",
		Name:           "John Doe",
		ExternalUserID: "user_123",
		Role:           "participant",
		Grants:         []string{"publish", "subscribe"},
	}
}

// mediaClaims are those of a seat's media token.
func mediaClaims() Claims {
	c := seat()
	c.Audience, c.ID, c.ExpiresAt = AudienceMedia, "jti-1", now.Add(time.Hour)
	return c
}

// expected is what a token of mediaClaims meets, a minute after it was issued.
func expected() Expect {
	return Expect{
		Issuer:    seat().Issuer,
		TenantID:  seat().TenantID,
		Audiences: []Audience{AudienceMedia},
		Now:       now.Add(time.Minute),
	}
}

func newKey(t testing.TB, alg Algorithm) *SigningKey {
	t.Helper()
	key, err := GenerateKey(alg)
	if err != nil {
		t.Fatalf("generate %s key: %v", alg, err)
	}
	return key
}

func newSigner(t testing.TB, key *SigningKey) *Signer {
	t.Helper()
	signer, err := NewSigner(key)
	if err != nil {
		t.Fatalf("signer: %v", err)
	}
	return signer
}

func sign(t testing.TB, key *SigningKey, c Claims) string {
	t.Helper()
	compact, err := newSigner(t, key).Sign(c)
	if err != nil {
		t.Fatalf("sign: %v", err)
	}
	return compact
}

// forge signs any header and any claims with key, as somebody would who has got hold of it.
func forge(t testing.TB, key *SigningKey, header, claims string) string {
	t.Helper()
	signer, err := jws.NewSigner(jwa.SignatureAlgorithm(key.Algorithm()))
	if err != nil {
		t.Fatal(err)
	}
	input := encode(header) + "." + encode(claims)
	signature, err := signer.Sign([]byte(input), key.secret())
	if err != nil {
		t.Fatal(err)
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func encode(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func header(key *SigningKey, typ string) string {
	return `{"alg":"` + string(key.Algorithm()) + `","kid":"` + key.KID() + `","typ":"` + typ + `"}`
}

func claimsJSON(c Claims) string { return string(c.appendOwn(c.appendShared(nil))) }

func verify(compact string, key PublicKey, want Expect) (Claims, error) {
	unverified, err := Parse(compact)
	if err != nil {
		return Claims{}, err
	}
	return unverified.Verify(key, want)
}

// mustRefuse fails unless the token is refused with the code.
func mustRefuse(t *testing.T, compact string, key PublicKey, want Expect, code usher.Code) {
	t.Helper()
	claims, err := verify(compact, key, want)
	if err == nil {
		t.Fatalf("accepted: %s\n%+v", compact, claims)
	}
	if !usher.HasCode(err, code) {
		t.Fatalf("refused with %v, want code %s", err, code)
	}
}
