package gateway_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

func TestTheFiveCalls(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	added := h.add("CS101%20Lecture", object{"display_name": "John Doe", "external_user_id": "user_123", "role": "participant"})
	p, room := added["participant"].(object), added["room"].(object)
	if p["room_id"] != room["id"] || p["display_name"] != "John Doe" || room["name"] != "CS101 Lecture" || room["status"] != "active" ||
		added["room_created"] != true || added["token_type"] != "Bearer" || added["expires_in"] != 3600.0 || added["should_start_recording"] != false {
		t.Fatalf("add: %v", added)
	}
	bulk := h.must(200, "POST", "/api/v1/rooms/"+room["id"].(string)+"/participants/bulk", object{"participants": []object{
		{"display_name": "Alice", "external_user_id": "user_001", "role": "participant"}, {"role": "participant"}, {"display_name": "Bob"}, {"display_name": 5},
	}})["results"].([]any)
	if len(bulk) != 4 || bulk[0].(object)["success"] != true || bulk[1].(object)["error"] != "display_name is required" ||
		bulk[2].(object)["success"] != true || bulk[3].(object)["success"] != false {
		t.Fatalf("bulk: %v", bulk)
	}
	listed := h.list("CS101%20Lecture", "")
	if len(listed) != 3 || listed[0].(object)["id"] != p["id"] || listed[1].(object)["display_name"] != "Alice" || listed[2].(object)["display_name"] != "Bob" {
		t.Fatalf("list: %v", listed)
	}
	seat := "/api/v1/rooms/CS101%20Lecture/participants/" + p["id"].(string)
	if fresh := h.must(200, "POST", seat+"/token", nil); fresh["access_token"] == "" || fresh["expires_in"] != 3600.0 {
		t.Fatalf("refresh: %v", fresh)
	}
	h.must(204, "DELETE", seat, nil)
	h.must(204, "DELETE", seat, nil)
	if active := h.list("CS101%20Lecture", "?active=true"); len(active) != 2 {
		t.Fatalf("after the removal: %v", active)
	}
	if all := h.list("CS101%20Lecture", ""); all[0].(object)["leave_reason"] != "removed" || all[0].(object)["left_at"] == nil {
		t.Fatalf("after the removal: %v", all)
	}
	h.refused(h.key, 409, "participant_left", "POST", seat+"/token", nil)
	h.refused(added["auth_token"].(string), 401, "participant_removed", "GET", "/api/v1/rooms/CS101%20Lecture/participants", nil)
	h.refused(added["refresh_token"].(string), 401, "participant_removed", "POST", seat+"/token", nil)
}

// TestAFullRoomIsNeverExceeded joins from 500 callers at once through two gateways.
func TestAFullRoomIsNeverExceeded(t *testing.T) {
	t.Parallel()
	one := open(t, `{"max_participants_per_room":50,"force_recording":true}`)
	gateways := []*house{one, one.second()}
	var (
		mu                            sync.Mutex
		seated, full, created, record int
	)
	together(500, func(i int) {
		r := gateways[i%2].send(one.key, "POST", "/api/v1/rooms/lecture/participants", object{"display_name": fmt.Sprint("user ", i)})
		mu.Lock()
		defer mu.Unlock()
		switch {
		case r.status == 201:
			seated++
		case r.status == 409 && r.body["code"] == "room_full":
			full++
		default:
			t.Errorf("join %d: %d %s", i, r.status, r.raw)
		}
		if r.body["room_created"] == true {
			created++
		}
		if r.body["should_start_recording"] == true {
			record++
		}
	})
	if seated != 50 || full != 450 || created != 1 || record != 1 {
		t.Errorf("%d seated, %d full, %d created the room, %d told to record", seated, full, created, record)
	}
	if room := one.must(200, "GET", "/api/v1/rooms/lecture", nil); room["participant_count"] != 50.0 {
		t.Errorf("the room says %v", room)
	}
}

