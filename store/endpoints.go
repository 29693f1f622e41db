package store

import (
	"context"
	"slices"
	"time"

	"google.golang.org/grpc"
)

// health is what a member of etcd is good for, as far as this replica can tell.
type health int

const (
	silent  health = iota
	answers        // tells of itself
	serves         // answers a read by quorum, too
)

// best are those of the endpoints whose members are in the best health that any is in, in their order: while one serves,
// nobody waits for another that does not; when none does, nothing tells which to leave out.
func best(endpoints []string, found map[string]finding) []string {
	most := silent
	for _, endpoint := range endpoints {
		most = max(most, found[endpoint].health)
	}
	return slices.DeleteFunc(slices.Clone(endpoints), func(endpoint string) bool { return found[endpoint].health < most })
}

// use makes new calls and new streams go to the endpoints alone, and says to which they went before. What is under way to
// another goes on: its answer may still come.
func (l *Log) use(endpoints []string) (before []string) {
	if before = l.requests.Endpoints(); slices.Equal(before, endpoints) {
		return before // they are told nothing, so that they go on as they are
	}
	l.choosing.Lock()
	defer l.choosing.Unlock()
	l.requests.SetEndpoints(endpoints...)
	l.watch.SetEndpoints(endpoints...)
	return before
}

// dial connects to one member, whether it is used or not. It is the watch's client that does, so that nobody takes it for
// a slow request when the member does not answer.
func (l *Log) dial(endpoint string) (*grpc.ClientConn, error) {
	l.choosing.Lock()
	defer l.choosing.Unlock()
	return l.watch.Dial(endpoint)
}

// slowCall is when something that a member of etcd should bring counts as late, and the members are asked how they are.
// With memberTimeout it is less than CommitTimeout: when a transaction is given up that a member has kept, that member
// is left out already, and the next one goes elsewhere.
const slowCall = time.Second

// slowness remembers that something was late, until the members are asked.
type slowness chan struct{}

// timer notes it when it runs out. Who waits for something stops it when that has come.
func (s slowness) timer() *time.Timer {
	return time.AfterFunc(slowCall, func() {
		select {
		case s <- struct{}{}:
		default: // it is known already, or nobody asks
		}
	})
}

// intercept is a grpc.UnaryClientInterceptor.
func (s slowness) intercept(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	timer := s.timer()
	defer timer.Stop()
	return invoke(ctx, method, request, reply, conn, options...)
}
