package rooms

import (
	"slices"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"usher"
	"usher/tenant"
)

// Draft is a room to be.
type Draft struct {
	ID               ID     // made by the service when empty
	Name             string // the id when empty: a room that an early join named by id has no other
	ScheduledStartAt usher.Time
	Config           Config
	Metadata         jsontext.Value
}

// Open decides whether the tenant may have one more room; live is how many it has that have not ended. A room for later
// is scheduled, any other active at once.
func Open(d Draft, s tenant.Settings, live int, now time.Time) (Room, *usher.Error) {
	if live >= s.MaxConcurrentRooms {
		return Room{}, usher.Errorf(usher.CodeRoomLimitReached, "The tenant may have %d rooms at once; end one first.", s.MaxConcurrentRooms)
	}
	room := Room{
		ID: d.ID, Name: d.Name, Status: Active, Config: d.Config, Metadata: d.Metadata,
		ScheduledStartAt: d.ScheduledStartAt, CreatedAt: usher.At(now), Recording: Recording{Status: Idle},
	}
	if room.Name == "" {
		room.Name = string(d.ID)
	}
	if now.Before(d.ScheduledStartAt.Time) {
		room.Status = Scheduled
	}
	return room, nil
}

// Leave is the room after the seats' participants have left; the seats must have been active. If one of them was
// elected to record and has not confirmed, the election is open again.
func Leave(room Room, seats []SeatID) Room {
	room.ParticipantCount -= len(seats)
	if room.Recording.Status == Elected && slices.Contains(seats, room.Recording.Elected) {
		room.Recording = Recording{Status: Idle}
	}
	return room
}

// End is the room after its end: nobody is active in it any more. Ending an ended room changes nothing.
func End(room Room, now time.Time) Room {
	if room.Status == Ended {
		return room
	}
	room.Status, room.EndedAt = Ended, usher.At(now)
	room.ParticipantCount = 0
	room.Recording = Recording{Status: Idle}
	return room
}
