package gateway_test

import (
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// madeKey is a key as a test knows it.
type madeKey struct {
	id, secret string
	view       object
}

func (h *house) keyBy(credential string, body object, headers ...string) (madeKey, reply) {
	h.t.Helper()
	return madeOf(h.send(credential, "POST", h.keys(), body, headers...))
}

func madeOf(r reply) (madeKey, reply) {
	if r.status != 201 {
		return madeKey{}, r
	}
	view := r.body["key"].(object)
	return madeKey{id: view["id"].(string), secret: r.body["api_key"].(string), view: view}, r
}

func (h *house) keyLives(credential string) bool {
	h.t.Helper()
	return h.send(credential, "GET", "/api/v1/tenants/"+h.tenant, nil).status == 200
}

var keyAdmin = []string{"tenant:write", "tenant:read"}

// TestAKeyThatEndsSoonMakesNoneThatLast: a key that expires in 70 s and is good for one network hands on neither more time
// nor more networks, by no way that there is.
func TestAKeyThatEndsSoonMakesNoneThatLast(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	ends := h.clock.now().Add(70 * time.Second).UTC().Truncate(time.Millisecond)
	narrow, r := h.keyBy(h.key, object{"name": "narrow", "scopes": keyAdmin, "expires_at": ends, "cidrs": []string{"127.0.0.0/8"}})
	if r.status != 201 {
		t.Fatal(r.raw)
	}
	until := ends.Format("2006-01-02T15:04:05.000Z")
	bounded := func(what string, k madeKey, r reply, until string) {
		t.Helper()
		if r.status != 201 || k.view["expires_at"] != until || fmt.Sprint(k.view["cidrs"]) != "[127.0.0.0/8]" {
			t.Errorf("%s: %d %s", what, r.status, r.raw)
		}
	}
	k, r := h.keyBy(narrow.secret, object{"name": "k", "scopes": keyAdmin})
	bounded("made without either", k, r, until)
	if k.view["made_by"] != narrow.id {
		t.Errorf("made by %v", k.view["made_by"])
	}
	for _, more := range []object{
		{"expires_at": ends.Add(time.Second)}, {"cidrs": []string{"0.0.0.0/0"}}, {"cidrs": []string{"127.0.0.0/7"}}, {"cidrs": []string{"::/0"}},
		{"cidrs": []string{"127.0.0.1/32", "10.0.0.0/8"}},
	} {
		more["name"], more["scopes"] = "more", keyAdmin
		h.refused(narrow.secret, 400, "invalid_request", "POST", h.keys(), more)
	}
	if k, r := h.keyBy(narrow.secret, object{"name": "less", "scopes": keyAdmin, "expires_at": ends.Add(-time.Second), "cidrs": []string{"127.0.0.1/32"}}); r.status != 201 || fmt.Sprint(k.view["cidrs"]) != "[127.0.0.1/32]" {
		t.Errorf("less: %s", r.raw)
	}
	// Its service token of a minute: the key ends with the token.
	token := h.send(narrow.secret, "POST", "/api/v1/auth/token", object{"expires_in": 60}).body["access_token"].(string)
	k, r = h.keyBy(token, object{"name": "by a token", "scopes": keyAdmin})
	if at, _ := time.Parse(time.RFC3339, fmt.Sprint(k.view["expires_at"])); r.status != 201 || !at.Before(ends) || fmt.Sprint(k.view["cidrs"]) != "[127.0.0.0/8]" {
		t.Errorf("by a token: %s", r.raw)
	}
	h.refused(token, 400, "invalid_request", "POST", h.keys(), object{"name": "k", "scopes": keyAdmin, "expires_at": ends})
	if long := h.send(narrow.secret, "POST", "/api/v1/auth/token", object{"expires_in": 3600}); long.body["expires_in"].(float64) > 70 {
		t.Errorf("a token that outlives its key: %s", long.raw)
	}
	// Rotating: of itself, by itself and by its token; of another by it.
	wide, _ := h.keyBy(h.key, object{"name": "wide", "scopes": keyAdmin})
	k, r = madeOf(h.send(narrow.secret, "POST", h.keys()+"/"+wide.id+"/rotate", object{"grace_seconds": 600}))
	bounded("another that has no bounds, rotated", k, r, until)
	k, r = madeOf(h.send(narrow.secret, "POST", h.keys()+"/"+narrow.id+"/rotate", object{"grace_seconds": 600}))
	bounded("itself, rotated", k, r, until)
	k, r = madeOf(h.send(token, "POST", h.keys()+"/"+narrow.id+"/rotate", object{"grace_seconds": 600}))
	if r.status != 201 || k.view["expires_at"].(string) >= until {
		t.Errorf("rotated by a token: %s", r.raw)
	}
	elsewhere, _ := h.keyBy(h.key, object{"name": "elsewhere", "scopes": keyAdmin, "cidrs": []string{"203.0.113.0/24"}})
	h.refused(narrow.secret, 403, "forbidden", "POST", h.keys()+"/"+elsewhere.id+"/rotate", object{"grace_seconds": 600})
	h.clock.advance(71 * time.Second)
	for _, view := range h.must(200, "GET", h.keys(), nil)["keys"].([]any) {
		if k := view.(object); k["made_by"] != nil && k["expires_at"] != nil && k["expires_at"].(string) > until && k["name"] != "wide" {
			t.Errorf("it lives on: %v", k)
		}
	}
	// The operator carries the networks over, and not the expiry.
	made, r := h.keyBy(h.key, object{"name": "o", "scopes": keyAdmin, "expires_at": h.clock.now().Add(time.Hour), "cidrs": []string{"127.0.0.0/8"}})
	if r.status != 201 {
		t.Fatal(r.raw)
	}
	if k, r := madeOf(h.send(operatorKey, "POST", h.keys()+"/"+made.id+"/rotate", object{"grace_seconds": 60})); r.status != 201 || k.view["expires_at"] != nil || k.view["cidrs"] == nil {
		t.Errorf("by the operator: %s", r.raw)
	}
}

func TestWhatAKeyHasMadeDiesWithIt(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	other := h.second()
	a, _ := h.keyBy(h.key, object{"name": "a", "scopes": keyAdmin})
	b, _ := h.keyBy(a.secret, object{"name": "b", "scopes": keyAdmin})
	c, r := h.keyBy(b.secret, object{"name": "c", "scopes": keyAdmin})
	token := h.send(c.secret, "POST", "/api/v1/auth/token", nil).body["access_token"].(string)
	if r.status != 201 || !h.keyLives(c.secret) || !h.keyLives(token) {
		t.Fatal(r.raw)
	}
	d, _ := h.keyBy(c.secret, object{"name": "d", "scopes": keyAdmin})
	h.refused(d.secret, 403, "forbidden", "POST", h.keys(), object{"name": "e", "scopes": keyAdmin}) // main, a, b, c stand behind it
	// Rotated with grace what it has made lives on, also when the old one has expired, and when it would be forgotten.
	fresh, r := madeOf(h.send(a.secret, "POST", h.keys()+"/"+a.id+"/rotate", object{"grace_seconds": 60}))
	if r.status != 201 {
		t.Fatal(r.raw)
	}
	h.clock.advance(31 * 24 * time.Hour)
	h.sweep()
	if h.keyLives(a.secret) || !h.keyLives(fresh.secret) || !h.keyLives(b.secret) || !h.keyLives(c.secret) {
		t.Error("after a rotation with grace")
	}
	token = h.send(c.secret, "POST", "/api/v1/auth/token", nil).body["access_token"].(string)
	// It does not end the key that it was made by without grace, which would end itself.
	h.refused(b.secret, 403, "forbidden", "POST", h.keys()+"/"+a.id+"/rotate", nil)
	// Without grace, and when it is revoked, all that stands on it dies.
	revoked := h.send(h.key, "DELETE", h.keys()+"/"+a.id, nil)
	if revoked.status != 204 {
		t.Fatal(revoked.raw)
	}
	for _, credential := range []string{b.secret, c.secret, d.secret} {
		h.refused(credential, 401, "unauthenticated", "GET", "/api/v1/tenants/"+h.tenant, nil)
		other.refused(credential, 401, "unauthenticated", "GET", "/api/v1/tenants/"+h.tenant, nil, "Usher-Min-Revision", revoked.header.Get("Usher-Revision"))
	}
	h.refused(token, 401, "invalid_token", "GET", "/api/v1/tenants/"+h.tenant, nil)
	if i := h.introspect(token); i.body["active"] != false {
		t.Errorf("introspected: %s", i.raw)
	}
	if keys := h.must(200, "GET", h.keys(), nil)["keys"].([]any); len(keys) != 2 {
		t.Errorf("listed are %v", keys)
	}
	h.refused(h.key, 404, "key_not_found", "POST", h.keys()+"/"+c.id+"/rotate", nil)
	e, _ := h.keyBy(fresh.secret, object{"name": "e", "scopes": keyAdmin})
	f, _ := h.keyBy(e.secret, object{"name": "f", "scopes": keyAdmin})
	again, r := madeOf(h.send(e.secret, "POST", h.keys()+"/"+e.id+"/rotate", nil))
	if r.status != 201 || h.keyLives(e.secret) || h.keyLives(f.secret) || !h.keyLives(again.secret) {
		t.Errorf("after a rotation without grace: %s", r.raw)
	}
	if h.sweep(); len(h.must(200, "GET", h.keys(), nil)["keys"].([]any)) != 3 {
		t.Error("the sweep has taken away a key that lives")
	}
}

// TestExpiredKeysAreForgotten: they count against the tenant's keys until then.
func TestExpiredKeysAreForgotten(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	for range 30 {
		h.keyBy(h.key, object{"name": "k", "scopes": keyAdmin, "expires_at": h.clock.now().Add(time.Hour)})
	}
	listed := func() int { return len(h.must(200, "GET", h.keys(), nil)["keys"].([]any)) }
	h.clock.advance(30 * 24 * time.Hour)
	if h.sweep(); listed() != 31 {
		t.Errorf("%d, too early", listed())
	}
	h.clock.advance(2 * time.Hour)
	if h.sweep(); listed() != 1 {
		t.Errorf("%d after thirty days", listed())
	}
}

// TestTheLimitOfKeysIsStrictOnTwoReplicas: of those made and rotated at once, here and there, none passes it.
func TestTheLimitOfKeysIsStrictOnTwoReplicas(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	other := h.second()
	for range 89 {
		h.newKey(object{"name": "k", "scopes": []string{"rooms:read"}})
	}
	other.waitFor(h)
	var made atomic.Int64
	together(24, func(i int) {
		_, r := []*house{h, other}[i%2].keyBy(h.key, object{"name": "k", "scopes": []string{"rooms:read"}})
		switch {
		case r.status == 201:
			made.Add(1)
		case r.body["code"] != "key_limit_reached":
			t.Errorf("%d %s", r.status, r.raw)
		}
	})
	if made.Load() != 10 {
		t.Errorf("%d were made where there was room for 10", made.Load())
	}
	// A rotation may go 20 beyond, and no further.
	h.waitFor(other)
	var ids []string
	for _, k := range h.must(200, "GET", h.keys(), nil)["keys"].([]any) {
		if k.(object)["main"] == false {
			ids = append(ids, k.(object)["id"].(string))
		}
	}
	made.Store(0)
	together(40, func(i int) {
		r := []*house{h, other}[i%2].send(operatorKey, "POST", h.keys()+"/"+ids[i]+"/rotate", object{"grace_seconds": 3600})
		switch {
		case r.status == 201:
			made.Add(1)
		case r.status != 409 || r.body["code"] != "key_limit_reached":
			t.Errorf("%d %s", r.status, r.raw)
		}
	})
	if made.Load() != 20 {
		t.Errorf("%d rotations where there was room for 20", made.Load())
	}
	if r := h.send(operatorKey, "POST", h.keys()+"/"+ids[50]+"/rotate", nil); r.status != 201 {
		t.Errorf("a rotation that leaves no key more: %d %s", r.status, r.raw)
	}
}

// TestNoNumberIsTakenForAnother: what is too large for a duration is refused, and not what is left of it.
func TestNoNumberIsTakenForAnother(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	seat := h.add("r", object{"display_name": "A", "external_user_id": "u"})
	id, _ := h.newKey(object{"name": "k", "scopes": []string{"rooms:read"}})
	for _, n := range []string{"18446744134", "9223372037", "36893488207", "9223372036854775807", "9223372036854775808", "18446744073709551676", "-18446744013",
		"4294967356", "1e400", "1e11", "-1"} {
		for _, c := range []struct{ method, path, body string }{
			{"POST", "/api/v1/auth/token", `{"expires_in":` + n + `}`},
			{"POST", h.keys() + "/" + id + "/rotate", `{"grace_seconds":` + n + `}`},
			{"POST", "/api/v1/tenants/" + h.tenant + "/rotate-key", `{"grace_seconds":` + n + `}`},
			{"DELETE", seats + "/" + idOf(seat) + "?ban_seconds=" + n, ""},
			{"POST", seats + "/bulk-remove", `{"external_user_ids":["u"],"ban_seconds":` + n + `}`},
			{"GET", seats + "?page_size=" + n, ""},
			{"POST", "/api/v1/rooms", `{"name":"x","config":{"max_participants":` + n + `}}`},
			{"POST", h.config() + "/rollback", `{"version":` + n + `}`},
			{"PATCH", h.config(), `{"access_token_ttl_seconds":` + n + `}`},
			{"PATCH", h.config(), `{"empty_room_timeout_minutes":` + n + `}`},
			{"PATCH", h.config(), `{"signing_key_rotation_days":` + n + `}`},
			{"PATCH", h.config(), `{"room_retention_hours":` + n + `}`},
		} {
			var body any
			if c.body != "" {
				body = c.body
			}
			if r := h.send(h.key, c.method, c.path, body); r.status != 400 && r.body["code"] != "version_not_found" {
				t.Errorf("%s %s %s: %d %.200s", c.method, c.path, c.body, r.status, r.raw)
			}
		}
	}
	if r := h.send(h.key, "GET", seats+"/"+idOf(seat), nil); r.status != 200 && r.status != 405 {
		t.Errorf("the participant: %d %s", r.status, r.raw)
	}
}

// TestNoChainOfHandingsOnEndsWithMore: keys make keys and tokens and rotate each other, at random. Whatever comes of it has
// no scope, network or time that the key it all came from has not, and is refused once that one is revoked.
func TestNoChainOfHandingsOnEndsWithMore(t *testing.T) {
	t.Parallel()
	h := open(t, `{"requests_per_second":100000,"burst":100000}`)
	networks := []string{"127.0.0.0/8", "127.0.0.0/16", "127.0.0.1/32", "0.0.0.0/0", "10.0.0.0/8"}
	rapid.Check(t, func(t *rapid.T) {
		ends := h.clock.now().Add(time.Hour).UTC().Truncate(time.Millisecond)
		root, r := h.keyBy(operatorKey, object{"name": "root", "scopes": append([]string{"rooms:read"}, keyAdmin...), "expires_at": ends, "cidrs": networks[:1]})
		if r.status != 201 {
			t.Fatal(r.raw)
		}
		keys := []madeKey{root}
		credentials := []string{root.secret}
		for range rapid.IntRange(1, 6).Draw(t, "steps") {
			by := rapid.SampledFrom(credentials).Draw(t, "by")
			var k madeKey
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0:
				if r := h.send(by, "POST", "/api/v1/auth/token", object{"expires_in": 600}); r.status == 200 {
					credentials = append(credentials, r.body["access_token"].(string))
				}
				continue
			case 1:
				if len(keys) < 2 {
					continue // the root stays, for all to hang on
				}
				of := rapid.SampledFrom(keys[1:]).Draw(t, "of")
				k, r = madeOf(h.send(by, "POST", h.keys()+"/"+of.id+"/rotate", object{"grace_seconds": rapid.SampledFrom([]int{0, 600}).Draw(t, "grace")}))
			default:
				body := object{"name": "k", "scopes": rapid.SampledFrom([][]string{keyAdmin, {"rooms:read"}, {"rooms:write"}, {"tenant:write", "participants:read"}}).Draw(t, "scopes")}
				if rapid.Bool().Draw(t, "with an end") {
					body["expires_at"] = h.clock.now().Add(rapid.SampledFrom([]time.Duration{time.Minute, 2 * time.Hour}).Draw(t, "end"))
				}
				if rapid.Bool().Draw(t, "with networks") {
					body["cidrs"] = rapid.SliceOfN(rapid.SampledFrom(networks), 1, 2).Draw(t, "networks")
				}
				k, r = h.keyBy(by, body)
			}
			if r.status != 201 {
				continue
			}
			keys, credentials = append(keys, k), append(credentials, k.secret)
			if until, _ := k.view["expires_at"].(string); until == "" || until > ends.Format("2006-01-02T15:04:05.000Z") {
				t.Fatalf("it ends later: %s", r.raw)
			}
			listed, _ := k.view["cidrs"].([]any)
			for _, network := range listed {
				if p := netip.MustParsePrefix(network.(string)); !netip.MustParsePrefix(networks[0]).Contains(p.Addr()) || p.Bits() < 8 {
					t.Fatalf("it is used from elsewhere: %s", r.raw)
				}
			}
			for _, scope := range k.view["scopes"].([]any) {
				if !slices.Contains(append([]string{"rooms:read"}, keyAdmin...), scope.(string)) || len(listed) == 0 {
					t.Fatalf("it may do more: %s", r.raw)
				}
			}
		}
		h.send(operatorKey, "DELETE", h.keys()+"/"+root.id, nil)
		for _, credential := range credentials {
			if r := h.send(credential, "GET", "/api/v1/rooms", nil); r.status != 401 {
				t.Fatalf("it lives on: %d %s", r.status, r.raw)
			}
		}
		h.sweep()
	})
}
