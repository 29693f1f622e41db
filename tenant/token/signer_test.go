package token

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"pgregory.net/rapid"
)

func TestSignedTokenVerifies(t *testing.T) {
	t.Parallel()
	for _, alg := range everyAlgorithm {
		t.Run(string(alg), func(t *testing.T) {
			t.Parallel()
			key := newKey(t, alg)
			got, err := verify(sign(t, key, mediaClaims()), key.Public(), expected())
			if err != nil {
				t.Fatal(err)
			}
			if want := mediaClaims(); !reflect.DeepEqual(got, want) {
				t.Errorf("verified %+v\nwant     %+v", got, want)
			}
		})
	}
}

func TestSeatTokensVerifyWithAnotherLibrary(t *testing.T) {
	t.Parallel()
	for _, alg := range everyAlgorithm {
		t.Run(string(alg), func(t *testing.T) {
			t.Parallel()
			key := newKey(t, alg)
			var set jose.JSONWebKeySet
			if err := json.Unmarshal(JWKS(newKey(t, EdDSA).Public(), key.Public()), &set); err != nil {
				t.Fatal(err)
			}
			tokens, err := newSigner(t, key).SignSeat(seat(), time.Hour, 24*time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			for compact, wantType := range map[string]string{
				tokens.Media: "at+jwt", tokens.API: "api+jwt", tokens.Refresh: "refresh+jwt",
			} {
				parsed, err := jose.ParseSignedCompact(compact, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(alg)})
				if err != nil {
					t.Fatal(err)
				}
				header := parsed.Signatures[0].Protected
				if header.ExtraHeaders[jose.HeaderType] != wantType {
					t.Errorf("typ is %v, want %s", header.ExtraHeaders[jose.HeaderType], wantType)
				}
				if _, err := parsed.Verify(set.Key(header.KeyID)[0]); err != nil {
					t.Errorf("%s: %v", wantType, err)
				}
			}
		})
	}
}

func TestClaimsOnTheWire(t *testing.T) {
	t.Parallel()
	const want = `{"iss":"https://usher.example/api/v1/tenants/tenant_01h2xcejqtf2nbrexx3vqjhp41","sub":"p_01h455vb4pex5vsknk084sn02q",` +
		`"tenant_id":"tenant_01h2xcejqtf2nbrexx3vqjhp41","room_id":"room_01h455vb4pex5vsknk084sn02r","room_name":"CS101 Lecture",` +
		`"name":"John Doe","external_user_id":"user_123","role":"participant","grants":["publish","subscribe"],` +
		`"iat":1767693600,"nbf":1767693600,"exp":1767697200,"aud":"media","jti":"jti-1"}`
	c := mediaClaims()
	if got := claimsJSON(c); got != want {
		t.Errorf("claims are %s\nwant       %s", got, want)
	}
	c.ExternalUserID, c.Grants = "", nil
	got := claimsJSON(c)
	if strings.Contains(got, "external_user_id") || !strings.Contains(got, `"grants":[]`) {
		t.Errorf("claims without user and grants are %s", got)
	}
}

