package store

import (
	"context"
	"reflect"
	"runtime"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"usher"
)

// submission is a change in the writer's hands.
type submission struct {
	arrived    time.Time
	ctx        context.Context
	request    *Request // that it is part of; nil: of none
	aggregates func(*Snapshot) []Key
	decide     func(*Tx) (any, error)
	what       any   // the function that decides, for its name
	guards     []Key // what aggregates said of the snapshot of this round; only the writer touches it
	alone      bool  // too large to share a transaction; only the writer touches it

	bell chan struct{} // rung when the verdict has moved on

	mu      sync.Mutex
	verdict verdict // guarded by mu
	sent    bool    // guarded by mu: the log may have it
	gone    bool    // guarded by mu: the caller was told that it was not sent, and so it must not be
}

// carried is what is known of the transaction that has carried a submission.
type carried struct {
	revision  int64             // of the log, at which the decision holds; 0 for a failure
	announced bool              // it had a barrier
	carrier   trace.SpanContext // when it is traced
}

// verdict is what is known of a submission so far.
type verdict struct {
	attempt  int // counts the decisions, from 1
	decision any
	refusal  error // of Decide
	failure  error // of the commit
	final    bool
	carried
}

func (sub *submission) look() verdict {
	sub.mu.Lock()
	defer sub.mu.Unlock()
	return sub.verdict
}

// abandon ends the wait of a caller that is out of time.
func (sub *submission) abandon() verdict {
	sub.mu.Lock()
	defer sub.mu.Unlock()
	if sub.verdict.final {
		return sub.verdict
	}
	err := &usher.Error{Code: usher.CodeUnavailable, RetryAfter: retryAfter, Err: sub.ctx.Err(),
		Detail: "The write was not done: it could not be sent to the log in time. Try again."}
	if sub.sent {
		err.Code, err.Detail = usher.CodeOutcomeUnknown, "The write was sent and its outcome is not known. Read before you repeat it."
	}
	sub.gone = !sub.sent
	return verdict{final: true, failure: err}
}

// decided shows the caller a decision whose commit is about to be sent. It says whether there is still one to be sent: a
// caller who has given up was told that nothing was.
func (sub *submission) decided(decision any, refusal error) (wanted bool) {
	sub.mu.Lock()
	defer sub.mu.Unlock()
	if sub.gone {
		return false
	}
	sub.verdict = verdict{attempt: sub.verdict.attempt + 1, decision: decision, refusal: refusal}
	sub.sent = true
	sub.ring()
	return true
}

// settle makes the verdict final; failure is nil when the decision holds.
func (sub *submission) settle(failure error) { sub.settleBy(carried{}, failure) }

// settleBy is settle for what a transaction has carried.
func (sub *submission) settleBy(by carried, failure error) {
	sub.mu.Lock()
	sub.verdict.final, sub.verdict.failure, sub.verdict.carried = true, failure, by
	sub.mu.Unlock()
	sub.ring()
}

// name is the function that decides, as a stack would name it.
func (sub *submission) name() string {
	if f := runtime.FuncForPC(reflect.ValueOf(sub.what).Pointer()); f != nil {
		return f.Name()
	}
	return "unknown"
}

// again takes back a decision whose compare failed: the log does not have it.
func (sub *submission) again() {
	sub.mu.Lock()
	sub.sent = false
	sub.mu.Unlock()
}

func (sub *submission) ring() {
	select {
	case sub.bell <- struct{}{}:
	default: // rung already; whoever comes will see the newest verdict
	}
}
