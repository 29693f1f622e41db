package gateway_test

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

const seats = "/api/v1/rooms/r/participants"

func idOf(added object) string { return added["participant_id"].(string) }

// why is the leave_reason of the participant in room r.
func (h *house) why(id string) any {
	h.t.Helper()
	return h.must(200, "GET", seats+"/"+id, nil)["leave_reason"]
}

func TestAParticipantLeavesByItself(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	a, b := h.add("r", object{"display_name": "A"}), h.add("r", object{"display_name": "B", "role": "host"})
	token := a["auth_token"].(string)
	leave := seats + "/" + idOf(a) + "/leave"
	h.refused(b["auth_token"].(string), 403, "forbidden", "POST", leave, nil)
	h.refused(a["refresh_token"].(string), 401, "invalid_token", "POST", leave, nil)
	for range 2 { // a client that lost the first answer asks again
		if r := h.send(token, "POST", leave, nil); r.status != 204 {
			t.Errorf("leave: %d %s", r.status, r.raw)
		}
	}
	if h.why(idOf(a)) != "left" || h.why(idOf(b)) != nil {
		t.Errorf("A is gone because %v, B %v", h.why(idOf(a)), h.why(idOf(b)))
	}
	h.refused(token, 401, "invalid_token", "GET", seats, nil)
	h.refused(a["refresh_token"].(string), 409, "participant_left", "POST", seats+"/"+idOf(a)+"/token", nil)
	h.must(204, "POST", seats+"/"+idOf(b)+"/leave", nil)
	if room := h.must(200, "GET", "/api/v1/rooms/r", nil); room["participant_count"] != 0.0 || room["status"] != "active" {
		t.Errorf("the room after all have left: %v", room)
	}
	h.refused(h.key, 404, "participant_not_found", "POST", seats+"/p_01jz0000000000000000000000/leave", nil)
}

func TestABanKeepsAUserOut(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	other := h.second()
	user := func(name string) object { return object{"display_name": name, "external_user_id": "u/1 ✓"} }
	first, twin := h.add("r", user("A")), h.add("r", user("A's phone"))
	h.must(204, "DELETE", seats+"/"+idOf(first)+"?ban_seconds=3600", nil)
	for _, gateway := range []*house{h, other} {
		r := gateway.refused(h.key, 403, "participant_banned", "POST", seats, user("A"))
		if r.body["banned_until"] == nil {
			t.Errorf("no end of the ban: %s", r.raw)
		}
	}
	results := h.must(200, "POST", seats+"/bulk", object{"participants": []object{user("A"), {"display_name": "B"}}})["results"].([]any)
	if results[0].(object)["code"] != "participant_banned" || results[1].(object)["success"] != true {
		t.Errorf("bulk: %v", results)
	}
	h.refused(h.key, 403, "participant_banned", "POST", seats+"/bulk?atomic=true", object{"participants": []object{user("A")}})
	h.refused(twin["refresh_token"].(string), 403, "participant_banned", "POST", seats+"/"+idOf(twin)+"/token", nil)
	h.add("another", user("A")) // a ban is of one room
	bans := h.must(200, "GET", "/api/v1/rooms/r/bans", nil)["bans"].([]any)
	if len(bans) != 1 || bans[0].(object)["external_user_id"] != "u/1 ✓" {
		t.Errorf("bans: %v", bans)
	}
	h.must(204, "DELETE", seats+"/"+idOf(first)+"?ban_seconds=1", nil) // the longer one stays
	h.clock.advance(30 * time.Minute)
	h.refused(h.key, 403, "participant_banned", "POST", seats, user("A"))
	h.clock.advance(31 * time.Minute)
	h.add("r", user("A"))
	if left := h.must(200, "GET", "/api/v1/rooms/r/bans", nil)["bans"].([]any); len(left) != 0 {
		t.Errorf("a ban that is over is listed: %v", left)
	}
}

