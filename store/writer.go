package store

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.37.0"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"usher"
)

// Change is one mutation on its way into the log.
type Change[D any] struct {
	// Aggregates names the records that the change may write and that guard others: those of tables marked Aggregate.
	// Changes that share one are decided together, in the order of their arrival. It is asked anew for every attempt.
	Aggregates func(*Snapshot) []Key
	// Decide reads and writes the transaction. It runs in the writer, for one change after the other, so it must be
	// quick: no I/O, no waiting, and nothing whose cost a caller decides. What takes more than decideBudget is logged
	// and counted. It may run again on a newer snapshot, so what it returns must be new each time, and it must not keep
	// the Tx. An error refuses the change and takes back what it wrote.
	Decide func(*Tx) (D, error)
	// What, when set, is the function whose name says what is decided, where Decide is only around it.
	What any
	// Meanwhile, when set, is given what was decided while its commit is in flight, on the goroutine that called
	// Commit: work that the answer needs goes here. It runs again if the decision changed.
	Meanwhile func(D)
}

// Commit has the change decided and written, and returns the decision once it is in the log and this replica's index
// shows it. The error of Decide comes back as it is; it is as true as a decision: what it was based on was compared too.
//
// An error of usher.CodeUnavailable says that nothing was written, usher.CodeOutcomeUnknown that nobody knows.
//
// The change of a request that the context bears (Request) is decided only while the request's caller may make it: that is
// looked at on the same state, and compared like everything else that a decision reads.
func Commit[D any](ctx context.Context, s *Store, c Change[D]) (D, error) {
	ctx, span := s.options.Tracer.Start(ctx, "store.Commit")
	defer span.End()
	sub := &submission{
		arrived: time.Now(), ctx: ctx, request: requestOf(ctx), aggregates: c.Aggregates, bell: make(chan struct{}, 1), what: c.What,
		decide: func(tx *Tx) (any, error) { return c.Decide(tx) },
	}
	if sub.what == nil {
		sub.what = c.Decide
	}
	s.writer.enqueue(sub)
	prepared := 0
	for {
		var v verdict
		select {
		case <-sub.bell:
			v = sub.look()
		case <-ctx.Done():
			v = sub.abandon()
		}
		if v.final && v.carrier.IsValid() {
			span.AddLink(trace.Link{SpanContext: v.carrier})
		}
		if v.final && v.failure == nil {
			sub.request.note(v.revision, v.announced)
		}
		if v.final && v.failure != nil {
			span.SetStatus(codes.Error, v.failure.Error())
			var none D
			return none, v.failure
		}
		decision, _ := v.decision.(D)
		if v.refusal == nil && c.Meanwhile != nil && prepared != v.attempt {
			c.Meanwhile(decision)
			prepared = v.attempt
		}
		if v.final {
			return decision, v.refusal
		}
	}
}

// ErrMoved is the refusal of a decision whose caller has prepared it on a state that has moved since. Nothing is compared
// for it: it says nothing of the log, and the caller prepares again.
var ErrMoved = errors.New("what the change was prepared on has moved")

// writer is the one way into the log. There is no timer: while a transaction is in flight, the next batch gathers.
type writer struct {
	store *Store

	mu     sync.Mutex
	queue  []*submission // guarded by mu
	closed bool          // guarded by mu: nobody serves the queue any more
	wake   chan struct{}

	backlog backlog // only the writer touches it
}

func newWriter(s *Store) *writer { return &writer{store: s, wake: make(chan struct{}, 1)} }

func (w *writer) enqueue(sub *submission) {
	w.mu.Lock()
	closed := w.closed
	if !closed {
		w.queue = append(w.queue, sub)
	}
	w.mu.Unlock()
	if closed {
		sub.settle(errShuttingDown())
		return
	}
	w.ring()
}

// putBack returns submissions to the head of the queue, in their order: they came before everybody who waits.
func (w *writer) putBack(subs []*submission) {
	if len(subs) == 0 {
		return
	}
	w.mu.Lock()
	w.queue = append(subs, w.queue...)
	w.mu.Unlock()
	w.ring()
}

