package gateway_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"usher/gateway"
	"usher/gateway/openapitest"
)

// nobody is a key that is well-formed and nobody's.
func (h *house) nobody() string {
	h.t.Helper()
	_, key := h.newKey(object{"name": "revoked", "scopes": []string{"rooms:read"}})
	for _, k := range h.must(200, "GET", h.keys(), nil)["keys"].([]any) {
		if k.(object)["name"] == "revoked" {
			h.must(204, "DELETE", h.keys()+"/"+k.(object)["id"].(string), nil)
		}
	}
	return key
}

// policy is the name of the limit that an answer fell under.
func (r reply) policy() string {
	name, _, _ := strings.Cut(r.header.Get("RateLimit-Policy"), ";")
	return strings.Trim(name, `"`)
}

// TestAViewerTakesNothingFromItsTenant has one auth_token ask in a loop beside the backend, on two replicas.
func TestAViewerTakesNothingFromItsTenant(t *testing.T) {
	t.Parallel()
	h := open(t, `{"requests_per_second":100,"burst":150,"max_participants_per_room":1000}`)
	viewer := h.add("r", object{"display_name": "V", "role": "viewer"})["auth_token"].(string)
	for _, gateway := range []*house{h, h.second()} {
		gateway.waitFor(h)
		passed := 0
		for i := range 400 {
			if last := gateway.send(viewer, "GET", "/api/v1/rooms/r", nil); last.status == 200 {
				passed++
			} else if last.status != 429 || last.body["code"] != "rate_limited" || last.policy() != "seat" || last.header.Get("Retry-After") == "" {
				t.Fatalf("request %d: %d %v %s", i, last.status, last.header, last.raw)
			}
		}
		if passed < 50 || passed > 60 {
			t.Errorf("%d of 400 requests of a viewer passed, want 50", passed)
		}
		for i := range 60 {
			r := gateway.send(h.key, "POST", "/api/v1/rooms/r/participants", object{"display_name": fmt.Sprint(i)})
			if r.status != 201 || r.policy() != "tenant" {
				t.Fatalf("add %d of the backend: %d %s", i, r.status, r.raw)
			}
		}
	}
}

// TestSeatsShareOneBudgetApartFromTheKeys: many seats together are as limited as the settings say, and the keys are not.
func TestSeatsShareOneBudgetApartFromTheKeys(t *testing.T) {
	t.Parallel()
	h := open(t, `{"requests_per_second":10,"burst":60}`)
	var tokens []string
	for i := range 4 {
		tokens = append(tokens, h.add("r", object{"display_name": fmt.Sprint(i)})["auth_token"].(string))
	}
	passed := 0
	for range 30 {
		for _, token := range tokens {
			r := h.send(token, "GET", "/api/v1/rooms/r", nil)
			if r.status == 200 && r.policy() == "seat" {
				passed++
			} else if r.status != 429 || r.policy() != "tenant-seats" {
				t.Fatalf("%d %s: %s", r.status, r.policy(), r.raw)
			}
		}
	}
	if passed != 60 {
		t.Errorf("%d requests of four seats passed, want 60", passed)
	}
	h.must(200, "GET", "/api/v1/rooms", nil)
	h.wants(60, "usher_rate_limit_decisions_total", "bucket", "seat", "decision", "allowed")
	h.wants(60, "usher_rate_limit_decisions_total", "bucket", "tenant-seats", "decision", "refused")
	h.wants(0, "usher_rate_limit_decisions_total", "bucket", "tenant", "decision", "refused")
}

