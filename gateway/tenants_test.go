package gateway_test

import (
	"fmt"
	"testing"
)

func TestTenantsAreTheOperatorsBusiness(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	r := h.send(operatorKey, "POST", "/api/v1/tenants", object{"name": "  A clinic  ", "config": object{"max_participants_per_room": 2}})
	made := r.body["tenant"].(object)
	if r.status != 201 || made["name"] != "A clinic" || made["status"] != "active" || made["config"].(object)["max_participants_per_room"] != 2.0 ||
		r.header.Get("Location") != "/api/v1/tenants/"+made["id"].(string) {
		t.Fatalf("created: %d %s", r.status, r.raw)
	}
	key := r.body["api_key"].(string)
	if own := h.send(key, "GET", "/api/v1/tenants/"+made["id"].(string), nil); own.status != 200 || own.body["name"] != "A clinic" {
		t.Errorf("by its own key: %d %s", own.status, own.raw)
	}
	listed := h.send(operatorKey, "GET", "/api/v1/tenants?page_size=1", nil)
	next := h.send(operatorKey, "GET", "/api/v1/tenants?page_size=1&page_token="+listed.body["next_page_token"].(string), nil)
	first, second := listed.body["tenants"].([]any)[0].(object), next.body["tenants"].([]any)[0].(object)
	if first["id"] != h.tenant || second["id"] != made["id"] || next.body["next_page_token"] != nil {
		t.Errorf("listed %s then %s", listed.raw, next.raw)
	}
	renamed := h.send(key, "PATCH", "/api/v1/tenants/"+made["id"].(string), object{"name": "A hospital"})
	if renamed.status != 200 || renamed.body["name"] != "A hospital" {
		t.Errorf("renamed: %d %s", renamed.status, renamed.raw)
	}
	h.refused(operatorKey, 400, "invalid_request", "POST", "/api/v1/tenants", object{"name": ""})
	h.refused(operatorKey, 400, "invalid_request", "POST", "/api/v1/tenants", object{"name": "x", "config": object{"default_role": "nobody"}})
	for _, credential := range []string{key, h.key} {
		h.refused(credential, 403, "forbidden", "POST", "/api/v1/tenants", object{"name": "x"})
		h.refused(credential, 403, "forbidden", "GET", "/api/v1/tenants", nil)
	}
	h.refused("an-operator-key-for-test", 401, "unauthenticated", "GET", "/api/v1/tenants", nil)
}

func TestTheOperatorSaysForWhichTenantItCalls(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	for _, tenant := range []string{"", "school"} {
		h.refused(operatorKey, 400, "invalid_request", "GET", "/api/v1/rooms", nil, "Usher-Tenant", tenant)
	}
	h.refused(operatorKey, 404, "tenant_not_found", "GET", "/api/v1/rooms", nil, "Usher-Tenant", "tenant_01ke953t00e00bsaekf59edd1r")
	if r := h.send(operatorKey, "POST", "/api/v1/rooms", object{"name": "by the operator"}, "Usher-Tenant", h.tenant); r.status != 201 {
		t.Fatalf("%d %s", r.status, r.raw)
	}
	h.must(200, "GET", "/api/v1/rooms/by%20the%20operator", nil)
	_, other := h.newTenant("")
	h.refused(other, 404, "room_not_found", "GET", "/api/v1/rooms/by%20the%20operator", nil, "Usher-Tenant", h.tenant)
}

func TestSettingsAreInForceAtOnceOnEveryReplica(t *testing.T) {
	t.Parallel()
	one := open(t, "")
	two := one.second()
	path := "/api/v1/tenants/" + one.tenant + "/config"
	before := one.send(one.key, "GET", path, nil)
	if before.body["max_participants_per_room"] != 100.0 || before.body["default_role"] != "participant" {
		t.Errorf("the defaults: %s", before.raw)
	}
	changed := one.send(one.key, "PATCH", path, object{"max_participants_per_room": 1, "default_role": "viewer", "access_token_ttl_seconds": 600},
		"Content-Type", "application/merge-patch+json")
	if changed.status != 200 || changed.body["default_role"] != "viewer" || changed.header.Get("ETag") == before.header.Get("ETag") {
		t.Fatalf("changed: %d %s", changed.status, changed.raw)
	}
	there := two.send(two.key, "GET", path, nil, "Usher-Min-Revision", changed.header.Get("Usher-Revision"))
	if there.raw != changed.raw || there.header.Get("ETag") != changed.header.Get("ETag") {
		t.Errorf("the other replica says %s", there.raw)
	}
	if added := two.add("r", object{"display_name": "A"}); added["role"] != "viewer" || added["expires_in"] != 600.0 {
		t.Errorf("added by the new settings: %v", added)
	}
	two.refused(two.key, 409, "room_full", "POST", "/api/v1/rooms/r/participants", object{"display_name": "B"})
	if back := one.send(one.key, "PATCH", path, object{"max_participants_per_room": nil}); back.body["max_participants_per_room"] != 100.0 {
		t.Errorf("null: %s", back.raw)
	}
}

func TestIfMatchGuardsSettings(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	path := "/api/v1/tenants/" + h.tenant + "/config"
	etag := h.send(h.key, "GET", path, nil).header.Get("ETag")
	statuses := make([]int, 10)
	together(len(statuses), func(i int) {
		statuses[i] = h.send(h.key, "PATCH", path, object{"burst": 200 + i}, "If-Match", etag).status
	})
	counts := make(map[int]int)
	for _, status := range statuses {
		counts[status]++
	}
	if counts[200] != 1 || counts[412] != 9 {
		t.Errorf("ten changes of the same version: %v", counts)
	}
	h.refused(h.key, 412, "precondition_failed", "PATCH", path, object{"burst": 500}, "If-Match", etag)
	if r := h.send(h.key, "PATCH", path, object{"burst": 500}, "If-Match", "*"); r.status != 200 {
		t.Errorf("If-Match *: %d %s", r.status, r.raw)
	}
}

func TestABadPatchNamesEveryFieldAndChangesNothing(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	path := "/api/v1/tenants/" + h.tenant + "/config"
	before := h.send(h.key, "GET", path, nil)
	r := h.refused(h.key, 400, "invalid_request", "PATCH", path, object{
		"max_participants_per_room": 0, "colour": "red", "allow_early_join": "yes", "force_recording": true,
	})
	named := make(map[string]bool)
	for _, e := range r.body["errors"].([]any) {
		named[e.(object)["field"].(string)] = true
	}
	if len(named) != 3 || !named["max_participants_per_room"] || !named["colour"] || !named["allow_early_join"] {
		t.Errorf("named: %v", named)
	}
	if after := h.send(h.key, "GET", path, nil); after.raw != before.raw {
		t.Errorf("changed to %s", after.raw)
	}
}

func TestMinRevisionIsWaitedForAndThenRefused(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	h.refused(h.key, 400, "invalid_request", "GET", "/api/v1/rooms", nil, "Usher-Min-Revision", "new")
	r := h.refused(h.key, 503, "unavailable", "GET", "/api/v1/rooms", nil, "Usher-Min-Revision", fmt.Sprint(1<<60))
	if r.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}