func (w *writer) ring() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// waiting is how many submissions nobody has taken yet.
func (w *writer) waiting() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.queue)
}

func (w *writer) take() []*submission {
	w.mu.Lock()
	defer w.mu.Unlock()
	batch := w.queue
	w.queue = nil
	return batch
}

// run serves the queue until the context ends.
func (w *writer) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-w.wake:
		}
		if batch := w.take(); len(batch) > 0 {
			w.round(ctx, batch)
		}
	}
}

// shut refuses what is still in the queue and what may yet come, after run has returned.
func (w *writer) shut() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	for _, sub := range w.take() {
		sub.settle(errShuttingDown())
	}
}

func errShuttingDown() error {
	return &usher.Error{Code: usher.CodeUnavailable, RetryAfter: retryAfter, Detail: "This replica is shutting down. Try again."}
}

// round takes a batch through one transaction.
func (w *writer) round(ctx context.Context, batch []*submission) {
	batch = inTime(batch)
	if state, age := w.store.State(); state != Ready {
		for _, sub := range batch {
			sub.settle(&usher.Error{Code: usher.CodeUnavailable, RetryAfter: retryAfter,
				Err: fmt.Errorf("the index is %s, last fresh %s ago", state, age.Round(time.Second))})
		}
		return
	}
	snapshot := w.store.Snapshot()
	parts, later := w.share(inTurns(partition(snapshot, batch)))
	room := budget{operations: w.store.options.MaxTxnOps, bytes: batchBytes, most: w.store.options.MaxTxnBytes}
	if slices.ContainsFunc(batch, func(sub *submission) bool { return sub.request.takesAway() }) {
		room.operations-- // for a barrier
	}
	if len(parts) > 1 {
		room.operations -= len(parts) // etcd counts a nested transaction's operations on top of those of the outer one
	}
	groups := make([]*group, 0, len(parts))
	written := make(map[Key]struct{})
	var heavy []*submission // there is no room for their bytes
	for _, members := range parts {
		room.alone, room.first = len(parts) == 1, len(groups) == 0
		g, rest, full := w.decideGroup(snapshot, members, room)
		if len(g.members) > 0 && !follows(g, written) {
			for _, sub := range g.members {
				sub.again()
			}
			rest, g, full = members, &group{}, false
		}
		if len(g.members) > 0 {
			groups = append(groups, g)
			room.bytes -= g.tx.bytes
		}
		if full {
			heavy = append(heavy, rest...)
		} else {
			later = append(later, rest...)
		}
	}
	w.putBack(append(w.shed(later), w.outwaited(heavy)...))
	if len(groups) > 0 {
		began := time.Now()
		w.send(ctx, groups)
		w.backlog.round = time.Since(began)
	}
}

// budget is what a group may have of a transaction.
type budget struct {
	operations int
	bytes      int  // of this transaction
	most       int  // bytes that any transaction may have
	alone      bool // nobody else wants a part of this transaction
	first      bool // nothing is in this transaction yet
}

// batchBytes is how many bytes of keys and values a transaction gathers. A larger one takes longer for all who are in it
// and all who wait. A single decision may have more (Options.MaxTxnBytes); the transaction is then its own.
const batchBytes = 256 << 10

// inTime drops submissions whose callers have given up; they have told themselves so.
func inTime(batch []*submission) []*submission {
	kept := batch[:0]
	for _, sub := range batch {
		if sub.ctx.Err() == nil {
			kept = append(kept, sub)
		}
	}
	return kept
}

// share picks the groups for this transaction. Each gets its part of max-txn-ops, which nesting divides: as many groups
// as leave each as many operations as there are groups. A submission that needs a transaction of its own gets one when
// it comes first.
func (w *writer) share(parts [][]*submission) (now [][]*submission, later []*submission) {
	if len(parts) > 0 && parts[0][0].alone {
		now, parts = parts[:1], parts[1:]
	} else {
		now = parts[:min(len(parts), w.store.options.MaxTxnOps/2)]
		parts = parts[len(now):]
	}
	for _, members := range parts {
		later = append(later, members...)
	}
	return now, later
}

