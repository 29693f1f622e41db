package store

import (
	"context"
	"sync/atomic"
)

// Request is a caller's request, as the changes see it that it makes. It travels in their context, as the request's
// deadline does, so that no change can leave it out.
type Request struct {
	// Holds looks at what entitles the caller, on the state that a change is decided on, and refuses when that is no longer
	// so: a key was revoked, a tenant suspended. What it reads is compared when the change commits. It runs in the writer.
	Holds func(*Tx) error
	// Who names the caller, for the log; asked only when there is something to tell.
	Who func() string
	// TakesAway says that the request takes away what somebody could do, so that other replicas are asked to tell when they
	// have applied its changes (Enforced).
	TakesAway bool

	revision  atomic.Int64 // of the newest change
	announced atomic.Bool  // that change had a barrier
}

type requestKey struct{}

// With is the context for the request's changes.
func (r *Request) With(ctx context.Context) context.Context {
	return context.WithValue(ctx, requestKey{}, r)
}

// Revision is the log's revision at which the newest of the request's changes holds; 0 when it has made none.
func (r *Request) Revision() int64 { return r.revision.Load() }

// requestOf is the request that the context bears, or nil: what Usher does by itself.
func requestOf(ctx context.Context) *Request {
	r, _ := ctx.Value(requestKey{}).(*Request)
	return r
}

func (r *Request) holds(tx *Tx) error {
	if r == nil || r.Holds == nil {
		return nil
	}
	return r.Holds(tx)
}

func (r *Request) who() string {
	if r == nil || r.Who == nil {
		return "system"
	}
	return r.Who()
}

func (r *Request) takesAway() bool { return r != nil && r.TakesAway }

func (r *Request) note(revision int64, announced bool) {
	if r != nil && revision > r.revision.Load() { // a request makes its changes one after the other
		r.revision.Store(revision)
		r.announced.Store(announced)
	}
}
