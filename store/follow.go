package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"time"
	"unsafe"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/metadata"
)

const (
	listTimeout = 5 * time.Minute
	// tick is how often the follower looks up from the watch: whether somebody waits for a revision that no event of
	// ours will bring, and whether the watch has gone silent.
	tick = 100 * time.Millisecond
	// silence is how long a watch may say nothing before it is asked, and then how long it may take to answer.
	silence = 5 * time.Second
	// silenceBehind is how long a watch that was heard may say nothing while the log is known to be ahead: a member of etcd
	// that hangs is not waited for until the connection is found dead.
	silenceBehind = 2 * time.Second

	backoffLeast, backoffMost = 50 * time.Millisecond, 5 * time.Second
)

// watches counts the watches of this process, to tell them apart.
var watches atomic.Int64

// errRelist says that the watch cannot be continued from where it was: list again.
type errRelist struct {
	reason relistReason
	detail string
}

func (e errRelist) Error() string { return "list again: " + e.detail }

// relistReason is why the whole log was listed, in a word.
type relistReason string

const (
	firstLoad      relistReason = "first_load"
	compacted      relistReason = "compacted"       // what the watch would begin with is gone
	anotherCluster relistReason = "another_cluster" // behind the same address
	wentBack       relistReason = "revision_went_back"
	anotherHistory relistReason = "another_history" // under the same cluster's name: see landmark
	watchRefused   relistReason = "watch_refused"   // by an error that nobody knows
	applyFailed    relistReason = "apply_failed"
)

var relistReasons = []relistReason{firstLoad, compacted, anotherCluster, wentBack, anotherHistory, watchRefused, applyFailed}

