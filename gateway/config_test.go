package gateway_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

func (h *house) config() string { return "/api/v1/tenants/" + h.tenant + "/config" }

func TestADryRunSaysWhatWouldChangeAndWritesNothing(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	for i := range 3 {
		h.add("busy", object{"display_name": "A", "role": []string{"host", "viewer", "viewer"}[i]})
	}
	h.must(201, "POST", "/api/v1/rooms", object{"name": "later", "scheduled_start_at": h.clock.now().Add(time.Hour)})
	h.add("over", object{"display_name": "A"})
	h.must(200, "POST", "/api/v1/rooms/over/end", nil)
	before := h.send(h.key, "GET", h.config(), nil)
	patch := object{"max_participants_per_room": 2, "allow_early_join": false, "force_recording": true,
		"roles": object{"viewer": []string{"subscribe", "record"}, "host": []string{"publish"}}}
	r := h.must(200, "PATCH", h.config()+"?dry_run=true", patch)
	rooms := r["affected_rooms"].([]any)
	text, _ := json.Marshal(rooms)
	if len(rooms) != 2 || r["affected_rooms_total"] != 2.0 || len(r["diff"].([]any)) != 4 || r["config"].(object)["max_participants_per_room"] != 2.0 {
		t.Errorf("trial: %v", r)
	}
	for _, want := range []string{"2 instead of 100 at once, and 3 are in", "cannot be joined before its start", "joins next is told to record",
		"1 of role host may no longer moderate", "2 of role viewer may record"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("it is not said that %q: %s", want, text)
		}
	}
	if after := h.send(h.key, "GET", h.config(), nil); after.raw != before.raw {
		t.Error("the dry run changed something")
	}
	h.refused(h.key, 400, "invalid_request", "PATCH", h.config()+"?dry_run=true", object{"burst": 0})
	h.refused(h.key, 412, "precondition_failed", "PATCH", h.config()+"?dry_run=true", object{}, "If-Match", `"old"`)
	h.refused(h.key, 400, "invalid_request", "PATCH", h.config()+"?dry_run=yes", object{})
}

// TestThousandsOfFaultsAreToldInOne: what a patch costs, and its answer, has a bound.
func TestThousandsOfFaultsAreToldInOne(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	wrong := make([]string, 3600)
	for i := range wrong {
		wrong[i] = fmt.Sprintf(`"%x":1`, i)
	}
	for _, patch := range []string{`{"roles":{` + strings.Join(wrong, ",") + `}}`, `{` + strings.Join(wrong, ",") + `}`} {
		for _, path := range []string{h.config(), h.config() + "?dry_run=true"} {
			if r := h.refused(h.key, 400, "invalid_request", "PATCH", path, patch); len(r.body["errors"].([]any)) != 1 || len(r.raw) > 1000 {
				t.Errorf("the answer has %d bytes: %.300s", len(r.raw), r.raw)
			}
		}
		r := h.refused(operatorKey, 400, "invalid_request", "POST", "/api/v1/tenants", `{"name":"x","config":`+patch+`}`)
		if len(r.raw) > 1000 {
			t.Errorf("a tenant's first settings: %.300s", r.raw)
		}
	}
}

func TestEveryChangeIsAVersionToGoBackTo(t *testing.T) {
	t.Parallel()
	h := open(t, `{"burst":500}`)
	other := h.second()
	h.must(200, "PATCH", h.config(), object{"burst": 600})
	h.must(200, "PATCH", h.config(), object{"burst": 600}) // changes nothing, so it is none
	r := h.send(operatorKey, "PATCH", h.config(), object{"burst": nil, "force_recording": true}, "X-Request-ID", "req-3")
	if r.status != 200 {
		t.Fatal(r.raw)
	}
	versions := h.must(200, "GET", h.config()+"/versions", nil)["versions"].([]any)
	if len(versions) != 3 {
		t.Fatalf("versions: %v", versions)
	}
	newest, first := versions[0].(object), versions[2].(object)
	if newest["version"] != 3.0 || newest["changed_by"] != "operator" || newest["request_id"] != "req-3" || len(newest["diff"].([]any)) != 2 {
		t.Errorf("newest: %v", newest)
	}
	if by := versions[1].(object)["changed_by"].(string); !strings.HasPrefix(by, "key_") || first["version"] != 1.0 {
		t.Errorf("changed by %s; first %v", by, first)
	}
	if v := h.must(200, "GET", h.config()+"/versions/2", nil); v["config"].(object)["burst"] != 600.0 {
		t.Errorf("version 2: %v", v)
	}
	compared := h.must(200, "GET", h.config()+"/versions/3?compare=1", nil)
	if d := compared["diff"].([]any); len(d) != 2 || compared["from"] != 1.0 || d[0].(object)["setting"] != "force_recording" || d[1].(object)["to"] != 1000.0 {
		t.Errorf("compared: %v", compared)
	}
	back := h.send(h.key, "POST", h.config()+"/rollback", object{"version": 1})
	if back.status != 200 || back.body["burst"] != 500.0 || back.body["force_recording"] != false || back.header.Get("ETag") == "" {
		t.Errorf("rolled back: %d %s", back.status, back.raw)
	}
	min := []string{"Usher-Min-Revision", back.header.Get("Usher-Revision")}
	if v := other.send(h.key, "GET", h.config()+"/versions/4", nil, min...); v.body["config"].(object)["burst"] != 500.0 {
		t.Errorf("the rollback is no version: %s", v.raw)
	}
	h.refused(h.key, 404, "version_not_found", "GET", h.config()+"/versions/5", nil)
	h.refused(h.key, 404, "version_not_found", "POST", h.config()+"/rollback", object{"version": 9})
	h.refused(h.key, 400, "invalid_request", "GET", h.config()+"/versions/x", nil)
	h.refused(h.key, 400, "invalid_request", "POST", h.config()+"/rollback", object{})
	h.refused(h.key, 412, "precondition_failed", "POST", h.config()+"/rollback", object{"version": 1}, "If-Match", `"x"`)
}

