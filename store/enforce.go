package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

// How a caller learns that what it has taken away is in force everywhere.
//
// A change that takes something away (Request.TakesAway) puts a barrier in its transaction: a key of no table, in the name
// of the replica that writes it. Whoever meets a barrier of another in its watch writes into its own record among the
// replicas how far its index is by then; many barriers are answered by one such write. The one that has asked waits for
// those records, in its index. Where there is one replica alone there is no barrier, and nothing to wait for.
//
// Two tables say who counts. replicas has those that are alive: they can be waited for. answering has those that may
// still answer somebody: a replica that is cut off goes on from memory until its index is too old (Options.MaxStaleness),
// so its record there stays for longer than that. Such a one is not waited for, and counts as one that has not applied.

// answering is the table of the processes that may answer somebody: {the name that it has among the replicas}.
var answering = Table[Replica]{Name: "answering", Decode: replicas.Decode, Encode: replicas.Encode}

// barriers is the first segment of the keys of barriers. It is no table: the index has no use for them.
const barriers = "barriers"

// enforceWait is how long an answer waits at most for the replicas that are alive.
const enforceWait = 500 * time.Millisecond

// registerAnswering keeps this process among those that may answer somebody: session, where there is one still.
func (s *Store) registerAnswering(ctx context.Context, session *concurrency.Session, self Replica) (*concurrency.Session, error) {
	if session != nil {
		select {
		case <-session.Done():
		default:
			return session, nil
		}
	}
	// A lease is renewed after a third of its time, so that a replica that was cut off at any moment has at least two thirds
	// left. It answers for MaxStaleness after that, and clocks need not agree: both are durations.
	ttl := s.options.MaxStaleness*3/2 + ReplicaLease
	session, err := concurrency.NewSession(s.log.requests, concurrency.WithTTL(int(ttl.Seconds())+1), concurrency.WithContext(ctx))
	if err != nil {
		return nil, fmt.Errorf("open a session: %w", err)
	}
	_, err = s.putLeased(ctx, answering.Key(s.self), self, session)
	return session, err
}

// Enforced says in how many of the replicas that may still answer anybody all that the request has changed is in force. It
// waits for those that are alive, half a second at most.
func (s *Store) Enforced(ctx context.Context, r *Request) (applied, of int) {
	revision := r.Revision()
	late := time.NewTimer(enforceWait)
	defer late.Stop()
	for asked := r.announced.Load(); ; {
		snapshot := s.Snapshot()
		changed := replicas.Changed(snapshot, "")
		applied, of, waiting := s.enforced(snapshot, revision)
		if !waiting {
			return applied, of
		}
		if !asked {
			asked = true
			s.putBarrier(ctx)
		}
		select {
		case <-changed:
		case <-late.C:
			return applied, of
		case <-ctx.Done():
			return applied, of
		}
	}
}

// enforced also says whether there is a replica to wait for.
func (s *Store) enforced(snapshot *Snapshot, revision int64) (applied, of int, waiting bool) {
	applied, of = 1, 1 // this one
	for row := range answering.Scan(snapshot, "", "") {
		if row.Path == s.self {
			continue
		}
		of++
		alive, ok := replicas.Get(snapshot, row.Path)
		switch {
		case !ok:
		case alive.Value.Applied >= revision:
			applied++
		default:
			waiting = true
		}
	}
	return applied, of, waiting
}

// putBarrier asks the others by itself: for a change that was none, or that had nobody to ask when it was written.
func (s *Store) putBarrier(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, enforceWait)
	defer cancel()
	if _, err := s.log.requests.Put(ctx, s.barrier(), ""); err != nil {
		s.options.Logger.Debug("asking the other replicas failed", "error", err) // they are not counted, then
	}
}

func (s *Store) barrier() string { return s.options.Prefix + barriers + "/" + s.self }

// isBarrier says whether the key is another replica's barrier.
func (s *Store) isBarrier(key []byte) bool {
	name, ok := strings.CutPrefix(string(key), s.options.Prefix+barriers+"/")
	return ok && name != s.self
}

// answerBarrier has this replica tell what it has applied.
func (s *Store) answerBarrier() {
	select {
	case s.asked <- struct{}{}:
	default: // it is about to
	}
}

// announces says whether the groups' transaction has a barrier: one of them takes something away, and there is somebody
// to ask.
func (s *Store) announces(groups []*group) bool {
	for _, g := range groups {
		for _, sub := range g.members {
			if sub.request.takesAway() {
				return s.hasOthers()
			}
		}
	}
	return false
}

func (s *Store) hasOthers() bool {
	for row := range answering.Scan(s.Snapshot(), "", "") {
		if row.Path != s.self {
			return true
		}
	}
	return false
}

// withBarrier is the operations of a transaction with the barrier.
func (s *Store) withBarrier(operations []clientv3.Op) []clientv3.Op {
	return append(operations, clientv3.OpPut(s.barrier(), ""))
}
