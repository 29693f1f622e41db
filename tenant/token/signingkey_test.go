package token

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

func TestParseAlgorithm(t *testing.T) {
	t.Parallel()
	for _, alg := range everyAlgorithm {
		if parsed, err := ParseAlgorithm(string(alg)); err != nil || parsed != alg {
			t.Errorf("%s parses as %q, %v", alg, parsed, err)
		}
	}
	for _, name := range []string{"", "none", "HS256", "eddsa", "ES384", "RS512", "PS256", "EdDSA "} {
		if alg, err := ParseAlgorithm(name); err == nil {
			t.Errorf("%q parses as %s", name, alg)
		}
		if key, err := GenerateKey(Algorithm(name)); err == nil {
			t.Errorf("%q makes a key: %v", name, key.KID())
		}
	}
}

// RFC 8037, appendix A.3.
func TestKIDIsTheJWKThumbprint(t *testing.T) {
	t.Parallel()
	key, err := ParsePublicKey([]byte(`{"kty":"OKP","crv":"Ed25519","alg":"EdDSA",
		"x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"}`))
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"alg":"EdDSA","crv":"Ed25519","kid":"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k","kty":"OKP","use":"sig","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`
	if string(key.JWK()) != want {
		t.Errorf("JWK is %s\nwant   %s", key.JWK(), want)
	}
}

func TestSigningKeySurvivesSealing(t *testing.T) {
	t.Parallel()
	keys := parseKeys(t, lineA)
	for _, alg := range everyAlgorithm {
		t.Run(string(alg), func(t *testing.T) {
			t.Parallel()
			key := newKey(t, alg)
			sealed, err := key.Seal(keys)
			if err != nil {
				t.Fatal(err)
			}
			opened, err := OpenSigningKey(sealed, keys)
			if err != nil {
				t.Fatal(err)
			}
			if opened.KID() != key.KID() || opened.Algorithm() != alg || string(opened.Public().JWK()) != string(key.Public().JWK()) {
				t.Errorf("opened %s, want %s", opened.Public().JWK(), key.Public().JWK())
			}
			if _, err := verify(sign(t, opened, mediaClaims()), key.Public(), expected()); err != nil {
				t.Errorf("the opened key signs otherwise: %v", err)
			}
			_, err = OpenSigningKey(sealed, parseKeys(t, lineB))
			if _, ok := errors.AsType[*UnknownMasterKeyError](err); !ok {
				t.Errorf("with another master key: %v", err)
			}
		})
	}
}

func TestWhatIsNotASigningKeyDoesNotOpen(t *testing.T) {
	t.Parallel()
	keys := parseKeys(t, lineA)
	good, other := newKey(t, EdDSA), newKey(t, EdDSA)
	private, err := encodeJWK(good.secret(), good.KID(), EdDSA)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := ecdsaWithAnothersPublicKey()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, plaintext, contentType, want string }{
		{"another content type", string(private), "", "cty"},
		{"not JSON", "secret", keyContentType, "JWK"},
		{"a public key", string(good.Public().JWK()), keyContentType, "not a private signing key"},
		{"another kid", strings.Replace(string(private), good.KID(), other.KID(), 1), keyContentType, "JWK says"},
		{"another alg", strings.Replace(string(private), "EdDSA", "ES256", 1), keyContentType, "JWK says"},
		{"a symmetric key", `{"kty":"oct","k":"AAAA","alg":"HS256"}`, keyContentType, "not a private signing key"},
		{"halves of two keys", foreign, keyContentType, "do not belong together"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			sealed, err := keys.seal([]byte(test.plaintext), test.contentType)
			if err != nil {
				t.Fatal(err)
			}
			if _, err = OpenSigningKey(sealed, keys); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error is %v, want one with %q", err, test.want)
			}
		})
	}
}

