package token

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"usher"
)

func TestUnverifiedTokenSaysWhatKeyToLookUp(t *testing.T) {
	t.Parallel()
	key := newKey(t, ES256)
	unverified, err := Parse(sign(t, key, mediaClaims()))
	if err != nil {
		t.Fatal(err)
	}
	if unverified.KID() != key.KID() || unverified.Algorithm() != ES256 || unverified.TenantID() != seat().TenantID {
		t.Errorf("kid %q, alg %s, tenant %q", unverified.KID(), unverified.Algorithm(), unverified.TenantID())
	}
}

// One signed text has one form: a token changed in any one character is refused, also where base64 would be lenient.
func TestTokenChangedAnywhereIsRefused(t *testing.T) {
	t.Parallel()
	for _, alg := range everyAlgorithm {
		t.Run(string(alg), func(t *testing.T) {
			t.Parallel()
			key := newKey(t, alg)
			compact := sign(t, key, mediaClaims())
			for i := range len(compact) {
				mustRefuse(t, flip(compact, i), key.Public(), expected(), usher.CodeInvalidToken)
				mustRefuse(t, compact[:i], key.Public(), expected(), usher.CodeInvalidToken)
			}
			last := compact[len(compact)-1]
			for _, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_" {
				if byte(c) != last {
					mustRefuse(t, compact[:len(compact)-1]+string(c), key.Public(), expected(), usher.CodeInvalidToken)
				}
			}
			for _, wrapped := range []string{compact + "\n", "\n" + compact, compact + "=", " " + compact, compact + ".", compact + ".x", "Bearer " + compact} {
				mustRefuse(t, wrapped, key.Public(), expected(), usher.CodeInvalidToken)
			}
		})
	}
}

func TestPartsOfTwoTokensDoNotMix(t *testing.T) {
	t.Parallel()
	key := newKey(t, EdDSA)
	tokens, err := newSigner(t, key).SignSeat(seat(), time.Hour, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	media, refresh := strings.Split(tokens.Media, "."), strings.Split(tokens.Refresh, ".")
	for _, parts := range [][]string{
		{refresh[0], media[1], media[2]},
		{media[0], refresh[1], media[2]},
		{media[0], media[1], refresh[2]},
		{media[0], refresh[1], refresh[2]},
	} {
		want := expected()
		want.Audiences = []Audience{AudienceMedia, AudienceRefresh}
		mustRefuse(t, strings.Join(parts, "."), key.Public(), want, usher.CodeInvalidToken)
	}
}

// RFC 8725, sections 2.1 and 3.1: the token does not choose how it is verified.
func TestAlgorithmIsTheKeys(t *testing.T) {
	t.Parallel()
	key := newKey(t, EdDSA)
	public := key.Public()
	claims := claimsJSON(mediaClaims())
	withAlg := func(alg string) string {
		return `{"alg":"` + alg + `","kid":"` + key.KID() + `","typ":"at+jwt"}`
	}

	for _, none := range []string{"none", "None", "NONE", "", "nOnE"} {
		unsigned := encode(withAlg(none)) + "." + encode(claims) + "."
		mustRefuse(t, unsigned, public, expected(), usher.CodeInvalidToken)
		mustRefuse(t, unsigned+"AA", public, expected(), usher.CodeInvalidToken)
	}
	for _, secret := range [][]byte{public.check.raw.(ed25519.PublicKey), public.JWK(), []byte(key.KID()), nil} {
		input := encode(withAlg("HS256")) + "." + encode(claims)
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(input))
		mustRefuse(t, input+"."+base64.RawURLEncoding.EncodeToString(mac.Sum(nil)), public, expected(), usher.CodeInvalidToken)
	}
	for _, alg := range []string{"RS256", "ES256", "ES384", "PS256", "eddsa", "Ed25519", "EdDSA\u0000"} {
		mustRefuse(t, forge(t, key, withAlg(alg), claims), public, expected(), usher.CodeInvalidToken)
	}
	for _, alg := range []Algorithm{ES256, RS256} { // signed well, with the kid of another key
		mustRefuse(t, forge(t, newKey(t, alg), withAlg(string(alg)), claims), public, expected(), usher.CodeInvalidToken)
	}
}