func TestFiftyVersionsAreKept(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	for i := range 52 {
		h.must(200, "PATCH", h.config(), object{"max_concurrent_rooms": 1 + i})
	}
	if versions := h.must(200, "GET", h.config()+"/versions", nil)["versions"].([]any); len(versions) != 50 || versions[49].(object)["version"] != 4.0 {
		t.Errorf("%d versions, the last %v", len(versions), versions[len(versions)-1])
	}
	h.refused(h.key, 404, "version_not_found", "GET", h.config()+"/versions/3", nil)
	h.must(200, "POST", h.config()+"/rollback", object{"version": 4})
}

// TestDefaultsReachWhoeverHasSetNothing has a house of its own: the defaults are everybody's.
func TestDefaultsReachWhoeverHasSetNothing(t *testing.T) {
	t.Parallel()
	h := open(t, `{"room_retention_hours":10}`)
	other := h.second()
	plain, plainKey := h.newTenant("")
	if r := h.send(operatorKey, "PUT", "/api/v1/defaults", object{"ceilings": object{"max_participants_per_room": 200}}); r.status != 200 {
		t.Fatal(r.raw)
	}
	h.must(200, "PATCH", h.config(), object{"max_participants_per_room": 200})
	get := func(tenant string) object {
		return other.send(operatorKey, "GET", "/api/v1/tenants/"+tenant+"/config", nil, "Usher-Min-Revision",
			h.send(operatorKey, "GET", "/api/v1/tenants", nil).header.Get("Usher-Revision")).body
	}
	first := h.send(operatorKey, "GET", "/api/v1/defaults", nil)
	set := h.send(operatorKey, "PUT", "/api/v1/defaults", object{
		"defaults": object{"room_retention_hours": 24, "roles": object{"guest": []string{"subscribe"}}, "max_participants_per_room": 5},
		"ceilings": object{"max_participants_per_room": 50, "burst": 900},
	}, "If-Match", first.header.Get("ETag"))
	if set.status != 200 {
		t.Fatal(set.raw)
	}
	if above := set.body["above_ceiling"].([]any); len(above) != 1 || above[0].(object)["tenant_id"] != h.tenant || above[0].(object)["value"] != 200.0 {
		t.Errorf("above: %s", set.raw)
	}
	if c := get(plain); c["room_retention_hours"] != 24.0 || c["max_participants_per_room"] != 5.0 || c["roles"].(object)["guest"] == nil || c["burst"] != 900.0 {
		t.Errorf("who has set nothing: %v", c)
	}
	if c := get(h.tenant); c["room_retention_hours"] != 10.0 || c["max_participants_per_room"] != 50.0 {
		t.Errorf("who has set something: %v", c)
	}
	// In force for joins, at once and on both.
	for i := range 5 {
		if r := other.send(plainKey, "POST", seats, object{"display_name": fmt.Sprint(i)}); r.status != 201 {
			t.Fatal(r.raw)
		}
	}
	h.refused(plainKey, 409, "room_full", "POST", seats, object{"display_name": "6"})
	if r := h.refused(plainKey, 400, "invalid_request", "PATCH", "/api/v1/tenants/"+plain+"/config", object{"max_participants_per_room": 51}); !strings.Contains(r.raw, "ceiling") {
		t.Error(r.raw)
	}
	h.refused(operatorKey, 412, "precondition_failed", "PUT", "/api/v1/defaults", object{}, "If-Match", first.header.Get("ETag"))
	h.refused(h.key, 403, "forbidden", "GET", "/api/v1/defaults", nil)
	for _, bad := range []object{
		{"defaults": object{"burst": 901}, "ceilings": object{"burst": 900}}, {"defaults": object{"nothing": 1}}, {"ceilings": object{"roles": 1}},
		{"ceilings": object{"burst": 1.5}}, {"ceilings": object{"burst": 0}}, {"ceilings": object{"nothing": 1}}, {"defaults": object{"default_role": "king"}}, {"floors": object{}},
	} {
		h.refused(operatorKey, 400, "invalid_request", "PUT", "/api/v1/defaults", bad)
	}
	if again := h.send(operatorKey, "PUT", "/api/v1/defaults", object{}); again.status != 200 {
		t.Error(again.raw)
	}
	if c := get(h.tenant); c["max_participants_per_room"] != 100.0 {
		t.Errorf("with the ceiling that there is from the start: %v", c)
	}
	entries := h.send(operatorKey, "GET", "/api/v1/audit", nil).body["entries"].([]any)
	if len(entries) != 3 || entries[0].(object)["action"] != "defaults.set" || entries[0].(object)["by"] != "operator" {
		t.Errorf("audit: %v", entries)
	}
}

