package participants

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"usher"
	"usher/store"
	"usher/tenant"
)

// Nobody leaves for a silence that is only a write which did not succeed. While a replica hears heartbeats it tells in the
// log, every two seconds, how far they are written; the sweep counts silence up to the least of what the replicas have
// told. If a replica cannot write, not even that, its last word stands and time stands still with it, until it is taken
// for dead a minute later. What a replica tells of one tenant does not hold up the others.
//
// What was told is never taken back: a beat that was heard after it has its own quarter to be written. So a sweep may act
// on an older word than the newest, and no transaction compares these records.

// Watermark is how far a replica has written what it heard.
type Watermark struct {
	// At is when the replica told it. Whatever it heard more than a quarter of the tenant's timeout before is in the log,
	// but for what is named here.
	At usher.Time `json:"at"`
	// Behind are the tenants of whom something should have been written and is not, with the time up to which the silence
	// of their participants counts.
	Behind map[tenant.ID]usher.Time `json:"behind,omitzero"`
	// AllBehind is that time for every tenant, when too many are behind to be named.
	AllBehind usher.Time `json:"all_behind,omitzero"`
}

// Watermarks is the table of what replicas tell: {a random name of each}. A replica of which nothing waits to be written has
// none. One that has died leaves its record, which counts for watermarkLife; the sweep takes it away later.
var Watermarks = store.Table[Watermark]{
	Name: "presence-through",
	Decode: func(_ string, value []byte) (w Watermark, err error) {
		err = json.Unmarshal(value, &w)
		return w, err
	},
	Encode: func(w Watermark) ([]byte, error) { return json.Marshal(w, json.Deterministic(true)) },
}

const (
	tellInterval  = 2 * time.Second  // between what a replica tells while it hears heartbeats
	watermarkLife = 60 * time.Second // a replica that has told nothing for so long is dead
	watermarkKept = time.Hour        // for how long the record of a dead replica stays: longer than clocks differ
	behindMost    = 100              // how many tenants are named
)

// through is up to when the replica lets the silence of the tenant's participants count, at most now.
func (w Watermark) through(t tenant.ID, now time.Time) time.Time {
	now = earlier(now, w.At.Time)
	if behind, ok := w.Behind[t]; ok {
		now = earlier(now, behind.Time)
	}
	if !w.AllBehind.IsZero() {
		now = earlier(now, w.AllBehind.Time)
	}
	return now
}

// watermarkAt is the watermark of a replica on which these tenants are behind.
func watermarkAt(now time.Time, behind map[tenant.ID]time.Time) Watermark {
	w := Watermark{At: usher.At(now)}
	if len(behind) == 0 {
		return w
	}
	if len(behind) > behindMost {
		w.AllBehind = usher.At(slices.MinFunc(slices.Collect(maps.Values(behind)), time.Time.Compare))
		return w
	}
	w.Behind = make(map[tenant.ID]usher.Time, len(behind))
	for t, until := range behind {
		w.Behind[t] = usher.At(until)
	}
	return w
}

// waiting is since when something of each room waits to be written, or is on its way.
func (p *presence) waiting() map[string]time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	waiting := make(map[string]time.Time, len(p.rooms)+len(p.writing))
	for room, of := range p.rooms {
		waiting[room] = of.since
	}
	for of, room := range p.writing {
		if since, ok := waiting[room]; !ok || of.since.Before(since) {
			waiting[room] = of.since
		}
	}
	return waiting
}

// behind lists the tenants of whom something waits for longer than its share of the timeout, with the time until which it
// was in time.
func (p *presence) behind(r store.Reader, now time.Time) map[tenant.ID]time.Time {
	behind := make(map[tenant.ID]time.Time)
	for room, since := range p.waiting() {
		share := shareOf(r, room)
		until := since.Add(share)
		if share == 0 || !until.Before(now) { // without a timeout nobody is silent
			continue
		}
		t := ownerOf(room)
		if known, ok := behind[t]; !ok || until.Before(known) {
			behind[t] = until
		}
	}
	return behind
}

// news says whether it is time to tell something, and whether that is only that nothing waits any more.
func (p *presence) news(now time.Time) (due, idle bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.rooms) == 0 && len(p.writing) == 0 {
		return !p.told.IsZero(), true
	}
	return now.Sub(p.told) >= tellInterval, false
}

// TellPresence writes this replica's watermark, when there is something to tell: every two seconds while heartbeats wait to
// be written, and once when none does any more.
func (s *Service) TellPresence(ctx context.Context) error {
	now := s.now()
	due, idle := s.presence.news(now)
	if !due {
		return nil
	}
	w := watermarkAt(now, s.presence.behind(s.log.Snapshot(), now))
	_, err := store.Commit(ctx, s.log, store.Change[struct{}]{
		Aggregates: func(*store.Snapshot) []store.Key { return nil }, // nobody else writes the record
		Decide: func(tx *store.Tx) (struct{}, error) {
			if idle {
				Watermarks.Delete(tx, s.replica)
			} else {
				Watermarks.Put(tx, s.replica, w)
			}
			return struct{}{}, nil
		},
	})
	if err != nil {
		return fmt.Errorf("tell how far heartbeats are written: %w", err)
	}
	if idle {
		now = time.Time{}
	}
	s.presence.mu.Lock()
	s.presence.told = now
	s.presence.mu.Unlock()
	return nil
}

// horizons are the watermarks of all replicas that are alive.
type horizons []Watermark

// through is up to when the silence of the tenant's participants counts: as far as every replica that is alive has told, and
// this one knows of itself, that what it heard is in the log.
func (h horizons) through(t tenant.ID, now time.Time) time.Time {
	for _, w := range h {
		now = w.through(t, now)
	}
	return now
}

// horizons reads the watermarks, with a snapshot that shows all that they say is written.
func (s *Service) horizons(now time.Time) (horizons, *store.Snapshot) {
	all := horizons{watermarkAt(now, s.presence.behind(s.log.Snapshot(), now))}
	snapshot := s.log.Snapshot() // after it: what does not wait any more is in this one
	for row := range Watermarks.Scan(snapshot, "", "") {
		if row.Path != s.replica && now.Sub(row.Value.At.Time) <= watermarkLife {
			all = append(all, row.Value)
		}
	}
	return all, snapshot
}

// forgetWatermarks takes away what replicas have told that are long dead.
func (s *Service) forgetWatermarks(ctx context.Context) error {
	dead := s.now().Add(-watermarkKept)
	for row := range Watermarks.Scan(s.log.Snapshot(), "", "") {
		if !row.Value.At.Before(dead) {
			continue
		}
		_, err := store.Commit(ctx, s.log, store.Change[struct{}]{
			Aggregates: func(*store.Snapshot) []store.Key { return nil },
			Decide: func(tx *store.Tx) (struct{}, error) {
				if now, ok := Watermarks.Get(tx, row.Path); ok && now.Value.At.Before(dead) {
					Watermarks.Delete(tx, row.Path)
				}
				return struct{}{}, nil
			},
		})
		if err != nil {
			return fmt.Errorf("forget the watermark of a replica: %w", err)
		}
	}
	return nil
}