func TestBansAreLifted(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	host := h.add("r", object{"display_name": "H", "role": "host"})["auth_token"].(string)
	guest := h.add("r", object{"display_name": "G"})["auth_token"].(string)
	h.refused(guest, 403, "forbidden", "GET", "/api/v1/rooms/r/bans", nil)
	h.must(200, "POST", seats+"/bulk-remove", object{"external_user_ids": []string{"a", "b", "c"}, "ban_seconds": 60})
	first := h.send(host, "GET", "/api/v1/rooms/r/bans?page_size=2", nil)
	next := h.must(200, "GET", "/api/v1/rooms/r/bans?page_size=2&page_token="+first.body["next_page_token"].(string), nil)
	if len(first.body["bans"].([]any)) != 2 || next["bans"].([]any)[0].(object)["external_user_id"] != "c" || next["next_page_token"] != nil {
		t.Errorf("pages of bans: %s %v", first.raw, next)
	}
	h.must(204, "DELETE", "/api/v1/rooms/r/bans?external_user_id=b", nil)
	h.must(204, "DELETE", "/api/v1/rooms/r/bans?external_user_id=nobody", nil)
	h.add("r", object{"display_name": "B", "external_user_id": "b"})
	h.refused(h.key, 403, "participant_banned", "POST", seats, object{"display_name": "A", "external_user_id": "a"})
	if r := h.send(host, "DELETE", "/api/v1/rooms/r/bans", nil); r.status != 204 {
		t.Errorf("lift all: %d %s", r.status, r.raw)
	}
	h.add("r", object{"display_name": "A", "external_user_id": "a"})
	// Bans go with their room.
	h.must(200, "POST", seats+"/bulk-remove", object{"external_user_ids": []string{"a"}, "ban_seconds": 60})
	h.must(200, "POST", "/api/v1/rooms/r/end", nil)
	h.add("r", object{"display_name": "A", "external_user_id": "a"})
}

func TestBadBansChangeNothing(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	nobody := h.add("r", object{"display_name": "A"})
	for _, seconds := range []string{"0", "-1", "31536001", "x", "1.5"} {
		h.refused(h.key, 400, "invalid_request", "DELETE", seats+"/"+idOf(nobody)+"?ban_seconds="+seconds, nil)
	}
	h.refused(h.key, 400, "invalid_request", "DELETE", seats+"/"+idOf(nobody)+"?ban_seconds=60", nil)
	if h.why(idOf(nobody)) != nil {
		t.Error("it was removed all the same")
	}
	for _, body := range []object{{}, {"participant_ids": []string{}}, {"external_user_ids": []string{""}}, {"participant_ids": []string{"x"}, "ban_seconds": 0}} {
		h.refused(h.key, 400, "invalid_request", "POST", seats+"/bulk-remove", body)
	}
	many := make([]string, 1001)
	for i := range many {
		many[i] = fmt.Sprint("u", i)
	}
	h.refused(h.key, 400, "bulk_too_large", "POST", seats+"/bulk-remove", object{"external_user_ids": many})
}

// TestAJoinIsNotCommittedAfterTheBan bans and joins at once through two gateways: nobody is in the room after both.
func TestAJoinIsNotCommittedAfterTheBan(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	other := h.second()
	for i := range 10 {
		room := fmt.Sprint("room-", i)
		path := "/api/v1/rooms/" + room + "/participants"
		h.add(room, object{"display_name": "H"})
		body := object{"display_name": "A", "external_user_id": "u"}
		together(8, func(n int) {
			gateway := []*house{h, other}[n%2]
			if n == 3 {
				h.must(200, "POST", path+"/bulk-remove", object{"external_user_ids": []string{"u"}, "ban_seconds": 60})
			} else if r := gateway.send(h.key, "POST", path, body); r.status != 201 && r.body["code"] != "participant_banned" {
				t.Errorf("join: %d %s", r.status, r.raw)
			}
		})
		if in := h.list(room, "?active=true"); len(in) != 1 {
			t.Fatalf("after the ban %d are in: %v", len(in), in)
		}
	}
}

