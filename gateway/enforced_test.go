package gateway_test

import (
	"testing"
	"time"

	"usher/store"
)

// TestWhatIsTakenAwayIsSoEverywhere: once a removal is answered with n/n, no replica gives the participant tokens or reads
// with a revoked key.
func TestWhatIsTakenAwayIsSoEverywhere(t *testing.T) {
	t.Parallel()
	h := open(t, `{"max_concurrent_rooms":100000,"burst":100000,"requests_per_second":100000}`)
	replicas := []*house{h, h.second(), h.second()}
	for _, replica := range replicas {
		replica.register()
	}
	tenant := "/api/v1/tenants/" + h.tenant
	late := 0
	for i := range 100 {
		here := replicas[i%3]
		seat := here.add("r", object{"display_name": "A"})
		made := here.must(201, "POST", tenant+"/keys", object{"name": "k", "scopes": []string{"rooms:read"}})
		removed := here.send(h.key, "DELETE", seats+"/"+idOf(seat), nil)
		revoked := here.send(h.key, "DELETE", tenant+"/keys/"+made["key"].(object)["id"].(string), nil)
		for _, answer := range []reply{removed, revoked} {
			if got := answer.header.Get("Usher-Enforced"); answer.status != 204 || got != "3/3" {
				late++ // a replica that was held up for half a second
				t.Logf("round %d: %d, enforced %s", i, answer.status, got)
			}
		}
		for j, there := range replicas {
			if r := there.send(seat["refresh_token"].(string), "POST", seats+"/"+idOf(seat)+"/token", nil); r.status != 401 && removed.header.Get("Usher-Enforced") == "3/3" {
				t.Errorf("round %d: replica %d refreshes: %d", i, j, r.status)
			}
			if r := there.send(made["api_key"].(string), "GET", "/api/v1/rooms/r", nil); r.status != 401 && revoked.header.Get("Usher-Enforced") == "3/3" {
				t.Errorf("round %d: replica %d reads with a revoked key: %d", i, j, r.status)
			}
		}
	}
	if late > 20 {
		t.Errorf("%d of 200 answers did not hear of all replicas in time", late)
	}
}

// TestAReplicaCountsUntilItHasEnded: one alone has nobody to wait for; one that is there and says nothing is waited for, and
// said to be missing; one that has ended does not count.
func TestAReplicaCountsUntilItHasEnded(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	enforced := func(want string) {
		t.Helper()
		seat := h.add("r", object{"display_name": "A"})
		path := seats + "/" + idOf(seat)
		for range 2 { // also where there is nothing left to take away
			if r := h.send(h.key, "DELETE", path, nil); r.status != 204 || r.header.Get("Usher-Enforced") != want {
				t.Errorf("%d, enforced %q, want %q", r.status, r.header.Get("Usher-Enforced"), want)
			}
		}
	}
	enforced("1/1")
	h.register()
	enforced("1/1")
	other := h.second()
	leave := other.register()
	h.knows(2)
	enforced("2/2")
	other.sweeper.Log.Close() // it does not follow the log any more, and is there still
	enforced("1/2")
	leave()
	h.knows(1)
	enforced("1/1")
}

// knows waits until the replica knows so many that may answer somebody.
func (h *house) knows(n int) {
	h.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		if _, of := h.sweeper.Log.Enforced(h.t.Context(), &store.Request{}); of == n {
			return
		}
		if time.Now().After(deadline) {
			h.t.Fatalf("it does not know %d replicas", n)
		}
	}
}

// TestEveryRouteThatTakesAwaySaysHowFar: and no other does.
func TestEveryRouteThatTakesAwaySaysHowFar(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	tenant := "/api/v1/tenants/" + h.tenant
	seat := func() string { return seats + "/" + idOf(h.add("r", object{"display_name": "A"})) }
	key := func() string {
		return tenant + "/keys/" + h.must(201, "POST", tenant+"/keys", object{"name": "k", "scopes": []string{"rooms:read"}})["key"].(object)["id"].(string)
	}
	other, _ := h.newTenant("")
	says := func(want, credential, method, path string, body any) {
		t.Helper()
		r := h.send(credential, method, path, body)
		if r.status >= 300 || r.header.Get("Usher-Enforced") != want {
			t.Errorf("%s %s: %d, enforced %q, want %q", method, path, r.status, r.header.Get("Usher-Enforced"), want)
		}
	}
	says("", h.key, "POST", seats, object{"display_name": "A"})
	says("", h.key, "GET", seats, nil)
	says("1/1", h.key, "DELETE", seat()+"", nil)
	says("1/1", h.key, "POST", seat()+"/leave", nil)
	says("1/1", h.key, "POST", seats+"/bulk-remove", object{"external_user_ids": []string{"u"}, "ban_seconds": 60})
	says("1/1", h.key, "POST", "/api/v1/rooms/r/lock", nil)
	says("", h.key, "POST", "/api/v1/rooms/r/unlock", nil)
	says("1/1", h.key, "POST", "/api/v1/rooms/r/end", nil)
	says("1/1", h.key, "DELETE", "/api/v1/rooms/r", nil)
	says("1/1", h.key, "DELETE", key(), nil)
	says("1/1", h.key, "POST", key()+"/rotate", object{"grace_seconds": 0})
	says("1/1", operatorKey, "POST", "/api/v1/tenants/"+other+"/suspend", nil)
	says("", operatorKey, "POST", "/api/v1/tenants/"+other+"/resume", nil)
	says("1/1", operatorKey, "DELETE", "/api/v1/tenants/"+other, nil)
}
