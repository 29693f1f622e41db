package store

import (
	"time"

	"usher"
)

// backlog says how long a change may wait for a place in a transaction. What comes at once and is done soon, a class that
// begins, may wait for a while: everybody gets a place. But a queue that does not come to an end means that more comes
// than the log takes, and then waiting only makes everybody late. So when there has been somebody without a place for
// longer than patience, only those may go on waiting who have come within the last transaction; the others are refused,
// soon and for sure, and what is taken is answered about as fast as ever (Maurer, Fail at Scale, ACM Queue 13/8, 2015).
//
// Places are given by aggregate, in the order of arrival. A room that is overrun therefore costs other rooms nothing.
type backlog struct {
	since  time.Time     // since when there has always been somebody without a place; zero: there is nobody
	none   time.Time     // since when there has been nobody; zero: there is somebody
	strict bool          // it has lasted for patience, and has not been away for as long since
	round  time.Duration // that the last transaction took
}

const (
	patience     = time.Second
	leastWaiting = 5 * time.Millisecond // even when transactions are faster
)

// seen notes that there is somebody without a place, or nobody, and gives how long one may have waited.
func (b *backlog) seen(somebody bool, now time.Time) time.Duration {
	since, other := &b.since, &b.none
	if !somebody {
		since, other = other, since
	}
	*other = time.Time{}
	if since.IsZero() {
		*since = now
	}
	if now.Sub(*since) >= patience {
		b.strict = somebody
	}
	if b.strict {
		return max(b.round, leastWaiting)
	}
	return patience
}

// shed refuses those without a place in this transaction who have waited too long, and gives those who may wait on.
func (w *writer) shed(later []*submission) []*submission {
	now := time.Now()
	return w.waitingAtMost(w.backlog.seen(len(later) > 0, now), later, now)
}

// outwaited refuses those who have waited for patience because of their bytes, and gives the others. They are no sign that
// there is too much to do: few who write much at once take turns, and each tenant's rate bounds how much that is.
func (w *writer) outwaited(heavy []*submission) []*submission {
	return w.waitingAtMost(patience, heavy, time.Now())
}

// waitingAtMost refuses those who have waited for longer, and gives the others.
func (w *writer) waitingAtMost(limit time.Duration, subs []*submission, now time.Time) []*submission {
	kept := subs[:0]
	for _, sub := range subs {
		if now.Sub(sub.arrived) <= limit {
			kept = append(kept, sub)
			continue
		}
		w.store.metrics.shed.Inc()
		sub.settle(&usher.Error{Code: usher.CodeUnavailable, RetryAfter: time.Second,
			Detail: "The write was not done: more is to be written than the log takes now. Try again later."})
	}
	return kept
}
