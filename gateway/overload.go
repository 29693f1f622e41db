package gateway

import (
	"cmp"
	"container/list"
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"usher"
)

// overload keeps what is under way of reads, or of writes, within what the processors can do, once there is more to do than
// that. The sign of it is how long work waits for a processor: a tenth of a millisecond at half of what they can do, and tens
// of milliseconds past it, where all that is taken takes longer and longer and callers give up before they are answered.
//
// How many requests may be under way falls by a part while that wait is too long, and rises again while it is not, until
// there is no bound any more. Requests beyond it wait, which costs nothing, for one to end: in the order in which they
// came, or, when there are more for a while than that would serve soon, the newest first, so that what is taken is taken
// soon. One that has waited as long as it may is refused (adaptive LIFO, see Maurer, Fail at Scale, ACM Queue 13, 2015). What
// comes at once and is soon done, a class that begins, waits a little and is not refused; and callers who come again at
// once whenever they are refused do not take the processors from the others.
type overload struct {
	most       time.Duration // that work may wait for a processor; 0: there never is a bound
	waits      func() waits  // since the process began
	processors func() int    // how many there are now
	shed       func()        // counts
	next       atomic.Int64  // when to look again, in Unix nanoseconds

	mu       sync.Mutex    // guards all that follows
	underWay int           // requests that have entered
	bound    int           // of those; 0: none
	waiting  list.List     // of *waiter, the newest at the back
	standing time.Time     // since when some have been waiting
	arrived  int           // requests, since the last look
	full     bool          // one of them found all places taken, or took the last
	left     int           // requests, since the last look
	plenty   bool          // as many come as leave, and take all places
	pace     float64       // at which they leave, each second, smoothed
	came     time.Time     // the last request
	later    bool          // takeLater is at work
	refused  time.Time     // the last one that was
	before   waits         // as they were last time
	looked   time.Time     // when that was
	wait     time.Duration // for a processor, smoothed
}

// waiter is a request that waits for another to end.
type waiter struct {
	since   time.Time
	taken   chan struct{} // closed when it is its turn
	refused chan struct{} // closed when too many have come after it
}

const (
	lookInterval   = 50 * time.Millisecond
	smoothing      = 0.3  // part that the newest wait has
	boundFalls     = 0.85 // while the wait is too long,
	boundPlunges   = 0.5  // down to this when it is far too long
	boundRises     = 1.1
	leastBound     = 7                      // for each processor: fewer would leave it idle while the log is written
	mostBound      = 1 << 12                // for each processor: more is none
	pressed        = 4                      // while some are refused, others wait no longer for a processor than this part of the most
	patience       = time.Second / 2        // for which a request waits for another to end
	mostWaiting    = 1 << 12                // requests; of more the oldest is refused
	crowded        = 100 * time.Millisecond // once some have waited for so long, and so many
	inOrder        = 20 * time.Millisecond  // that in order each would for so long, the newest goes first,
	fresh          = 10 * time.Millisecond  // and only if it has come so lately, as long as enough others come
	overloadOver   = time.Second            // after so long without a request, what was before says nothing
	overloadRetry  = time.Second
	overloadSpread = 2 * time.Second // callers come back at different times
)

// describe registers what operators can see of it.
func (o *overload) describe(registry prometheus.Registerer, kind string) {
	make := promauto.With(prometheus.WrapRegistererWith(prometheus.Labels{"kind": kind}, registry))
	for _, g := range []struct {
		name, help string
		value      func() float64
	}{
		{"usher_http_requests_bound", "How many requests may be under way while processors are busy; 0: any number.", func() float64 { return float64(o.bound) }},
		{"usher_http_requests_waiting", "Requests that wait for one under way to end.", func() float64 { return float64(o.waiting.Len()) }},
		{"usher_http_processor_wait_seconds", "How long work waits for a processor: half of all that time is spent in shorter waits.", func() float64 { return o.wait.Seconds() }},
	} {
		make.NewGaugeFunc(prometheus.GaugeOpts{Name: g.name, Help: g.help}, func() float64 {
			o.mu.Lock()
			defer o.mu.Unlock()
			return g.value()
		})
	}
}

