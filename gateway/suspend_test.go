package gateway_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"usher/participants"
	"usher/rooms"
	"usher/tenant"
)

func (h *house) byOperator(status int, method, path string, body any) object {
	h.t.Helper()
	r := h.send(operatorKey, method, path, body)
	if r.status != status {
		h.t.Fatalf("%s %s: %d, want %d: %s", method, path, r.status, status, r.raw)
	}
	return r.body
}

func TestASuspendedTenantIsNotServed(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	other := h.second()
	owner := "/api/v1/tenants/" + h.tenant
	added := h.add("r", object{"display_name": "A"})
	service := h.must(200, "POST", "/api/v1/auth/token", nil)["access_token"].(string)
	h.refused(h.key, 403, "forbidden", "POST", owner+"/suspend", nil)
	if s := h.byOperator(200, "POST", owner+"/suspend", nil); s["status"] != "suspended" {
		t.Errorf("suspended: %v", s)
	}
	h.byOperator(200, "POST", owner+"/suspend", nil)
	revision := h.send(operatorKey, "GET", owner, nil).header.Get("Usher-Revision")
	for _, gateway := range []*house{h, other} {
		for _, credential := range []string{h.key, added["auth_token"].(string), service} {
			gateway.refused(credential, 403, "tenant_suspended", "GET", seats, nil, "Usher-Min-Revision", revision)
		}
		gateway.refused(added["refresh_token"].(string), 403, "tenant_suspended", "POST", seats+"/"+idOf(added)+"/token", nil)
	}
	h.sweep()
	if room := h.send(operatorKey, "GET", "/api/v1/rooms/r", nil, "Usher-Tenant", h.tenant).body; room["status"] != "active" {
		t.Errorf("its room: %v", room)
	}
	h.byOperator(200, "POST", owner+"/resume", nil)
	if h.why(idOf(added)) != nil {
		t.Error("the participant is gone")
	}
	h.byOperator(200, "POST", owner+"/suspend", object{"rooms": "end"})
	h.sweep()
	h.byOperator(200, "POST", owner+"/resume", nil)
	if h.why(idOf(added)) != "room_ended" {
		t.Error("the room goes on")
	}
	h.refused(operatorKey, 400, "invalid_request", "POST", owner+"/suspend", object{"rooms": "explode"})
	h.refused(operatorKey, 404, "tenant_not_found", "POST", "/api/v1/tenants/tenant_01ke953t00e00bsaekf59edd1r/suspend", nil)
}

func TestNothingIsLeftOfADeletedTenant(t *testing.T) {
	t.Parallel()
	h := open(t, `{"max_participants_per_room":1000,"presence_timeout_seconds":60}`)
	owner := "/api/v1/tenants/" + h.tenant
	items := make([]object, 350)
	for i := range items {
		items[i] = object{"display_name": "A", "external_user_id": fmt.Sprint("u", i)}
	}
	h.must(200, "POST", seats+"/bulk", object{"participants": items})
	h.must(200, "POST", seats+"/bulk-remove", object{"external_user_ids": []string{"u1", "u2"}, "ban_seconds": 100})
	added := h.under("a-key", "POST", seats, object{"display_name": "B"}).body
	h.beat(added)
	h.writeHeartbeats()
	h.newKey(object{"name": "k", "scopes": []string{"rooms:read"}})
	h.must(200, "PATCH", h.config(), object{"burst": 900})
	bystander, bystanderKey := h.newTenant("")
	if r := h.send(bystanderKey, "POST", seats, object{"display_name": "X"}); r.status != 201 {
		t.Fatal(r.raw)
	}
	h.refused(h.key, 403, "forbidden", "DELETE", owner, nil)
	h.byOperator(204, "DELETE", owner, nil)
	h.refused(h.key, 401, "unauthenticated", "GET", seats, nil)
	h.refused(added["auth_token"].(string), 401, "invalid_token", "GET", seats, nil)
	h.refused("", 404, "tenant_not_found", "GET", owner+"/.well-known/jwks.json", nil)
	h.refused(operatorKey, 404, "tenant_not_found", "GET", owner, nil)
	h.refused(operatorKey, 404, "tenant_not_found", "DELETE", owner, nil)
	if list := h.byOperator(200, "GET", "/api/v1/tenants", nil)["tenants"].([]any); len(list) != 1 || list[0].(object)["id"] != bystander {
		t.Errorf("listed: %v", list)
	}
	// The sweep is cut off again and again, and goes on.
	for h.left() > 0 {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
		_, _ = h.sweeper.Sweep(ctx)
		cancel()
	}
	if r := h.send(bystanderKey, "GET", seats, nil); r.status != 200 || len(r.body["participants"].([]any)) != 1 {
		t.Errorf("the bystander: %d %s", r.status, r.raw)
	}
	if e := h.byOperator(200, "GET", "/api/v1/audit", nil)["entries"].([]any); len(e) != 1 || e[0].(object)["target"] != h.tenant {
		t.Errorf("audit: %v", e)
	}
}

// left counts the records of the tenant.
func (h *house) left() (n int) {
	snapshot := h.sweeper.Log.Snapshot()
	mine := h.tenant + "/"
	for range participants.Participants.Scan(snapshot, mine, "") {
		n++
	}
	for range participants.Presence.Scan(snapshot, mine, "") {
		n++
	}
	for range rooms.Rooms.Scan(snapshot, mine, "") {
		n++
	}
	for range rooms.Names.Scan(snapshot, mine, "") {
		n++
	}
	for range rooms.Bans.Scan(snapshot, mine, "") {
		n++
	}
	for range tenant.Accounts.Scan(snapshot, h.tenant, "") {
		n++
	}
	for range tenant.SigningKeys.Scan(snapshot, mine, "") {
		n++
	}
	for range tenant.Idempotencies.Scan(snapshot, mine, "") {
		n++
	}
	for key := range tenant.APIKeys.Scan(snapshot, "", "") {
		if strings.HasPrefix(string(key.Value.TenantID), h.tenant) {
			n++
		}
	}
	for range tenant.Deleting(snapshot) {
		n++
	}
	return n
}
