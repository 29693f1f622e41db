package rooms

import (
	"context"
	"errors"
	"time"

	"usher"
	"usher/store"
	"usher/tenant"
)

// Swept counts what a sweep did.
type Swept struct {
	Ended     int // rooms that had outlived themselves
	Forgotten int // rooms taken away, with everything of them
	TimedOut  int // participants that were not heard of
}

// Sweep ends the rooms that have outlived themselves and takes away those that ended long ago. Each room is decided
// again when it is written, so one that somebody has joined a moment before stays. One pass goes through all rooms in
// the index; a record that cannot be written is left to the next.
func (s *Service) Sweep(ctx context.Context) (swept Swept, err error) {
	outlived, forgettable := s.due(s.log.Snapshot(), s.now())
	var failures []error
	for _, place := range outlived {
		switch ended, err := s.endOutlived(ctx, place.tenant, place.room); {
		case err != nil:
			failures = append(failures, err)
		case ended:
			swept.Ended++
		}
	}
	for _, place := range forgettable {
		if err := s.takeAway(ctx, place.tenant, place.room); err != nil {
			failures = append(failures, err)
			continue
		}
		swept.Forgotten++
	}
	failures = append(failures, s.sweepRepeats(ctx))
	return swept, errors.Join(failures...)
}

// place is where a room is.
type place struct {
	tenant tenant.ID
	room   ID
}

func (s *Service) due(snapshot *store.Snapshot, now time.Time) (outlived, forgettable []place) {
	for owner := range tenant.All(snapshot, "") {
		settings := owner.Settings
		for row := range Rooms.Scan(snapshot, string(owner.ID)+"/", "") {
			at := place{owner.ID, row.Value.ID}
			switch {
			case ends(owner, row.Value, now):
				outlived = append(outlived, at)
			case Forgettable(row.Value, settings, now):
				forgettable = append(forgettable, at)
			}
		}
	}
	return outlived, forgettable
}

// ends says whether a room shall end: it has outlived itself, or its tenant was suspended with its rooms.
func ends(owner tenant.Tenant, room Room, now time.Time) bool {
	return Outlived(room, owner.Settings, now) || (room.Status != Ended && owner.EndRooms)
}

// errStays says that a room is no longer as the sweep saw it.
var errStays = errors.New("the room stays")

func (s *Service) endOutlived(ctx context.Context, t tenant.ID, id ID) (ended bool, err error) {
	_, err = s.change(ctx, t, RefTo(id), tenant.Removing, func(tx *store.Tx, room Room) (Room, error) {
		owner, err := tenant.Find(tx, t)
		if err != nil {
			return room, err
		}
		now := s.now()
		if !ends(owner, room, now) {
			return room, errStays
		}
		return End(room, now), nil
	})
	if errors.Is(err, errStays) || usher.HasCode(err, usher.CodeRoomNotFound) {
		return false, nil
	}
	return err == nil, err
}
