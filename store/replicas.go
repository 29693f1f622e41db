package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"

	"usher"
)

// Replica is a process that is alive.
type Replica struct {
	Host       string     `json:"host"`
	Version    string     `json:"version"`
	Since      usher.Time `json:"since"`
	MasterKeys []string   `json:"master_keys,omitzero"` // ids of those that it has loaded; none: it is of a version that does not tell
	Applied    int64      `json:"applied,omitzero"`     // a revision that its index shows; see Enforced
}

// replicas is the table of the processes that are alive: {a random name of each}. The records are leased, so that who
// dies is gone within seconds.
var replicas = Table[Replica]{
	Name: "replicas",
	Decode: func(_ string, value []byte) (r Replica, err error) {
		err = json.Unmarshal(value, &r)
		return r, err
	},
	Encode: func(r Replica) ([]byte, error) { return json.Marshal(r) },
}

// ReplicaLease is how long a replica that died still counts.
const ReplicaLease = 10 * time.Second

// Register counts this process among the replicas until the context ends, and first among those that may answer somebody;
// registered is called once, when it is. Until then, and whenever the others cannot know of it any more, the store is
// Starting: it must not be answered from. A process must have ended to answer when the context ends.
func (s *Store) Register(ctx context.Context, version string, masterKeys []string, registered func()) {
	self := Replica{Host: Hostname(), Version: version, Since: usher.At(s.options.Now()), MasterKeys: masterKeys}
	s.unlisted.Store(true)
	var answering *concurrency.Session
	for attempt := 0; ctx.Err() == nil; {
		began := time.Now()
		var err error
		if answering, err = s.registerAnswering(ctx, answering, self); err == nil {
			err = s.registerAlive(ctx, answering, self, func() {
				if registered != nil {
					registered()
					registered = nil
				}
			})
		}
		if err != nil && ctx.Err() == nil {
			s.options.Logger.Debug("registering this replica failed", "error", err)
		}
		if time.Since(began) > backoffMost {
			attempt = 0
		}
		if backoff(ctx, &attempt) != nil {
			break
		}
	}
	if answering != nil {
		s.giveBack(ctx, answering)
	}
}

// Hostname is what this machine, or pod, calls itself.
func Hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return name
}

// registerAlive keeps this process among those that are alive, and has it tell what it has applied whenever another one
// asks, until its session is lost or the context ends.
func (s *Store) registerAlive(ctx context.Context, answering *concurrency.Session, self Replica, registered func()) error {
	session, err := concurrency.NewSession(s.log.requests, concurrency.WithTTL(int(ReplicaLease.Seconds())), concurrency.WithContext(ctx))
	if err != nil {
		return fmt.Errorf("open a session: %w", err)
	}
	defer s.giveBack(ctx, session)
	for {
		self.Applied = s.Revision()
		revision, err := s.putLeased(ctx, replicas.Key(s.self), self, session)
		if err != nil {
			return err
		}
		if s.unlisted.Load() { // what was taken away before the others could know of this replica is to be in force here
			if err := s.index.wait(ctx, revision); err != nil {
				return err
			}
			s.unlisted.Store(false)
		}
		registered()
		select {
		case <-s.asked:
		case <-session.Done():
			return errors.New("the session was lost")
		case <-answering.Done():
			s.unlisted.Store(true)
			return errors.New("the session of those that answer was lost")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// putLeased writes a record about this process.
func (s *Store) putLeased(ctx context.Context, key Key, self Replica, session *concurrency.Session) (revision int64, err error) {
	value, err := replicas.Encode(self)
	if err != nil {
		return 0, fmt.Errorf("encode the record: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, s.options.CommitTimeout)
	defer cancel()
	resp, err := s.log.requests.Put(ctx, s.logKey(key), string(value), clientv3.WithLease(session.Lease()))
	if err != nil {
		return 0, fmt.Errorf("write the record %s: %w", key, err)
	}
	return resp.Header.Revision, nil
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

// ListReplicas are the processes that are alive, as far as this one knows, by host and age.
func (s *Store) ListReplicas() (all []Replica) {
	for row := range replicas.Scan(s.Snapshot(), "", "") {
		all = append(all, row.Value)
	}
	slices.SortFunc(all, func(a, b Replica) int {
		return cmp.Or(cmp.Compare(a.Host, b.Host), a.Since.Compare(b.Since.Time))
	})
	return all
}

// Replicas is how many processes are alive, as far as this one knows: at least itself.
func (s *Store) Replicas() int {
	n := 0
	for range replicas.Scan(s.Snapshot(), "", "") {
		n++
	}
	return max(1, n)
}