func TestDuplicatePolicies(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		policy string
		check  func(t *testing.T, h *house, first object)
	}{
		{"allow", func(t *testing.T, h *house, first object) {
			if again := h.add("r", object{"display_name": "A", "external_user_id": "u"}); again["participant_id"] == first["participant_id"] {
				t.Error("the same seat")
			}
		}},
		{"reject", func(_ *testing.T, h *house, _ object) {
			h.refused(h.key, 409, "participant_duplicate", "POST", "/api/v1/rooms/r/participants", object{"display_name": "A", "external_user_id": "u"})
		}},
		{"return_existing", func(t *testing.T, h *house, first object) {
			if again := h.add("r", object{"display_name": "A", "external_user_id": "u"}); again["participant_id"] != first["participant_id"] {
				t.Error("another seat")
			}
		}},
		{"replace", func(t *testing.T, h *house, first object) {
			again := h.add("r", object{"display_name": "A", "external_user_id": "u"})
			all := h.list("r", "")
			if again["participant_id"] == first["participant_id"] || len(all) != 2 || all[0].(object)["leave_reason"] != "replaced" {
				t.Errorf("after replacing: %v", all)
			}
		}},
	} {
		t.Run(c.policy, func(t *testing.T) {
			t.Parallel()
			// A room of one: who has a seat already is never told that it is full.
			limit := 1
			if c.policy == "allow" {
				limit = 2
			}
			h := open(t, fmt.Sprintf(`{"duplicate_participant_policy":%q,"max_participants_per_room":%d}`, c.policy, limit))
			c.check(t, h, h.add("r", object{"display_name": "A", "external_user_id": "u"}))
		})
	}
}

func TestTokensVerifyWithAnotherLibrary(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	added := h.add("room", object{"display_name": "Zoë \"Q\" 😀", "role": "viewer"})
	var keys jose.JSONWebKeySet
	r := h.send("", "GET", "/api/v1/tenants/"+h.tenant+"/.well-known/jwks.json", nil)
	if err := json.Unmarshal([]byte(r.raw), &keys); err != nil || r.status != 200 || !strings.Contains(r.header.Get("Cache-Control"), "max-age") {
		t.Fatalf("JWKS: %v %d %s", err, r.status, r.raw)
	}
	for field, audience := range map[string]string{"access_token": "media", "auth_token": "api", "refresh_token": "refresh"} {
		parsed, err := jwt.ParseSigned(added[field].(string), []jose.SignatureAlgorithm{jose.EdDSA})
		if err != nil {
			t.Fatal(err)
		}
		var claims jwt.Claims
		var ours object
		if err := parsed.Claims(keys, &claims, &ours); err != nil {
			t.Fatal(err)
		}
		if err := claims.Validate(jwt.Expected{Issuer: "https://usher.example/api/v1/tenants/" + h.tenant, AnyAudience: jwt.Audience{audience}, Time: time.Now()}); err != nil {
			t.Errorf("%s: %v", field, err)
		}
		if ours["name"] != "Zoë \"Q\" 😀" || ours["role"] != "viewer" || ours["room_name"] != "room" || claims.Subject != added["participant_id"] {
			t.Errorf("%s says %v", field, ours)
		}
	}
}

func TestTokensOpenTheirOwnRoomOnly(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	host := h.add("one", object{"display_name": "H", "role": "host"})
	guest := h.add("one", object{"display_name": "G"})
	h.add("two", object{"display_name": "X"})
	auth, refresh := guest["auth_token"].(string), guest["refresh_token"].(string)
	if r := h.send(auth, "GET", "/api/v1/rooms/one/participants", nil); r.status != 200 {
		t.Errorf("own room: %d %s", r.status, r.raw)
	}
	h.refused(auth, 403, "forbidden", "GET", "/api/v1/rooms/two/participants", nil)
	h.refused(auth, 403, "forbidden", "GET", "/api/v1/rooms/none/participants", nil)
	h.refused(auth, 403, "forbidden", "POST", "/api/v1/rooms/one/participants", object{"display_name": "Y"})
	h.refused(auth, 403, "forbidden", "POST", "/api/v1/rooms/one/end", nil)
	h.refused(refresh, 401, "invalid_token", "GET", "/api/v1/rooms/one/participants", nil)
	h.refused(guest["access_token"].(string), 401, "invalid_token", "GET", "/api/v1/rooms/one/participants", nil)
	own := "/api/v1/rooms/one/participants/" + guest["participant_id"].(string)
	for _, credential := range []string{auth, refresh} {
		if r := h.send(credential, "POST", own+"/token", nil); r.status != 200 {
			t.Errorf("refresh: %d %s", r.status, r.raw)
		}
	}
	h.refused(auth, 403, "forbidden", "POST", "/api/v1/rooms/one/participants/"+host["participant_id"].(string)+"/token", nil)
	if r := h.send(host["auth_token"].(string), "DELETE", own, nil); r.status != 204 {
		t.Errorf("a host removes: %d %s", r.status, r.raw)
	}
	tampered := auth[:len(auth)-4] + "AAAA"
	h.refused(tampered, 401, "invalid_token", "GET", "/api/v1/rooms/one", nil)
	h.clock.advance(2 * time.Hour)
	h.refused(host["auth_token"].(string), 401, "token_expired", "GET", "/api/v1/rooms/one", nil)
}