func TestAnotherKeyOfTheSameKIDIsRefused(t *testing.T) {
	t.Parallel()
	for _, alg := range everyAlgorithm {
		t.Run(string(alg), func(t *testing.T) {
			t.Parallel()
			ours, theirs := newKey(t, alg), newKey(t, alg)
			theirs.public.kid = ours.KID()
			mustRefuse(t, sign(t, theirs, mediaClaims()), ours.Public(), expected(), usher.CodeInvalidToken)
		})
	}
}

func TestTokenDoesNotBringItsOwnKey(t *testing.T) {
	t.Parallel()
	ours, theirs := newKey(t, EdDSA), newKey(t, EdDSA)
	for _, extra := range []string{
		`"jwk":` + string(theirs.Public().JWK()),
		`"jku":"https://evil.example/jwks.json"`,
		`"x5u":"https://evil.example/cert.pem"`,
	} {
		header := `{"alg":"EdDSA","typ":"at+jwt","kid":"` + ours.KID() + `",` + extra + `}`
		mustRefuse(t, forge(t, theirs, header, claimsJSON(mediaClaims())), ours.Public(), expected(), usher.CodeInvalidToken)
		if _, err := verify(forge(t, ours, header, claimsJSON(mediaClaims())), ours.Public(), expected()); err != nil {
			t.Errorf("%s is to be ignored, not refused (RFC 7515, section 4): %v", extra, err)
		}
	}
}

func TestLookUpWithoutAKeyVerifiesNothing(t *testing.T) {
	t.Parallel()
	key := newKey(t, EdDSA)
	mustRefuse(t, sign(t, key, mediaClaims()), PublicKey{}, expected(), usher.CodeInvalidToken)
	mustRefuse(t, sign(t, key, mediaClaims()), newKey(t, EdDSA).Public(), expected(), usher.CodeInvalidToken)
	mustRefuse(t, sign(t, key, mediaClaims()), PublicKey{kid: key.KID(), alg: EdDSA}, expected(), usher.CodeInvalidToken)
	if _, err := (Unverified{}).Verify(PublicKey{}, Expect{}); err == nil {
		t.Error("nothing verifies with nothing")
	}
}

