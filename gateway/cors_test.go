package gateway_test

import (
	"strings"
	"testing"
)

func TestScriptsOfAllowedOriginsMayCall(t *testing.T) {
	t.Parallel()
	const app, other, evil = "https://app.example", "https://other.example", "https://evil.example"
	h := open(t, `{"allowed_origins":["https://app.example"]}`)
	h.newTenant(`{"allowed_origins":["https://other.example"]}`)
	guest := h.add("r", object{"display_name": "A"})
	token, own := guest["auth_token"].(string), seats+"/"+idOf(guest)
	ask := func(path, origin, method string) string {
		r := h.send("", "OPTIONS", path, nil, "Origin", origin, "Access-Control-Request-Method", method, "Access-Control-Request-Headers", "authorization")
		if r.status != 204 || !strings.Contains(strings.Join(r.header.Values("Vary"), ","), "Origin") {
			t.Errorf("OPTIONS %s: %d %v", path, r.status, r.header)
		}
		return r.header.Get("Access-Control-Allow-Origin")
	}
	for _, c := range []struct{ path, origin, method, want string }{
		{own + "/heartbeat", app, "POST", app}, {seats, app, "GET", app}, {seats, other, "GET", other}, {seats, evil, "GET", ""},
		{seats, app, "POST", ""}, {"/api/v1/tenants", app, "GET", ""}, {"/api/v1/tenants/" + h.tenant + "/.well-known/jwks.json", evil, "GET", evil},
		{seats, "null", "GET", ""}, {seats, "https://app.example.evil.example", "GET", ""},
	} {
		if got := ask(c.path, c.origin, c.method); got != c.want {
			t.Errorf("may %s call %s %s? %q, want %q", c.origin, c.method, c.path, got, c.want)
		}
	}
	for origin, want := range map[string]string{app: app, other: "", evil: ""} {
		r := h.send(token, "GET", seats, nil, "Origin", origin)
		if r.status != 200 || r.header.Get("Access-Control-Allow-Origin") != want || r.header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("from %s: %d %v", origin, r.status, r.header)
		}
	}
	if r := h.send(token, "POST", own+"/heartbeat", nil, "Origin", app); r.header.Get("Access-Control-Allow-Origin") != app {
		t.Errorf("heartbeat: %v", r.header)
	}
	// An error can be read too, and an API key has no business in a browser.
	if r := h.send(token, "GET", seats+"/p_01jz0000000000000000000000", nil, "Origin", app); r.status != 404 || r.header.Get("Access-Control-Allow-Origin") != app {
		t.Errorf("an error: %d %v", r.status, r.header)
	}
	if r := h.send(h.key, "GET", seats, nil, "Origin", app); r.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("with an API key: %v", r.header)
	}
	h.must(200, "PATCH", h.config(), object{"allowed_origins": nil})
	if got := ask(seats, app, "GET"); got != "" {
		t.Errorf("after the change: %q", got)
	}
	h.refused("", 405, "method_not_allowed", "OPTIONS", seats, nil)
}