// follow keeps the index equal to the log: list once, then watch from that revision on; after a break watch from the
// last applied revision, and list again only when that cannot be trusted. It returns with the context.
func (s *Store) follow(ctx context.Context) error {
	relist, trust, attempt := firstLoad, true, 0
	for {
		if relist != "" {
			s.metrics.relists.WithLabelValues(string(relist)).Inc()
			began := time.Now()
			if err := s.load(ctx, trust); err != nil {
				s.options.Logger.Warn("listing the log failed", "reason", relist, "error", err)
				if err := backoff(ctx, &attempt); err != nil {
					return err
				}
				continue
			}
			s.metrics.listTook.Set(time.Since(began).Seconds())
			s.options.Logger.Debug("listed the log", "reason", relist, "revision", s.index.applied())
		}
		heard, err := s.watch(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if heard {
			attempt = 0
		}
		relist, trust = "", true
		if again, ok := errors.AsType[errRelist](err); ok {
			relist = again.reason
			// What was compacted away cannot be compared any more, so nothing proves that it was the same history.
			trust = !s.otherHistory.Swap(false) && relist != compacted
		}
		s.metrics.breaks.Inc()
		s.options.Logger.Warn("the watch broke", "error", err)
		if err := backoff(ctx, &attempt); err != nil {
			return err
		}
	}
}

// backoff waits with full jitter, so that replicas that broke together do not come back together.
func backoff(ctx context.Context, attempt *int) error {
	limit := min(backoffMost, backoffLeast<<min(*attempt, 10))
	*attempt++
	return pause(ctx, rand.N(limit)+time.Millisecond)
}

// pause waits for the time, or returns with the context.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// load lists the log and makes the index equal to it.
func (s *Store) load(ctx context.Context, trustRevisions bool) error {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	r := s.index.replace(trustRevisions)
	defer r.abandon()
	var revision int64
	var cluster uint64
	seen := landmarks{seed: s.landmarks.seed}
	rows := make(chan []change, 4)
	both, ctx := errgroup.WithContext(ctx) // one reads and decodes, while the other puts what was read into the index
	both.Go(func() (err error) {
		defer close(rows)
		var some []change
		revision, cluster, err = s.list(ctx, func(key, value []byte, created, modified int64) {
			seen.pass(key, value, modified)
			if c, ok := s.decode(key, value, created, modified); ok {
				some = append(some, c)
			}
			if len(some) == rowsAtOnce {
				send(ctx, rows, some)
				some = make([]change, 0, rowsAtOnce)
			}
		})
		send(ctx, rows, some)
		return errors.Join(err, ctx.Err()) // a part that could not be handed on is no list
	})
	both.Go(func() error {
		for some := range rows {
			for _, c := range some {
				if err := r.add(c); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err := both.Wait(); err != nil {
		return err
	}
	if err := r.finish(revision); err != nil {
		return err
	}
	s.cluster.Store(cluster)
	s.landmarks.restart(seen.newest.Load())
	s.answerBarrier() // one may have passed unseen
	return nil
}

// rowsAtOnce is how many rows of a list are handed on together: enough that handing on costs nothing, and few in memory.
const rowsAtOnce = 512

func send(ctx context.Context, to chan<- []change, some []change) {
	select {
	case to <- some:
	case <-ctx.Done():
	}
}

// watch follows the log from the applied revision until the stream ends, and says whether it heard anything.
func (s *Store) watch(ctx context.Context) (heard bool, err error) {
	// etcd's client keeps one stream for each set of metadata. The watch has one of its own, which its requests for
	// progress share: a stream's progress is not told while any watch on it is behind or has nothing to see yet.
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(clientv3.WithRequireLeader(ctx),
		"usher-watch", strconv.FormatInt(watches.Add(1), 10)))
	defer cancel()
	from := s.index.applied() + 1
	events := s.log.watch.Watch(ctx, s.options.Prefix, clientv3.WithPrefix(), clientv3.WithRev(from),
		clientv3.WithProgressNotify(), clientv3.WithCreatedNotify(), clientv3.WithFragment())
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	var (
		quiet  quietness
		began  = time.Now()
		member uint64 // the id of the one at the other end; 0 before it has said anything
	)
	for {
		select {
		case response, open := <-events:
			if !open {
				return heard, errors.New("the stream ended")
			}
			if err := s.hear(response); err != nil {
				return heard, err
			}
			heard, quiet, member = true, quietness{}, response.Header.MemberId
		case demand := <-s.relistDemands:
			return heard, demand
		case <-s.progressDemands:
			s.askProgress(ctx)
		case <-ticker.C:
			if heard && s.observed() < from {
				quiet.ticks = 0 // the log ends before the watch begins: until then etcd tells no progress
			}
			if quiet.tick(s.index.waiting(), heard && s.Lag() > 0) {
				s.askProgress(ctx)
			}
			if quiet.lost() {
				return heard, errors.New("the watch does not answer")
			}
			if heard && s.members.leftOutSince(member, began) {
				return heard, errors.New("the member of etcd at the other end does not serve")
			}
		case <-ctx.Done():
			return heard, ctx.Err()
		}
	}
}

// quietness counts the ticks for which a watch has said nothing, and those at which the log was ahead meanwhile.
type quietness struct{ ticks, behind int }

// tick notes that another one went by, and says whether it is time to ask for progress: at once when somebody waits,
// otherwise when the silence is long. Who is behind asks with every probe.
func (q *quietness) tick(waiting, behind bool) (ask bool) {
	q.ticks++
	if behind {
		q.behind++
	}
	return waiting || q.ticks%int(silence/tick) == 0
}

// lost holds when the question that followed a long silence was not answered for as long again, or for a shorter time by
// a watch that is known to be behind.
func (q *quietness) lost() bool {
	return q.ticks >= 2*int(silence/tick) || q.behind >= int(silenceBehind/tick)
}

func (s *Store) askProgress(ctx context.Context) {
	if err := s.log.watch.RequestProgress(ctx); err != nil && ctx.Err() == nil {
		s.options.Logger.Debug("asking for progress failed", "error", err)
	}
}

// hear applies one watch response. A response that only tells how far the log has come moves the applied revision as
// events do; nothing else ever does.
func (s *Store) hear(response clientv3.WatchResponse) error {
	if err := response.Err(); err != nil {
		if errors.Is(err, rpctypes.ErrNoLeader) {
			return fmt.Errorf("watch: %w", err)
		}
		if errors.Is(err, rpctypes.ErrCompacted) {
			return errRelist{compacted, fmt.Sprintf("watch: %v", err)}
		}
		return errRelist{watchRefused, fmt.Sprintf("watch: %v", err)}
	}
	if demand, other := s.anotherCluster(response.Header.ClusterId); other { // the revision is for the probe to judge
		s.otherHistory.Store(true)
		return demand
	}
	if response.Created {
		s.fresh.setLoaded(s.options.Now())
		s.signalReady()
		return nil
	}
	s.metrics.events.Add(float64(len(response.Events)))
	changes, known, asked := make([]change, 0, len(response.Events)), s.index.applied(), false
	for _, event := range response.Events {
		asked = asked || s.isBarrier(event.Kv.Key)
		if event.Type == mvccpb.PUT {
			s.landmarks.pass(event.Kv.Key, event.Kv.Value, event.Kv.ModRevision)
		}
		if event.Kv.ModRevision <= known {
			continue // what this replica has written itself, and shows already
		}
		if event.Type == mvccpb.DELETE {
			if c, ok := s.deleted(event.Kv.Key); ok {
				c.revision = event.Kv.ModRevision
				changes = append(changes, c)
			}
			continue
		}
		if c, ok := s.decode(event.Kv.Key, event.Kv.Value, event.Kv.CreateRevision, event.Kv.ModRevision); ok && c.row != nil {
			changes = append(changes, c)
		}
	}
	if err := s.index.apply(changes, reached(response)); err != nil {
		return errRelist{applyFailed, err.Error()}
	}
	if asked {
		s.answerBarrier()
	}
	return nil
}

// reached is the revision up to which a stream that brought the response has told everything. That is the header's only
// when there are no events: to a watch that was away, etcd brings what it has missed in batches of a thousand revisions,
// and the header of each bears the newest revision of all.
func reached(response clientv3.WatchResponse) int64 {
	if last := len(response.Events) - 1; last >= 0 {
		return response.Events[last].Kv.ModRevision
	}
	return response.Header.Revision
}

// decode turns a key and value into a change. A key of no table is not ours to judge (a newer replica may have written
// it); a value that does not decode leaves the last good row in force and is counted and named.
func (s *Store) decode(key, value []byte, created, modified int64) (change, bool) {
	c, ok := s.deleted(key)
	if !ok {
		return change{}, false
	}
	row, err := c.table.decode(c.path, value, created, modified)
	if err != nil {
		short := c.key()
		s.index.reject(Rejected{Key: short, Revision: modified, Err: err})
		s.options.Logger.Error("a record does not decode; its last good value stays in force",
			slog.String("key", short.String()), slog.Int64("revision", modified), slog.Any("error", err))
		return c, true
	}
	c.row, c.revision = row, modified
	return c, true
}

// deleted is the key as a change that takes it away. Its path is the key's own bytes, which nobody changes: a row then keeps
// the table's name as well, 32 B of a participant, and a first load copies no paths.
func (s *Store) deleted(key []byte) (change, bool) {
	name, path, _ := bytes.Cut(bytes.TrimPrefix(key, []byte(s.options.Prefix)), []byte("/"))
	if len(path) == 0 { // nothing of a table, and no path that memdb could hold
		return change{}, false
	}
	table, ok := s.index.tables[string(name)]
	return change{table: table, path: unsafe.String(&path[0], len(path))}, ok // #nosec G103
}

// demandRelist makes the follower list again, now.
func (s *Store) demandRelist(demand errRelist) {
	s.otherHistory.Store(true)
	select {
	case s.relistDemands <- demand:
	default: // one is waiting already
	}
}

func (s *Store) demandProgress() {
	select {
	case s.progressDemands <- struct{}{}:
	default:
	}
}