// inTurns has the groups of different owners take turns, each owner's in their order: who has many waits for as long as
// the others have any. The owner is the first segment of a group's first aggregate, which is its tenant.
func inTurns(parts [][]*submission) [][]*submission {
	turns := make(map[string]int, len(parts))
	turn := make([]int, len(parts))
	last := 0
	for i, members := range parts {
		owner := ""
		if guards := members[0].guards; len(guards) > 0 {
			owner, _, _ = strings.Cut(guards[0].Path, "/")
		}
		turn[i] = turns[owner]
		turns[owner]++
		last = max(last, turn[i])
	}
	if last == 0 { // as nearly always: one each
		return parts
	}
	ordered := make([][]*submission, 0, len(parts))
	for at := 0; at <= last; at++ {
		for i, members := range parts {
			if turn[i] == at {
				ordered = append(ordered, members)
			}
		}
	}
	return ordered
}

// follows says whether the group can be in one transaction with those before it, which have written the keys: all are
// decided on one state, so it must neither write what they have written nor have read it. What it writes is added.
func follows(g *group, written map[Key]struct{}) bool {
	for _, key := range g.tx.order {
		if _, ok := written[key]; ok {
			return false
		}
	}
	for key := range g.tx.guards {
		if _, ok := written[key]; ok {
			return false
		}
	}
	for _, key := range g.tx.order {
		written[key] = struct{}{}
	}
	return true
}

// decideGroup decides the members one after the other on one transaction, as far as the budget goes. What does not fit
// any more comes back as rest; full says that it is for its bytes. A change that alone is over the budget of operations is refused when it has the
// transaction for itself, and otherwise comes back to get one; one with more bytes than are left has a transaction that
// begins with it, or comes back for one.
func (w *writer) decideGroup(snapshot *Snapshot, members []*submission, b budget) (g *group, rest []*submission, full bool) {
	g = &group{tx: newTx(w.store.index.tables, snapshot, w.store.options.Prefix)}
	if w.store.options.Decided != nil {
		g.tx.reads = new([]Key)
	}
	for i, sub := range members {
		mark := g.tx.mark()
		for _, key := range sub.guards {
			g.tx.guard(key)
		}
		decision, refusal := w.decide(sub, g.tx)
		if errors.Is(refusal, ErrMoved) {
			g.tx.rollback(mark)
			sub.settle(refusal)
			continue
		}
		if refusal != nil {
			g.tx.rollbackChanges(mark)
		}
		operations, bytes := g.tx.operations(), g.tx.bytes
		larger := operations > b.operations || bytes > b.bytes
		switch {
		case !larger:
		case i > 0:
			g.tx.rollback(mark)
			return g, members[i:], operations <= b.operations
		case operations > b.operations && !b.alone:
			g.tx.rollback(mark)
			sub.alone = true
			return g, members, false
		case operations > b.operations:
			g.tx.rollback(mark)
			refusal = errTooManyOps(operations, b.operations)
		case !b.first:
			g.tx.rollback(mark)
			return g, members, true
		case bytes > b.most:
			g.tx.rollback(mark)
			refusal = errTooManyBytes(bytes, b.most)
		}
		if !sub.decided(decision, refusal) {
			g.tx.rollback(mark)
			continue
		}
		g.members = append(g.members, sub)
	}
	return g, nil, false
}

func errTooManyBytes(bytes, limit int) error {
	return usher.Errorf(usher.CodeBulkTooLarge, "This takes %d bytes in one transaction of the log, of which Usher allows %d. Send less at once.",
		bytes, limit).With("limit_bytes", limit)
}

func errTooManyOps(operations, limit int) error {
	return usher.Errorf(usher.CodeBulkTooLarge, "This takes %d operations in one transaction of the log, which allows %d. Send less at once.",
		operations, limit).With("limit", limit)
}

// decideBudget is how long a decision should take at most. All tenants' writes wait for it, so a longer one is a defect.
const decideBudget = 10 * time.Millisecond

