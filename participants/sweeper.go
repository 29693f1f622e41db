package participants

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"usher/rooms"
	"usher/store"
	"usher/tenant"
)

// Sweeper does what time alone brings about: who was not heard of leaves, rooms that have outlived themselves end, and
// what ended long ago is taken away. One replica sweeps at a time; when it dies another takes over within seconds. Two
// that sweep at once do no harm, since each thing is decided again on the records when it is written.
type Sweeper struct {
	Log          *store.Store
	Tenants      *tenant.Service
	Rooms        *rooms.Service
	Participants *Service
	Interval     time.Duration // between two sweeps; 0 means 5 s
	Logger       *slog.Logger
	Metrics      prometheus.Registerer // where the metrics go; nil: nowhere
}

const sweepInterval = 5 * time.Second

// Run sweeps whenever this replica is the leader, until the context ends.
func (w *Sweeper) Run(ctx context.Context) {
	told := newSweeperMetrics(w.Metrics)
	w.Log.Lead(ctx, "sweeper", func(ctx context.Context) { w.sweepOften(ctx, told) })
}

func (w *Sweeper) sweepOften(ctx context.Context, told sweeperMetrics) {
	told.leading.Set(1)
	defer told.leading.Set(0)
	interval := w.Interval
	if interval == 0 {
		interval = sweepInterval
	}
	w.Logger.Debug("this replica sweeps")
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		began := time.Now()
		swept, err := w.Sweep(ctx)
		if ctx.Err() != nil {
			return
		}
		told.sweep(time.Since(began), swept, err)
		if err != nil {
			w.Logger.Warn("a sweep was not complete; the next will try again", "error", err)
		}
		if swept != (rooms.Swept{}) {
			w.Logger.Info("swept", "rooms_ended", swept.Ended, "rooms_forgotten", swept.Forgotten, "participants_timed_out", swept.TimedOut)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// Sweep goes through everything once.
func (w *Sweeper) Sweep(ctx context.Context) (rooms.Swept, error) {
	silent, failed := w.Participants.sweepSilent(ctx)
	swept, err := w.Rooms.Sweep(ctx)
	swept.TimedOut = silent
	if failed == nil && err == nil {
		_, err = w.Tenants.Sweep(ctx)
	}
	if err == nil {
		err = w.Participants.purge(ctx)
	}
	if err == nil {
		err = w.Participants.forgetWatermarks(ctx)
	}
	return swept, errors.Join(failed, err)
}

// sweepSilent takes out those who were not heard of for their tenant's timeout.
func (s *Service) sweepSilent(ctx context.Context) (silent int, err error) {
	if state, _ := s.log.State(); state != store.Ready {
		return 0, nil
	}
	var failures []error
	if err := s.WritePresence(ctx, true); err != nil { // whoever was heard stays all the same
		failures = append(failures, err)
	}
	now := s.now()
	all, snapshot := s.horizons(now)
	for owner := range tenant.All(snapshot, "") {
		if presenceTimeout(owner.Settings) == 0 {
			continue
		}
		through := all.through(owner.ID, now)
		for row := range rooms.Rooms.Scan(snapshot, string(owner.ID)+"/", "") {
			if row.Value.ParticipantCount == 0 {
				continue
			}
			n, err := s.takeOutSilent(ctx, snapshot, owner, row.Value, through)
			silent += n
			failures = append(failures, err)
		}
	}
	return silent, errors.Join(failures...)
}

func (s *Service) takeOutSilent(ctx context.Context, snapshot *store.Snapshot, owner tenant.Tenant, room rooms.Room, through time.Time) (taken int, err error) {
	var suspects []ID
	prefix := path(owner.ID, room.ID, "")
	quiet := s.silence(snapshot, owner, room.ID, through)
	for row := range Participants.ScanLive(snapshot, prefix) {
		if id := ID(row.Path[len(prefix):]); quiet.of(id, row.Value) {
			suspects = append(suspects, id)
		}
	}
	for len(suspects) > 0 {
		some := suspects[:min(removalStep, len(suspects))]
		suspects = suspects[len(some):]
		n, err := s.timeOut(ctx, owner.ID, room.ID, some, through)
		if err != nil {
			return taken, err
		}
		taken += n
	}
	return taken, nil
}

// timeOut takes the suspects out that are silent still, on the records as they are when it is written. How far silence
// counts is not asked again, since time alone can only move it on (watermark.go).
func (s *Service) timeOut(ctx context.Context, t tenant.ID, id rooms.ID, suspects []ID, through time.Time) (taken int, err error) {
	return store.Commit(ctx, s.log, store.Change[int]{
		Aggregates: func(*store.Snapshot) []store.Key { return suspicion(rooms.Path(t, id), suspects) },
		Decide: func(tx *store.Tx) (int, error) {
			owner, err := tenant.Find(tx, t)
			if err != nil {
				return 0, err
			}
			room, err := rooms.Find(tx, t, rooms.RefTo(id))
			if err != nil {
				return 0, err
			}
			d := departure{tx: tx, tenant: t, room: room, reason: TimedOut, now: s.now()}
			quiet := s.silence(tx.Unguarded(), owner, id, through)
			for _, suspect := range suspects {
				if row, ok := Participants.Get(tx, path(t, id, suspect)); ok && quiet.of(suspect, row.Value) {
					if _, refused := d.participant(suspect); refused != nil {
						return 0, refused
					}
				}
			}
			return len(d.gone), d.settle()
		},
	})
}

// suspicion is what the silence of these participants of the room is compared on: the room, and the records in which a
// heartbeat of theirs may be written meanwhile, whatever the number of the room's chunks is.
func suspicion(room string, suspects []ID) []store.Key {
	keys := []store.Key{rooms.Rooms.Key(room), Presence.Key(chunkPath(room, wholeRoom))}
	for _, id := range suspects {
		if key := Presence.Key(chunkPath(room, chunkOf(id, wholeRoomMost+1))); !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	return keys
}

// silence judges who of a room was not heard of for too long.
type silence struct {
	timeout time.Duration
	since   time.Time // no silence before it counts
	through time.Time // nor any after it: see horizons
	heard   []Heard
}

// silence is that of a room's participants. Silence before this replica could read the log without a break does not count:
// nobody could have written what was heard. Neither does what is later than all replicas have written what they heard.
func (s *Service) silence(r store.Reader, owner tenant.Tenant, room rooms.ID, through time.Time) silence {
	return silence{
		timeout: presenceTimeout(owner.Settings), since: s.log.ReadySince(), through: through,
		heard: heardIn(r, rooms.Path(owner.ID, room)),
	}
}

// of says whether the participant is active and was silent for too long.
func (q silence) of(id ID, record Record) bool {
	if record.Left || !Silent(later(q.since, last(q.heard, id)), q.timeout, q.through) {
		return false // as nearly always; who joined is not read
	}
	p, err := record.participant()
	return err == nil && Silent(p.JoinedAt.Time, q.timeout, q.through)
}
