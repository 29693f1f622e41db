package gateway_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

const later = 48 * time.Hour

func TestARoomIsFoundByEachOfItsNames(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	room := h.must(201, "POST", "/api/v1/rooms", object{
		"name": "Größe 1/2 ✓", "config": object{"max_participants": 3, "recording_enabled": false}, "metadata": object{"course": "CS101"},
	})
	if room["status"] != "active" || room["participant_count"] != 0.0 || room["recording"].(object)["status"] != "idle" {
		t.Fatalf("created: %v", room)
	}
	id := room["id"].(string)
	for _, reference := range []string{id, uuidOf(t, id), strings.ToUpper(uuidOf(t, id)), "Gr%C3%B6%C3%9Fe%201%2F2%20%E2%9C%93"} {
		if found := h.must(200, "GET", "/api/v1/rooms/"+reference, nil); found["id"] != id || found["metadata"].(object)["course"] != "CS101" {
			t.Errorf("%s is %v", reference, found)
		}
	}
	r := h.send(h.key, "POST", "/api/v1/rooms", object{"name": "with a location"})
	if location := r.header.Get("Location"); location != "/api/v1/rooms/"+r.body["id"].(string) || h.must(200, "GET", location, nil)["name"] != "with a location" {
		t.Errorf("Location: %s", location)
	}
	taken := h.refused(h.key, 409, "room_name_taken", "POST", "/api/v1/rooms", object{"name": "Größe 1/2 ✓"})
	if taken.body["room_id"] != id {
		t.Errorf("the room that has the name is not told: %s", taken.raw)
	}
	h.refused(h.key, 400, "invalid_request", "POST", "/api/v1/rooms", object{"name": id})
	h.refused(h.key, 400, "invalid_request", "POST", "/api/v1/rooms", object{"name": uuidOf(t, id)})
	for i := range 3 {
		h.add(id, object{"display_name": fmt.Sprint(i)})
	}
	h.refused(h.key, 409, "room_full", "POST", "/api/v1/rooms/"+id+"/participants", object{"display_name": "one more"})
	if count := h.must(200, "GET", "/api/v1/rooms/"+id, nil)["participant_count"]; count != 3.0 {
		t.Errorf("participant_count is %v", count)
	}
}

func TestAnEndedRoom(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	added := h.add("lecture", object{"display_name": "A"})
	id := added["room"].(object)["id"].(string)
	p := added["participant"].(object)["id"].(string)
	ended := h.must(200, "POST", "/api/v1/rooms/lecture/end", nil)
	if again := h.must(200, "POST", "/api/v1/rooms/"+id+"/end", nil); ended["status"] != "ended" || ended["participant_count"] != 0.0 || again["ended_at"] != ended["ended_at"] {
		t.Errorf("ended %v, again %v", ended, again)
	}
	if left := h.list(id, "")[0].(object); left["leave_reason"] != "room_ended" || left["left_at"] != ended["ended_at"] {
		t.Errorf("who was in it: %v", left)
	}
	h.refused(added["auth_token"].(string), 401, "invalid_token", "GET", "/api/v1/rooms/"+id, nil)
	h.refused(h.key, 409, "participant_left", "POST", "/api/v1/rooms/"+id+"/participants/"+p+"/token", nil)
	h.refused(h.key, 409, "room_ended", "POST", "/api/v1/rooms/"+id+"/participants", object{"display_name": "B"})
	if found := h.must(200, "GET", "/api/v1/rooms/lecture", nil); found["id"] != id {
		t.Errorf("by name: %v", found)
	}
	if again := h.add("lecture", object{"display_name": "B"}); again["room_created"] != true || again["room"].(object)["id"] == id {
		t.Errorf("a new room of the name: %v", again)
	}
	h.must(204, "DELETE", "/api/v1/rooms/"+id, nil)
	h.refused(h.key, 404, "room_not_found", "GET", "/api/v1/rooms/"+id, nil)
	h.refused(h.key, 404, "room_not_found", "DELETE", "/api/v1/rooms/"+id, nil)
	if found := h.must(200, "GET", "/api/v1/rooms/lecture", nil); found["id"] == id || found["status"] != "active" {
		t.Errorf("the deletion of the old room took the name from the new one: %v", found)
	}
}