// strange are requests that show no valid credential, each with what it is answered while its address can pay.
func (h *house) strange() []func(headers ...string) (reply, int) {
	ask := func(status int, credential, method, path string) func(...string) (reply, int) {
		return func(headers ...string) (reply, int) { return h.send(credential, method, path, nil, headers...), status }
	}
	keys := "/api/v1/tenants/" + h.tenant + "/.well-known/"
	forged := "eyJhbGciOiJFZERTQSJ9.e30.AAAA"
	preflight := func(headers ...string) (reply, int) {
		return h.send("", "OPTIONS", "/api/v1/rooms/r", nil, append(headers, "Origin", "https://app.example", "Access-Control-Request-Method", "GET")...), 204
	}
	return []func(...string) (reply, int){
		ask(200, "", "GET", "/docs"), ask(200, "", "GET", "/openapi.yaml"), ask(200, "", "GET", "/settings.schema.json"),
		ask(200, "", "GET", keys+"jwks.json"), ask(200, "", "GET", keys+"openid-configuration"),
		ask(404, "", "GET", "/nothing"), ask(405, "", "PUT", "/api/v1/rooms"), preflight,
		ask(401, "", "GET", "/api/v1/rooms"), ask(401, "usk_mistyped", "GET", "/api/v1/rooms"), ask(401, h.nobody(), "GET", "/api/v1/rooms"),
		ask(401, forged, "GET", "/api/v1/rooms/r"), ask(401, forged, "GET", "/api/v1/rooms"), ask(401, "not-the-operator", "GET", "/api/v1/tenants"),
		ask(404, forged, "GET", "/nothing"),
	}
}

// TestAnAddressPaysForStrangers: whatever needs no credential, or shows none that is valid, comes out of one bucket for
// each address, and no valid credential feels it.
func TestAnAddressPaysForStrangers(t *testing.T) {
	t.Parallel()
	const burst = 40
	h := openWith(t, "", func(h *house) { h.burst = burst })
	token := h.add("r", object{"display_name": "A"})["auth_token"].(string)
	all := h.strange()
	for i := range burst {
		if r, want := all[i%len(all)]("X-Forwarded-For", "203.0.113.7"); r.status != want || r.policy() != "address" {
			t.Errorf("request %d: %d by %q, want %d: %.300s", i, r.status, r.policy(), want, r.raw)
		}
	}
	for i, request := range all {
		r, _ := request("X-Forwarded-For", "203.0.113.7")
		if r.status != 429 || r.body["code"] != "rate_limited" || r.header.Get("Retry-After") != "1" || r.policy() != "address" {
			t.Errorf("request %d with an empty bucket: %d %v %s", i, r.status, r.header, r.raw)
		}
		if r, want := request("X-Forwarded-For", "203.0.113.8"); r.status != want {
			t.Errorf("request %d from another address: %d, want %d", i, r.status, want)
		}
	}
	for _, c := range []struct {
		credential, method, path string
		status                   int
	}{
		{h.key, "GET", "/api/v1/rooms", 200}, {h.key, "GET", "/docs", 200}, {h.key, "GET", "/nothing", 404}, {h.key, "PUT", "/api/v1/rooms", 405},
		{token, "GET", "/api/v1/rooms/r", 200}, {token, "GET", "/api/v1/rooms", 403}, {operatorKey, "GET", "/api/v1/tenants", 200},
		{operatorKey, "GET", "/nothing", 404},
	} {
		if r := h.send(c.credential, c.method, c.path, nil, "X-Forwarded-For", "203.0.113.7"); r.status != c.status || r.policy() == "address" {
			t.Errorf("%s %s with a valid credential: %d by %q", c.method, c.path, r.status, r.policy())
		}
	}
	h.clock.advance(100 * time.Millisecond)
	if r := h.send("", "GET", "/docs", nil, "X-Forwarded-For", "203.0.113.7"); r.status != 200 {
		t.Errorf("after a while: %d", r.status)
	}
}

// TestANetworkOfVersionSixIsOneAddress: whoever has a /64 has 2^64 addresses.
func TestANetworkOfVersionSixIsOneAddress(t *testing.T) {
	t.Parallel()
	h := openWith(t, "", func(h *house) { h.burst = 10 })
	for i := range 10 {
		h.send("", "GET", "/nothing", nil, "X-Forwarded-For", fmt.Sprintf("2001:db8:0:7::%x", i+1))
	}
	h.refused("", 429, "rate_limited", "GET", "/nothing", nil, "X-Forwarded-For", "2001:db8:0:7:ffff::1")
	h.refused("", 404, "not_found", "GET", "/nothing", nil, "X-Forwarded-For", "2001:db8:0:8::1")
}

