package gateway_test

import (
	"fmt"
	"testing"
	"time"
)

// TestAClockThatJumps: the clock of one of two replicas jumps, back and ahead. Capacity, duplicates, and the order of
// joining and of pages hold; a seat that either has removed is gone on both.
func TestAClockThatJumps(t *testing.T) {
	t.Parallel()
	h := open(t, `{"duplicate_participant_policy":"reject","max_participants_per_room":20}`)
	jumpy := *h
	jumpy.clock = &clock{start: h.clock.start}
	jumpy.url = jumpy.start()
	replicas := []*house{h, &jumpy}
	var ids []string
	revision := ""
	for i := range 20 {
		jumpy.clock.advance([]time.Duration{-time.Hour, 3 * time.Hour, -2 * time.Hour}[i%3])
		r := replicas[i%2].send(h.key, "POST", "/api/v1/rooms/r/participants", object{"display_name": "A", "external_user_id": fmt.Sprint("u", i)})
		if r.status != 201 {
			t.Fatalf("%d: %s", i, r.raw)
		}
		ids, revision = append(ids, r.body["participant_id"].(string)), r.header.Get("Usher-Revision")
	}
	for _, replica := range replicas {
		replica.refused(h.key, 409, "room_full", "POST", "/api/v1/rooms/r/participants", object{"display_name": "B"})
		replica.refused(h.key, 409, "participant_duplicate", "POST", "/api/v1/rooms/r/participants", object{"display_name": "B", "external_user_id": "u3"})
		var listed []string
		for path := "/api/v1/rooms/r/participants?page_size=7"; ; {
			page := replica.send(h.key, "GET", path, nil, "Usher-Min-Revision", revision)
			for _, p := range page.body["participants"].([]any) {
				listed = append(listed, p.(object)["id"].(string))
			}
			token, more := page.body["next_page_token"].(string)
			if !more {
				break
			}
			path = "/api/v1/rooms/r/participants?page_size=7&page_token=" + token
		}
		if fmt.Sprint(listed) != fmt.Sprint(ids) {
			t.Errorf("listed %v, joined %v", listed, ids)
		}
	}
	for i, id := range ids[:2] {
		r := replicas[i].send(h.key, "DELETE", "/api/v1/rooms/r/participants/"+id, nil)
		if r.status != 204 {
			t.Errorf("remove: %s", r.raw)
		}
		other := replicas[1-i].send(h.key, "GET", "/api/v1/rooms/r/participants/"+id, nil, "Usher-Min-Revision", r.header.Get("Usher-Revision"))
		if other.body["leave_reason"] != "removed" {
			t.Errorf("the other replica shows %s", other.raw)
		}
	}
}
