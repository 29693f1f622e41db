package gateway_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestARoomIsChangedByAMergePatch(t *testing.T) {
	t.Parallel()
	h := open(t, `{"max_participants_per_room":50}`)
	start := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	room := h.must(201, "POST", "/api/v1/rooms", object{"name": "r", "config": object{"max_participants": 3}, "metadata": object{"a": 1, "b": object{"c": 2, "d": 3}}})
	patch := func(body any) object { return h.must(200, "PATCH", "/api/v1/rooms/"+room["id"].(string), body) }
	after := patch(object{"config": object{"recording_enabled": false}, "metadata": object{"a": nil, "b": object{"c": 4}}, "scheduled_start_at": start})
	config, b := after["config"].(object), after["metadata"].(object)["b"].(object)
	if config["max_participants"] != 3.0 || config["recording_enabled"] != false || b["c"] != 4.0 || b["d"] != 3.0 || after["metadata"].(object)["a"] != nil {
		t.Errorf("patched: %v", after)
	}
	if after["status"] != "scheduled" {
		t.Errorf("a room put off is %v", after["status"])
	}
	if after = patch(object{"scheduled_start_at": nil, "config": nil, "metadata": nil, "name": "s"}); after["status"] != "active" ||
		len(after["config"].(object)) != 0 || after["metadata"] != nil || after["scheduled_start_at"] != nil {
		t.Errorf("taken away: %v", after)
	}
	h.refused(h.key, 404, "room_not_found", "GET", "/api/v1/rooms/r", nil)
	if h.must(200, "GET", "/api/v1/rooms/s", nil)["id"] != room["id"] {
		t.Error("the new name leads elsewhere")
	}
	patch(object{})
}

func TestABadRoomPatchChangesNothing(t *testing.T) {
	t.Parallel()
	h := open(t, `{"max_participants_per_room":50}`)
	h.must(201, "POST", "/api/v1/rooms", object{"name": "taken"})
	room := h.must(201, "POST", "/api/v1/rooms", object{"name": "r"})
	before := h.send(h.key, "GET", "/api/v1/rooms/r", nil)
	for _, body := range []any{
		object{"name": nil}, object{"name": "  "}, object{"name": room["id"]}, object{"status": "ended"}, object{"statuss": nil},
		object{"config": object{"max_participants": 0}}, object{"config": object{"max_participants": 51}}, object{"config": object{"nothing": nil}},
		object{"metadata": "x"}, object{"metadata": []int{1}}, object{"scheduled_start_at": "tomorrow"}, "[]", `{"name":"a","name":"b"}`,
		object{"scheduled_start_at": "2026-01-06T10:00:00Z", "scheduled_end_at": "2026-01-06T10:00:00Z"},
	} {
		h.refused(h.key, 400, "invalid_request", "PATCH", "/api/v1/rooms/r", body)
	}
	if r := h.refused(h.key, 409, "room_name_taken", "PATCH", "/api/v1/rooms/r", object{"name": "taken"}); r.body["room_id"] == nil {
		t.Errorf("taken by whom? %s", r.raw)
	}
	h.refused(h.key, 415, "unsupported_media_type", "PATCH", "/api/v1/rooms/r", "{}", "Content-Type", "application/json-patch+json")
	if after := h.send(h.key, "GET", "/api/v1/rooms/r", nil); after.raw != before.raw {
		t.Errorf("before %s, after %s", before.raw, after.raw)
	}
	h.refused(h.key, 400, "invalid_request", "POST", "/api/v1/rooms", object{"name": "x", "config": object{"max_participants": 51}})
	h.must(200, "POST", "/api/v1/rooms/r/end", nil)
	h.refused(h.key, 409, "room_ended", "PATCH", "/api/v1/rooms/r", object{"name": "x"})
}