// enter waits until the request may be done, and refuses it when that takes too long. Who has entered leaves.
func (o *overload) enter(ctx context.Context, now time.Time) error {
	if o.most == 0 {
		return nil
	}
	o.look(now)
	o.mu.Lock()
	o.came = now
	o.arrived++
	o.full = o.full || o.underWay+1 >= o.bound
	if o.bound == 0 || o.underWay < o.bound {
		o.underWay++
		o.mu.Unlock()
		return nil
	}
	if o.waiting.Len() == 0 {
		o.standing = now
	}
	w := &waiter{since: now, taken: make(chan struct{}), refused: make(chan struct{})}
	place := o.waiting.PushBack(w)
	if o.waiting.Len() > mostWaiting {
		close(o.waiting.Remove(o.waiting.Front()).(*waiter).refused)
	}
	o.mu.Unlock()
	if w.wait(ctx) || !o.withdraw(place) {
		return nil
	}
	o.shed()
	return &usher.Error{Code: usher.CodeUnavailable, RetryAfter: overloadRetry + rand.N(overloadSpread),
		Detail: "There is more to do than this replica can. Nothing was done; try again later."}
}

// wait says whether its turn came in time.
func (w *waiter) wait(ctx context.Context) bool {
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-w.taken:
		return true
	case <-w.refused:
	case <-late.C:
	case <-ctx.Done():
	}
	return false
}

// withdraw gives up waiting, unless its turn has come meanwhile.
func (o *overload) withdraw(place *list.Element) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case <-place.Value.(*waiter).taken:
		return false
	default:
		o.refused = time.Now()
		o.waiting.Remove(place)
		return true
	}
}

// leave ends a request that has entered.
func (o *overload) leave() {
	if o.most == 0 {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.underWay--
	o.left++
	o.take()
}

// take has those go on for whom there is room now. Called under mu.
func (o *overload) take() {
	for o.waiting.Len() > 0 && (o.bound == 0 || o.underWay < o.bound) {
		next, now := o.waiting.Front(), time.Now()
		if now.Sub(o.standing) > crowded && float64(o.waiting.Len()) > o.pace*inOrder.Seconds() {
			next = o.waiting.Back()
			stale := now.Sub(next.Value.(*waiter).since) > fresh
			if stale && o.plenty && now.Sub(o.came) < fresh && o.underWay > 0 {
				o.takeLater()
				return
			}
		}
		o.underWay++
		close(o.waiting.Remove(next).(*waiter).taken)
	}
}

// takeLater leaves a place to who comes next, for as long as somebody may. Called under mu.
func (o *overload) takeLater() {
	if o.later {
		return
	}
	o.later = true
	time.AfterFunc(fresh, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.later = false
		o.take()
	})
}

// look finds out how long work waits for a processor, if it is time to, and moves the bound.
func (o *overload) look(now time.Time) {
	due := o.next.Load()
	if now.UnixNano() < due || !o.next.CompareAndSwap(due, now.Add(lookInterval).UnixNano()) {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	seen, idle := o.waits(), now.Sub(o.looked) > overloadOver // so it is at the first look too
	if idle {
		o.wait, o.bound, o.pace, o.plenty = 0, 0, 0, false
	} else {
		o.plenty = o.full && 4*o.arrived >= 3*o.left // they come and leave by the batch, so nearly as many are as many
		o.pace += smoothing * (float64(o.left)/now.Sub(o.looked).Seconds() - o.pace)
		o.wait += time.Duration(smoothing * float64(seen.typical(o.before)-o.wait))
		most := o.most
		if now.Sub(o.refused) < overloadOver {
			most /= pressed
		}
		o.bound = nextBound(o.bound, o.underWay, o.processors(), float64(o.wait)/float64(most), o.left > 0)
	}
	o.before, o.looked, o.arrived, o.left, o.full = seen, now, 0, 0, false
	o.take()
}

// nextBound is the bound after this one, 0 being none, when work has waited so many times as long as it may. It does not
// rise while nothing leaves: the log stands still then, and all that comes in will want a processor at once when it goes on.
func nextBound(bound, underWay, processors int, waited float64, leaving bool) int {
	switch {
	case waited > 1:
		falls := min(boundFalls, max(boundPlunges, 1/waited))
		return max(leastBound*processors, int(falls*float64(cmp.Or(bound, underWay))))
	case bound > 0 && !leaving:
		return bound
	case bound > 0 && bound <= mostBound*processors:
		return int(boundRises*float64(bound)) + 1
	}
	return 0
}