func TestDeletingARoomTakesEverySeat(t *testing.T) {
	t.Parallel()
	h := open(t, `{"max_participants_per_room":1000}`)
	items := make([]object, 350)
	for i := range items {
		items[i] = object{"display_name": fmt.Sprint(i)}
	}
	h.must(200, "POST", "/api/v1/rooms/big/participants/bulk", object{"participants": items})
	h.must(204, "DELETE", "/api/v1/rooms/big", nil)
	h.refused(h.key, 404, "room_not_found", "GET", "/api/v1/rooms/big/participants", nil)
	if again := h.add("big", object{"display_name": "A"}); again["room_created"] != true || len(h.list("big", "")) != 1 {
		t.Errorf("after the deletion: %v", again)
	}
}

func TestRoomsAreListedByStatusNameAndPage(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	var ids []string
	for i := range 5 {
		ids = append(ids, h.must(201, "POST", "/api/v1/rooms", object{"name": fmt.Sprint("room ", i)})["id"].(string))
	}
	slices.Sort(ids) // of the same millisecond they may be in any order
	h.must(200, "POST", "/api/v1/rooms/"+ids[1]+"/end", nil)
	list := func(query string) (listed []string, next string) {
		page := h.must(200, "GET", "/api/v1/rooms"+query, nil)
		for _, room := range page["rooms"].([]any) {
			listed = append(listed, room.(object)["id"].(string))
		}
		next, _ = page["next_page_token"].(string)
		return listed, next
	}
	want := func(query, expected string) {
		t.Helper()
		if listed, _ := list(query); fmt.Sprint(listed) != expected {
			t.Errorf("%s: %v, want %s", query, listed, expected)
		}
	}
	want("", fmt.Sprint(ids))
	want("?status=ended", fmt.Sprint(ids[1:2]))
	want("?status=active", fmt.Sprint([]string{ids[0], ids[2], ids[3], ids[4]}))
	byName := h.must(200, "GET", "/api/v1/rooms/room%203", nil)["id"].(string)
	want("?name=room%203", fmt.Sprint([]string{byName}))
	h.refused(h.key, 400, "invalid_request", "GET", "/api/v1/rooms?status=open", nil)
	h.refused(h.key, 400, "invalid_request", "GET", "/api/v1/rooms?page_size=0", nil)
	h.refused(h.key, 400, "invalid_request", "GET", "/api/v1/rooms?page_token=x", nil)
	first, next := list("?page_size=2")
	h.must(201, "POST", "/api/v1/rooms", object{"name": "meanwhile"})
	second, next := list("?page_size=2&page_token=" + next)
	third, next := list("?page_size=2&page_token=" + next)
	if got := append(append(first, second...), third...); fmt.Sprint(got) != fmt.Sprint(ids) || next != "" {
		t.Errorf("pages: %v, then %q", got, next)
	}
}

func TestAScheduledRoomBeginsWithItsFirstJoin(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	start := h.clock.now().Add(later).UTC().Truncate(time.Millisecond)
	room := h.must(201, "POST", "/api/v1/rooms", object{"name": "later", "scheduled_start_at": start.Format(time.RFC3339Nano)})
	if room["status"] != "scheduled" {
		t.Fatalf("created: %v", room)
	}
	if added := h.add("later", object{"display_name": "early"}); added["room"].(object)["status"] != "active" || added["room_created"] != false {
		t.Errorf("an early join: %v", added)
	}
}

func TestWithoutEarlyJoinRoomsMustExistAndHaveBegun(t *testing.T) {
	t.Parallel()
	h := open(t, `{"allow_early_join":false}`)
	start := h.clock.now().Add(later)
	h.must(201, "POST", "/api/v1/rooms", object{"name": "later", "scheduled_start_at": start.Format(time.RFC3339)})
	const seats = "/api/v1/rooms/later/participants"
	early := h.refused(h.key, 409, "room_not_started", "POST", seats, object{"display_name": "A"})
	if told, err := time.Parse(time.RFC3339, early.body["scheduled_start_at"].(string)); err != nil || !told.Equal(start.Truncate(time.Second)) {
		t.Errorf("the start is told as %v, want %v", told, start)
	}
	h.refused(h.key, 404, "room_not_found", "POST", "/api/v1/rooms/nowhere/participants", object{"display_name": "A"})
	h.refused(h.key, 404, "room_not_found", "POST", "/api/v1/rooms/nowhere/participants/bulk", object{"participants": []object{{"display_name": "A"}}})
	h.clock.advance(later)
	if added := h.add("later", object{"display_name": "A"}); added["room"].(object)["status"] != "active" {
		t.Errorf("at the start: %v", added)
	}
}

