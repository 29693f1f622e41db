package rooms

import (
	"fmt"
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
	ScheduledEndAt   usher.Time
	Config           Config
	Metadata         jsontext.Value
}

// Open decides whether the tenant may have one more room; live is how many it has that have not ended. A room for later
// is scheduled, any other active at once.
func Open(d Draft, s tenant.Settings, live int, now time.Time) (Room, *usher.Error) {
	if live >= s.MaxConcurrentRooms {
		return Room{}, usher.Errorf(usher.CodeRoomLimitReached, "The tenant may have %d rooms at once; end one first.", s.MaxConcurrentRooms)
	}
	if refused := d.Config.within(s); refused != nil {
		return Room{}, refused
	}
	room := Room{
		ID: d.ID, Name: d.Name, Config: d.Config, Metadata: d.Metadata,
		ScheduledStartAt: d.ScheduledStartAt, ScheduledEndAt: d.ScheduledEndAt,
		CreatedAt: usher.At(now), EmptySince: usher.At(now), Recording: Recording{Status: Idle},
	}
	if room.Name == "" {
		room.Name = string(d.ID)
	}
	room.Status = room.waiting(now)
	return room, nil
}

// waiting is the status of a room that nobody has joined yet.
func (r Room) waiting(now time.Time) Status {
	if now.Before(r.ScheduledStartAt.Time) {
		return Scheduled
	}
	return Active
}

// within refuses what the tenant's settings do not allow a room to decide.
func (c Config) within(s tenant.Settings) *usher.Error {
	if c.MaxParticipants > s.MaxParticipantsPerRoom {
		return usher.Invalid(usher.FieldError{Field: "config.max_participants",
			Message: fmt.Sprintf("must be at most %d, the tenant's max_participants_per_room", s.MaxParticipantsPerRoom)})
	}
	return nil
}

// Leave is the room after the seats' participants have left; the seats must have been active. If one of them was
// elected to record and has not confirmed, the election is open again.
func Leave(room Room, seats []SeatID, now time.Time) Room {
	room.ParticipantCount -= len(seats)
	if len(seats) > 0 && room.ParticipantCount == 0 {
		room.EmptySince = usher.At(now)
	}
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

// Lock closes the room to all whose role lacks the grant moderate, or opens it again. Who is in it stays.
func Lock(room Room, locked bool) (Room, *usher.Error) {
	if room.Status == Ended {
		return room, errEnded()
	}
	room.Locked = locked
	return room, nil
}

// Outlived says whether the room shall end by itself: nobody is in it, and nobody has been for the tenant's
// empty_room_timeout_minutes, or its scheduled end has passed. A room for later is not empty before its start.
func Outlived(room Room, s tenant.Settings, now time.Time) bool {
	if room.Status == Ended || room.ParticipantCount > 0 {
		return false
	}
	since := room.CreatedAt.Time
	for _, later := range []usher.Time{room.EmptySince, room.ScheduledStartAt} {
		if later.After(since) {
			since = later.Time
		}
	}
	if end := room.ScheduledEndAt; !end.IsZero() && !now.Before(end.Time) {
		return true
	}
	return !now.Before(since.Add(time.Duration(s.EmptyRoomTimeoutMinutes) * time.Minute))
}

// Forgettable says whether the room ended so long ago that all of it shall be taken away.
func Forgettable(room Room, s tenant.Settings, now time.Time) bool {
	return room.Status == Ended && !now.Before(room.EndedAt.Add(time.Duration(s.RoomRetentionHours)*time.Hour))
}

func errEnded() *usher.Error { return usher.Errorf(usher.CodeRoomEnded, "The room has ended.") }
