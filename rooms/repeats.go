package rooms

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"usher/store"
	"usher/tenant"
)

// repeatStep is how many repeats one transaction takes away.
const repeatStep = 100

// sweepRepeats takes away what is no longer kept of requests under an Idempotency-Key. The bytes go back to their room, or
// to the tenant where the room has ended: repeats are the tenant's own from then on (Keep).
func (s *Service) sweepRepeats(ctx context.Context) error {
	snapshot, before := s.log.Snapshot(), s.now().Add(-tenant.RepeatLifetime)
	var failures []error
	for owner := range tenant.All(snapshot, "") {
		byRoom := make(map[string][]tenant.Repeat)
		for _, repeat := range tenant.OverdueRepeats(snapshot, owner.ID, before) {
			byRoom[repeat.Room] = append(byRoom[repeat.Room], repeat)
		}
		for _, room := range slices.Sorted(maps.Keys(byRoom)) {
			for some := range slices.Chunk(byRoom[room], repeatStep) {
				failures = append(failures, s.forgetRepeats(ctx, owner.ID, ID(room), some, before))
			}
		}
	}
	return errors.Join(failures...)
}

func (s *Service) forgetRepeats(ctx context.Context, t tenant.ID, id ID, repeats []tenant.Repeat, before time.Time) error {
	_, err := store.Commit(ctx, s.log, store.Change[struct{}]{
		Aggregates: func(*store.Snapshot) []store.Key {
			return []store.Key{Rooms.Key(Path(t, id)), tenant.Accounts.Key(string(t))}
		},
		Decide: func(tx *store.Tx) (struct{}, error) {
			for _, repeat := range repeats {
				if repeat.Overdue(tx, before) {
					tenant.Idempotencies.Delete(tx, repeat.Path)
				}
			}
			room, ok := find(tx, t, RefTo(id))
			if !ok || room.Status == Ended {
				return struct{}{}, tenant.Settle(tx, t, tx.Growth(), tenant.Removing)
			}
			room.Bytes.Repeats += tx.Growth()
			_, err := Keep(tx, t, room, false, tenant.Removing)
			return struct{}{}, err
		},
	})
	return err
}