func TestMalformedTokensAreRefused(t *testing.T) {
	t.Parallel()
	key := newKey(t, EdDSA)
	good, goodClaims := header(key, "at+jwt"), claimsJSON(mediaClaims())
	kid := func(kid string) string {
		encoded, _ := json.Marshal(kid)
		return `{"alg":"EdDSA","typ":"at+jwt","kid":` + string(encoded) + `}`
	}
	with := func(claim string) string { return strings.TrimSuffix(goodClaims, "}") + "," + claim + "}" }
	replace := func(old, new string) string {
		if !strings.Contains(goodClaims, old) {
			t.Fatalf("no %s in %s", old, goodClaims)
		}
		return strings.Replace(goodClaims, old, new, 1)
	}
	for _, test := range []struct{ name, header, claims string }{
		{"header is not an object", `[]`, goodClaims},
		{"header is null", `null`, goodClaims},
		{"header is a string", `"alg"`, goodClaims},
		{"header is empty", ``, goodClaims},
		{"header has text behind it", good + "x", goodClaims},
		{"header twice", good + good, goodClaims},
		{"header is not UTF-8", strings.Replace(good, "at+jwt", "\xff", 1), goodClaims},
		{"header repeats alg", `{"alg":"none",` + good[1:], goodClaims},
		{"header repeats what is ignored", `{"x":{"a":1,"a":1},` + good[1:], goodClaims},
		{"header names alg in capitals", strings.Replace(good, `"alg"`, `"ALG"`, 1), goodClaims},
		{"crit", `{"crit":["exp"],` + good[1:], goodClaims},
		{"crit is empty", `{"crit":[],` + good[1:], goodClaims},
		{"crit is null", `{"crit":null,` + good[1:], goodClaims},
		{"b64", `{"b64":true,` + good[1:], goodClaims},
		{"b64 and crit", `{"b64":false,"crit":["b64"],` + good[1:], goodClaims},
		{"no kid", `{"alg":"EdDSA","typ":"at+jwt"}`, goodClaims},
		{"kid is a number", `{"alg":"EdDSA","typ":"at+jwt","kid":1}`, goodClaims},
		{"kid is empty", kid(""), goodClaims},
		{"kid is a path", kid("../../signing-keys/x"), goodClaims},
		{"kid has a slash", kid(key.KID() + "/x"), goodClaims},
		{"kid has a NUL", kid(key.KID() + "\x00"), goodClaims},
		{"kid has a line break", kid(key.KID() + "\n"), goodClaims},
		{"kid is SQL", kid("' OR 1=1 --"), goodClaims},
		{"kid is not ASCII", kid("clé"), goodClaims},
		{"kid is a pattern", kid("*"), goodClaims},
		{"kid is too long", kid(strings.Repeat("a", 129)), goodClaims},
		{"claims are null", good, `null`},
		{"claims are an array", good, `[]`},
		{"claims are empty", good, ``},
		{"claims have text behind them", good, goodClaims + "x"},
		{"claims repeat exp", good, with(`"exp":99999999999`)},
		{"claims repeat what is ignored", good, with(`"x":1,"x":1`)},
		{"no tenant", good, replace("tenant_id", "TENANT_ID")},
		{"aud is an array", good, replace(`"media"`, `["media"]`)},
		{"exp is a string", good, replace(`"exp":1767697200`, `"exp":"1767697200"`)},
		{"exp is a fraction", good, replace(`"exp":1767697200`, `"exp":1767697200.5`)},
		{"exp is far", good, replace(`"exp":1767697200`, `"exp":9223372036854775807`)},
		{"exp is further", good, replace(`"exp":1767697200`, `"exp":1e300`)},
		{"exp is negative", good, replace(`"exp":1767697200`, `"exp":-1`)},
		{"no exp", good, replace(`"exp"`, `"expires"`)},
		{"no iat", good, replace(`"iat"`, `"issued"`)},
		{"no nbf", good, replace(`"nbf"`, `"from"`)},
		{"nbf would overflow", good, replace(`"nbf":1767693600`, `"nbf":9223372036854775807`)},
		{"no jti", good, replace(`"jti"`, `"id"`)},
		{"no sub", good, replace(`"sub"`, `"user"`)},
		{"no iss", good, replace(`"iss"`, `"from"`)},
		{"no room", good, replace(`"room_id"`, `"room"`)},
		{"no aud", good, replace(`"aud"`, `"for"`)},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			mustRefuse(t, forge(t, key, test.header, test.claims), key.Public(), expected(), usher.CodeInvalidToken)
		})
	}
	if _, err := verify(forge(t, key, good, with(`"unknown":{"a":[1]}`)), key.Public(), expected()); err != nil {
		t.Errorf("an unknown claim is to be ignored (RFC 7519, section 4): %v", err)
	}
}

func TestOversizedTokenIsRefusedUnread(t *testing.T) {
	t.Parallel()
	key := newKey(t, EdDSA)
	c := mediaClaims()
	c.RoomName = strings.Repeat("x", 6000)
	compact := forge(t, key, header(key, "at+jwt"), claimsJSON(c))
	if _, err := Parse(compact); err == nil || !strings.Contains(err.Error(), "longer than 8192 bytes") {
		t.Errorf("error is %v", err)
	}
	deep := strings.Repeat("[", 4000)
	mustRefuse(t, encode(deep)+".AA.AA", key.Public(), expected(), usher.CodeInvalidToken)
}

