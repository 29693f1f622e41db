package participants

import (
	"context"
	"time"

	"usher/rooms"
	"usher/store"
	"usher/tenant"
)

// purgeStep is how many records one transaction takes away of a deleted tenant.
const purgeStep = 100

// purge takes away all that is left of deleted tenants. Each step is a transaction of its own, so a purge that is cut off
// goes on where it was, and one that is interrupted by a join's last gasp takes that away too: the tenant's own record
// goes last, when there is nothing else.
func (s *Service) purge(ctx context.Context) error {
	for id := range tenant.Deleting(s.log.Snapshot()) {
		for more := true; more; {
			began := time.Now()
			var err error
			more, err = store.Commit(ctx, s.log, store.Change[bool]{
				Aggregates: func(*store.Snapshot) []store.Key { return []store.Key{tenant.Aggregate(id)} },
				Decide:     func(tx *store.Tx) (bool, error) { return purgeSome(tx, id), nil },
			})
			if err != nil {
				return err
			}
			select { // others have at least half of the log to themselves, as in the deletion of a room
			case <-time.After(time.Since(began)):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return nil
}

func purgeSome(tx *store.Tx, id tenant.ID) (more bool) {
	left := purgeStep
	for _, table := range []string{Participants.Name, Presence.Name, rooms.Bans.Name, rooms.Names.Name, rooms.Rooms.Name} {
		deleted, more := tx.DeleteUnder(table, string(id)+"/", left)
		if left -= deleted; more || left == 0 {
			return true
		}
	}
	tenant.Accounts.Delete(tx, string(id))
	return tenant.Forget(tx, id, left)
}