func TestChangesAreInTheAuditLog(t *testing.T) {
	t.Parallel()
	h := open(t, `{"audit_retention_days":10}`)
	audit := "/api/v1/tenants/" + h.tenant + "/audit"
	h.must(200, "PATCH", "/api/v1/tenants/"+h.tenant, object{"name": "another"})
	h.must(200, "PATCH", h.config(), object{"max_concurrent_rooms": 5})
	h.refused(h.key, 400, "invalid_request", "PATCH", h.config(), object{"max_concurrent_rooms": 0})
	h.must(200, "POST", h.config()+"/rollback", object{"version": 1})
	entries := h.must(200, "GET", audit, nil)["entries"].([]any)
	var actions []string
	for _, e := range entries {
		actions = append(actions, e.(object)["action"].(string))
	}
	if got := strings.Join(actions, " "); got != "tenant.create tenant.rename config.update config.rollback" {
		t.Errorf("actions: %s", got)
	}
	if details := entries[2].(object)["details"].(object); details["version"] != 2.0 || len(details["diff"].([]any)) != 1 {
		t.Errorf("details: %v", entries[2])
	}
	first := h.must(200, "GET", audit+"?page_size=3", nil)
	h.must(200, "PATCH", h.config(), object{"max_concurrent_rooms": 6})
	rest := h.must(200, "GET", audit+"?page_size=3&page_token="+first["next_page_token"].(string), nil)
	if len(rest["entries"].([]any)) != 1 {
		t.Errorf("the second page: %v", rest)
	}
	h.clock.advance(9 * 24 * time.Hour)
	h.must(200, "PATCH", h.config(), object{"max_concurrent_rooms": 7})
	h.clock.advance(2 * 24 * time.Hour)
	h.sweep()
	if left := h.must(200, "GET", audit, nil)["entries"].([]any); len(left) != 1 || left[0].(object)["action"] != "config.update" {
		t.Errorf("after ten days: %v", left)
	}
}

func TestTheSchemaIsServed(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	r := h.send("", "GET", "/settings.schema.json", nil)
	if r.status != 200 || r.body["properties"].(object)["burst"].(object)["description"] == "" {
		t.Errorf("schema: %d %s", r.status, r.raw)
	}
	if again := h.send("", "GET", "/settings.schema.json", nil, "If-None-Match", r.header.Get("ETag")); again.status != 304 {
		t.Errorf("again: %d", again.status)
	}
}

// TestAMisspeltQueryDoesNothing: what is asked for in a way that is not known must not be done in another.
func TestAMisspeltQueryDoesNothing(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	seat := idOf(h.add("r", object{"display_name": "A"}))
	before := h.send(h.key, "GET", h.config(), nil).header.Get("ETag")
	for _, c := range []struct {
		method, path string
		body         any
		field        string
	}{
		{"PATCH", h.config() + "?dryrun=true", object{"max_participants_per_room": 2}, "dryrun"},
		{"PATCH", h.config() + "?dry_run=true&dry_run=false", object{"max_participants_per_room": 2}, "dry_run"},
		{"DELETE", "/api/v1/rooms/r/participants/" + seat + "?ban_second=60", nil, "ban_second"},
		{"POST", "/api/v1/rooms/r/participants/bulk?atomc=true", object{"participants": []object{{"display_name": "B"}}}, "atomc"},
		{"GET", "/api/v1/rooms/r/participants?activ=true", nil, "activ"},
		{"POST", "/api/v1/rooms/r/end?x=", nil, "x"},
	} {
		r := h.send(h.key, c.method, c.path, c.body)
		if errs, _ := r.body["errors"].([]any); r.status != 400 || len(errs) != 1 || errs[0].(object)["field"] != c.field {
			t.Errorf("%s %s is answered %d %s", c.method, c.path, r.status, r.raw)
		}
	}
	h.refused(h.key, 400, "invalid_request", "GET", "/api/v1/rooms?name=%zz", nil)
	if after := h.send(h.key, "GET", h.config(), nil).header.Get("ETag"); after != before {
		t.Error("the settings were changed")
	}
	if list := h.must(200, "GET", "/api/v1/rooms/r/participants?active=true", nil)["participants"].([]any); len(list) != 1 {
		t.Errorf("%d are seated", len(list))
	}
	if r := h.send("", "GET", "/api/v1/tenants/"+h.tenant+"/.well-known/jwks.json?v=2", nil); r.status != 200 {
		t.Errorf("what anybody may ask for is answered %d with a query", r.status)
	}
}
