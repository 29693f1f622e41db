package gateway_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"usher/participants"
	"usher/rooms"
)

func TestAnEmptyRoomEnds(t *testing.T) {
	t.Parallel()
	h := open(t, `{"empty_room_timeout_minutes":10}`)
	h.must(201, "POST", "/api/v1/rooms", object{"name": "never joined"})
	h.must(201, "POST", "/api/v1/rooms", object{"name": "tomorrow", "scheduled_start_at": h.clock.now().Add(24 * time.Hour)})
	gone := h.add("left", object{"display_name": "A"})
	h.add("busy", object{"display_name": "A"})
	h.clock.advance(9 * time.Minute)
	h.must(204, "DELETE", "/api/v1/rooms/left/participants/"+idOf(gone), nil)
	if swept := h.sweep(); swept != (rooms.Swept{}) {
		t.Errorf("too early: %+v", swept)
	}
	h.clock.advance(2 * time.Minute)
	if swept := h.sweep(); swept.Ended != 1 {
		t.Errorf("after ten minutes: %+v", swept)
	}
	h.clock.advance(9 * time.Minute)
	h.sweep()
	for name, status := range map[string]string{"never%20joined": "ended", "tomorrow": "scheduled", "left": "ended", "busy": "active"} {
		if room := h.must(200, "GET", "/api/v1/rooms/"+name, nil); room["status"] != status {
			t.Errorf("%s is %v", name, room["status"])
		}
	}
	h.clock.advance(24 * time.Hour)
	h.sweep()
	if room := h.must(200, "GET", "/api/v1/rooms/tomorrow", nil); room["status"] != "ended" {
		t.Errorf("tomorrow, when nobody came: %v", room)
	}
}

func TestARoomIsOverAtItsScheduledEndOnceNobodyIsIn(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	start := h.clock.now().Add(time.Hour)
	h.must(201, "POST", "/api/v1/rooms", object{"name": "r", "scheduled_start_at": start, "scheduled_end_at": start.Add(time.Hour)})
	a := h.add("r", object{"display_name": "A"})
	h.clock.advance(3 * time.Hour)
	if h.sweep(); h.why(idOf(a)) != nil {
		t.Error("somebody was thrown out")
	}
	h.must(204, "POST", seats+"/"+idOf(a)+"/leave", nil)
	h.sweep()
	if room := h.must(200, "GET", "/api/v1/rooms/r", nil); room["status"] != "ended" {
		t.Errorf("after its end: %v", room)
	}
}

func TestAnEndedRoomIsForgotten(t *testing.T) {
	t.Parallel()
	h := open(t, `{"room_retention_hours":2,"max_participants_per_room":1000}`)
	items := make([]object, 250)
	for i := range items {
		items[i] = object{"display_name": "A", "external_user_id": fmt.Sprint("u", i)}
	}
	h.must(200, "POST", seats+"/bulk", object{"participants": items})
	h.must(200, "POST", seats+"/bulk-remove", object{"external_user_ids": []string{"u1", "u2"}, "ban_seconds": 1000})
	id := h.must(200, "POST", "/api/v1/rooms/r/end", nil)["id"].(string)
	h.clock.advance(time.Hour)
	if swept := h.sweep(); swept.Forgotten != 0 || len(h.list("r", "")) != 250 {
		t.Errorf("too early: %+v", swept)
	}
	h.clock.advance(time.Hour)
	if swept := h.sweep(); swept.Forgotten != 1 {
		t.Errorf("after two hours: %+v", swept)
	}
	h.refused(h.key, 404, "room_not_found", "GET", "/api/v1/rooms/r", nil)
	h.refused(h.key, 404, "room_not_found", "GET", "/api/v1/rooms/"+id+"/participants", nil)
	h.refused(h.key, 404, "room_not_found", "GET", "/api/v1/rooms/"+id+"/bans", nil)
	h.add("r", object{"display_name": "A", "external_user_id": "u1"})
}

// TestARoomThatSomebodyHasJustJoinedStays sweeps and joins at once, again and again: whoever got a seat is in a room that
// has not ended.
func TestARoomThatSomebodyHasJustJoinedStays(t *testing.T) {
	t.Parallel()
	h := open(t, `{"empty_room_timeout_minutes":1}`)
	other := h.second()
	for i := range 20 {
		name := fmt.Sprint("room-", i)
		id := h.must(201, "POST", "/api/v1/rooms", object{"name": name})["id"].(string)
		h.clock.advance(2 * time.Minute)
		together(2, func(n int) {
			if n == 0 {
				h.sweep()
				return
			}
			r := other.send(h.key, "POST", "/api/v1/rooms/"+id+"/participants", object{"display_name": "A"})
			if r.status != 201 && r.body["code"] != "room_ended" {
				t.Errorf("join: %d %s", r.status, r.raw)
			}
			if room := other.send(h.key, "GET", "/api/v1/rooms/"+id, nil).body; r.status == 201 && room["status"] != "active" {
				t.Errorf("joined a room that is %v", room)
			}
		})
	}
}

func (h *house) beat(added object) reply {
	h.t.Helper()
	return h.send(added["auth_token"].(string), "POST", seats+"/"+idOf(added)+"/heartbeat", nil)
}

