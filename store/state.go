package store

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// State says what can be expected of this replica.
type State int

// STARTING answers nothing yet; READY answers from a fresh index; STALE answers from the index as it was when the log
// was last heard.
const (
	Starting State = iota
	Ready
	Stale
)

func (s State) String() string {
	switch s {
	case Ready:
		return "READY"
	case Stale:
		return "STALE"
	default:
		return "STARTING"
	}
}

const (
	probeInterval = time.Second
	probeTimeout  = 2 * time.Second
	// staleAfter is how long the index may go unproven before it counts as stale: two probes that found nobody.
	staleAfter = 3 * time.Second
	// maxReads is how many quorum reads the index may owe: more than there are in staleAfter.
	maxReads = 8
)

// freshness keeps when the index was last proven to hold everything that a quorum of the log had committed.
type freshness struct {
	mu       sync.Mutex
	loaded   bool      // a list was applied and a watch created, once
	unbroken time.Time // since when asOf has never been older than staleAfter
	asOf     time.Time // the index held everything committed up to then
	observed int64     // the newest revision a quorum read has shown
	// owed are quorum reads whose revision the index has not reached, the oldest first: where others write all the time, it
	// reaches one when there is a newer already.
	owed []quorumRead
}

// quorumRead began at a time and showed a revision.
type quorumRead struct {
	revision int64
	began    time.Time
}

// saw notes a quorum read that began at the time and showed the revision.
func (f *freshness) saw(revision, applied int64, began time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if revision < f.observed { // the log is another one: what the old one had shown proves nothing
		f.owed = nil
	}
	f.observed = revision
	if len(f.owed) == maxReads {
		f.owed = f.owed[:maxReads-1]
	}
	f.owed = append(f.owed, quorumRead{revision, began})
	f.settle(applied)
}

// reached notes that the index holds everything up to the revision.
func (f *freshness) reached(applied int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.settle(applied)
}

// settle takes the reads off that the index has reached. Called under mu.
func (f *freshness) settle(applied int64) {
	for len(f.owed) > 0 && f.owed[0].revision <= applied {
		if f.owed[0].began.After(f.asOf) {
			f.proven(f.owed[0].began)
		}
		f.owed = f.owed[1:]
	}
}

// proven moves asOf. Called under mu.
func (f *freshness) proven(asOf time.Time) {
	if asOf.Sub(f.asOf) > staleAfter {
		f.unbroken = asOf
	}
	f.asOf = asOf
}

func (f *freshness) setLoaded(now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.loaded {
		f.loaded, f.asOf, f.unbroken = true, now, now
	}
}

// State is the replica's state now and, when it is Stale, for how long nothing was heard of the log.
func (s *Store) State() (State, time.Duration) {
	s.fresh.mu.Lock()
	defer s.fresh.mu.Unlock()
	if !s.fresh.loaded || s.unlisted.Load() {
		return Starting, 0
	}
	if age := s.options.Now().Sub(s.fresh.asOf); age > staleAfter {
		return Stale, age
	}
	return Ready, 0
}

// ReadySince is since when this replica has been Ready without a break; meaningless while it is not.
func (s *Store) ReadySince() time.Time {
	s.fresh.mu.Lock()
	defer s.fresh.mu.Unlock()
	return s.fresh.unbroken
}

// staleness is how long ago the index was last proven to hold everything that was committed; 0 before the first list.
func (s *Store) staleness() time.Duration {
	s.fresh.mu.Lock()
	defer s.fresh.mu.Unlock()
	if !s.fresh.loaded {
		return 0
	}
	return s.options.Now().Sub(s.fresh.asOf)
}

// observed is the newest revision that a quorum read has shown.
func (s *Store) observed() int64 {
	s.fresh.mu.Lock()
	defer s.fresh.mu.Unlock()
	return s.fresh.observed
}

// Lag is how many revisions the index is behind the newest that a quorum read has shown.
func (s *Store) Lag() int64 {
	s.fresh.mu.Lock()
	defer s.fresh.mu.Unlock()
	return max(0, s.fresh.observed-s.index.applied())
}

// probe asks a quorum for the log's revision, again and again. It is what tells a quiet log from a lost one, and finds
// out when the log behind the same address is another (a watch at a revision too high is silent for ever).
func (s *Store) probe(ctx context.Context) error {
	ticker := time.NewTicker(probeInterval)
	defer ticker.Stop()
	for known := Starting; ; {
		err := s.probeOnce(ctx)
		known = s.tell(known, err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// tell logs that the log was lost, and that it is back: known is what was told last. err is why the newest probe failed.
func (s *Store) tell(known State, err error) State {
	state, age := s.State()
	switch {
	case state == Stale && known != Stale && err == nil:
		s.options.Logger.Warn("the index is behind etcd: reads are answered from what is known, writes are refused", "for", age.Round(time.Millisecond))
	case state == Stale && known != Stale:
		s.options.Logger.Warn("etcd is not heard: reads are answered from what is known, writes are refused", "for", age.Round(time.Millisecond), "error", err)
	case state == Ready && known == Stale:
		s.options.Logger.Info("the index holds all that etcd has again")
	case state == Starting && known == Stale: // it is not among the replicas yet
		return known
	}
	return state
}

func (s *Store) probeOnce(ctx context.Context) error {
	applied := s.index.applied()
	began := s.options.Now()
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	header, gone, err := s.ask(ctx)
	if err != nil {
		return err // the passing time says it: see State
	}
	if gone != "" {
		s.demandRelist(errRelist{anotherHistory, gone})
		return nil
	}
	if demand, other := s.anotherLog(header.ClusterId, header.Revision, applied); other {
		s.demandRelist(demand)
		return nil
	}
	s.fresh.saw(header.Revision, s.index.applied(), began)
	if s.index.applied() < header.Revision {
		s.demandProgress()
	}
	return nil
}

// anotherLog says whether, and why, a quorum read's header cannot come from the log that the index was made from; applied
// is the index's revision before the read.
func (s *Store) anotherLog(cluster uint64, revision, applied int64) (demand errRelist, other bool) {
	if demand, other := s.anotherCluster(cluster); other {
		return demand, true
	}
	if s.cluster.Load() != 0 && revision < applied {
		return errRelist{wentBack, fmt.Sprintf("the log went back to revision %d (was %d)", revision, applied)}, true
	}
	return errRelist{}, false
}

// anotherCluster is the part of it that any header may judge, also that of a member that lags.
func (s *Store) anotherCluster(cluster uint64) (demand errRelist, other bool) {
	if known := s.cluster.Load(); known != 0 && cluster != known {
		return errRelist{anotherCluster, fmt.Sprintf("the cluster is another (%x, was %x)", cluster, known)}, true
	}
	return errRelist{}, false
}
