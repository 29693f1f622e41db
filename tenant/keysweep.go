package tenant

import (
	"context"
	"strings"
	"time"

	"usher/store"
)

const (
	expiredKept = 30 * 24 * time.Hour // for how long a key that has expired is still listed
	keyStep     = 20                  // how many keys one transaction of the sweep takes away, at three operations each
)

// sweepKeys takes away keys that have died with their makers and keys that expired long ago, and uses of keys that are
// no more. A key that has expired stays while what it has made lives: that would die with it.
func (s *Service) sweepKeys(ctx context.Context) error {
	snapshot, now := s.log.Snapshot(), s.now()
	for t := range All(snapshot, "") {
		if err := s.sweepKeysOf(ctx, t.ID, deadKeys(snapshot, t.ID, now)); err != nil {
			return err
		}
		var unused []string
		for row := range keyUses.Scan(snapshot, string(t.ID)+"/", "") {
			if _, ok := keyRefs.Get(snapshot, row.Path); !ok {
				unused = append(unused, strings.Clone(row.Path))
			}
		}
		if err := s.sweepKeyUses(ctx, t.ID, unused); err != nil {
			return err
		}
	}
	return nil
}

// deadKeys lists the keys that are to go.
func deadKeys(r store.Reader, t ID, now time.Time) (dead []KeyID) {
	makers := make(map[KeyID]bool) // of keys that live
	var old []KeyID
	for ref := range keyRefs.Scan(r, string(t)+"/", "") {
		row, ok := APIKeys.Get(r, ref.Value.Hash)
		switch {
		case !ok:
		case row.Value.orphaned(r):
			dead = append(dead, row.Value.ID)
		case row.Value.expired(now.Add(-expiredKept)):
			old = append(old, row.Value.ID)
		default:
			for _, maker := range row.Value.Makers {
				makers[maker] = true
			}
		}
	}
	for _, id := range old {
		if !makers[id] {
			dead = append(dead, id)
		}
	}
	return dead
}

func (s *Service) sweepKeysOf(ctx context.Context, t ID, dead []KeyID) error {
	for len(dead) > 0 {
		some := dead[:min(keyStep, len(dead))]
		dead = dead[len(some):]
		_, err := write(ctx, s, t, Removing, nil, func(tx *store.Tx) (struct{}, error) {
			for _, id := range some {
				key, hash, ok := findKey(tx, t, id)
				if ok && (key.orphaned(tx) || key.expired(s.now().Add(-expiredKept))) {
					key.drop(tx, hash)
				}
			}
			return struct{}{}, nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) sweepKeyUses(ctx context.Context, t ID, paths []string) error {
	for len(paths) > 0 {
		some := paths[:min(keyUseStep, len(paths))]
		paths = paths[len(some):]
		_, err := store.Commit(ctx, s.log, store.Change[struct{}]{
			Aggregates: func(*store.Snapshot) []store.Key { return []store.Key{Aggregate(t)} },
			Decide: func(tx *store.Tx) (struct{}, error) {
				for _, path := range some {
					if _, ok := keyRefs.Get(tx, path); !ok {
						keyUses.Delete(tx, path)
					}
				}
				return struct{}{}, nil
			},
		})
		if err != nil {
			return err
		}
	}
	return nil
}