func TestSeatTokensAgreeInAllButAudienceExpiryAndID(t *testing.T) {
	t.Parallel()
	key := newKey(t, EdDSA)
	s := seat()
	s.IssuedAt, s.NotBefore = now.Add(789*time.Millisecond), time.Time{}
	tokens, err := newSigner(t, key).SignSeat(s, time.Hour, 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if !tokens.AccessExpiresAt.Equal(now.Add(time.Hour)) || !tokens.RefreshExpiresAt.Equal(now.Add(24*time.Hour)) {
		t.Errorf("expiries are %v and %v", tokens.AccessExpiresAt, tokens.RefreshExpiresAt)
	}
	seen := make(map[string]bool)
	for _, test := range []struct {
		compact   string
		audience  Audience
		expiresAt time.Time
	}{
		{tokens.Media, AudienceMedia, tokens.AccessExpiresAt},
		{tokens.API, AudienceAPI, tokens.AccessExpiresAt},
		{tokens.Refresh, AudienceRefresh, tokens.RefreshExpiresAt},
	} {
		want := expected()
		want.Audiences = []Audience{test.audience}
		got, err := verify(test.compact, key.Public(), want)
		if err != nil {
			t.Fatalf("%s: %v", test.audience, err)
		}
		if len(got.ID) != 22 || seen[got.ID] {
			t.Errorf("%s: jti %q is not new or not of 128 bits", test.audience, got.ID)
		}
		seen[got.ID] = true
		wantClaims := seat()
		wantClaims.Audience, wantClaims.ExpiresAt, wantClaims.ID = test.audience, test.expiresAt, got.ID
		if !reflect.DeepEqual(got, wantClaims) {
			t.Errorf("%s: verified %+v\nwant     %+v", test.audience, got, wantClaims)
		}
	}
}

func TestTokenWithoutIDGetsANewOne(t *testing.T) {
	t.Parallel()
	key := newKey(t, EdDSA)
	c := mediaClaims()
	c.ID = ""
	seen := make(map[string]bool)
	for range 100 {
		got, err := verify(sign(t, key, c), key.Public(), expected())
		if err != nil {
			t.Fatal(err)
		}
		if len(got.ID) != 22 || seen[got.ID] {
			t.Fatalf("jti %q is not new or not of 128 bits", got.ID)
		}
		seen[got.ID] = true
	}
}

func TestIncompleteTokenIsNotSigned(t *testing.T) {
	t.Parallel()
	signer := newSigner(t, newKey(t, EdDSA))
	for _, test := range []struct {
		want   string
		change func(*Claims)
	}{
		{"no iss", func(c *Claims) { c.Issuer = "" }},
		{"no sub", func(c *Claims) { c.Subject = "" }},
		{"no tenant_id", func(c *Claims) { c.TenantID = "" }},
		{"no room_id", func(c *Claims) { c.RoomID = "" }},
		{"no sensible iat", func(c *Claims) { c.IssuedAt = time.Time{} }},
		{"no sensible nbf", func(c *Claims) { c.NotBefore = time.Time{} }},
		{"no sensible exp", func(c *Claims) { c.ExpiresAt = time.Unix(1<<40, 0) }},
		{"an aud", func(c *Claims) { c.Audience = "other" }},
		{"8192 at most", func(c *Claims) { c.RoomName = strings.Repeat("x", 6000) }},
	} {
		c := mediaClaims()
		test.change(&c)
		if compact, err := signer.Sign(c); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("signed %s, error %v, want one with %q", compact, err, test.want)
		}
	}
	if _, err := signer.SignSeat(Claims{}, time.Hour, time.Hour); err == nil {
		t.Error("signed a seat of nobody")
	}
	if _, err := signer.SignSeat(seat(), time.Hour, 0); err == nil {
		t.Error("signed a seat with a refresh token that is dead at once")
	}
}

// Whatever is in a name, the claims are JSON that says just that; bytes that are not UTF-8 become U+FFFD, as in
// encoding/json.
func TestAnyStringSurvivesTheClaims(t *testing.T) {
	t.Parallel()
	key := newKey(t, EdDSA)
	signer := newSigner(t, key)
	text := rapid.OneOf(
		rapid.String(),
		rapid.StringOf(rapid.SampledFrom([]rune("\"\\/\b\f\n\r\t\x00\x1f\x7f<>&'\u2028\u2029\ufffd\ufeff\U0001f600,:{}[]"))),
		rapid.Custom(func(t *rapid.T) string { return string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")) }),
	)
	rapid.Check(t, func(t *rapid.T) {
		c := mediaClaims()
		c.Subject = "p" + text.Draw(t, "sub")
		c.RoomName = text.Draw(t, "room_name")
		c.Name = text.Draw(t, "name")
		c.ExternalUserID = text.Draw(t, "external_user_id")
		c.Role = text.Draw(t, "role")
		c.Grants = rapid.SliceOfN(text, 0, 4).Draw(t, "grants")

		var decoded struct {
			Sub            string   `json:"sub"`
			RoomName       string   `json:"room_name"`
			Name           string   `json:"name"`
			ExternalUserID string   `json:"external_user_id"`
			Role           string   `json:"role"`
			Grants         []string `json:"grants"`
		}
		if err := json.Unmarshal([]byte(claimsJSON(c)), &decoded); err != nil {
			t.Fatalf("claims are not JSON: %v\n%s", err, claimsJSON(c))
		}
		want := []string{c.Subject, c.RoomName, c.Name, c.ExternalUserID, c.Role}
		got := []string{decoded.Sub, decoded.RoomName, decoded.Name, decoded.ExternalUserID, decoded.Role}
		want, got = append(want, c.Grants...), append(got, decoded.Grants...)
		if !reflect.DeepEqual(got, throughEncodingJSON(t, want)) {
			t.Fatalf("claims say %q, want %q", got, want)
		}

		compact, err := signer.Sign(c)
		if err != nil {
			return // too long: TestIncompleteTokenIsNotSigned
		}
		verified, err := verify(compact, key.Public(), expected())
		if err != nil {
			t.Fatal(err)
		}
		if verified.Name != decoded.Name || verified.RoomName != decoded.RoomName || verified.Subject != decoded.Sub {
			t.Fatalf("verified %+v, want %+v", verified, decoded)
		}
	})
}

func throughEncodingJSON(t *rapid.T, in []string) (out []string) {
	encoded, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(encoded, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestOneSignerServesManyAtOnce(t *testing.T) {
	t.Parallel()
	key := newKey(t, EdDSA)
	signer := newSigner(t, key)
	for range 8 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			for range 50 {
				tokens, err := signer.SignSeat(seat(), time.Hour, time.Hour)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := verify(tokens.Media, key.Public(), expected()); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}
