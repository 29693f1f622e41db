package rooms

import (
	"context"
	"time"

	"usher"
	"usher/store"
	"usher/tenant"
)

// deleteStep is how many records one transaction of a deletion takes away.
const deleteStep = 100 // with the rest of the transaction below etcd's max-txn-ops

// Delete ends the room and takes away everything of it, in bounded steps: first it ends, so that nobody is in it, then
// its seats go, and last the room itself. If it is cut short the room is still there, ended, and Delete can be repeated.
func (s *Service) Delete(ctx context.Context, t tenant.ID, ref Ref) error {
	room, err := s.End(ctx, t, ref)
	if err != nil {
		return err
	}
	return s.takeAway(ctx, t, room.ID)
}

// takeAway deletes everything of an ended room. It pauses after each step for as long as the step took, so that whoever
// writes meanwhile has at least half of the log to itself.
func (s *Service) takeAway(ctx context.Context, t tenant.ID, id ID) error {
	for {
		began := time.Now()
		more, err := store.Commit(ctx, s.log, store.Change[bool]{
			Aggregates: func(*store.Snapshot) []store.Key { return []store.Key{Rooms.Key(Path(t, id))} },
			Decide:     func(tx *store.Tx) (bool, error) { return deleteSome(tx, t, id), nil },
		})
		if err != nil || !more {
			return err
		}
		select {
		case <-time.After(time.Since(began)):
		case <-ctx.Done():
			return &usher.Error{Code: usher.CodeUnavailable, RetryAfter: time.Second, Err: ctx.Err(),
				Detail: "The room has ended, but not all of it was deleted in time. Repeat the call."}
		}
	}
}

func deleteSome(tx *store.Tx, t tenant.ID, id ID) (more bool) {
	row, ok := Rooms.Get(tx, Path(t, id))
	if !ok {
		return false // somebody else was faster
	}
	left := deleteStep
	for _, table := range []string{SeatsTable, PresenceTable, Bans.Name} {
		deleted, more := tx.DeleteUnder(table, Path(t, id), left)
		if left -= deleted; more || left == 0 {
			return true
		}
	}
	forget(tx, t, row.Value)
	return false
}
