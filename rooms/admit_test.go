package rooms

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"usher"
	"usher/tenant"
)

var noon = time.Date(2026, 1, 6, 12, 0, 0, 0, time.UTC)

// hall is a room with its seats, as the index and the log would keep them.
type hall struct {
	room  Room
	seats []occupant // active, in the order of joining
}

type occupant struct {
	Seat
	user string
}

func (h *hall) seated(user string) (seats []Seat) {
	for _, o := range h.seats {
		if o.user == user {
			seats = append(seats, o.Seat)
		}
	}
	return seats
}

// admit decides the joins and keeps what was decided.
func (h *hall) admit(s tenant.Settings, joins []Join, now time.Time) []Verdict {
	room, verdicts := Admit(h.room, s, h.seated, joins, now)
	h.room = room
	for i, v := range verdicts {
		for _, id := range v.Replaced {
			h.drop(id)
		}
		if v.Refused == nil && !v.Existing {
			h.seats = append(h.seats, occupant{Seat: v.Seat, user: joins[i].ExternalUserID})
		}
	}
	return verdicts
}

func (h *hall) drop(id SeatID) {
	for i, o := range h.seats {
		if o.ID == id {
			h.seats = append(h.seats[:i:i], h.seats[i+1:]...)
			return
		}
	}
}

func (h *hall) leave(i int) {
	id := h.seats[i].ID
	h.room = Leave(h.room, []SeatID{id}, noon)
	h.drop(id)
}

func settings(t *rapid.T) tenant.Settings {
	s := tenant.Defaults()
	s.MaxParticipantsPerRoom = rapid.IntRange(1, 6).Draw(t, "capacity")
	s.ForceRecording = rapid.Bool().Draw(t, "force")
	s.AutoStartRecording = rapid.Bool().Draw(t, "auto")
	s.FirstParticipantIsHost = rapid.Bool().Draw(t, "first is host")
	s.DuplicateParticipantPolicy = rapid.SampledFrom([]tenant.DuplicatePolicy{
		tenant.DuplicateAllow, tenant.DuplicateReject, tenant.DuplicateReplace, tenant.DuplicateReturnExisting,
	}).Draw(t, "policy")
	return s
}

func joins(t *rapid.T) []Join {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Join {
		return Join{
			ExternalUserID: rapid.SampledFrom([]string{"", "ann", "bob", "cyd"}).Draw(t, "user"),
			Role:           rapid.SampledFrom([]string{"", "host", "participant", "viewer", "nobody"}).Draw(t, "role"),
			Random:         rapid.Uint64().Draw(t, "random"),
			BannedUntil:    usher.At(noon.Add(time.Duration(rapid.SampledFrom([]int{-1, 0, 0, 0, 60}).Draw(t, "ban")) * time.Second)),
		}
	}), 1, 8).Draw(t, "joins")
}

func emptyRoom(t *rapid.T, s tenant.Settings) Room {
	room, err := Open(Draft{ID: "room_x", Name: "x"}, s, 0, noon)
	if err != nil {
		t.Fatal(err)
	}
	return room
}

// TestRulesHoldInAnyOrder plays random joins, leavings and clocks that jump, and holds the product's promises.
func TestRulesHoldInAnyOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := settings(t)
		h := &hall{room: emptyRoom(t, s)}
		now, last := noon, SeatID("")
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(-5, 40).Draw(t, "seconds")) * time.Second)
			if len(h.seats) > 0 && rapid.Bool().Draw(t, "leave") {
				h.leave(rapid.IntRange(0, len(h.seats)-1).Draw(t, "who"))
			}
			h.room.Locked = rapid.IntRange(0, 3).Draw(t, "locked") == 0
			elected, before := 0, len(h.seats)
			asked := joins(t)
			for i, v := range h.admit(s, asked, now) {
				if v.Refused == nil && now.Before(asked[i].BannedUntil.Time) {
					t.Fatalf("a banned user got seat %s", v.Seat.ID)
				}
				if v.Refused == nil && h.room.Locked && !v.Existing && len(v.Replaced) == 0 && v.Seat.Role != tenant.RoleHost {
					t.Fatalf("a %s entered the locked room", v.Seat.Role)
				}
				if v.Refused == nil && !v.Existing {
					if v.Seat.ID <= last {
						t.Fatalf("seat %s does not follow %s", v.Seat.ID, last)
					}
					last = v.Seat.ID
				}
				if v.Decision.Elected && !v.Existing {
					elected++
				}
			}
			if elected > 1 && s.DuplicateParticipantPolicy != tenant.DuplicateReplace {
				t.Fatalf("%d were told to record", elected)
			}
			if h.room.EmptySince.IsZero() != (len(h.seats) > 0) {
				t.Fatalf("%d of %d are in, empty since %s", len(h.seats), before, h.room.EmptySince)
			}
			h.check(t, s)
		}
	})
}

func (h *hall) check(t *rapid.T, s tenant.Settings) {
	if h.room.ParticipantCount != len(h.seats) || len(h.seats) > s.MaxParticipantsPerRoom {
		t.Fatalf("the room counts %d, %d sit in it, %d may", h.room.ParticipantCount, len(h.seats), s.MaxParticipantsPerRoom)
	}
	if s.DuplicateParticipantPolicy != tenant.DuplicateAllow {
		for _, user := range []string{"ann", "bob", "cyd"} {
			if n := len(h.seated(user)); n > 1 {
				t.Fatalf("%s has %d seats by %s", user, n, s.DuplicateParticipantPolicy)
			}
		}
	}
	if h.room.Recording.Status == Elected {
		for _, o := range h.seats {
			if o.ID == h.room.Recording.Elected {
				return
			}
		}
		t.Fatalf("the elected %s is not in the room", h.room.Recording.Elected)
	}
}

// TestABatchIsOneAfterTheOther decides joins at once and one by one.
func TestABatchIsOneAfterTheOther(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s, all := settings(t), joins(t)
		atOnce := &hall{room: emptyRoom(t, s)}
		oneByOne := &hall{room: atOnce.room}
		together := atOnce.admit(s, all, noon)
		for i := range all {
			alone := oneByOne.admit(s, all[i:i+1], noon)[0]
			if alone.Seat != together[i].Seat || alone.Existing != together[i].Existing || code(alone) != code(together[i]) ||
				alone.Decision != together[i].Decision {
				t.Fatalf("join %d: at once %+v, alone %+v", i, together[i], alone)
			}
		}
		if atOnce.room.ParticipantCount != oneByOne.room.ParticipantCount || atOnce.room.Recording != oneByOne.room.Recording {
			t.Fatalf("at once %+v, one by one %+v", atOnce.room, oneByOne.room)
		}
	})
}

func code(v Verdict) usher.Code {
	if v.Refused == nil {
		return ""
	}
	return v.Refused.Code
}

// FuzzParseRef: a reference is an id or a name, and reading back what it became gives the same.
func FuzzParseRef(f *testing.F) {
	for _, seed := range []string{"CS101 Lecture", "room_01jz0000000000000000000000", "0197b6d0-0000-7000-8000-000000000000", "", "room_", "a/b", "\xff", "a\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ref, err := ParseRef(s)
		if err != nil {
			return
		}
		if (ref.ID == "") == (ref.Name == "") {
			t.Fatalf("%q is %+v", s, ref)
		}
		again, err := ParseRef(string(ref.ID) + ref.Name)
		if err != nil || again != ref {
			t.Fatalf("%q is %+v, and that is %+v (%v)", s, ref, again, err)
		}
	})
}