// TestABulkCostsAsMuchAsItsItems: what is done for many is paid for many, and nothing is done that cannot be paid.
func TestABulkCostsAsMuchAsItsItems(t *testing.T) {
	t.Parallel()
	h := open(t, `{"requests_per_second":10,"burst":100}`)
	bulk := func(n int) (add, remove object) {
		items, users := make([]object, n), make([]string, n)
		for i := range items {
			users[i] = fmt.Sprint("user-", i)
			items[i] = object{"display_name": "A", "external_user_id": users[i]}
		}
		return object{"participants": items}, object{"external_user_ids": users}
	}
	add, remove := bulk(60)
	left := func() float64 {
		h.t.Helper()
		state := h.send(h.key, "GET", "/api/v1/rooms", nil).header.Get("RateLimit")
		var n float64
		if _, err := fmt.Sscanf(state, `"tenant";r=%f`, &n); err != nil {
			t.Fatalf("RateLimit: %s", state)
		}
		return n
	}
	h.must(200, "POST", seats+"/bulk", add)
	if n := left(); n != 39 {
		t.Errorf("after a bulk of 60 and a read %g of 100 are left", n)
	}
	h.refused(h.key, 429, "rate_limited", "POST", seats+"/bulk", add)
	h.refused(h.key, 429, "rate_limited", "POST", seats+"/bulk-remove", remove)
	if n := len(h.list("r", "?active=true")); n != 60 {
		t.Errorf("%d are in the room, want 60: what could not be paid was done", n)
	}
	h.clock.advance(10 * time.Second)
	h.must(200, "POST", seats+"/bulk-remove", remove)
	if n := left(); n != 39 {
		t.Errorf("after a removal of 60 and a read %g of 100 are left", n)
	}
	// More than a bucket holds is possible when it is full.
	add, _ = bulk(400)
	h.refused(h.key, 429, "rate_limited", "POST", seats+"/bulk", add)
	h.clock.advance(10 * time.Second)
	h.must(200, "POST", seats+"/bulk", add)
	h.refused(h.key, 429, "rate_limited", "GET", "/api/v1/rooms", nil)
	// A signing key costs 50.
	h.clock.advance(10 * time.Second)
	h.must(201, "POST", "/api/v1/tenants/"+h.tenant+"/signing-keys/rotate", nil)
	if n := left(); n != 49 {
		t.Errorf("after a rotation and a read %g of 100 are left", n)
	}
	h.refused(h.key, 429, "rate_limited", "POST", "/api/v1/tenants/"+h.tenant+"/signing-keys/rotate", nil)
}

// TestARevisionIsWaitedForByWhoMayCall: a forged credential is refused at once, whatever revision it asks for; one that is
// not known yet waits for it, and its address pays.
func TestARevisionIsWaitedForByWhoMayCall(t *testing.T) {
	t.Parallel()
	h := openWith(t, "", func(h *house) { h.burst = 5 })
	other := h.second()
	seat := h.add("r", object{"display_name": "A"})
	token := seat["auth_token"].(string)
	part := strings.Split(token, ".")
	began := time.Now()
	for forged, code := range map[string]string{
		"": "unauthenticated", "usk_mistyped": "unauthenticated", "not-the-operator": "unauthenticated",
		part[0] + "." + part[1] + "." + strings.Repeat("A", len(part[2])): "invalid_token",
	} {
		h.refused(forged, 401, code, "GET", "/api/v1/rooms/r", nil, "Usher-Min-Revision", "9223372036854775807")
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("forged credentials were answered after %s", took)
	}
	// A key, and a seat, that were made on the one are valid on the other.
	_, key := h.newKey(object{"name": "new", "scopes": []string{"rooms:read"}})
	last := h.send(h.key, "POST", "/api/v1/rooms/r/participants", object{"display_name": "B"})
	for _, credential := range []string{key, last.body["auth_token"].(string)} {
		r := other.send(credential, "GET", "/api/v1/rooms/r", nil, "Usher-Min-Revision", last.header.Get("Usher-Revision"))
		if r.status != http.StatusOK {
			t.Errorf("what was just made elsewhere: %d %s", r.status, r.raw)
		}
	}
	// Who waits for what never comes has paid.
	unknown := h.nobody()
	for range 5 {
		h.refused(unknown, 401, "unauthenticated", "GET", "/api/v1/rooms", nil, "X-Forwarded-For", "203.0.113.9")
	}
	began = time.Now()
	h.refused(unknown, 429, "rate_limited", "GET", "/api/v1/rooms", nil, "Usher-Min-Revision", "9223372036854775807", "X-Forwarded-For", "203.0.113.9")
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("an address that cannot pay was answered after %s", took)
	}
}

