package gateway_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"usher/participants"
	"usher/rooms"
	"usher/store"
	"usher/tenant"
)

// seatIn is a participant as it sends heartbeats to a service, without HTTP.
type seatIn struct {
	room rooms.Ref
	id   participants.ID
}

// fill seats so many in the room, in bulks.
func (h *house) fill(room string, n int) (seats []seatIn) {
	h.t.Helper()
	for n > 0 {
		items := make([]object, min(n, 1000))
		for i := range items {
			items[i] = object{"display_name": "A"}
		}
		n -= len(items)
		r := h.must(200, "POST", "/api/v1/rooms/"+room+"/participants/bulk", object{"participants": items})
		for _, result := range r["results"].([]any) {
			seats = append(seats, seatIn{id: participants.ID(result.(object)["participant_id"].(string))})
		}
	}
	id := rooms.ID(h.must(200, "GET", "/api/v1/rooms/"+room, nil)["id"].(string))
	for i := range seats {
		seats[i].room = rooms.RefTo(id)
	}
	return seats
}

// hears has this gateway hear a heartbeat of each.
func (h *house) hears(seats ...seatIn) {
	h.t.Helper()
	for _, seat := range seats {
		if err := h.sweeper.Participants.Heartbeat(tenant.ID(h.tenant), seat.room, seat.id); err != nil {
			h.t.Fatal(err)
		}
	}
}

// tick does what KeepPresence does in a tick; writes false: what it writes does not get through.
func (h *house) tick(writes bool) {
	h.t.Helper()
	if writes {
		if err := h.sweeper.Participants.WritePresence(context.Background(), false); err != nil {
			h.t.Fatal(err)
		}
	}
	if err := h.sweeper.Participants.TellPresence(context.Background()); err != nil {
		h.t.Fatal(err)
	}
}

// caughtUp waits until this gateway shows what the other has committed.
func (h *house) caughtUp(other *house) {
	h.t.Helper()
	if err := h.sweeper.Log.WaitRevision(context.Background(), other.sweeper.Log.Revision()); err != nil {
		h.t.Fatal(err)
	}
}

// TestSixtyRoomsOfAThousandBeatAndStay: each of 60 000 beats every 14 s, to one gateway or the other, with a timeout of 60 s.
// Every write succeeds and nobody is swept out.
func TestSixtyRoomsOfAThousandBeatAndStay(t *testing.T) {
	t.Parallel()
	h := open(t, `{"presence_timeout_seconds":60,"max_participants_per_room":1000,"requests_per_second":100000,"burst":100000}`)
	other := h.second()
	var seats []seatIn
	for room := range 60 {
		seats = append(seats, h.fill(fmt.Sprint("room-", room), 1000)...)
	}
	other.caughtUp(h)
	for beat := range 8 { // for 112 s; who is silent leaves after 77
		for i, seat := range seats {
			[]*house{h, other}[(i+beat)%2].hears(seat)
		}
		h.clock.advance(14 * time.Second)
		for _, gateway := range []*house{h, other} {
			gateway.tick(true)
		}
		h.caughtUp(other)
		if swept := h.sweep(); swept.TimedOut != 0 {
			t.Fatalf("after %d beats %d were swept out", beat+1, swept.TimedOut)
		}
	}
	records := 0
	for row := range participants.Presence.Scan(h.sweeper.Log.Snapshot(), h.tenant+"/", "") {
		value, err := participants.Presence.Encode(row.Value)
		if records++; err != nil || len(value) > 32<<10 {
			t.Errorf("%s has %d bytes (%v)", row.Path, len(value), err)
		}
	}
	if records != 60*16 {
		t.Errorf("%d records", records)
	}
}

// TestNobodyIsSweptForWhatAReplicaCouldNotWrite: what one gateway hears does not get into the log, and it says so. Nobody of
// that tenant leaves for it; others' silence counts as ever; and when it writes again, only who was silent leaves.
func TestNobodyIsSweptForWhatAReplicaCouldNotWrite(t *testing.T) {
	t.Parallel()
	h := open(t, `{"presence_timeout_seconds":20}`)
	failing := h.second()
	seats := h.fill("r", 3)
	silent, beating := seats[0], seats[1:]
	neighbour := *h
	neighbour.tenant, neighbour.key = h.newTenant(`{"presence_timeout_seconds":20}`)
	gone := neighbour.fill("r", 1)[0]
	failing.caughtUp(h)
	for range 60 { // two minutes
		failing.hears(beating...)
		h.clock.advance(2 * time.Second)
		failing.tick(false)
		h.caughtUp(failing)
		h.sweep()
	}
	for _, seat := range beating {
		if !h.lives(seat) {
			t.Error("swept out, although its heartbeats were heard")
		}
	}
	if neighbour.lives(gone) {
		t.Error("the other tenant's silent participant is still there")
	}
	if !h.lives(silent) { // nobody knows yet whether it was
		t.Error("swept out, when what was heard is not known")
	}
	failing.tick(true)
	failing.hears(beating...)
	h.clock.advance(2 * time.Second)
	failing.tick(true)
	h.caughtUp(failing)
	if swept := h.sweep(); swept.TimedOut != 1 || h.lives(silent) {
		t.Errorf("when all is written: %+v", swept)
	}
	// It dies: its last word counts for a minute, then nobody waits for it.
	failing.hears(beating...)
	h.clock.advance(2 * time.Second)
	failing.tick(false)
	h.caughtUp(failing)
	h.clock.advance(59 * time.Second)
	if swept := h.sweep(); swept.TimedOut != 0 {
		t.Errorf("before it counts as dead: %+v", swept)
	}
	h.clock.advance(2 * time.Second)
	if swept := h.sweep(); swept.TimedOut != len(beating) {
		t.Errorf("when it counts as dead: %+v", swept)
	}
}