func TestManyAreRemovedAtOnce(t *testing.T) {
	t.Parallel()
	h := open(t, `{"max_participants_per_room":1000}`)
	items := make([]object, 150)
	for i := range items {
		items[i] = object{"display_name": fmt.Sprint(i), "external_user_id": fmt.Sprint("user-", i/3)}
	}
	added := h.must(200, "POST", seats+"/bulk", object{"participants": items})["results"].([]any)
	var ids, users []string
	for i := range 60 {
		ids = append(ids, idOf(added[i].(object)))
	}
	ids = append(ids, "p_01jz0000000000000000000000", "nonsense", ids[0])
	for i := range 40 {
		users = append(users, fmt.Sprint("user-", i))
	}
	results := h.must(200, "POST", seats+"/bulk-remove", object{"participant_ids": ids, "external_user_ids": append(users, "user-404")})["results"].([]any)
	if len(results) != 63+41 {
		t.Fatalf("%d results", len(results))
	}
	for i, r := range results {
		item := r.(object)
		// The first twenty users have no seats left by then.
		wrong := i == 60 || i == 61 || (i >= 63 && i < 83) || i == 103
		if item["success"] == wrong || (wrong && item["code"] != "participant_not_found") {
			t.Errorf("item %d: %v", i, item)
		}
	}
	if seats := results[90].(object)["participant_ids"].([]any); len(seats) != 3 {
		t.Errorf("seats of a user: %v", results[90])
	}
	if in := h.list("r", "?active=true"); len(in) != 30 {
		t.Errorf("%d are in", len(in))
	}
	if room := h.must(200, "GET", "/api/v1/rooms/r", nil); room["participant_count"] != 30.0 {
		t.Errorf("the room counts %v", room["participant_count"])
	}
}

func TestALockedRoomAdmitsModeratorsOnly(t *testing.T) {
	t.Parallel()
	h := open(t, `{"duplicate_participant_policy":"return_existing"}`)
	host := h.add("r", object{"display_name": "H", "role": "host"})["auth_token"].(string)
	guest := h.add("r", object{"display_name": "G", "external_user_id": "g"})
	h.refused(guest["auth_token"].(string), 403, "forbidden", "POST", "/api/v1/rooms/r/lock", nil)
	if r := h.send(host, "POST", "/api/v1/rooms/r/lock", nil); r.status != 200 || r.body["locked"] != true {
		t.Fatalf("lock: %d %s", r.status, r.raw)
	}
	h.refused(h.key, 409, "room_locked", "POST", seats, object{"display_name": "X"})
	h.refused(h.key, 409, "room_locked", "POST", seats+"/bulk?atomic=true", object{"participants": []object{{"display_name": "X"}}})
	if again := h.add("r", object{"display_name": "G", "external_user_id": "g"}); idOf(again) != idOf(guest) {
		t.Error("who has a seat does not get it back")
	}
	h.add("r", object{"display_name": "H2", "role": "host"})
	h.must(200, "POST", "/api/v1/rooms/r/unlock", nil)
	h.add("r", object{"display_name": "X"})
	h.must(200, "POST", "/api/v1/rooms/r/end", nil)
	h.refused(h.key, 409, "room_ended", "POST", "/api/v1/rooms/r/lock", nil)
	h.refused(h.key, 404, "room_not_found", "POST", "/api/v1/rooms/none/unlock", nil)
}

// TestTheRoomLimitHoldsForEarlyJoinsAndBulks makes rooms in every way at once, through two gateways.
func TestTheRoomLimitHoldsForEarlyJoinsAndBulks(t *testing.T) {
	t.Parallel()
	h := open(t, `{"max_concurrent_rooms":7}`)
	other := h.second()
	var made atomic.Int32
	together(60, func(i int) {
		gateway := []*house{h, other}[i%2]
		var r reply
		switch i % 3 {
		case 0:
			r = gateway.send(h.key, "POST", "/api/v1/rooms", object{"name": fmt.Sprint("n", i)})
		case 1:
			r = gateway.send(h.key, "POST", fmt.Sprintf("/api/v1/rooms/n%d/participants", i), object{"display_name": "A"})
		default:
			r = gateway.send(h.key, "POST", fmt.Sprintf("/api/v1/rooms/n%d/participants/bulk", i), object{"participants": []object{{"display_name": "A"}}})
		}
		switch {
		case r.status == http.StatusOK || r.status == http.StatusCreated:
			made.Add(1)
		case r.status != 409 || r.body["code"] != "room_limit_reached":
			t.Errorf("%d %s", r.status, r.raw)
		}
	})
	if made.Load() != 7 {
		t.Errorf("%d rooms were made", made.Load())
	}
}