func TestTokenMustBeWhatIsExpected(t *testing.T) {
	t.Parallel()
	key := newKey(t, EdDSA)
	compact := sign(t, key, mediaClaims())
	for _, test := range []struct {
		name   string
		change func(*Expect)
		want   usher.Code // empty: accepted
		detail string
	}{
		{"as expected", func(*Expect) {}, "", ""},
		{"one of several audiences", func(e *Expect) { e.Audiences = []Audience{AudienceAPI, AudienceMedia} }, "", ""},
		{"another audience", func(e *Expect) { e.Audiences = []Audience{AudienceAPI} }, usher.CodeInvalidToken, `audience "media"`},
		{"no audience", func(e *Expect) { e.Audiences = nil }, usher.CodeInvalidToken, "audience"},
		{"another issuer", func(e *Expect) { e.Issuer = "https://other.example" }, usher.CodeInvalidToken, "another issuer"},
		{"no issuer", func(e *Expect) { e.Issuer = "" }, usher.CodeInvalidToken, "another issuer"},
		{"another tenant", func(e *Expect) { e.TenantID = "tenant_other" }, usher.CodeInvalidToken, "another tenant"},
		{"no tenant", func(e *Expect) { e.TenantID = "" }, usher.CodeInvalidToken, "another tenant"},
		{"no time", func(e *Expect) { e.Now = time.Time{} }, usher.CodeInvalidToken, "issued in the future"},
		{"just issued", func(e *Expect) { e.Now = now }, "", ""},
		{"not yet issued", func(e *Expect) { e.Now = now.Add(-time.Nanosecond) }, usher.CodeInvalidToken, "issued in the future, at 2026-01-06T10:00:00Z"},
		{"not yet issued, within leeway", func(e *Expect) { e.Now, e.Leeway = now.Add(-time.Second), time.Second }, "", ""},
		{"not yet issued, beyond leeway", func(e *Expect) { e.Now, e.Leeway = now.Add(-2*time.Second), time.Second }, usher.CodeInvalidToken, "future"},
		{"last moment", func(e *Expect) { e.Now = now.Add(time.Hour - time.Nanosecond) }, "", ""},
		{"expired this moment", func(e *Expect) { e.Now = now.Add(time.Hour) }, usher.CodeTokenExpired, "expired at 2026-01-06T11:00:00Z"},
		{"expired, within leeway", func(e *Expect) { e.Now, e.Leeway = now.Add(time.Hour), time.Second }, "", ""},
		{"expired, beyond leeway", func(e *Expect) { e.Now, e.Leeway = now.Add(time.Hour+time.Second), time.Second }, usher.CodeTokenExpired, "expired"},
		{"expired long ago", func(e *Expect) { e.Now = now.AddDate(10, 0, 0) }, usher.CodeTokenExpired, "expired"},
		{"expired and another tenant's", func(e *Expect) { e.Now, e.TenantID = now.AddDate(1, 0, 0), "tenant_other" }, usher.CodeInvalidToken, "another tenant"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			want := expected()
			test.change(&want)
			_, err := verify(compact, key.Public(), want)
			if test.want == "" {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			refusal, ok := errors.AsType[*usher.Error](err)
			if !ok || refusal.Code != test.want || !strings.Contains(refusal.Detail, test.detail) {
				t.Fatalf("error is %v, want code %s and a detail with %q", err, test.want, test.detail)
			}
			for _, secret := range []string{want.Issuer, want.TenantID, key.KID()} {
				if secret != "" && strings.Contains(refusal.Detail, secret) {
					t.Errorf("detail tells what was expected: %s", refusal.Detail)
				}
			}
		})
	}
}

func TestTokenIsNotYetValidBeforeItsNotBefore(t *testing.T) {
	t.Parallel()
	key := newKey(t, EdDSA)
	c := mediaClaims()
	c.NotBefore = now.Add(2 * time.Minute)
	mustRefuse(t, sign(t, key, c), key.Public(), expected(), usher.CodeInvalidToken)
	want := expected()
	want.Leeway = time.Minute
	if _, err := verify(sign(t, key, c), key.Public(), want); err != nil {
		t.Errorf("refused within the leeway: %v", err)
	}
}

