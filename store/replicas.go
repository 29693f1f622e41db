package store

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

// replicas is the table of the processes that are alive: {a random name of each}. The records are leased, so that who
// dies is gone within seconds.
var replicas = Table[string]{
	Name:   "replicas",
	Decode: func(_ string, value []byte) (string, error) { return string(value), nil },
	Encode: func(s string) ([]byte, error) { return []byte(s), nil },
}

// replicaLease is how long a replica that died still counts, in seconds.
const replicaLease = 10

// Register counts this process among the replicas until the context ends.
func (s *Store) Register(ctx context.Context) {
	for attempt := 0; ctx.Err() == nil; {
		began := time.Now()
		if err := s.registerOnce(ctx); err != nil && ctx.Err() == nil {
			s.options.Logger.Debug("registering this replica failed", "error", err)
		}
		if time.Since(began) > backoffMost {
			attempt = 0
		}
		if backoff(ctx, &attempt) != nil {
			return
		}
	}
}

func (s *Store) registerOnce(ctx context.Context) error {
	session, err := concurrency.NewSession(s.log.requests, concurrency.WithTTL(replicaLease), concurrency.WithContext(ctx))
	if err != nil {
		return fmt.Errorf("open a session: %w", err)
	}
	defer s.giveBack(ctx, session)
	key := s.options.Prefix + string(replicas.Key(rand.Text()))
	putting, cancel := context.WithTimeout(ctx, s.options.CommitTimeout)
	defer cancel()
	if _, err := s.log.requests.Put(putting, key, `"alive"`, clientv3.WithLease(session.Lease())); err != nil {
		return fmt.Errorf("write the record: %w", err)
	}
	select {
	case <-session.Done():
		return fmt.Errorf("the session was lost")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// giveBack ends a session's lease now, rather than when its time is over. The context may have ended already.
func (s *Store) giveBack(ctx context.Context, session *concurrency.Session) {
	farewell, cancel := context.WithTimeout(context.WithoutCancel(ctx), resignTimeout)
	defer cancel()
	session.Orphan()
	if _, err := s.log.requests.Revoke(farewell, session.Lease()); err != nil {
		s.options.Logger.Debug("a lease was not given back", "error", err)
	}
}

// Replicas is how many processes are alive, as far as this one knows: at least itself.
func (s *Store) Replicas() int {
	n := 0
	for range replicas.Scan(s.Snapshot(), "", "") {
		n++
	}
	return max(1, n)
}