func TestBadRequestsAreRefusedAndWriteNothing(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	path := "/api/v1/rooms/r/participants"
	for _, c := range []struct {
		status int
		code   string
		body   string
		names  string
	}{
		{400, "invalid_request", `{"display_name":`, "JSON"},
		{400, "invalid_request", `{"display_name":5}`, "display_name must be a string"},
		{400, "invalid_request", `{"display_name":"A","nick":"B"}`, "nick is not a known field"},
		{400, "invalid_request", `{"display_name":"A","display_name":"B"}`, "display_name is given twice"},
		{400, "invalid_request", "{\"display_name\":\"\xff\"}", "JSON"},
		{400, "invalid_request", `{"display_name":"a\u0000b"}`, "control"},
		{400, "invalid_request", `{"display_name":"   "}`, "display_name is required"},
		{400, "invalid_request", `{}`, "display_name is required"},
		{400, "invalid_request", `[]`, "object"},
		{400, "invalid_request", `{"display_name":"` + strings.Repeat("é", 201) + `"}`, "200"},
		{400, "invalid_request", `{"display_name":"A","role":"king"}`, "role"},
		{400, "invalid_request", `{"display_name":"A","metadata":[]}`, "metadata"},
		{413, "body_too_large", `{"display_name":"` + strings.Repeat("a", 1<<20) + `"}`, "bytes"},
	} {
		if r := h.refused(h.key, c.status, c.code, "POST", path, c.body); !strings.Contains(r.raw, c.names) {
			t.Errorf("%.60s: does not say %q: %s", c.body, c.names, r.raw)
		}
	}
	h.refused(h.key, 415, "unsupported_media_type", "POST", path, "display_name=A", "Content-Type", "text/plain")
	h.refused(h.key, 400, "invalid_request", "POST", "/api/v1/rooms/"+strings.Repeat("a", 201)+"/participants", object{"display_name": "A"})
	h.refused(h.key, 400, "invalid_request", "POST", "/api/v1/rooms/a%00b/participants", object{"display_name": "A"})
	h.refused("", 401, "unauthenticated", "POST", path, object{"display_name": "A"})
	h.refused("usk_wrong", 401, "unauthenticated", "POST", path, object{"display_name": "A"})
	if r := h.refused(h.key, 405, "method_not_allowed", "PUT", path, object{}); r.header.Get("Allow") != "GET, HEAD, POST" {
		t.Errorf("Allow: %q", r.header.Get("Allow"))
	}
	h.refused(h.key, 404, "not_found", "GET", "/api/v2", nil)
	h.refused(h.key, 404, "room_not_found", "GET", "/api/v1/rooms/r", nil)
}

func TestAtomicBulkAddsAllOrNobody(t *testing.T) {
	t.Parallel()
	h := open(t, `{"max_participants_per_room":150}`)
	path := "/api/v1/rooms/r/participants/bulk?atomic=true"
	many := func(n int) object {
		list := make([]object, n)
		for i := range list {
			list[i] = object{"display_name": fmt.Sprint("user ", i)}
		}
		return object{"participants": list}
	}
	r := h.refused(h.key, 400, "invalid_request", "POST", path, object{"participants": []object{{"display_name": "A"}, {}}})
	if results := r.body["results"].([]any); len(results) != 2 || results[1].(object)["error"] != "display_name is required" {
		t.Errorf("verdicts: %s", r.raw)
	}
	if r := h.refused(h.key, 400, "bulk_too_large", "POST", path, many(101)); r.body["limit"] != 100.0 {
		t.Errorf("limit: %s", r.raw)
	}
	h.refused(h.key, 404, "room_not_found", "GET", "/api/v1/rooms/r", nil)
	h.must(200, "POST", path, many(100))
	h.refused(h.key, 409, "room_full", "POST", path, many(51))
	if got := len(h.list("r", "")); got != 100 {
		t.Errorf("%d are in the room", got)
	}
	h.clock.advance(2 * time.Second) // a bulk costs as many requests as it has items
	results := h.must(200, "POST", "/api/v1/rooms/r/participants/bulk", many(1000))["results"].([]any)
	seated := 0
	for _, r := range results {
		if r.(object)["success"] == true {
			seated++
		} else if r.(object)["code"] != "room_full" {
			t.Fatalf("item: %v", r)
		}
	}
	if seated != 50 || len(results) != 1000 {
		t.Errorf("%d of %d seated", seated, len(results))
	}
}

