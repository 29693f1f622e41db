package gateway_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// protective are the settings that have a ceiling from the start, with it and the most that the schema allows.
var protective = map[string][2]int{
	"max_participants_per_room": {100, 10_000}, "max_concurrent_rooms": {1000, 100_000}, "max_stored_bytes": {64 << 20, 1 << 40},
	"room_retention_hours": {72, 8760}, "audit_retention_days": {90, 3650}, "requests_per_second": {500, 100_000}, "burst": {1000, 100_000},
}

// TestWhoIsLimitedDoesNotSetTheLimit: a tenant's own key raises nothing that protects the service.
func TestWhoIsLimitedDoesNotSetTheLimit(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	shown := h.send(operatorKey, "GET", "/api/v1/defaults", nil).body["ceilings"].(object)
	own := h.must(200, "GET", "/api/v1/tenants/"+h.tenant, nil)["ceilings"].(object)
	for setting, bounds := range protective {
		ceiling, most := bounds[0], bounds[1]
		if shown[setting] != float64(ceiling) || own[setting] != float64(ceiling) {
			t.Errorf("%s: the ceiling is shown as %v and %v", setting, shown[setting], own[setting])
		}
		for _, path := range []string{h.config(), h.config() + "?dry_run=true"} {
			r := h.refused(h.key, 400, "invalid_request", "PATCH", path, object{setting: most})
			if told := r.body["errors"].([]any)[0].(object); told["field"] != setting || !strings.Contains(told["message"].(string), "ceiling") {
				t.Errorf("%s: %v", setting, told)
			}
		}
		h.refused(h.key, 400, "invalid_request", "PATCH", h.config(), object{setting: ceiling + 1})
		h.must(200, "PATCH", h.config(), object{setting: ceiling})
		// Raised by the operator for this tenant, it may move below and back up.
		if r := h.send(operatorKey, "PATCH", h.config(), object{setting: most}); r.status != 200 || r.body[setting] != float64(most) {
			t.Errorf("%s: the operator: %d %s", setting, r.status, r.raw)
		}
		h.must(200, "PATCH", h.config(), object{setting: ceiling - 1})
		h.must(200, "PATCH", h.config(), object{setting: most})
		if own := h.must(200, "GET", "/api/v1/tenants/"+h.tenant, nil)["ceilings"].(object); own[setting] != float64(most) {
			t.Errorf("%s: the tenant's own ceiling is shown as %v", setting, own[setting])
		}
		// To the general ceiling, or to null: its own is gone.
		for _, back := range []any{ceiling, nil} {
			h.send(operatorKey, "PATCH", h.config(), object{setting: most})
			if r := h.send(operatorKey, "PATCH", h.config(), object{setting: back}); r.status != 200 || r.body[setting] != float64(ceiling) {
				t.Errorf("%s back to %v: %d %s", setting, back, r.status, r.raw)
			}
			h.refused(h.key, 400, "invalid_request", "PATCH", h.config(), object{setting: ceiling + 1})
		}
	}
}

func TestARollbackRaisesNothing(t *testing.T) {
	t.Parallel()
	h := open(t, `{"burst":5000}`) // by the operator
	if own := h.must(200, "GET", "/api/v1/tenants/"+h.tenant, nil)["ceilings"].(object); own["burst"] != 5000.0 {
		t.Errorf("a tenant that was made so: %v", own)
	}
	if r := h.send(operatorKey, "PATCH", h.config(), object{"burst": nil}); r.status != 200 {
		t.Fatal(r.raw)
	}
	r := h.refused(h.key, 400, "invalid_request", "POST", h.config()+"/rollback", object{"version": 1})
	if told := r.body["errors"].([]any)[0].(object); told["field"] != "burst" || !strings.Contains(told["message"].(string), "1000") {
		t.Errorf("told: %v", told)
	}
	if v := h.must(200, "GET", h.config()+"/versions/1", nil); v["config"].(object)["burst"] != 1000.0 {
		t.Errorf("version 1 would be %v", v)
	}
	if r := h.send(operatorKey, "POST", h.config()+"/rollback", object{"version": 1}); r.status != 200 || r.body["burst"] != 5000.0 {
		t.Errorf("the operator goes back: %d %s", r.status, r.raw)
	}
	h.must(200, "PATCH", h.config(), object{"burst": 4999})
}

// TestAConfirmedValueIsAChange: what was set before there was a ceiling is held down to it, until the operator says it again.
func TestAConfirmedValueIsAChange(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	put := func(body object) {
		if r := h.send(operatorKey, "PUT", "/api/v1/defaults", body); r.status != 200 {
			t.Fatal(r.raw)
		}
	}
	put(object{"ceilings": object{"burst": 9000}})
	h.must(200, "PATCH", h.config(), object{"burst": 9000})
	put(object{})
	if held := h.must(200, "GET", h.config(), nil); held["burst"] != 1000.0 {
		t.Errorf("held at %v", held["burst"])
	}
	h.must(200, "PATCH", h.config(), object{"force_recording": true}) // what it does not touch is not judged
	if r := h.send(operatorKey, "PATCH", h.config(), object{"burst": 9000}); r.status != 200 || r.body["burst"] != 9000.0 {
		t.Errorf("confirmed: %d %s", r.status, r.raw)
	}
	// The operator's own default is no less than a ceiling.
	put(object{"defaults": object{"requests_per_second": 2000}})
	h.must(200, "PATCH", h.config(), object{"requests_per_second": 2000})
	h.refused(h.key, 400, "invalid_request", "PATCH", h.config(), object{"requests_per_second": 2001})
}

// TestNothingATenantDoesRaisesAnything: whatever is sent with the tenant's key, in whatever order, what is in force stays
// below the ceilings that the operator has left.
func TestNothingATenantDoesRaisesAnything(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	ceilings := map[string]int{}
	for setting, bounds := range protective {
		ceilings[setting] = bounds[0]
	}
	rapid.Check(t, func(t *rapid.T) {
		for range rapid.IntRange(1, 4).Draw(t, "steps") {
			setting := rapid.SampledFrom([]string{"burst", "max_concurrent_rooms", "max_stored_bytes", "room_retention_hours"}).Draw(t, "setting")
			bounds := protective[setting]
			value := rapid.SampledFrom([]any{bounds[0] - 1, bounds[0], bounds[0] + 1, bounds[1], nil}).Draw(t, "value")
			switch rapid.IntRange(0, 3).Draw(t, "who") {
			case 0:
				h.send(operatorKey, "PATCH", h.config(), object{setting: value})
				ceilings[setting] = bounds[0]
				if n, ok := value.(int); ok && n > bounds[0] {
					ceilings[setting] = n
				}
			case 1:
				h.send(h.key, "POST", h.config()+"/rollback", object{"version": rapid.IntRange(1, 50).Draw(t, "version")})
			default:
				h.send(h.key, "PATCH", h.config(), object{setting: value})
			}
		}
		document := h.must(200, "GET", h.config(), nil)
		for setting, ceiling := range ceilings {
			if document[setting].(float64) > float64(ceiling) {
				t.Fatalf("%s is %v, above %d", setting, document[setting], ceiling)
			}
		}
	})
}
