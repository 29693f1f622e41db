package participants

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"usher"
	"usher/rooms"
	"usher/store"
	"usher/tenant"
)

// How presence works with many replicas and few writes.
//
// A heartbeat is kept in the memory of the replica that hears it. Once in a quarter of the tenant's timeout each replica
// writes, for each room in which it has heard somebody, when that was: one record for the room, or sixteen for a large one
// (heard.go), into which all replicas merge by compare, many to a transaction. So the log sees a few writes per room and
// quarter, however many participants beat however often, and everything needed to judge somebody's silence is in it.
//
// The leader of the sweep (sweeper.go) reads these records. It grants what a beat may take until it shows: a quarter for
// the replica to write it, and slack for clocks that differ. What a replica has heard and cannot write for longer than that
// is not silence: each replica tells how far its beats are in the log, and silence counts only up to there (watermark.go).
// A replica that dies takes with it what it has not written, at most a quarter's beats; who beats at least every half of
// the timeout has been heard elsewhere by then. While the log was out of reach nobody's silence counts: time begins anew
// when it is back.

const (
	presenceShare  = 4               // a replica writes what it has heard this many times in a timeout
	presenceSlack  = 2 * time.Second // for clocks that differ, and for the write itself
	presenceTick   = time.Second     // how often a replica looks which rooms are due
	presenceAtOnce = 32              // how many records are written at once: the largest fit into one transaction together
	presenceErrors = 3               // how many failures of one writing are told, of the first of them
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
	mu      sync.Mutex
	rooms   map[string]*roomPresence // guarded by mu; by the room's path
	writing map[*roomPresence]string // guarded by mu; what is on its way into the log, with the room's path
	told    time.Time                // guarded by mu; when this replica last told how far it is; zero when nothing waited then
}

type roomPresence struct {
	heard Heard
	since time.Time // when the first of it was heard
}

func (p *presence) beat(room string, id ID, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.merge(room, Heard{id: now.UnixMilli()}, now)
}

// merge is called under mu.
func (p *presence) merge(room string, heard Heard, since time.Time) {
	r := p.rooms[room]
	if r == nil {
		if p.rooms == nil {
			p.rooms = make(map[string]*roomPresence)
		}
		r = &roomPresence{heard: make(Heard), since: since}
		p.rooms[room] = r
	}
	r.heard.add(heard, nil)
	r.since = earlier(r.since, since)
}

// take hands out the rooms for which due holds, to be written.
func (p *presence) take(due func(room string, since time.Time) bool) map[string]*roomPresence {
	p.mu.Lock()
	defer p.mu.Unlock()
	taken := make(map[string]*roomPresence)
	for room, r := range p.rooms {
		if due(room, r.since) {
			taken[room] = r
			delete(p.rooms, room)
			if p.writing == nil {
				p.writing = make(map[*roomPresence]string)
			}
			p.writing[r] = room
		}
	}
	return taken
}

// written forgets what was taken, but for the chunks that could not be written: they come the next time.
func (p *presence) written(taken map[string]*roomPresence, failed []chunk) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range failed {
		p.merge(c.room, c.heard, taken[c.room].since)
	}
	for _, r := range taken {
		delete(p.writing, r)
	}
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

// KeepPresence writes what this replica hears, and tells how far it has come with that, until the context ends, and then
// writes all that is left. It may call failed from two goroutines at once.
func (s *Service) KeepPresence(ctx context.Context, failed func(error)) {
	var telling sync.WaitGroup
	telling.Go(func() { // beside the writing, which may hang: ends with ctx
		often(ctx, func() error { return s.TellPresence(ctx) }, failed)
	})
	often(ctx, func() error { return s.WritePresence(ctx, false) }, failed)
	telling.Wait()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), presenceSlack)
	defer cancel()
	err := s.WritePresence(last, true)
	if err == nil {
		err = s.TellPresence(last) // that nothing waits; otherwise its last word stands
	}
	if err != nil {
		failed(err)
	}
}

// often does it in each tick until the context ends.
func often(ctx context.Context, do func() error, failed func(error)) {
	ticker := time.NewTicker(presenceTick)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if err := do(); err != nil && ctx.Err() == nil {
				failed(err)
			}
		case <-ctx.Done():
			return
		}
	}
}

// WritePresence writes what was heard in the rooms that are due, or in all. What cannot be written is kept for the next
// time, and whoever was heard is not taken for silent meanwhile.
func (s *Service) WritePresence(ctx context.Context, all bool) error {
	now := s.now()
	snapshot := s.log.Snapshot()
	taken := s.presence.take(func(room string, since time.Time) bool {
		return all || now.Sub(since) >= shareOf(snapshot, room)
	})
	snapshot = s.log.Snapshot() // which has every seat that was heard
	var (
		writing  errgroup.Group
		mu       sync.Mutex
		failed   []chunk
		failures []error
	)
	writing.SetLimit(presenceAtOnce)
	for _, room := range slices.Sorted(maps.Keys(taken)) {
		for _, c := range chunksOf(snapshot, room, taken[room].heard) {
			writing.Go(func() error {
				if err := s.writeChunk(ctx, c); err != nil {
					mu.Lock()
					defer mu.Unlock()
					failed = append(failed, c)
					if len(failures) < presenceErrors {
						failures = append(failures, err)
					}
				}
				return nil
			})
		}
	}
	_ = writing.Wait() // no function returns one
	s.presence.written(taken, failed)
	if len(failed) == 0 {
		return nil
	}
	return fmt.Errorf("write heartbeats: %d records failed: %w", len(failed), errors.Join(failures...))
}

func (s *Service) writeChunk(ctx context.Context, c chunk) error {
	_, err := store.Commit(ctx, s.log, store.Change[struct{}]{
		Aggregates: c.aggregates,
		Decide: func(tx *store.Tx) (struct{}, error) {
			c.write(tx)
			return struct{}{}, nil
		},
	})
	return err
}

// shareOf is for how long what was heard in the room may wait.
func shareOf(r store.Reader, room string) time.Duration {
	owner, err := tenant.Find(r, ownerOf(room))
	if err != nil {
		return 0
	}
	return presenceTimeout(owner.Settings) / presenceShare
}

// ownerOf is whose room lies at the path.
func ownerOf(room string) tenant.ID {
	t, _, _ := strings.Cut(room, "/")
	return tenant.ID(t)
}