func TestPagesAreOfOneRevision(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	for i := range 5 {
		h.add("r", object{"display_name": fmt.Sprint(i)})
	}
	first := h.must(200, "GET", "/api/v1/rooms/r/participants?active=true&page_size=2", nil)
	last := h.list("r", "")[4].(object)["id"].(string)
	h.must(204, "DELETE", "/api/v1/rooms/r/participants/"+last, nil)
	h.add("r", object{"display_name": "late"})
	h.must(200, "POST", "/api/v1/rooms/r/end", nil)
	names := ""
	for page := first; ; {
		for _, p := range page["participants"].([]any) {
			names += p.(object)["display_name"].(string)
			if p.(object)["left_at"] != nil {
				t.Errorf("had not left then: %v", p)
			}
		}
		token, more := page["next_page_token"].(string)
		if !more {
			break
		}
		page = h.must(200, "GET", "/api/v1/rooms/r/participants?active=true&page_size=2&page_token="+token, nil)
	}
	if names != "01234" {
		t.Errorf("pages show %q", names)
	}
	if now := h.list("r", ""); len(now) != 6 || now[0].(object)["leave_reason"] != "room_ended" || now[4].(object)["leave_reason"] != "removed" {
		t.Errorf("now: %v", now)
	}
}

// TestAnotherTenantsThingsDoNotExist asks each route for another tenant's ids and for ids that nobody has.
func TestAnotherTenantsThingsDoNotExist(t *testing.T) {
	t.Parallel()
	h := open(t, `{"allow_early_join":false}`)
	h.must(201, "POST", "/api/v1/rooms", object{"name": "secret"})
	theirs := h.add("secret", object{"display_name": "A"})
	otherTenant, otherKey := h.newTenant(`{"allow_early_join":false}`)
	room, seat := theirs["room"].(object)["id"].(string), theirs["participant_id"].(string)
	const noRoom, noSeat, noTenant = "room_01jz0000000000000000000000", "p_01jz0000000000000000000000", "tenant_01jz0000000000000000000000"
	for _, c := range []struct{ method, theirs, nobodys string }{
		{"GET", "/api/v1/rooms/" + room, "/api/v1/rooms/" + noRoom},
		{"GET", "/api/v1/rooms/secret", "/api/v1/rooms/nothing"},
		{"DELETE", "/api/v1/rooms/" + room, "/api/v1/rooms/" + noRoom},
		{"POST", "/api/v1/rooms/" + room + "/end", "/api/v1/rooms/" + noRoom + "/end"},
		{"POST", "/api/v1/rooms/" + room + "/recordings/start", "/api/v1/rooms/" + noRoom + "/recordings/start"},
		{"POST", "/api/v1/rooms/" + room + "/recordings/stop", "/api/v1/rooms/" + noRoom + "/recordings/stop"},
		{"GET", "/api/v1/rooms/" + room + "/participants", "/api/v1/rooms/" + noRoom + "/participants"},
		{"POST", "/api/v1/rooms/" + room + "/participants", "/api/v1/rooms/" + noRoom + "/participants"},
		{"POST", "/api/v1/rooms/secret/participants", "/api/v1/rooms/nothing/participants"},
		{"POST", "/api/v1/rooms/" + room + "/participants/bulk", "/api/v1/rooms/" + noRoom + "/participants/bulk"},
		{"PATCH", "/api/v1/rooms/" + room, "/api/v1/rooms/" + noRoom},
		{"POST", "/api/v1/rooms/" + room + "/lock", "/api/v1/rooms/" + noRoom + "/lock"},
		{"POST", "/api/v1/rooms/secret/unlock", "/api/v1/rooms/nothing/unlock"},
		{"GET", "/api/v1/rooms/" + room + "/bans", "/api/v1/rooms/" + noRoom + "/bans"},
		{"DELETE", "/api/v1/rooms/" + room + "/bans", "/api/v1/rooms/" + noRoom + "/bans"},
		{"GET", "/api/v1/rooms/" + room + "/participants/" + seat, "/api/v1/rooms/" + noRoom + "/participants/" + noSeat},
		{"POST", "/api/v1/rooms/" + room + "/participants/" + seat + "/leave", "/api/v1/rooms/" + noRoom + "/participants/" + noSeat + "/leave"},
		{"POST", "/api/v1/rooms/" + room + "/participants/" + seat + "/heartbeat", "/api/v1/rooms/" + noRoom + "/participants/" + noSeat + "/heartbeat"},
		{"POST", "/api/v1/rooms/" + room + "/participants/bulk-remove", "/api/v1/rooms/" + noRoom + "/participants/bulk-remove"},
		{"DELETE", "/api/v1/rooms/" + room + "/participants/" + seat, "/api/v1/rooms/" + noRoom + "/participants/" + noSeat},
		{"POST", "/api/v1/rooms/" + room + "/participants/" + seat + "/token", "/api/v1/rooms/" + noRoom + "/participants/" + noSeat + "/token"},
		{"GET", "/api/v1/tenants/" + h.tenant, "/api/v1/tenants/" + noTenant},
		{"PATCH", "/api/v1/tenants/" + h.tenant, "/api/v1/tenants/" + noTenant},
		{"GET", "/api/v1/tenants/" + h.tenant + "/config", "/api/v1/tenants/" + noTenant + "/config"},
		{"PATCH", "/api/v1/tenants/" + h.tenant + "/config", "/api/v1/tenants/" + noTenant + "/config"},
		{"GET", "/api/v1/tenants/" + h.tenant + "/config/versions", "/api/v1/tenants/" + noTenant + "/config/versions"},
		{"GET", "/api/v1/tenants/" + h.tenant + "/config/versions/1", "/api/v1/tenants/" + noTenant + "/config/versions/1"},
		{"POST", "/api/v1/tenants/" + h.tenant + "/config/rollback", "/api/v1/tenants/" + noTenant + "/config/rollback"},
		{"GET", "/api/v1/tenants/" + h.tenant + "/audit", "/api/v1/tenants/" + noTenant + "/audit"},
		{"GET", "/api/v1/tenants/" + h.tenant + "/keys", "/api/v1/tenants/" + noTenant + "/keys"},
		{"POST", "/api/v1/tenants/" + h.tenant + "/keys", "/api/v1/tenants/" + noTenant + "/keys"},
		{"POST", "/api/v1/tenants/" + h.tenant + "/rotate-key", "/api/v1/tenants/" + noTenant + "/rotate-key"},
		{"GET", "/api/v1/tenants/" + h.tenant + "/signing-keys", "/api/v1/tenants/" + noTenant + "/signing-keys"},
		{"POST", "/api/v1/tenants/" + h.tenant + "/signing-keys/rotate", "/api/v1/tenants/" + noTenant + "/signing-keys/rotate"},
	} {
		var body any
		switch {
		case strings.HasSuffix(c.theirs, "/rollback"):
			body = object{"version": 1}
		case strings.HasSuffix(c.theirs, "/keys") && c.method == "POST":
			body = object{"name": "k", "scopes": []string{"rooms:read"}}
		case strings.HasSuffix(c.theirs, "/bulk-remove"):
			body = object{"external_user_ids": []string{"u"}}
		case strings.HasSuffix(c.theirs, "/bulk"):
			body = object{"participants": []object{{"display_name": "A"}}}
		case c.method == "POST" && strings.HasSuffix(c.theirs, "/participants"):
			body = object{"display_name": "A"}
		case c.method == "PATCH":
			body = object{"name": "mine"}
		}
		a := h.send(otherKey, c.method, c.theirs, body, "X-Request-ID", "the-same")
		b := h.send(otherKey, c.method, c.nobodys, body, "X-Request-ID", "the-same")
		if a.status != http.StatusNotFound || a.raw != b.raw || a.status != b.status {
			t.Errorf("%s %s: %d %s, but for nobody's %d %s", c.method, c.theirs, a.status, a.raw, b.status, b.raw)
		}
	}
	if otherTenant == h.tenant {
		t.Fatal("the same tenant twice")
	}
}

// TestAPageOfARevisionThatNeverCameIsRefusedInTime: the log may have been restored to an older state since the list began.
func TestAPageOfARevisionThatNeverCameIsRefusedInTime(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	seat := h.add("r", object{"display_name": "A"})["participant_id"].(string)
	token := base64.RawURLEncoding.EncodeToString([]byte("1000000000." + seat))
	began := time.Now()
	h.refused(h.key, 503, "unavailable", "GET", "/api/v1/rooms/r/participants?page_size=1&page_token="+token, nil)
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
}
