package gateway_test

import (
	"strings"
	"testing"
	"time"
)

func (h *house) keys() string { return "/api/v1/tenants/" + h.tenant + "/keys" }

// newKey makes an API key and gives its id and the key itself.
func (h *house) newKey(body object) (id, key string) {
	h.t.Helper()
	made := h.must(201, "POST", h.keys(), body)
	return made["key"].(object)["id"].(string), made["api_key"].(string)
}

func TestAKeyMayDoWhatItsScopesSay(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	_, reader := h.newKey(object{"name": "reader", "scopes": []string{"participants:read", "tenant:read"}})
	h.add("r", object{"display_name": "A"})
	if r := h.send(reader, "GET", seats, nil); r.status != 200 {
		t.Errorf("read: %d %s", r.status, r.raw)
	}
	h.refused(reader, 403, "forbidden", "POST", seats, object{"display_name": "B"})
	h.refused(reader, 403, "forbidden", "GET", "/api/v1/rooms/r", nil)
	h.refused(reader, 403, "forbidden", "POST", h.keys(), object{"name": "x", "scopes": []string{"tenant:read"}})
	_, writer := h.newKey(object{"name": "writer", "scopes": []string{"tenant:write", "tenant:read"}})
	h.refused(writer, 403, "forbidden", "POST", h.keys(), object{"name": "x", "scopes": []string{"rooms:write"}})
	main := h.must(200, "GET", h.keys(), nil)["keys"].([]any)[0].(object)["id"].(string)
	h.refused(writer, 403, "forbidden", "POST", h.keys()+"/"+main+"/rotate", object{})
	for _, bad := range []object{{"name": "x"}, {"scopes": []string{"rooms:read"}}, {"name": "x", "scopes": []string{"everything"}},
		{"name": "x", "scopes": []string{"rooms:read"}, "cidrs": []string{"here"}}, {"name": "x", "scopes": []string{"rooms:read"}, "expires_at": "2020-01-01T00:00:00Z"}} {
		h.refused(h.key, 400, "invalid_request", "POST", h.keys(), bad)
	}
}

func TestARevokedKeyIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	other := h.second()
	id, key := h.newKey(object{"name": "k", "scopes": []string{"rooms:read"}})
	if r := h.send(key, "GET", "/api/v1/rooms", nil); r.status != 200 {
		t.Fatal(r.raw)
	}
	revoked := h.send(h.key, "DELETE", h.keys()+"/"+id, nil)
	if revoked.status != 204 {
		t.Fatal(revoked.raw)
	}
	h.refused(key, 401, "unauthenticated", "GET", "/api/v1/rooms", nil)
	other.refused(key, 401, "unauthenticated", "GET", "/api/v1/rooms", nil, "Usher-Min-Revision", revoked.header.Get("Usher-Revision"))
	h.refused(h.key, 404, "key_not_found", "DELETE", h.keys()+"/"+id, nil)
	h.refused(h.key, 404, "key_not_found", "DELETE", h.keys()+"/nonsense", nil)
	_, otherKey := h.newTenant("")
	first := h.must(200, "GET", h.keys(), nil)["keys"].([]any)[0].(object)["id"].(string)
	h.refused(otherKey, 404, "tenant_not_found", "DELETE", h.keys()+"/"+first, nil)
}