// decide has the submission decided, and tells how long that took.
func (w *writer) decide(sub *submission, tx *Tx) (decision any, refusal error) {
	began := time.Now()
	decision, refusal = decideSafely(sub, tx)
	took := time.Since(began)
	w.store.metrics.decide.Observe(took.Seconds())
	if took > decideBudget {
		w.store.metrics.overBudget.Inc()
		w.store.options.Logger.Warn("a decision took longer than it may; all writes of this replica waited for it",
			"took", took, "budget", decideBudget, "decision", sub.name(), "caller", sub.request.who(), "aggregates", sub.guards)
	}
	return decision, refusal
}

// decideSafely turns a panic of a decision into its refusal: one bad change must not end the writer for all.
func decideSafely(sub *submission, tx *Tx) (decision any, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = usher.Internal(fmt.Errorf("%v\n%s", p, debug.Stack()), "decide: panic")
		}
	}()
	tx.begin()
	if err := sub.request.holds(tx); err != nil {
		return nil, err
	}
	decision, err = sub.decide(tx)
	if tx.failed != nil {
		return nil, usher.Internal(tx.failed, "decide")
	}
	return decision, err
}

// send commits the groups and settles their members. Those whose compares failed were decided on an index that the log
// had outrun: they are decided again once the index has caught up.
func (w *writer) send(ctx context.Context, groups []*group) {
	ctx, span := w.traced(ctx, groups)
	defer span.End()
	carrier := span.SpanContext()
	began := time.Now()
	if w.store.options.Decided != nil {
		var reads []Key
		for _, g := range groups {
			reads = append(reads, *g.tx.reads...)
		}
		w.store.options.Decided(reads)
	}
	announced := w.store.announces(groups)
	held, revision, err := w.store.commit(ctx, groups, announced)
	w.store.metrics.committed(carrier, began, err)
	if err == nil {
		acknowledged := time.Now()
		wait, cancel := context.WithTimeout(ctx, w.store.options.CommitTimeout)
		err = w.shown(wait, revision)
		cancel()
		observe(w.store.metrics.lag, time.Since(acknowledged), carrier)
	}
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
	}
	var again []*submission
	for i, g := range groups {
		for _, sub := range g.members {
			switch {
			case err != nil:
				sub.settleBy(carried{carrier: carrier}, err)
			case held[i]:
				sub.settleBy(carried{revision: revision, announced: announced && len(g.tx.order) > 0, carrier: carrier}, nil)
			default:
				sub.again()
				again = append(again, sub)
			}
		}
	}
	w.store.metrics.redecided.Add(float64(len(again)))
	w.putBack(again)
}

// traced notes a batch that is about to be sent, and begins its span when a request in it is traced. The span belongs to
// no request, since it serves many: it links to each, and they to it.
func (w *writer) traced(ctx context.Context, groups []*group) (context.Context, trace.Span) {
	var links []trace.Link
	changes, now := 0, time.Now()
	for _, g := range groups {
		for _, sub := range g.members {
			changes++
			w.store.metrics.wait.Observe(now.Sub(sub.arrived).Seconds())
			if request := trace.SpanContextFromContext(sub.ctx); request.IsSampled() {
				links = append(links, trace.Link{SpanContext: request})
			}
		}
	}
	w.store.metrics.batch.Observe(float64(changes))
	if len(links) == 0 {
		return ctx, noop.Span{}
	}
	return w.store.options.Tracer.Start(ctx, "etcd.Txn", trace.WithSpanKind(trace.SpanKindClient), trace.WithLinks(links...),
		trace.WithAttributes(semconv.DBSystemNameKey.String("etcd"), semconv.DBOperationName("Txn"),
			semconv.DBOperationBatchSize(changes), attribute.Int("usher.groups", len(groups))))
}

// shown waits until this replica's own reads show the revision. If they do not in time, the write has happened all the
// same, but answering so would let the caller's next read contradict the answer.
func (w *writer) shown(ctx context.Context, revision int64) error {
	late := w.store.log.slow.timer() // of the member that is watched
	defer late.Stop()
	if err := w.store.index.wait(ctx, revision); err != nil {
		return &usher.Error{Code: usher.CodeOutcomeUnknown, RetryAfter: retryAfter, Err: err,
			Detail: "The write is in the log but this replica does not show it yet. Read before you repeat it."}
	}
	return nil
}
