package store

import (
	"context"
	"crypto/rand"
	"fmt"
	"hash/maphash"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"golang.org/x/sync/errgroup"

	"usher"
)

// Options configure a Store. The zero value of each field but Logger is usable.
type Options struct {
	Prefix        string           // of every key; "" means DefaultPrefix
	MaxTxnOps     int              // etcd's --max-txn-ops; 0 means DefaultMaxTxnOps
	MaxTxnBytes   int              // of the keys and values of one transaction; 0 means DefaultMaxTxnBytes
	CommitTimeout time.Duration    // for one transaction; 0 means DefaultCommitTimeout
	MaxStaleness  time.Duration    // for how long whoever uses the store answers from an index that is Stale; 0 means DefaultMaxStaleness
	Now           func() time.Time // what staleness is measured by; nil means time.Now
	Logger        *slog.Logger
	Metrics       prometheus.Registerer // where the metrics go; nil: nowhere
	Tracer        trace.Tracer          // nil: no traces
	// Decided is told what the decisions of a transaction have read, compared or not, before it is sent; the writer waits for
	// it. It is for tests, which change a record at that moment; nil: nobody asks.
	Decided func(reads []Key)
}

// DefaultCommitTimeout is longer than an election takes (etcd's default: between one and two seconds), and short, since
// nothing else is written meanwhile: etcd drops in silence what a member has sent on to a leader that it has lost, and on
// the way back to one, so that transactions are lost several in a row.
const DefaultCommitTimeout = 3 * time.Second

// DefaultMaxStaleness is how old an index may be and still be answered from.
const DefaultMaxStaleness = 10 * time.Minute

// DefaultMaxTxnBytes is well below what etcd takes (--max-request-bytes, by default 1.5 MiB).
const DefaultMaxTxnBytes = 1 << 20

// DefaultPrefix is where Usher's records lie in etcd; v1 is the version of their layout.
const DefaultPrefix = "/usher/v1/"

// Store is the log with its index: one replica's view of everything. It is safe for concurrent use.
type Store struct {
	options Options
	log     *Log
	index   *index
	writer  *writer
	fresh   freshness
	metrics *metrics
	members members

	cluster         atomic.Uint64 // the id of the cluster that the index was made from; 0 before the first list
	landmarks       landmarks
	otherHistory    atomic.Bool    // the next list comes from a log whose revisions say nothing about ours
	relistDemands   chan errRelist // probe → follower: the reason
	progressDemands chan struct{}  // probe → follower

	self     string        // this process's name among the replicas
	unlisted atomic.Bool   // the others cannot know that this one may answer somebody; see Register
	asked    chan struct{} // follower → Register: another replica wants to know what this one has applied

	ready     chan struct{} // closed when a list was applied and a watch created
	readyOnce sync.Once
	stop      context.CancelFunc
	running   *errgroup.Group
}

// Open starts to follow the log, and to write to it. The Store owns the goroutines it starts until Close, but not the
// Log. It is Starting until WaitReady returns.
func Open(log *Log, o Options, tables ...Definition) (*Store, error) {
	if o.Prefix == "" {
		o.Prefix = DefaultPrefix
	}
	if !strings.HasSuffix(o.Prefix, "/") {
		return nil, fmt.Errorf("the etcd prefix %q must end in a slash", o.Prefix)
	}
	if o.MaxTxnOps == 0 {
		o.MaxTxnOps = DefaultMaxTxnOps
	}
	if o.MaxTxnBytes == 0 {
		o.MaxTxnBytes = DefaultMaxTxnBytes
	}
	if o.MaxStaleness == 0 {
		o.MaxStaleness = DefaultMaxStaleness
	}
	if o.CommitTimeout == 0 {
		o.CommitTimeout = DefaultCommitTimeout
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Tracer == nil {
		o.Tracer = noop.NewTracerProvider().Tracer("")
	}
	ix, err := newIndex(append(tables, replicas, answering))
	if err != nil {
		return nil, err
	}
	s := &Store{
		options: o, log: log, index: ix,
		landmarks: landmarks{seed: maphash.MakeSeed()}, relistDemands: make(chan errRelist, 1), progressDemands: make(chan struct{}, 1), ready: make(chan struct{}),
		self: rand.Text(), asked: make(chan struct{}, 1),
	}
	ix.onApply = s.fresh.reached
	s.writer = newWriter(s)
	s.metrics = newMetrics(s, o.Metrics)
	s.members.ids = make(map[string]uint64)
	s.members.describe(o.Metrics)
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.running, ctx = errgroup.WithContext(ctx)
	// All end with ctx, which Close cancels before it waits for them.
	s.running.Go(func() error { return s.follow(ctx) })
	s.running.Go(func() error { return s.probe(ctx) })
	s.running.Go(func() error { return s.writer.run(ctx) })
	s.running.Go(func() error { return s.members.follow(ctx, s) })
	return s, nil
}

// Close stops following and writing, and waits until both have stopped. Changes still waiting are refused.
func (s *Store) Close() {
	s.stop()
	_ = s.running.Wait() // only ever the cancellation just asked for
	s.writer.shut()
}

func (s *Store) signalReady() { s.readyOnce.Do(func() { close(s.ready) }) }

// WaitReady returns when a list has been applied and a watch created, or with the context's error.
func (s *Store) WaitReady(ctx context.Context) error {
	select {
	case <-s.ready:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the first list of the log: %w", ctx.Err())
	}
}

// Snapshot is the index as it is now.
func (s *Store) Snapshot() *Snapshot { return s.index.snapshot() }

// Revision is the log's revision that the index has applied.
func (s *Store) Revision() int64 { return s.index.applied() }

// WaitRevision returns when the index is at least that new. It gives up with the context: the caller's question must
// then be refused, never passed on to etcd, where a crowd of them would bring it down.
func (s *Store) WaitRevision(ctx context.Context, revision int64) error {
	if err := s.index.wait(ctx, revision); err != nil {
		return &usher.Error{Code: usher.CodeUnavailable, RetryAfter: time.Second, Err: err,
			Detail: fmt.Sprintf("This replica has not seen revision %d yet.", revision)}
	}
	return nil
}

// MaxTxnOps is how many operations one transaction of the log may have.
func (s *Store) MaxTxnOps() int { return s.options.MaxTxnOps }

// Rejected lists the records that do not decode, by key.
func (s *Store) Rejected() []Rejected {
	s.index.mu.Lock()
	defer s.index.mu.Unlock()
	all := make([]Rejected, 0, len(s.index.rejected))
	for _, r := range s.index.rejected {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b Rejected) int { return strings.Compare(a.Key.String(), b.Key.String()) })
	return all
}
