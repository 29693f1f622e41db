package tenant

import (
	"context"
	"sync"
	"time"

	"usher"
	"usher/store"
)

// keyUse is when a key was last used, to the minute.
type keyUse struct {
	LastUsedAt usher.Time `json:"last_used_at"`
}

// keyUses is the table of uses: {tenant}/{key}. It is apart from the keys, so that noting a use does not touch what
// decides over a key. Replicas write what they have seen now and then; the latest counts.
var keyUses = store.Table[keyUse]{Name: "api-key-uses", Size: func(keyUse) int { return keyUseBytes }, Decode: decodeJSON[keyUse], Encode: encodeJSON[keyUse]}

// keyUseBytes is more than the record takes. Its key counts with the API key's (keyRefBytes).
const keyUseBytes = 64

const (
	keyUseInterval = time.Minute
	keyUseStep     = 50 // how many are written in one transaction
)

// usedKeys is what this replica has seen used and not written yet.
type usedKeys struct {
	mu   sync.Mutex
	seen map[KeyID]usedKey // guarded by mu
}

type usedKey struct {
	tenant ID
	minute time.Time
}

func (u *usedKeys) note(key APIKey, now time.Time) {
	minute := now.Truncate(keyUseInterval)
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.seen == nil {
		u.seen = make(map[KeyID]usedKey)
	}
	if minute.After(u.seen[key.ID].minute) {
		u.seen[key.ID] = usedKey{key.TenantID, minute}
	}
}

// take gives what was seen by the path of its record, and forgets it.
func (u *usedKeys) take() map[string]usher.Time {
	u.mu.Lock()
	seen := u.seen
	u.seen = nil
	u.mu.Unlock()
	byPath := make(map[string]usher.Time, len(seen))
	for id, used := range seen {
		byPath[keyRefPath(used.tenant, id)] = usher.At(used.minute)
	}
	return byPath
}

// lastUsed is when the key was last used, as far as this replica knows.
func (s *Service) lastUsed(r store.Reader, key APIKey) usher.Time {
	path := keyRefPath(key.TenantID, key.ID)
	s.used.mu.Lock()
	last := usher.Time{}
	if used, ok := s.used.seen[key.ID]; ok {
		last = usher.At(used.minute)
	}
	s.used.mu.Unlock()
	if row, ok := keyUses.Get(r, path); ok && row.Value.LastUsedAt.After(last.Time) {
		return row.Value.LastUsedAt
	}
	return last
}

// KeepKeyUses writes which keys were used, once a minute until the context ends, and then what is left.
func (s *Service) KeepKeyUses(ctx context.Context, failed func(error)) {
	ticker := time.NewTicker(keyUseInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if err := s.WriteKeyUses(ctx); err != nil && ctx.Err() == nil {
				failed(err)
			}
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer cancel()
			if err := s.WriteKeyUses(last); err != nil {
				failed(err)
			}
			return
		}
	}
}

// WriteKeyUses writes what this replica has seen. What cannot be written is lost: it is a help to find keys that nobody
// uses, and the next use says it again.
func (s *Service) WriteKeyUses(ctx context.Context) error {
	step := make(map[string]usher.Time, keyUseStep)
	for path, at := range s.used.take() {
		if step[path] = at; len(step) == keyUseStep {
			if err := s.writeKeyUses(ctx, step); err != nil {
				return err
			}
			clear(step)
		}
	}
	return s.writeKeyUses(ctx, step)
}

func (s *Service) writeKeyUses(ctx context.Context, uses map[string]usher.Time) error {
	if len(uses) == 0 {
		return nil
	}
	_, err := store.Commit(ctx, s.log, store.Change[struct{}]{
		Aggregates: func(*store.Snapshot) []store.Key { return nil },
		Decide: func(tx *store.Tx) (struct{}, error) {
			for path, at := range uses {
				if _, ok := keyRefs.Get(tx, path); !ok {
					continue // revoked meanwhile
				}
				if row, ok := keyUses.Get(tx, path); !ok || at.After(row.Value.LastUsedAt.Time) {
					keyUses.Put(tx, path, keyUse{LastUsedAt: at})
				}
			}
			return struct{}{}, nil
		},
	})
	return err
}