func TestWhoIsSilentTimesOut(t *testing.T) {
	t.Parallel()
	h := open(t, `{"presence_timeout_seconds":60,"duplicate_participant_policy":"return_existing"}`)
	other := h.second()
	silent, steady := h.add("r", object{"display_name": "A"}), h.add("r", object{"display_name": "B"})
	back := h.add("r", object{"display_name": "C", "external_user_id": "c"})
	for i := range 6 { // every half of the timeout, each time to another gateway
		h.clock.advance(30 * time.Second)
		gateway := []*house{h, other}[i%2]
		for range 5 {
			if r := gateway.beat(steady); r.status != 204 {
				t.Fatalf("heartbeat: %d %s", r.status, r.raw)
			}
		}
		if i == 0 {
			for range participants.Presence.Scan(h.sweeper.Log.Snapshot(), h.tenant+"/", "") {
				t.Error("a heartbeat was written")
			}
		}
		if i == 1 {
			h.add("r", object{"display_name": "C", "external_user_id": "c"}) // as good as a heartbeat
		}
		other.writeHeartbeats()
		h.sweep()
	}
	if h.why(idOf(silent)) != "timeout" || h.why(idOf(back)) != "timeout" || h.why(idOf(steady)) != nil {
		t.Errorf("silent %v, back once %v, steady %v", h.why(idOf(silent)), h.why(idOf(back)), h.why(idOf(steady)))
	}
	first := h.must(200, "GET", seats+"/"+idOf(silent), nil)["left_at"].(string)
	second := h.must(200, "GET", seats+"/"+idOf(back), nil)["left_at"].(string)
	if first >= second {
		t.Errorf("who came back left at %s, who did not at %s", second, first)
	}
	h.refused(silent["auth_token"].(string), 409, "participant_left", "POST", seats+"/"+idOf(silent)+"/heartbeat", nil)
	h.refused(silent["refresh_token"].(string), 409, "participant_left", "POST", seats+"/"+idOf(silent)+"/token", nil)
	h.refused(steady["auth_token"].(string), 403, "forbidden", "POST", seats+"/"+idOf(silent)+"/heartbeat", nil)
	h.refused(h.key, 404, "participant_not_found", "POST", seats+"/p_01jz0000000000000000000000/heartbeat", nil)
}

// TestAGatewayThatDiesTakesNobodyWithIt loses what one gateway has heard.
func TestAGatewayThatDiesTakesNobodyWithIt(t *testing.T) {
	t.Parallel()
	h := open(t, `{"presence_timeout_seconds":60}`)
	dying := h.second()
	a := h.add("r", object{"display_name": "A"})
	h.clock.advance(30 * time.Second)
	dying.beat(a) // and never written
	h.clock.advance(30 * time.Second)
	h.beat(a)
	h.clock.advance(16 * time.Second)
	h.sweep()
	if h.why(idOf(a)) != nil {
		t.Error("who beats every half of the timeout was taken for gone")
	}
}

func TestWithoutATimeoutNobodyIsSwept(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	a := h.add("r", object{"display_name": "A"})
	if r := h.beat(a); r.status != 204 {
		t.Errorf("heartbeat: %d %s", r.status, r.raw)
	}
	h.clock.advance(24 * time.Hour)
	if h.sweep(); h.why(idOf(a)) != nil {
		t.Error("gone")
	}
	h.refused(h.key, 400, "invalid_request", "PATCH", "/api/v1/tenants/"+h.tenant+"/config", object{"presence_timeout_seconds": 9})
	h.must(200, "PATCH", "/api/v1/tenants/"+h.tenant+"/config", object{"presence_timeout_seconds": 10})
	if h.sweep(); h.why(idOf(a)) != "timeout" {
		t.Error("the setting is not in force")
	}
}

// TestOneGatewaySweepsAndTheOtherTakesOver runs both sweepers and stops the one that leads.
func TestOneGatewaySweepsAndTheOtherTakesOver(t *testing.T) {
	t.Parallel()
	h := open(t, `{"empty_room_timeout_minutes":1}`)
	other := h.second()
	var running sync.WaitGroup
	stops := make([]context.CancelFunc, 2)
	var leaders [2]atomic.Bool
	for i, gateway := range []*house{h, other} {
		ctx, stop := context.WithCancel(context.Background())
		stops[i] = stop
		running.Go(func() {
			gateway.sweeper.Log.Lead(ctx, "sweeper", func(ctx context.Context) {
				if leaders[1-i].Load() {
					t.Error("two lead")
				}
				leaders[i].Store(true)
				defer leaders[i].Store(false)
				for ctx.Err() == nil {
					_, _ = gateway.sweeper.Sweep(ctx) // fails when it is stopped in the middle
				}
			})
		})
	}
	ended := func(name string) {
		h.must(201, "POST", "/api/v1/rooms", object{"name": name})
		h.clock.advance(2 * time.Minute)
		for h.must(200, "GET", "/api/v1/rooms/"+name, nil)["status"] != "ended" {
			continue
		}
	}
	ended("first")
	for i := range leaders {
		if leaders[i].Load() {
			stops[i]()
			break
		}
	}
	ended("second")
	stops[0]()
	stops[1]()
	running.Wait()
}
