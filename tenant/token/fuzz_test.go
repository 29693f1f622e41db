package token

import (
	"bytes"
	"testing"
)

// FuzzMasterKeys: a file of master keys is refused or read, and what stands in it is in no error.
func FuzzMasterKeys(f *testing.F) {
	line := encode("0123456789abcdef0123456789abcdef")
	for _, seed := range []string{line, "# a comment\n\n" + line + "\r\n", line + "\n" + line, line[:42], "", "\xff", line + "="} {
		f.Add([]byte(seed), "a.b.c.d.e")
	}
	f.Add([]byte(line), encode(`{"alg":"A256KW","enc":"A256GCM","kid":"x","zip":"DEF"}`)+".AA.AA.AA.AA")
	f.Add([]byte(line), encode(`{"alg":"dir","enc":"A256GCM","kid":"x"}`)+"..AA.AA.AA")
	f.Add([]byte(line), encode(`{"alg":"PBES2-HS256+A128KW","p2c":2147483647,"enc":"A256GCM"}`)+".AA.AA.AA.AA")
	f.Fuzz(func(t *testing.T, text []byte, sealed string) {
		keys, err := ParseMasterKeys(text)
		if err != nil {
			if secret := bytes.TrimSpace(text); len(secret) > 20 && bytes.Contains([]byte(err.Error()), secret) {
				t.Fatalf("the error tells what stands in it: %v", err)
			}
			return
		}
		if opened, err := keys.Open(sealed); err == nil {
			t.Fatalf("what nobody sealed is opened: %q", opened)
		}
		mine, err := keys.Seal([]byte("secret"))
		if err != nil {
			t.Fatal(err)
		}
		if opened, err := keys.Open(mine); err != nil || string(opened) != "secret" {
			t.Fatalf("what was sealed is opened as %q, %v", opened, err)
		}
	})
}

// FuzzPublicKey: a public key is refused or read, and then published as it was read.
func FuzzPublicKey(f *testing.F) {
	for _, alg := range []Algorithm{EdDSA, ES256, RS256} {
		f.Add([]byte(newKey(f, alg).Public().JWK()))
	}
	for _, seed := range []string{`{}`, `{"kty":"oct","k":"AA"}`, `{"kty":"RSA","n":"AQ","e":"AQ","alg":"RS256","kid":"a"}`, `{"kty":"EC","crv":"P-256","x":"AA","y":"AA","alg":"ES256","kid":"a"}`,
		`{"kty":"OKP","crv":"Ed25519","x":"","alg":"EdDSA","kid":"a"}`, `null`, "\xff"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, encoded []byte) {
		key, err := ParsePublicKey(encoded)
		if err != nil {
			return
		}
		again, err := ParsePublicKey(key.JWK())
		if err != nil || again.KID() != key.KID() || again.Algorithm() != key.Algorithm() {
			t.Fatalf("%s is published as %s, which reads as %v", encoded, key.JWK(), err)
		}
		if bytes.Contains(key.JWK(), []byte(`"d"`)) {
			t.Fatalf("a private key is published: %s", key.JWK())
		}
		if key.verifies([]byte("anything"), []byte("nothing")) {
			t.Fatalf("%s believes what nobody signed", encoded)
		}
	})
}
