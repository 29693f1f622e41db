package gateway_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"strings"
	"testing"
	"time"
)

func base64url(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// parts are a token's header, claims and signature, decoded.
func parts(t *testing.T, compact string) (header, claims object, signature []byte) {
	t.Helper()
	split := strings.Split(compact, ".")
	for i, into := range []*object{&header, &claims} {
		raw, err := base64.RawURLEncoding.DecodeString(split[i])
		if err == nil {
			err = json.Unmarshal(raw, into)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	signature, err := base64.RawURLEncoding.DecodeString(split[2])
	if err != nil {
		t.Fatal(err)
	}
	return header, claims, signature
}

// forged is a token of the header and claims, signed in the attacker's way.
func forged(t *testing.T, header, claims object, sign func(signed []byte) []byte) string {
	t.Helper()
	h, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	c, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed := base64url(h) + "." + base64url(c)
	return signed + "." + base64url(sign([]byte(signed)))
}

// with is the object with some members set, or taken out where they are nil.
func (h *house) with(o object, members object) object {
	changed := maps.Clone(o)
	for name, value := range members {
		if changed[name] = value; value == nil {
			delete(changed, name)
		}
	}
	return changed
}

// TestTokenAttacks: what an attacker makes of a token, of a public key, or of a key of its own is believed nowhere.
func TestTokenAttacks(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	added := h.add("r", object{"display_name": "A", "external_user_id": "u", "role": "host"})
	auth := added["auth_token"].(string)
	header, claims, signature := parts(t, auth)
	jwks := h.send("", "GET", "/api/v1/tenants/"+h.tenant+"/.well-known/jwks.json", nil)
	published := jwks.body["keys"].([]any)[0].(object)
	x, err := base64.RawURLEncoding.DecodeString(published["x"].(string))
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(ed25519.PublicKey(x))
	if err != nil {
		t.Fatal(err)
	}
	encodedPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	encodedJWK, err := json.Marshal(published)
	if err != nil {
		t.Fatal(err)
	}
	public, own, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	mac := func(key []byte) func([]byte) []byte {
		return func(signed []byte) []byte {
			m := hmac.New(sha256.New, key)
			m.Write(signed)
			return m.Sum(nil)
		}
	}
	mine := func(signed []byte) []byte { return ed25519.Sign(own, signed) }
	same := func([]byte) []byte { return signature }
	none := func([]byte) []byte { return nil }
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	jwk := object{"kty": "OKP", "crv": "Ed25519", "x": base64url(public), "kid": header["kid"], "alg": "EdDSA"}
	zero := make([]byte, 64)
	attacks := map[string]string{
		"alg none":                  forged(t, h.with(header, object{"alg": "none"}), claims, none) + "AA",
		"alg none, no signature":    forged(t, h.with(header, object{"alg": "none"}), claims, none),
		"alg None":                  forged(t, h.with(header, object{"alg": "nOnE"}), claims, same),
		"no alg":                    forged(t, h.with(header, object{"alg": nil}), claims, same),
		"HS256 with the public key": forged(t, h.with(header, object{"alg": "HS256"}), claims, mac(x)),
		"HS256 with its PEM":        forged(t, h.with(header, object{"alg": "HS256"}), claims, mac(encodedPEM)),
		"HS256 with its JWK":        forged(t, h.with(header, object{"alg": "HS256"}), claims, mac(encodedJWK)),
		"HS256 with nothing":        forged(t, h.with(header, object{"alg": "HS256"}), claims, mac(nil)),
		"ES256 under the kid":       forged(t, h.with(header, object{"alg": "ES256"}), claims, func(s []byte) []byte { return signES256(t, ecKey, s) }),
		"RS256 under the kid":       forged(t, h.with(header, object{"alg": "RS256"}), claims, func(s []byte) []byte { return signRS256(t, rsaKey, s) }),
		"a key of its own":          forged(t, header, claims, mine),
		"a key of its own as jwk":   forged(t, h.with(header, object{"jwk": jwk}), claims, mine),
		"a key of its own at jku":   forged(t, h.with(header, object{"jku": "https://attacker.example/jwks.json"}), claims, mine),
		"a key of its own at x5u":   forged(t, h.with(header, object{"x5u": "https://attacker.example/cert.pem"}), claims, mine),
		"a key of its own as x5c":   forged(t, h.with(header, object{"x5c": []string{base64.StdEncoding.EncodeToString(der)}}), claims, mine),
		"crit":                      forged(t, h.with(header, object{"crit": []string{"exp"}}), claims, same),
		"b64":                       forged(t, h.with(header, object{"b64": false, "crit": []string{"b64"}}), claims, same),
		"kid a path":                forged(t, h.with(header, object{"kid": "../../../dev/null"}), claims, mac(nil)),
		"kid a query":               forged(t, h.with(header, object{"kid": "' UNION SELECT 'a' --"}), claims, mac([]byte("a"))),
		"kid a list":                forged(t, h.with(header, object{"kid": []string{"a"}}), claims, mine),
		"kid very long":             forged(t, h.with(header, object{"kid": strings.Repeat("a", 3000)}), claims, mine),
		"kid another tenant's path": forged(t, h.with(header, object{"kid": h.tenant + "/" + header["kid"].(string)}), claims, mine),
		"a signature of zeros":      forged(t, header, claims, func([]byte) []byte { return zero }),
		"a signature cut short":     auth[:len(auth)-2],
		"more behind it":            auth + ".e30",
		"padding":                   auth + "==",
		"more of a role":            forged(t, header, h.with(claims, object{"role": "owner", "grants": []string{"moderate"}}), same),
		"another room":              forged(t, header, h.with(claims, object{"room_id": "room_00000000000000000000000000"}), same),
		"another participant":       forged(t, header, h.with(claims, object{"sub": "p_00000000000000000000000000"}), same),
		"for ever":                  forged(t, header, h.with(claims, object{"exp": 1 << 53}), same),
		"typ of a refresh token":    forged(t, h.with(header, object{"typ": "JWT"}), claims, same),
		"nested":                    forged(t, h.with(header, object{"cty": "JWT"}), object{"tenant_id": h.tenant, "token": auth}, same),
		"encrypted":                 base64url([]byte(`{"alg":"dir","enc":"A128GCM"}`)) + "..AAAAAAAAAAAAAAAA.AAAA.AAAAAAAAAAAAAAAAAAAAAA",
		"JSON":                      `{"payload":"` + strings.Split(auth, ".")[1] + `","signatures":[]}`,
		"S of the signature plus the order (malleable)": forged(t, header, claims, func([]byte) []byte { return malleable(signature) }),
	}
	for aud, token := range map[string]string{"the access token": added["access_token"].(string), "the refresh token": added["refresh_token"].(string)} {
		attacks[aud+" for an auth token"] = token
	}
	// A key of another tenant, of the same kind and as good as any, signs a token of this one.
	other, otherKey := h.newTenant("")
	theirs := h.send(otherKey, "POST", "/api/v1/rooms/r/participants", object{"display_name": "B", "role": "host"})
	theirHeader, theirClaims, theirSignature := parts(t, theirs.body["auth_token"].(string))
	attacks["another tenant's token"] = theirs.body["auth_token"].(string) // good, but there
	attacks["another tenant's key"] = forged(t, theirHeader, h.with(theirClaims, object{"tenant_id": h.tenant}), func([]byte) []byte { return theirSignature })
	attacks["another tenant's kid"] = forged(t, h.with(header, object{"kid": theirHeader["kid"]}), claims, same)

	seat := "/api/v1/rooms/" + claims["room_id"].(string) + "/participants"
	if r := h.send(auth, "GET", seat, nil); r.status != 200 {
		t.Fatalf("the token itself is refused: %d %s", r.status, r.raw)
	}
	for name, token := range attacks {
		r := h.send(token, "GET", seat, nil)
		if want := name == "another tenant's token"; r.status != 401 && (!want || r.status != 403) {
			t.Errorf("%s: %d %s", name, r.status, r.raw)
		}
		if strings.Contains(r.raw, "external_user_id") {
			t.Errorf("%s: it reads the list: %s", name, r.raw)
		}
		if name == "the access token for an auth token" || name == "the refresh token for an auth token" {
			continue // they are live, and say so
		}
		if r := h.send(h.key, "POST", "/api/v1/tokens/introspect", "token="+strings.ReplaceAll(token, "=", "%3D"), "Content-Type", "application/x-www-form-urlencoded"); r.status != 200 || r.raw != `{"active":false}` {
			t.Errorf("%s: introspected as %d %s", name, r.status, r.raw)
		}
	}
	_ = other
}

func signES256(t *testing.T, key *ecdsa.PrivateKey, signed []byte) []byte {
	t.Helper()
	sum := sha256.Sum256(signed)
	r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	out := make([]byte, 64)
	r.FillBytes(out[:32])
	s.FillBytes(out[32:])
	return out
}

func signRS256(t *testing.T, key *rsa.PrivateKey, signed []byte) []byte {
	t.Helper()
	sum := sha256.Sum256(signed)
	out, err := rsa.SignPKCS1v15(rand.Reader, key, 5 /* crypto.SHA256 */, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// malleable is an Ed25519 signature with the group's order added to S: a lax verifier takes it for another good one.
func malleable(signature []byte) []byte {
	order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	s := make([]byte, 32)
	for i := range s {
		s[i] = signature[63-i]
	}
	sum := new(big.Int).Add(new(big.Int).SetBytes(s), order).FillBytes(make([]byte, 32))
	out := append([]byte(nil), signature[:32]...)
	for i := range sum {
		out = append(out, sum[31-i])
	}
	return out
}

// TestWhatIsTakenAwayStaysAway: a credential that was good and is not any more is refused from the answer on that took it
// away, on the other replica as on this one.
func TestWhatIsTakenAwayStaysAway(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	replicas := []*house{h, h.second()}
	refused := func(what, credential, code string, status int, path string) {
		t.Helper()
		revision := fmt.Sprint(h.sweeper.Log.Revision())
		for i, replica := range replicas {
			if r := replica.send(credential, "GET", path, nil, "Usher-Min-Revision", revision); r.status != status || r.body["code"] != code {
				t.Errorf("%s is answered %d %s by replica %d, want %d %s", what, r.status, r.raw, i, status, code)
			}
		}
	}
	seat := func(key string) (auth, path, id string) {
		t.Helper()
		r := h.send(key, "POST", "/api/v1/rooms/r/participants", object{"display_name": "A", "role": "host"})
		if r.status != 201 {
			t.Fatal(r.raw)
		}
		room := r.body["room"].(object)["id"].(string)
		return r.body["auth_token"].(string), "/api/v1/rooms/" + room + "/participants", idOf(r.body)
	}
	auth, path, id := seat(h.key)
	if r := h.send(h.key, "DELETE", path+"/"+id, nil); r.status != 204 {
		t.Fatal(r.raw)
	}
	refused("a removed participant's token", auth, "participant_removed", 401, path)

	auth, path, _ = seat(h.key)
	h.clock.advance(2 * time.Hour)
	refused("an expired token", auth, "token_expired", 401, path)

	keyID, key := h.newKey(object{"name": "k", "scopes": []string{"rooms:read"}})
	if r := h.send(key, "GET", "/api/v1/rooms", nil); r.status != 200 {
		t.Fatal(r.raw)
	}
	if r := h.send(h.key, "DELETE", h.keys()+"/"+keyID, nil); r.status != 204 {
		t.Fatal(r.raw)
	}
	refused("a revoked key", key, "unauthenticated", 401, "/api/v1/rooms")

	for _, end := range []struct {
		method, path, code string
		status             int
	}{{"POST", "/suspend", "tenant_suspended", 403}, {"DELETE", "", "unauthenticated", 401}} {
		owner, key := h.newTenant("")
		auth, path, _ := seat(key)
		service := h.send(key, "POST", "/api/v1/auth/token", nil).body["access_token"].(string)
		if r := h.send(operatorKey, end.method, "/api/v1/tenants/"+owner+end.path, nil); r.status >= 300 {
			t.Fatal(r.raw)
		}
		for what, credential := range map[string]string{"token": auth, "key": key, "service token": service} {
			code := end.code
			if end.method == "DELETE" && what != "key" {
				code = "invalid_token"
			}
			refused("a "+what+" after "+end.method+end.path, credential, code, end.status, path)
		}
	}
}
