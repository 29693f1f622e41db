package participants

import (
	"context"
	"errors"
	"log/slog"
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
	return swept, errors.Join(failed, err)
}

// sweepSilent takes out those who were not heard of for their tenant's timeout.
func (s *Service) sweepSilent(ctx context.Context) (silent int, err error) {
	if state, _ := s.log.State(); state != store.Ready {
		return 0, nil
	}
	if err := s.WritePresence(ctx, true); err != nil {
		return 0, err
	}
	var failures []error
	snapshot := s.log.Snapshot()
	for owner := range tenant.All(snapshot, "") {
		if presenceTimeout(owner.Settings) == 0 {
			continue
		}
		for row := range rooms.Rooms.Scan(snapshot, string(owner.ID)+"/", "") {
			if row.Value.ParticipantCount == 0 {
				continue
			}
			n, err := s.takeOutSilent(ctx, snapshot, owner, row.Value)
			silent += n
			failures = append(failures, err)
		}
	}
	return silent, errors.Join(failures...)
}

func (s *Service) takeOutSilent(ctx context.Context, snapshot *store.Snapshot, owner tenant.Tenant, room rooms.Room) (taken int, err error) {
	var suspects []ID
	prefix := path(owner.ID, room.ID, "")
	for row := range Participants.ScanLive(snapshot, prefix) {
		if id := ID(row.Path[len(prefix):]); s.silent(snapshot, owner, room.ID, id) {
			suspects = append(suspects, id)
		}
	}
	for len(suspects) > 0 {
		some := suspects[:min(removalStep, len(suspects))]
		suspects = suspects[len(some):]
		n, err := s.timeOut(ctx, owner.ID, room.ID, some)
		if err != nil {
			return taken, err
		}
		taken += n
	}
	return taken, nil
}

// timeOut takes the suspects out that are silent still, on the records as they are when it is written.
func (s *Service) timeOut(ctx context.Context, t tenant.ID, id rooms.ID, suspects []ID) (taken int, err error) {
	return store.Commit(ctx, s.log, store.Change[int]{
		Aggregates: func(*store.Snapshot) []store.Key {
			at := rooms.Path(t, id)
			return []store.Key{rooms.Rooms.Key(at), Presence.Key(at)}
		},
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
			for _, suspect := range suspects {
				if s.silent(tx, owner, id, suspect) {
					if _, refused := d.participant(suspect); refused != nil {
						return 0, refused
					}
				}
			}
			return len(d.gone), d.settle()
		},
	})
}

// silent says whether an active participant was not heard of for too long. Silence before this replica could read the
// log without a break does not count: nobody could have written what was heard.
func (s *Service) silent(r store.Reader, owner tenant.Tenant, room rooms.ID, id ID) bool {
	row, ok := Participants.Get(r, path(owner.ID, room, id))
	if !ok || row.Value.Left {
		return false
	}
	timeout, now, last := presenceTimeout(owner.Settings), s.now(), s.log.ReadySince()
	if heard, ok := Presence.Get(r, rooms.Path(owner.ID, room)); ok && heard.Value[id].After(last) {
		last = heard.Value[id].Time
	}
	if !Silent(last, timeout, now) {
		return false // as nearly always; who joined is not read
	}
	p, err := row.Value.participant()
	return err == nil && Silent(p.JoinedAt.Time, timeout, now)
}