func TestKeysRotateWithGrace(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	made := h.must(201, "POST", "/api/v1/tenants/"+h.tenant+"/rotate-key", object{"grace_seconds": 60})
	fresh := made["api_key"].(string)
	for _, key := range []string{h.key, fresh} {
		if r := h.send(key, "GET", "/api/v1/rooms", nil); r.status != 200 {
			t.Errorf("within the grace: %d", r.status)
		}
	}
	h.clock.advance(61 * time.Second)
	h.refused(h.key, 401, "unauthenticated", "GET", "/api/v1/rooms", nil)
	h.key = fresh
	again := h.must(201, "POST", "/api/v1/tenants/"+h.tenant+"/rotate-key", nil) // the main key is the new one
	h.refused(fresh, 401, "unauthenticated", "GET", "/api/v1/rooms", nil)
	h.key = again["api_key"].(string)
	id, key := h.newKey(object{"name": "k", "scopes": []string{"rooms:read"}, "cidrs": []string{"127.0.0.1/8"}, "expires_at": h.clock.now().Add(time.Minute)})
	rotated := h.must(201, "POST", h.keys()+"/"+id+"/rotate", object{"grace_seconds": 3600})
	if k := rotated["key"].(object); k["name"] != "k" || k["expires_at"] == nil || k["cidrs"].([]any)[0] != "127.0.0.0/8" || k["main"] != false {
		t.Errorf("rotated: %v", k)
	}
	h.clock.advance(61 * time.Second)
	h.refused(key, 401, "unauthenticated", "GET", "/api/v1/rooms", nil) // its own expiry came first
	h.refused(h.key, 400, "invalid_request", "POST", h.keys()+"/"+id+"/rotate", object{"grace_seconds": -1})
}

func TestAKeyIsUsedFromItsNetworksOnly(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	_, key := h.newKey(object{"name": "k", "scopes": []string{"rooms:read"}, "cidrs": []string{"203.0.113.0/24", "2001:db8::/32"}})
	h.refused(key, 403, "forbidden", "GET", "/api/v1/rooms", nil)
	for forwarded, status := range map[string]int{
		"203.0.113.7": 200, "2001:db8::1": 200, "198.51.100.1": 403, "nonsense": 403,
		"203.0.113.7, 198.51.100.1": 403, // what the client claims stands first
		"198.51.100.1, 203.0.113.7": 200, "203.0.113.7, 127.0.0.9": 200,
	} {
		if r := h.send(key, "GET", "/api/v1/rooms", nil, "X-Forwarded-For", forwarded); r.status != status {
			t.Errorf("from %s: %d", forwarded, r.status)
		}
	}
}

func TestLastUseIsKnownToTheMinute(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	other := h.second()
	id, key := h.newKey(object{"name": "k", "scopes": []string{"rooms:read"}})
	use := func(g *house) any {
		g.send(key, "GET", "/api/v1/rooms", nil, "Usher-Min-Revision", h.send(h.key, "GET", "/api/v1/rooms", nil).header.Get("Usher-Revision"))
		return nil
	}
	find := func() object {
		for _, k := range h.must(200, "GET", h.keys(), nil)["keys"].([]any) {
			if k.(object)["id"] == id {
				return k.(object)
			}
		}
		return nil
	}
	if k := find(); k["last_used_at"] != nil {
		t.Errorf("before: %v", k)
	}
	use(other)
	if err := other.sweeper.Tenants.WriteKeyUses(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.waitFor(other)
	if at, _ := find()["last_used_at"].(string); !strings.HasSuffix(at, ":00.000Z") {
		t.Errorf("after: %s", at)
	}
	if text := h.send(h.key, "GET", h.keys(), nil).raw; strings.Contains(text, key) || strings.Contains(text, "hash") {
		t.Error("the list shows a key")
	}
}

// waitFor returns when this gateway shows what the other does.
func (h *house) waitFor(other *house) {
	h.t.Helper()
	revision := other.send(other.key, "GET", "/api/v1/rooms", nil).header.Get("Usher-Revision")
	if r := h.send(h.key, "GET", "/api/v1/rooms", nil, "Usher-Min-Revision", revision); r.status != 200 {
		h.t.Fatal(r.raw)
	}
}

func TestATenantHasOnlySoManyKeys(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	for range 99 {
		h.newKey(object{"name": "k", "scopes": []string{"rooms:read"}})
	}
	h.refused(h.key, 409, "key_limit_reached", "POST", h.keys(), object{"name": "k", "scopes": []string{"rooms:read"}})
}