// TestAReplicaWithNothingToWriteHoldsUpNobody: it takes back what it has told.
func TestAReplicaWithNothingToWriteHoldsUpNobody(t *testing.T) {
	t.Parallel()
	h := open(t, `{"presence_timeout_seconds":10}`)
	other := h.second()
	seat := h.fill("r", 1)[0]
	other.caughtUp(h)
	last := int64(0) // the revision of what it has told last
	told := func() (n int) {
		h.caughtUp(other)
		for row := range participants.Watermarks.Scan(h.sweeper.Log.Snapshot(), "", "") {
			n++
			last = row.Modified
		}
		return n
	}
	other.tick(true)
	if n := told(); n != 0 {
		t.Errorf("it heard nothing, and told so %d times", n)
	}
	other.hears(seat)
	other.tick(true)
	first := told()
	once := last
	other.tick(true)
	if n := told(); first != 1 || n != 1 || last != once {
		t.Errorf("it told %d times, then %d; at revision %d, then %d", first, n, once, last)
	}
	h.clock.advance(3 * time.Second)
	other.tick(true)
	if n := told(); n != 0 {
		t.Errorf("all is written, and it has told %d times", n)
	}
	h.clock.advance(12 * time.Second)
	if swept := h.sweep(); swept.TimedOut != 1 {
		t.Errorf("after the timeout: %+v", swept)
	}
}

// TestAReplicaThatStopsWritesAllItHeard: and then nobody waits for it.
func TestAReplicaThatStopsWritesAllItHeard(t *testing.T) {
	t.Parallel()
	h := open(t, `{"presence_timeout_seconds":3600}`)
	seat := h.fill("r", 1)[0]
	h.hears(seat)
	h.tick(true) // tells that it waits
	stopped, stop := context.WithCancel(context.Background())
	stop()
	h.sweeper.Participants.KeepPresence(stopped, func(err error) { t.Error(err) })
	snapshot := h.sweeper.Log.Snapshot()
	if row, ok := participants.Presence.Get(snapshot, h.tenant+"/"+string(seat.room.ID)+"/all"); !ok || len(row.Value) != 1 {
		t.Errorf("what it heard: %v", row)
	}
	for row := range participants.Watermarks.Scan(snapshot, "", "") {
		t.Errorf("it still says %+v", row.Value)
	}
}

// TestWhoBeatsStays has two gateways hear, write, fail to write, tell and sweep in any order, while participants come, and
// some fall silent. Who was heard within the timeout is never swept out; in the end all who are silent are.
func TestWhoBeatsStays(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 18))
			h := open(t, `{"presence_timeout_seconds":10,"max_participants_per_room":1000}`)
			houses := []*house{h, h.second()}
			seats := h.fill("r", 250)
			heard := make(map[participants.ID]time.Time)
			for _, seat := range seats {
				heard[seat.id] = h.clock.now()
			}
			fails := [2]bool{}
			swept := 0
			for range 60 {
				if random.IntN(8) == 0 && len(seats) < 280 {
					for _, seat := range h.fill("r", 10) { // so that the room has more than one record
						seats = append(seats, seat)
						heard[seat.id] = h.clock.now()
					}
				}
				for i, gateway := range houses {
					gateway.caughtUp(houses[1-i])
					if random.IntN(5) == 0 {
						fails[i] = !fails[i]
					}
				}
				for _, seat := range seats {
					at := houses[random.IntN(2)]
					if now := h.clock.now(); now.Sub(heard[seat.id]) < 10*time.Second && random.IntN(4) > 0 && at.lives(seat) {
						at.hears(seat)
						heard[seat.id] = now
					}
				}
				h.clock.advance(time.Duration(1+random.IntN(2)) * time.Second)
				for i, gateway := range houses {
					gateway.tick(!fails[i])
				}
				i := random.IntN(2)
				if fails[i] { // a sweep writes
					continue
				}
				houses[i].caughtUp(houses[1-i])
				swept += houses[i].sweep().TimedOut
				for _, seat := range seats {
					if ago := h.clock.now().Sub(heard[seat.id]); ago < 10*time.Second && !houses[i].lives(seat) {
						t.Fatalf("swept out, although it was heard %s ago", ago)
					}
				}
			}
			for _, gateway := range houses {
				gateway.writeHeartbeats()
				gateway.tick(true)
			}
			h.clock.advance(time.Minute)
			h.caughtUp(houses[1])
			swept += h.sweep().TimedOut
			for _, seat := range seats {
				if h.lives(seat) {
					t.Fatal("silent, and still there")
				}
			}
			if swept != len(seats) {
				t.Errorf("%d swept out of %d", swept, len(seats))
			}
		})
	}
}