// RFC 8725, section 2.8: a refresh token is no access token, whatever its aud says, and the other way round.
func TestTypeGoesWithTheAudience(t *testing.T) {
	t.Parallel()
	key := newKey(t, EdDSA)
	types := []string{AudienceMedia.typ(), AudienceAPI.typ(), AudienceRefresh.typ(), "JWT", "jwt", "application/at+jwt", "AT+JWT", ""}
	for _, aud := range []Audience{AudienceMedia, AudienceAPI, AudienceRefresh} {
		for _, typ := range types {
			c := mediaClaims()
			c.Audience = aud
			want := expected()
			want.Audiences = []Audience{AudienceMedia, AudienceAPI, AudienceRefresh}
			compact := forge(t, key, header(key, typ), claimsJSON(c))
			if typ != aud.typ() {
				mustRefuse(t, compact, key.Public(), want, usher.CodeInvalidToken)
			} else if _, err := verify(compact, key.Public(), want); err != nil {
				t.Errorf("%s with aud %s is refused: %v", typ, aud, err)
			}
		}
	}
}

// FuzzParse holds that Parse never panics and that what it lets through is what it promises, judged by encoding/json.
func FuzzParse(f *testing.F) {
	key := newKey(f, EdDSA)
	good := sign(f, key, mediaClaims())
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add("..")
	f.Add("")
	f.Add(encode(`{"alg":"none"}`) + "." + encode(`{}`) + ".")
	f.Add(encode(`{"alg":"RS256","kid":"a","crit":["b64"],"b64":false}`) + "." + encode(`{"tenant_id":"t"}`) + ".AA")
	f.Add(encode(`{"alg":"ES256","kid":"a"}`) + "." + encode(`{"tenant_id":"\ud800","exp":1e9}`) + ".AA")
	f.Add(encode(`{"alg":"ES256","kid":"a","alg":"x"}`) + "." + encode(`{"tenant_id":"t","tenant_id":"u"}`) + ".AA")
	f.Fuzz(func(t *testing.T, compact string) {
		unverified, err := Parse(compact)
		if err != nil {
			if !usher.HasCode(err, usher.CodeInvalidToken) {
				t.Fatalf("refused without a code: %v", err)
			}
			return
		}
		parts := strings.Split(compact, ".")
		if len(parts) != 3 || len(compact) > MaxTokenBytes {
			t.Fatalf("let through %d parts, %d bytes", len(parts), len(compact))
		}
		header, claims := decodeObject(t, parts[0]), decodeObject(t, parts[1])
		if header["alg"] != string(unverified.Algorithm()) || header["kid"] != unverified.KID() || claims["tenant_id"] != unverified.TenantID() {
			t.Fatalf("read %s, %q, %q out of %v and %v", unverified.Algorithm(), unverified.KID(), unverified.TenantID(), header, claims)
		}
		if _, err := ParseAlgorithm(string(unverified.Algorithm())); err != nil || !saneKID(unverified.KID()) || unverified.TenantID() == "" {
			t.Fatalf("let through %s, %q, %q", unverified.Algorithm(), unverified.KID(), unverified.TenantID())
		}
		for _, name := range []string{"crit", "b64"} {
			if _, present := header[name]; present {
				t.Fatalf("let through %v", header)
			}
		}
		if _, err := unverified.Verify(key.Public(), expected()); err == nil && compact != good {
			t.Fatalf("believed a token that nobody signed: %s", compact)
		}
	})
}

func decodeObject(t *testing.T, part string) (object map[string]any) {
	decoded, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		t.Fatalf("let through %q: %v", part, err)
	}
	if err := json.Unmarshal(decoded, &object); err != nil {
		t.Fatalf("let through %s: %v", decoded, err)
	}
	return object
}
