package gateway

import (
	"math/rand/v2"
	"net/http"
	goruntime "runtime/metrics"
	"sync"
	"sync/atomic"
	"time"

	"usher"
)

// overload refuses a part of the requests when there is more to do than the processors can. The sign of it is how long
// work waits for one: a millisecond below saturation, whatever the machine, and hundreds past it, where all that is taken
// takes longer and longer and callers give up before they are answered.
//
// The share of requests that is let in falls by a part while the wait is too long, and rises by steps while it is not. It
// begins to fall when that has lasted for a while: what comes at once and is soon done, a class that begins, is let in.
// Reads cost a tenth of what writes cost, so they are refused when half of the writes are.
type overload struct {
	most  time.Duration            // that nine in ten may wait for a processor; 0: nothing is ever refused
	waits func() waits             // since the process began
	shed  func(kind string)        // counts
	next  atomic.Int64             // when to look again, in Unix nanoseconds
	share atomic.Pointer[[2]share] // of reads and of writes that is let in; nil: all

	mu     sync.Mutex
	before waits         // guarded by mu
	looked time.Time     // when that was; guarded by mu
	wait   time.Duration // smoothed; guarded by mu
	since  time.Time     // since when it has been too long; zero: it is not; guarded by mu
	let    share         // of writes; guarded by mu
}

// share is between 0 and 1.
type share float64

const (
	lookInterval   = 50 * time.Millisecond
	overloadLasts  = 500 * time.Millisecond // until something is refused
	smoothing      = 0.3                    // part that the newest wait has
	leastShare     = share(0.1)             // when others on the machine are to blame, refusing does not help
	shareFalls     = 0.85                   // each look
	shareRises     = 0.05
	overloadOver   = time.Second // after so long without a request, what was before says nothing
	overloadRetry  = time.Second
	overloadSpread = 2 * time.Second // callers come back at different times
)

// waits is a histogram of how long goroutines that could run have waited for a processor.
type waits struct {
	counts []uint64
	bounds []float64 // in seconds; one more than counts
}

// readWaits asks the runtime, which takes some microseconds.
func readWaits() waits {
	sample := []goruntime.Sample{{Name: "/sched/latencies:seconds"}}
	goruntime.Read(sample)
	h := sample[0].Value.Float64Histogram()
	return waits{counts: h.Counts, bounds: h.Buckets}
}

// ninetieth is what nine in ten have waited for at most since before; 0 when nobody has.
func (w waits) ninetieth(before waits) time.Duration {
	since := func(i int) uint64 {
		if i < len(before.counts) {
			return w.counts[i] - before.counts[i]
		}
		return w.counts[i]
	}
	var all, seen uint64
	for i := range w.counts {
		all += since(i)
	}
	for i := range w.counts {
		if seen += since(i); all > 0 && seen*10 >= all*9 {
			return time.Duration(w.bounds[i] * float64(time.Second)) // the lower bound: the upper may be infinite
		}
	}
	return 0
}

// look finds out how long work waits, if it is time to.
func (o *overload) look(now time.Time) {
	due := o.next.Load()
	if now.UnixNano() < due || !o.next.CompareAndSwap(due, now.Add(lookInterval).UnixNano()) {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	seen, idle := o.waits(), now.Sub(o.looked) > overloadOver // so it is at the first look too
	o.looked = now
	if idle {
		o.before, o.wait, o.since, o.let = seen, 0, time.Time{}, 1
		o.share.Store(nil)
		return
	}
	o.wait += time.Duration(smoothing * float64(seen.ninetieth(o.before)-o.wait))
	o.before = seen
	switch {
	case o.wait <= o.most:
		o.since = time.Time{}
		o.let = min(1, o.let+shareRises)
	case o.since.IsZero():
		o.since = now
	}
	if !o.since.IsZero() && (o.let < 1 || now.Sub(o.since) >= overloadLasts) {
		o.let = max(leastShare, o.let*shareFalls)
	}
	if o.let == 1 {
		o.share.Store(nil)
		return
	}
	o.share.Store(&[2]share{min(1, 2*o.let), o.let})
}

// admit refuses the request, or lets it in.
func (o *overload) admit(method string, now time.Time) error {
	if o.most == 0 {
		return nil
	}
	o.look(now)
	let, kind := o.share.Load(), "write"
	if let == nil {
		return nil
	}
	part := let[1]
	if method == http.MethodGet || method == http.MethodHead {
		part, kind = let[0], "read"
	}
	if share(rand.Float64()) < part {
		return nil
	}
	o.shed(kind)
	return &usher.Error{Code: usher.CodeUnavailable, RetryAfter: overloadRetry + rand.N(overloadSpread),
		Detail: "There is more to do than this replica can. Nothing was done; try again later."}
}