func TestATenantHasOnlySoManyRooms(t *testing.T) {
	t.Parallel()
	one := open(t, `{"max_concurrent_rooms":5}`)
	gateways := []*house{one, one.second()}
	codes := make([]string, 60)
	together(len(codes), func(i int) {
		h := gateways[i%2]
		var r reply
		switch name := fmt.Sprint("room", i); i % 3 {
		case 0:
			r = h.send(h.key, "POST", "/api/v1/rooms", object{"name": name})
		case 1:
			r = h.send(h.key, "POST", "/api/v1/rooms/"+name+"/participants", object{"display_name": "A"})
		default:
			r = h.send(h.key, "POST", "/api/v1/rooms/"+name+"/participants/bulk", object{"participants": []object{{"display_name": "A"}, {"display_name": "B"}}})
		}
		codes[i], _ = r.body["code"].(string)
	})
	counts := make(map[string]int)
	for _, code := range codes {
		counts[code]++
	}
	if counts[""] != 5 || counts["room_limit_reached"] != 55 {
		t.Errorf("answers: %v", counts)
	}
	live := one.must(200, "GET", "/api/v1/rooms?status=active", nil)["rooms"].([]any)
	one.must(200, "POST", "/api/v1/rooms/"+live[0].(object)["id"].(string)+"/end", nil)
	one.must(201, "POST", "/api/v1/rooms", object{"name": "in its place"})
	one.refused(one.key, 409, "room_limit_reached", "POST", "/api/v1/rooms", object{"name": "one more"})
}

func TestRecordingsHaveOneStarter(t *testing.T) {
	t.Parallel()
	h := open(t, `{"auto_start_recording":true}`)
	join := func(role string) (id string, decision object) {
		added := h.add("class", object{"display_name": role, "role": role})
		if decision = added["recording_decision"].(object); added["should_start_recording"] != decision["elected"] {
			t.Errorf("should_start_recording is %v, the decision %v", added["should_start_recording"], decision)
		}
		return added["participant_id"].(string), decision
	}
	if _, decision := join("participant"); decision["elected"] != false {
		t.Errorf("a participant was elected: %v", decision)
	}
	host, decision := join("host")
	if decision["elected"] != true || decision["settings_version"] != 1.0 {
		t.Errorf("the first host: %v", decision)
	}
	if _, decision := join("host"); decision["elected"] != false {
		t.Errorf("the second host: %v", decision)
	}
	h.must(204, "DELETE", "/api/v1/rooms/class/participants/"+host, nil)
	if _, decision := join("host"); decision["elected"] != true {
		t.Errorf("after the elected one left: %v", decision)
	}
	h.clock.advance(31 * time.Second)
	if _, decision := join("host"); decision["elected"] != true {
		t.Errorf("after 31 s without confirmation: %v", decision)
	}
	if room := h.must(200, "POST", "/api/v1/rooms/class/recordings/start", nil); room["recording"].(object)["status"] != "recording" {
		t.Errorf("confirmed: %v", room)
	}
	h.clock.advance(31 * time.Second)
	if _, decision := join("host"); decision["elected"] != false {
		t.Errorf("while recording: %v", decision)
	}
	if room := h.must(200, "POST", "/api/v1/rooms/class/recordings/stop", nil); room["recording"].(object)["status"] != "idle" {
		t.Errorf("stopped: %v", room)
	}
}

// TestNamesThatPathsDoNotKeepAreRefused: a client would take "." and ".." out of the path, and mean another one.
func TestNamesThatPathsDoNotKeepAreRefused(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	for _, name := range []string{".", "..", " .. "} {
		h.refused(h.key, 400, "invalid_request", "POST", "/api/v1/rooms", object{"name": name})
	}
	h.must(201, "POST", "/api/v1/rooms", object{"name": "..."})
}