func TestASiteIsWhatOneCallerHas(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		"203.0.113.7": "203.0.113.7/32", "::ffff:203.0.113.7": "203.0.113.7/32", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64", "fe80::1%eth0": "fe80::/64",
	} {
		if got := gateway.Site(netip.MustParseAddr(given)).String(); got != want {
			t.Errorf("the site of %s is %s, want %s", given, got, want)
		}
	}
}

// TestEveryRouteHasItsCallersPay asks everything there is, at an address that cannot pay any more: what comes without a
// valid credential is refused, and what comes with one never is for its address.
func TestEveryRouteHasItsCallersPay(t *testing.T) {
	t.Parallel()
	h := openWith(t, "", func(h *house) { h.burst = 1 })
	seat := h.add("r", object{"display_name": "A"})
	const from = "203.0.113.7"
	h.send("", "GET", "/nothing", nil, "X-Forwarded-For", from)
	for _, operation := range openapitest.New(t).Operations() {
		method, template, _ := strings.Cut(operation, " ")
		path := strings.NewReplacer("/tenants/{id}", "/tenants/"+h.tenant, "/rooms/{id}", "/rooms/none", "{pid}", idOf(seat), "{kid}", "none",
			"{key_id}", "none", "{version}", "1").Replace(template)
		for _, credential := range []string{"", "usk_mistyped", "eyJhbGciOiJFZERTQSJ9.e30.AAAA"} {
			if r := h.send(credential, method, path, nil, "X-Forwarded-For", from); r.status != 429 || r.policy() != "address" {
				t.Errorf("%s as %q: %d by %q", operation, credential, r.status, r.policy())
			}
		}
		h.clock.advance(10 * time.Second)
		h.send("", "GET", "/nothing", nil, "X-Forwarded-For", from)
		for credential, want := range map[string]string{h.key: "tenant", seat["auth_token"].(string): "seat"} {
			if strings.HasSuffix(path, "/rotate-key") {
				continue // it would take the key away that asks
			}
			if r := h.send(credential, method, path, nil, "X-Forwarded-For", from); r.status == 429 || r.policy() != want {
				t.Errorf("%s with a valid credential: %d by %q, want %q", operation, r.status, r.policy(), want)
			}
		}
		chunked := "X-Forwarded-For: " + from + "\r\nTransfer-Encoding: chunked"
		if status, last := h.begin(t, operatorKey, method, path, chunked, "zz\r\n").status(); status < 400 || !last {
			t.Errorf("%s with a body that is none: %d, the last of its connection: %v", operation, status, last)
		}
	}
}

// TestAnAddressHasOnlySoManyUnderWay: those without a credential that wait for a revision take no more than their address's
// part, and nothing from who has one.
func TestAnAddressHasOnlySoManyUnderWay(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	const from, most = "203.0.113.7", 64
	path := "/api/v1/tenants/" + h.tenant + "/.well-known/jwks.json"
	var waiting sync.WaitGroup
	for range most {
		waiting.Go(func() {
			h.refused("", 503, "unavailable", "GET", path, nil, "Usher-Min-Revision", "9223372036854775807", "X-Forwarded-For", from)
		})
	}
	h.until("all to wait", func() bool { return h.value("usher_http_requests_in_flight") == most })
	if r := h.refused("", 429, "rate_limited", "GET", path, nil, "X-Forwarded-For", from); r.header.Get("Retry-After") != "1" {
		t.Errorf("headers: %v", r.header)
	}
	for credential, address := range map[string]string{"": "203.0.113.8", h.key: from} {
		if r := h.send(credential, "GET", path, nil, "X-Forwarded-For", address); r.status != 200 {
			t.Errorf("as %q from %s: %d %s", credential, address, r.status, r.raw)
		}
	}
	waiting.Wait()
	if r := h.send("", "GET", path, nil, "X-Forwarded-For", from); r.status != 200 {
		t.Errorf("when they have ended: %d", r.status)
	}
}
