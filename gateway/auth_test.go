package gateway_test

import (
	"net/url"
	"testing"
	"time"
)

func (h *house) introspect(token string) reply {
	h.t.Helper()
	r := h.send(h.key, "POST", "/api/v1/tokens/introspect", "token="+url.QueryEscape(token), "Content-Type", "application/x-www-form-urlencoded")
	if r.status != 200 {
		h.t.Fatalf("introspect: %d %s", r.status, r.raw)
	}
	return r
}

func TestAServiceTokenStandsInForItsKey(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	exchange := func(key string, body any) reply { return h.send(key, "POST", "/api/v1/auth/token", body) }
	r := exchange(h.key, object{"scopes": []string{"participants:read", "participants:write"}, "expires_in": 600})
	token := r.body["access_token"].(string)
	if r.status != 200 || r.body["scope"] != "participants:read participants:write" || r.body["expires_in"] != 600.0 {
		t.Fatalf("exchange: %d %s", r.status, r.raw)
	}
	if r := h.send(token, "POST", seats, object{"display_name": "A"}); r.status != 201 {
		t.Errorf("add: %d %s", r.status, r.raw)
	}
	h.refused(token, 403, "forbidden", "GET", "/api/v1/rooms", nil)
	h.refused(token, 403, "forbidden", "POST", "/api/v1/auth/token", nil)
	if i := h.introspect(token); i.body["active"] != true || i.body["aud"] != "service" || i.body["scope"] != "participants:read participants:write" {
		t.Errorf("introspected: %s", i.raw)
	}
	h.clock.advance(11 * time.Minute)
	h.refused(token, 401, "token_expired", "GET", seats, nil)
	if i := h.introspect(token); i.raw != `{"active":false}` {
		t.Errorf("introspected: %s", i.raw)
	}
	id, key := h.newKey(object{"name": "k", "scopes": []string{"rooms:read"}})
	h.refused(key, 403, "forbidden", "POST", "/api/v1/auth/token", object{"scopes": []string{"rooms:write"}})
	h.refused(key, 400, "invalid_request", "POST", "/api/v1/auth/token", object{"expires_in": 3601})
	h.refused(operatorKey, 403, "forbidden", "POST", "/api/v1/auth/token", nil, "Usher-Tenant", h.tenant)
	short := exchange(key, nil)
	if short.body["expires_in"] != 900.0 || short.body["scope"] != "rooms:read" {
		t.Errorf("by default: %s", short.raw)
	}
	h.must(204, "DELETE", h.keys()+"/"+id, nil)
	h.refused(short.body["access_token"].(string), 401, "invalid_token", "GET", "/api/v1/rooms", nil)
	seat := h.add("r", object{"display_name": "B"})
	h.refused(seat["auth_token"].(string), 403, "forbidden", "POST", "/api/v1/auth/token", nil)
}

func TestIntrospectionSaysWhetherATokenIsLive(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	added := h.add("r", object{"display_name": "A", "role": "viewer", "external_user_id": "u"})
	for field, audience := range map[string]string{"access_token": "media", "auth_token": "api", "refresh_token": "refresh"} {
		i := h.introspect(added[field].(string)).body
		if i["active"] != true || i["aud"] != audience || i["sub"] != added["participant_id"] || i["role"] != "viewer" || i["external_user_id"] != "u" ||
			i["grants"].([]any)[0] != "subscribe" || i["room_name"] != "r" {
			t.Errorf("%s: %v", field, i)
		}
	}
	otherTenant, otherKey := h.newTenant("")
	theirs := h.send(otherKey, "POST", seats, object{"display_name": "X"}).body["access_token"].(string)
	token := added["access_token"].(string)
	for _, bad := range []string{theirs, "nonsense", "a.b.c", token[:len(token)-4] + "AAAA"} {
		if i := h.introspect(bad); i.raw != `{"active":false}` {
			t.Errorf("%.20s of %s: %s", bad, otherTenant, i.raw)
		}
	}
	h.must(204, "POST", seats+"/"+idOf(added)+"/leave", nil)
	if i := h.introspect(token); i.raw != `{"active":false}` {
		t.Errorf("after leaving: %s", i.raw)
	}
	h.refused(h.key, 400, "invalid_request", "POST", "/api/v1/tokens/introspect", "x=y", "Content-Type", "application/x-www-form-urlencoded")
	h.refused(h.key, 415, "unsupported_media_type", "POST", "/api/v1/tokens/introspect", object{"token": token})
	h.refused(added["auth_token"].(string), 401, "invalid_token", "POST", "/api/v1/tokens/introspect", "token=x", "Content-Type", "application/x-www-form-urlencoded")
}
