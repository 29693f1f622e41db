package participants

import (
	"context"

	"usher"
	"usher/rooms"
	"usher/store"
	"usher/tenant"
)

// Remove takes a participant out of its room; one already gone stays so. When it returns, the participant is not active
// on this replica and, once they have applied the revision, on the others, and its tokens are refused.
func (s *Service) Remove(ctx context.Context, t tenant.ID, ref rooms.Ref, id ID) error {
	_, err := store.Commit(ctx, s.log, store.Change[struct{}]{
		Aggregates: func(snapshot *store.Snapshot) []store.Key {
			room, err := rooms.Find(snapshot, t, ref)
			if err != nil {
				return nil // Decide says so
			}
			return []store.Key{rooms.Rooms.Key(rooms.Path(t, room.ID))}
		},
		Decide: func(tx *store.Tx) (struct{}, error) { return struct{}{}, s.remove(tx, t, ref, id) },
	})
	return err
}

func (s *Service) remove(tx *store.Tx, t tenant.ID, ref rooms.Ref, id ID) error {
	room, err := rooms.Find(tx, t, ref)
	if err != nil {
		return err
	}
	row, err := find(tx, t, room.ID, id)
	if err != nil || row.Value.Left || room.Status == rooms.Ended {
		return err
	}
	if err := leave(tx, t, room.ID, id, Removed, s.now()); err != nil {
		return err
	}
	rooms.Keep(tx, t, rooms.Leave(room, []ID{id}), false)
	return nil
}

// Refresh signs new tokens for an active participant. It writes nothing, so it works while the log does not.
func (s *Service) Refresh(t tenant.ID, ref rooms.Ref, id ID) (tenant.Tokens, error) {
	snapshot := s.log.Snapshot()
	owner, err := tenant.Find(snapshot, t)
	if err != nil {
		return tenant.Tokens{}, err
	}
	room, err := rooms.Find(snapshot, t, ref)
	if err != nil {
		return tenant.Tokens{}, err
	}
	row, err := find(snapshot, t, room.ID, id)
	if err != nil {
		return tenant.Tokens{}, err
	}
	if row.Value.Left || room.Status == rooms.Ended {
		return tenant.Tokens{}, usher.Errorf(usher.CodeParticipantLeft, "The participant is no longer in the room; add it again.")
	}
	p, err := row.Value.participant()
	if err != nil {
		return tenant.Tokens{}, err
	}
	return s.sign(owner, room, p)
}
