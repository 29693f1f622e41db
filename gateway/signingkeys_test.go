package gateway_test

import (
	"encoding/json"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

func (h *house) signingKeys() []object {
	h.t.Helper()
	var keys []object
	for _, k := range h.must(200, "GET", "/api/v1/tenants/"+h.tenant+"/signing-keys", nil)["signing_keys"].([]any) {
		keys = append(keys, k.(object))
	}
	return keys
}

// states is the state of each signing key.
func (h *house) states() map[string]string {
	h.t.Helper()
	states := make(map[string]string)
	for _, k := range h.signingKeys() {
		states[k["kid"].(string)] = k["state"].(string)
	}
	return states
}

// kid says which key has signed a token, after it was verified against the keys that are published.
func (h *house) kid(compact string) string {
	h.t.Helper()
	var keys jose.JSONWebKeySet
	if err := json.Unmarshal([]byte(h.send("", "GET", "/api/v1/tenants/"+h.tenant+"/.well-known/jwks.json", nil).raw), &keys); err != nil {
		h.t.Fatal(err)
	}
	parsed, err := jwt.ParseSigned(compact, []jose.SignatureAlgorithm{jose.EdDSA, jose.ES256, jose.RS256})
	if err != nil {
		h.t.Fatal(err)
	}
	var claims jwt.Claims
	if err := parsed.Claims(keys, &claims); err != nil {
		h.t.Fatalf("the key of a token is not published: %v", err)
	}
	return parsed.Headers[0].KeyID
}

func TestSigningKeysRotateWithOverlap(t *testing.T) {
	t.Parallel()
	h := open(t, `{"refresh_token_ttl_seconds":7200}`)
	other := h.second()
	rotate := "/api/v1/tenants/" + h.tenant + "/signing-keys/rotate"
	before := h.add("r", object{"display_name": "A"})
	old := h.kid(before["auth_token"].(string))
	h.must(200, "PATCH", h.config(), object{"signing_algorithm": "ES256"})
	made := h.must(201, "POST", rotate, nil)
	next := made["kid"].(string)
	if made["state"] != "next" || made["alg"] != "ES256" || h.states()[old] != "active" {
		t.Errorf("after rotating: %v %v", made, h.states())
	}
	h.refused(h.key, 409, "signing_key_in_use", "POST", rotate, object{})
	other.waitFor(h)
	if by := other.kid(other.add("r", object{"display_name": "B"})["auth_token"].(string)); by != old {
		t.Error("the next key signs before it is known to all")
	}
	h.clock.advance(6 * time.Minute)
	after := other.add("r", object{"display_name": "C"})
	h.waitFor(other)
	if other.kid(after["auth_token"].(string)) != next || h.states()[old] != "retiring" || h.states()[next] != "active" {
		t.Errorf("after the overlap: %v", h.states())
	}
	for _, k := range h.signingKeys() {
		if want := map[string]float64{old: 2, next: 3}[k["kid"].(string)]; k["participants_at_most"] != want {
			t.Errorf("%s may have %v holders, want %v", k["kid"], k["participants_at_most"], want)
		}
	}
	if r := h.send(before["auth_token"].(string), "GET", seats, nil); r.status != 200 {
		t.Errorf("a token of the old key: %d %s", r.status, r.raw)
	}
	h.refused(h.key, 409, "signing_key_in_use", "DELETE", "/api/v1/tenants/"+h.tenant+"/signing-keys/"+next, nil)
	if r := h.refused(h.key, 409, "signing_key_in_use", "DELETE", "/api/v1/tenants/"+h.tenant+"/signing-keys/"+old, nil); r.body["not_after"] == nil {
		t.Errorf("until when? %s", r.raw)
	}
	h.clock.advance(2 * time.Hour)
	h.refused(before["refresh_token"].(string), 401, "token_expired", "POST", seats+"/"+idOf(before)+"/token", nil)
	if h.states()[old] != "retired" || strings.Contains(h.send("", "GET", "/api/v1/tenants/"+h.tenant+"/.well-known/jwks.json", nil).raw, old) {
		t.Errorf("after its last token: %v", h.states())
	}
	h.sweep()
	h.clock.advance(31 * 24 * time.Hour)
	h.sweep()
	if _, there := h.states()[old]; there {
		t.Error("it is never forgotten")
	}
	h.refused(h.key, 404, "key_not_found", "DELETE", "/api/v1/tenants/"+h.tenant+"/signing-keys/"+old, nil)
}

func TestAnUnsafeSigningKeyIsReplacedAtOnce(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	stolen := h.add("r", object{"display_name": "A"})
	old := h.kid(stolen["auth_token"].(string))
	made := h.must(201, "POST", "/api/v1/tenants/"+h.tenant+"/signing-keys/rotate", object{"immediately": true})
	if by := h.kid(h.add("r", object{"display_name": "B"})["auth_token"].(string)); by != made["kid"] || made["state"] != "active" {
		t.Errorf("%s signs, not %v", by, made)
	}
	h.must(204, "DELETE", "/api/v1/tenants/"+h.tenant+"/signing-keys/"+old+"?force=true", nil)
	h.refused(stolen["auth_token"].(string), 401, "invalid_token", "GET", seats, nil)
	// A next key that is taken away leaves the one before it as it was.
	next := h.must(201, "POST", "/api/v1/tenants/"+h.tenant+"/signing-keys/rotate", nil)["kid"].(string)
	h.must(204, "DELETE", "/api/v1/tenants/"+h.tenant+"/signing-keys/"+next, nil)
	h.clock.advance(time.Hour)
	if keys := h.signingKeys(); len(keys) != 1 || keys[0]["state"] != "active" || keys[0]["not_after"] != nil {
		t.Errorf("keys: %v", keys)
	}
	// A tenant that makes its tokens live longer than the key's end gets tokens that end with the key.
	h.must(200, "PATCH", h.config(), object{"access_token_ttl_seconds": 60, "refresh_token_ttl_seconds": 60})
	h.must(201, "POST", "/api/v1/tenants/"+h.tenant+"/signing-keys/rotate", nil)
	h.must(200, "PATCH", h.config(), object{"access_token_ttl_seconds": nil, "refresh_token_ttl_seconds": nil})
	if in := h.add("r", object{"display_name": "C"})["expires_in"].(float64); in > 400 {
		t.Errorf("a token lives for %v s, longer than its key", in)
	}
}

func TestSigningKeysRotateBySchedule(t *testing.T) {
	t.Parallel()
	h := open(t, `{"signing_key_rotation_days":30}`)
	h.clock.advance(29 * 24 * time.Hour)
	if h.sweep(); len(h.signingKeys()) != 1 {
		t.Error("too early")
	}
	h.clock.advance(25 * time.Hour)
	for range 3 {
		h.sweep()
	}
	if keys := h.signingKeys(); len(keys) != 2 {
		t.Errorf("after thirty days: %v", keys)
	}
	entries := h.must(200, "GET", "/api/v1/tenants/"+h.tenant+"/audit", nil)["entries"].([]any)
	if last := entries[len(entries)-1].(object); last["action"] != "signing_key.rotate" || last["by"] != "schedule" {
		t.Errorf("audit: %v", last)
	}
}

// TestSigningKeysAreBounded: 1500 immediate rotations are not taken, on two replicas at once, and the set of keys that anybody
// may fetch stays small; a rotation and a deletion in turn are no way round.
func TestSigningKeysAreBounded(t *testing.T) {
	t.Parallel()
	h := open(t, `{"requests_per_second":100000,"burst":100000}`)
	other := h.second()
	rotate, jwks := "/api/v1/tenants/"+h.tenant+"/signing-keys/rotate", "/api/v1/tenants/"+h.tenant+"/.well-known/jwks.json"
	var made atomic.Int64
	together(10, func(i int) {
		for range 150 {
			r := []*house{h, other}[i%2].send(h.key, "POST", rotate, object{"immediately": true})
			switch {
			case r.status == 201:
				made.Add(1)
			case r.status != 409 || r.body["code"] != "signing_key_limit_reached":
				t.Errorf("%d %s", r.status, r.raw)
			}
		}
	})
	h.waitFor(other)
	if set := h.send("", "GET", jwks, nil); made.Load() != 7 || len(set.body["keys"].([]any)) != 8 || len(set.raw) > 2000 {
		t.Errorf("%d rotations of 1500; the set has %d bytes", made.Load(), len(set.raw))
	}
	if signs := h.add("r", object{"display_name": "A"}); h.states()[h.kid(signs["auth_token"].(string))] != "active" {
		t.Error("no key signs")
	}
	// With each old key deleted, so many an hour.
	refused := reply{status: 201}
	for range 40 {
		for kid, state := range h.states() {
			if state == "retiring" {
				h.must(204, "DELETE", "/api/v1/tenants/"+h.tenant+"/signing-keys/"+kid+"?force=true", nil)
			}
		}
		if refused = h.send(h.key, "POST", rotate, object{"immediately": true}); refused.status != 201 {
			break
		}
		made.Add(1)
	}
	if made.Load() != 20 || refused.status != 429 || refused.body["code"] != "rate_limited" || refused.header.Get("Retry-After") == "" {
		t.Errorf("after %d rotations: %d %s", made.Load(), refused.status, refused.raw)
	}
	h.clock.advance(time.Hour)
	h.must(201, "POST", rotate, object{"immediately": true})
	// Retired keys make room for new ones.
	for range 30 {
		h.clock.advance(25 * time.Hour)
		h.must(201, "POST", rotate, object{"immediately": true})
	}
	if keys := h.signingKeys(); len(keys) != 16 {
		t.Errorf("%d are listed", len(keys))
	}
	// The schedule is held by the same bound of keys, and waits.
	h.must(200, "PATCH", h.config(), object{"signing_key_rotation_days": 1, "refresh_token_ttl_seconds": 2592000})
	for range 20 {
		h.clock.advance(25 * time.Hour)
		h.sweep()
	}
	verifying := 0
	for _, state := range h.states() {
		if state != "retired" {
			verifying++
		}
	}
	if verifying != 8 {
		t.Errorf("%d keys verify", verifying)
	}
}