func ecdsaWithAnothersPublicKey() (string, error) {
	one, err := GenerateKey(ES256)
	if err != nil {
		return "", err
	}
	other, err := GenerateKey(ES256)
	if err != nil {
		return "", err
	}
	mixed := *one.secret().(*ecdsa.PrivateKey)
	mixed.PublicKey = other.secret().(*ecdsa.PrivateKey).PublicKey
	encoded, err := encodeJWK(&mixed, other.KID(), ES256)
	return string(encoded), err
}

func TestPublicKeySurvivesItsJWK(t *testing.T) {
	t.Parallel()
	for _, alg := range everyAlgorithm {
		t.Run(string(alg), func(t *testing.T) {
			t.Parallel()
			key := newKey(t, alg)
			public, err := ParsePublicKey(key.Public().JWK())
			if err != nil {
				t.Fatal(err)
			}
			if public.KID() != key.KID() || public.Algorithm() != alg || string(public.JWK()) != string(key.Public().JWK()) {
				t.Errorf("parsed %s, want %s", public.JWK(), key.Public().JWK())
			}
			if _, err := verify(sign(t, key, mediaClaims()), public, expected()); err != nil {
				t.Errorf("the parsed key does not verify: %v", err)
			}
			var members map[string]string
			if err := json.Unmarshal(public.JWK(), &members); err != nil {
				t.Fatal(err)
			}
			if members["kid"] != key.KID() || members["alg"] != string(alg) || members["use"] != "sig" || members["d"] != "" {
				t.Errorf("JWK is %s", public.JWK())
			}
		})
	}
}

func TestUnsoundPublicKeysAreRefused(t *testing.T) {
	t.Parallel()
	key := newKey(t, EdDSA)
	private, err := encodeJWK(key.secret(), key.KID(), EdDSA)
	if err != nil {
		t.Fatal(err)
	}
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newPublicKey(small.Public()); err == nil || !strings.Contains(err.Error(), "1024 bits") {
		t.Errorf("RSA of 1024 bits: %v", err)
	}
	if _, err := newPublicKey(ed25519.PublicKey("short")); err == nil {
		t.Error("an Ed25519 key of 5 bytes is accepted")
	}
	for _, test := range []struct{ name, jwk, want string }{
		{"private", string(private), "not a public signing key"},
		{"short", `{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","x":"AAAA"}`, "3 bytes"},
		{"another curve", `{"kty":"OKP","crv":"X25519","alg":"EdDSA","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`, "not a public signing key"},
		{"off the curve", `{"kty":"EC","crv":"P-256","alg":"ES256","x":"AQ","y":"AQ"}`, "EC public key"},
		{"symmetric", `{"kty":"oct","k":"AAAA"}`, "not a public signing key"},
		{"without kid", `{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`, "JWK says kid"},
		{"without alg", strings.Replace(string(key.Public().JWK()), `"alg":"EdDSA",`, "", 1), "JWK says kid"},
		{"not JSON", `x`, "JWK"},
		{"a set", string(JWKS(key.Public())), "JWK"},
		{"nothing", ``, "JWK"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if _, err := ParsePublicKey([]byte(test.jwk)); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error is %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestJWKSHoldsTheKeysInOrder(t *testing.T) {
	t.Parallel()
	if got := string(JWKS()); got != `{"keys":[]}` {
		t.Errorf("set of no keys is %s", got)
	}
	first, second := newKey(t, EdDSA).Public(), newKey(t, ES256).Public()
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(JWKS(first, second), &set); err != nil {
		t.Fatal(err)
	}
	if len(set.Keys) != 2 || set.Keys[0].KeyID != first.KID() || set.Keys[1].KeyID != second.KID() || !set.Keys[1].IsPublic() {
		t.Errorf("set is %s", JWKS(first, second))
	}
}

func TestJWKCannotBeChangedFromOutside(t *testing.T) {
	t.Parallel()
	key := newKey(t, EdDSA).Public()
	key.JWK()[0] = 'x'
	if key.JWK()[0] != '{' {
		t.Error("JWK hands out its own bytes")
	}
}
