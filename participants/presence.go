package participants

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"golang.org/x/sync/errgroup"

	"usher"
	"usher/rooms"
	"usher/store"
	"usher/tenant"
)

// How presence works with many replicas and few writes.
//
// A heartbeat is kept in the memory of the replica that hears it. Once in a quarter of the tenant's timeout each replica
// writes, for each room in which it has heard somebody, when that was: one record for the room, into which all replicas
// merge by compare, many rooms to a transaction. So the log sees a write per room and quarter, however many participants
// beat however often, and everything needed to judge somebody's silence is in it.
//
// The leader of the sweep (sweeper.go) reads these records. It grants what a beat may take until it shows: a quarter for
// the replica to write it, and slack for clocks that differ. A replica that dies takes with it what it has not written,
// at most a quarter's beats; who beats at least every half of the timeout has been heard elsewhere by then. While the log
// was out of reach nobody's silence counts: time begins anew when it is back.

// Heard is when the participants of a room were last heard of. Who is not in it was not heard of since it joined.
type Heard map[ID]usher.Time

// Presence is the table of what was heard: {tenant}/{room}.
var Presence = store.Table[Heard]{
	Name: rooms.PresenceTable, Aggregate: true,
	Decode: func(_ string, value []byte) (h Heard, err error) {
		err = json.Unmarshal(value, &h)
		return h, err
	},
	Encode: func(h Heard) ([]byte, error) { return json.Marshal(h, json.Deterministic(true)) },
}

const (
	presenceShare = 4               // a replica writes what it has heard this many times in a timeout
	presenceSlack = 2 * time.Second // for clocks that differ, and for the write itself
	presenceTick  = time.Second     // how often a replica looks which rooms are due
	presenceRooms = 64              // how many rooms are written at once
)

// Silent says whether somebody who was last heard of then has been silent for longer than the timeout, with all that a
// heartbeat may take until it shows. A timeout of 0 is none.
func Silent(last time.Time, timeout time.Duration, now time.Time) bool {
	return timeout > 0 && now.Sub(last) > timeout+timeout/presenceShare+presenceSlack
}

func presenceTimeout(s tenant.Settings) time.Duration {
	return time.Duration(s.PresenceTimeoutSeconds) * time.Second
}

// presence is what this replica has heard and not written yet.
type presence struct {
	mu    sync.Mutex
	rooms map[string]*roomPresence // guarded by mu; by the room's path
}

type roomPresence struct {
	heard Heard
	since time.Time // when the first of it was heard
}

func (p *presence) beat(room string, id ID, now time.Time) {
	p.merge(room, Heard{id: usher.At(now)}, now)
}

func (p *presence) merge(room string, heard Heard, since time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.rooms[room]
	if r == nil {
		if p.rooms == nil {
			p.rooms = make(map[string]*roomPresence)
		}
		r = &roomPresence{heard: make(Heard), since: since}
		p.rooms[room] = r
	}
	r.heard.add(heard)
}

// add keeps the later of what was heard twice.
func (h Heard) add(more Heard) {
	for id, at := range more {
		if at.After(h[id].Time) {
			h[id] = at
		}
	}
}

// take hands out the rooms for which due holds, and forgets them.
func (p *presence) take(due func(room string, since time.Time) bool) map[string]*roomPresence {
	p.mu.Lock()
	defer p.mu.Unlock()
	taken := make(map[string]*roomPresence)
	for room, r := range p.rooms {
		if due(room, r.since) {
			taken[room] = r
			delete(p.rooms, room)
		}
	}
	return taken
}

// Heartbeat notes that the participant is still there. It writes nothing. While this replica cannot reach the log it
// refuses: the client should try another, since what this one hears may come too late.
func (s *Service) Heartbeat(t tenant.ID, ref rooms.Ref, id ID) error {
	snapshot := s.log.Snapshot()
	owner, err := tenant.Find(snapshot, t)
	if err != nil {
		return err
	}
	room, _, err := findActive(snapshot, t, ref, id)
	if err != nil {
		return err
	}
	if presenceTimeout(owner.Settings) == 0 {
		return nil
	}
	if state, _ := s.log.State(); state != store.Ready {
		return &usher.Error{Code: usher.CodeUnavailable, RetryAfter: time.Second, Detail: "This replica cannot reach the log, so the heartbeat does not count."}
	}
	s.presence.beat(rooms.Path(t, room.ID), id, s.now())
	return nil
}

// heardAgain notes that users have come back to seats that they had.
func (s *Service) heardAgain(a *admission) {
	if presenceTimeout(a.tenant.Settings) == 0 {
		return
	}
	for _, seat := range a.seats {
		if seat.existing && seat.refused == nil {
			s.presence.beat(rooms.Path(a.tenant.ID, a.room.ID), seat.participant.ID, s.now())
		}
	}
}

// KeepPresence writes what this replica hears, until the context ends, and then all that is left.
func (s *Service) KeepPresence(ctx context.Context, failed func(error)) {
	ticker := time.NewTicker(presenceTick)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if err := s.WritePresence(ctx, false); err != nil && ctx.Err() == nil {
				failed(err)
			}
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), presenceSlack)
			defer cancel()
			if err := s.WritePresence(last, true); err != nil {
				failed(err)
			}
			return
		}
	}
}

// WritePresence writes what was heard in the rooms that are due, or in all.
func (s *Service) WritePresence(ctx context.Context, all bool) error {
	now := s.now()
	snapshot := s.log.Snapshot()
	taken := s.presence.take(func(room string, since time.Time) bool {
		return all || now.Sub(since) >= shareOf(snapshot, room)
	})
	var (
		writing  errgroup.Group
		mu       sync.Mutex
		failures []error
	)
	writing.SetLimit(presenceRooms)
	for _, room := range slices.Sorted(maps.Keys(taken)) {
		writing.Go(func() error {
			if err := s.writePresence(ctx, room, taken[room].heard); err != nil {
				s.presence.merge(room, taken[room].heard, taken[room].since) // the next time, then
				mu.Lock()
				defer mu.Unlock()
				failures = append(failures, err)
			}
			return nil
		})
	}
	_ = writing.Wait() // no function returns one
	return errors.Join(failures...)
}

// shareOf is for how long what was heard in the room may wait.
func shareOf(r store.Reader, room string) time.Duration {
	t, _, _ := strings.Cut(room, "/")
	owner, err := tenant.Find(r, tenant.ID(t))
	if err != nil {
		return 0
	}
	return presenceTimeout(owner.Settings) / presenceShare
}

func (s *Service) writePresence(ctx context.Context, room string, heard Heard) error {
	_, err := store.Commit(ctx, s.log, store.Change[struct{}]{
		Aggregates: func(*store.Snapshot) []store.Key { return []store.Key{Presence.Key(room)} },
		Decide: func(tx *store.Tx) (struct{}, error) {
			// Who has left since then is only kept for longer than needed; to compare would be to wait for every join.
			seen := tx.Unguarded()
			if row, ok := rooms.Rooms.Get(seen, room); !ok || row.Value.Status == rooms.Ended {
				return struct{}{}, nil
			}
			merged := make(Heard, len(heard))
			if row, ok := Presence.Get(tx, room); ok {
				merged.add(row.Value)
			}
			merged.add(heard)
			maps.DeleteFunc(merged, func(id ID, _ usher.Time) bool {
				row, ok := Participants.Get(seen, room+"/"+string(id))
				return !ok || row.Value.Left
			})
			Presence.Put(tx, room, merged)
			return struct{}{}, nil
		},
	})
	return err
}