// lives says whether the participant is in the room, as this gateway sees it.
func (h *house) lives(seat seatIn) bool {
	row, ok := participants.Participants.Get(h.sweeper.Log.Snapshot(), h.tenant+"/"+string(seat.room.ID)+"/"+string(seat.id))
	return ok && !row.Value.Left
}

// TestARoomThatGrowsAndShrinksLosesNoHeartbeat follows a room from one record to sixteen and back.
func TestARoomThatGrowsAndShrinksLosesNoHeartbeat(t *testing.T) {
	t.Parallel()
	h := open(t, `{"presence_timeout_seconds":60,"max_participants_per_room":1000}`)
	early := h.fill("r", 200)
	room := h.tenant + "/" + string(early[0].room.ID)
	records := func() (names []string) {
		for row := range participants.Presence.Scan(h.sweeper.Log.Snapshot(), room, "") {
			names = append(names, strings.TrimPrefix(row.Path, room+"/"))
		}
		return names
	}
	h.clock.advance(70 * time.Second)
	h.hears(early...)
	h.writeHeartbeats()
	if got := records(); !slices.Equal(got, []string{"all"}) {
		t.Fatalf("of 200 there is %v", got)
	}
	late := h.fill("r", 100)
	h.clock.advance(60 * time.Second)
	h.hears(late...)
	h.writeHeartbeats()
	if got := records(); len(got) != 17 || got[0] != "00" || got[15] != "15" {
		t.Fatalf("of 300 there is %v", got)
	}
	h.clock.advance(10 * time.Second) // 70 s after the early ones were heard, in the record of the smaller room
	if swept := h.sweep(); swept.TimedOut != 0 {
		t.Fatalf("grown: %+v", swept)
	}
	var ids []string
	for _, seat := range early {
		ids = append(ids, string(seat.id))
	}
	h.must(200, "POST", "/api/v1/rooms/r/participants/bulk-remove", object{"participant_ids": ids})
	h.clock.advance(60 * time.Second)
	h.hears(late[0])
	h.writeHeartbeats()
	if got := records(); !slices.Equal(got, []string{"all"}) {
		t.Fatalf("of 100 there is %v", got)
	}
	row, _ := participants.Presence.Get(h.sweeper.Log.Snapshot(), room+"/all")
	if len(row.Value) != len(late) {
		t.Errorf("%d are in the record, want the %d who are in the room", len(row.Value), len(late))
	}
	if swept := h.sweep(); swept.TimedOut != 0 {
		t.Errorf("shrunk, 70 s after the others were heard: %+v", swept)
	}
	h.clock.advance(8 * time.Second)
	if swept := h.sweep(); swept.TimedOut != len(late)-1 {
		t.Errorf("after 78 s: %+v", swept)
	}
	h.must(204, "DELETE", "/api/v1/rooms/r", nil)
	if got := records(); len(got) != 0 {
		t.Errorf("of a deleted room there is %v", got)
	}
}

// TestARecordOfOlderHeartbeatsCounts: before there were chunks a room's record lay at its path, with RFC 3339 times.
func TestARecordOfOlderHeartbeatsCounts(t *testing.T) {
	t.Parallel()
	h := open(t, `{"presence_timeout_seconds":60}`)
	seat := h.fill("r", 1)[0]
	h.clock.advance(70 * time.Second)
	value := fmt.Sprintf(`{%q:%q}`, seat.id, h.clock.now().UTC().Format(time.RFC3339Nano))
	old, err := participants.Presence.Decode("", []byte(value))
	if err != nil {
		t.Fatal(err)
	}
	room := h.tenant + "/" + string(seat.room.ID)
	if _, err := store.Commit(context.Background(), h.sweeper.Log, store.Change[struct{}]{
		Aggregates: func(*store.Snapshot) []store.Key { return []store.Key{participants.Presence.Key(room)} },
		Decide: func(tx *store.Tx) (struct{}, error) {
			participants.Presence.Put(tx, room, old)
			return struct{}{}, nil
		},
	}); err != nil {
		t.Fatal(err)
	}
	h.clock.advance(60 * time.Second)
	if swept := h.sweep(); swept.TimedOut != 0 {
		t.Errorf("%+v", swept)
	}
	h.hears(seat)
	h.writeHeartbeats()
	if _, there := participants.Presence.Get(h.sweeper.Log.Snapshot(), room); there {
		t.Error("the older record is still there")
	}
}