func TestIfMatchGuardsARoom(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	other := h.second()
	etag := h.send(h.key, "POST", "/api/v1/rooms", object{"name": "r"}).header.Get("ETag")
	patch := func(g *house, etag string, n int) reply {
		return g.send(h.key, "PATCH", "/api/v1/rooms/r", object{"metadata": object{"n": n}}, "If-Match", etag, "Content-Type", "application/merge-patch+json")
	}
	second := patch(h, etag, 1)
	if second.status != 200 || second.header.Get("ETag") == etag || second.header.Get("ETag") != h.send(h.key, "GET", "/api/v1/rooms/r", nil).header.Get("ETag") {
		t.Errorf("patch: %d %s %s", second.status, second.header, second.raw)
	}
	h.refused(h.key, 412, "precondition_failed", "PATCH", "/api/v1/rooms/r", object{"metadata": object{"n": 2}}, "If-Match", etag)
	// Of many who have read the same, one is first, on whichever replica.
	statuses := make([]int, 10)
	together(10, func(i int) {
		statuses[i] = patch([]*house{h, other}[i%2], second.header.Get("ETag"), 10+i).status
	})
	if got := fmt.Sprint(statuses); count(statuses, 200) != 1 || count(statuses, 412) != 9 {
		t.Errorf("statuses: %s", got)
	}
	if r := patch(h, "*", 3); r.status != 200 {
		t.Errorf("If-Match: *: %d", r.status)
	}
	h.add("r", object{"display_name": "A"})
	if r := patch(h, h.send(h.key, "GET", "/api/v1/rooms/r", nil).header.Get("ETag"), 4); r.status != 200 {
		t.Errorf("after a join: %d %s", r.status, r.raw)
	}
}

func count(statuses []int, status int) (n int) {
	for _, s := range statuses {
		if s == status {
			n++
		}
	}
	return n
}

// TestAHugePatchOfMetadataIsRefusedByItsLength: merging it, wide or deep, is nobody's work.
func TestAHugePatchOfMetadataIsRefusedByItsLength(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	h.must(201, "POST", "/api/v1/rooms", object{"name": "r", "metadata": object{"a": 1}})
	wide := make([]string, 80_000)
	for i := range wide {
		wide[i] = fmt.Sprintf(`"%d":{}`, i)
	}
	for _, metadata := range []string{"{" + strings.Join(wide, ",") + "}", strings.Repeat(`{"a":`, 5000) + "1" + strings.Repeat("}", 5000)} {
		r := h.send(h.key, "PATCH", "/api/v1/rooms/r", `{"metadata":`+metadata+`}`)
		if code := r.body["code"]; (code != "body_too_large" && code != "invalid_request") || len(r.raw) > 1000 {
			t.Errorf("the answer has %d bytes", len(r.raw))
		}
	}
	// What is long enough to be taken and too long to be kept is judged by what comes of it.
	h.refused(h.key, 400, "invalid_request", "PATCH", "/api/v1/rooms/r", object{"metadata": object{"b": strings.Repeat("x", 5000)}})
	h.must(200, "PATCH", "/api/v1/rooms/r", object{"metadata": object{"b": strings.Repeat("x", 4000)}})
	if after := h.must(200, "PATCH", "/api/v1/rooms/r", object{"metadata": object{"b": nil, "c": strings.Repeat("y", 4000)}}); after["metadata"].(object)["a"] != 1.0 {
		t.Errorf("after: %v", after)
	}
}

// TestNoPatchOfMetadataIsLost: each is worked out from what the one before has left, whichever replica that was on.
func TestNoPatchOfMetadataIsLost(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	other := h.second()
	h.must(201, "POST", "/api/v1/rooms", object{"name": "r"})
	other.waitFor(h)
	together(8, func(i int) {
		r := []*house{h, other}[i%2].send(h.key, "PATCH", "/api/v1/rooms/r", object{"metadata": object{fmt.Sprint("m", i): i}})
		if r.status != 200 {
			t.Errorf("%d: %d %s", i, r.status, r.raw)
		}
	})
	h.waitFor(other)
	if metadata := h.must(200, "GET", "/api/v1/rooms/r", nil)["metadata"].(object); len(metadata) != 8 {
		t.Errorf("of eight patches there is %v", metadata)
	}
}
