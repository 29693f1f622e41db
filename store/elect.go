package store

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"go.etcd.io/etcd/client/v3/concurrency"
)

const (
	// leaseOfOffice is how long a leader that died keeps the others waiting, in seconds.
	leaseOfOffice = 5
	resignTimeout = 2 * time.Second
)

// Lead runs lead in one process at a time of all that call it with the name on this log, again and again, until the
// context ends. The context that lead gets ends when this process is no longer the leader. A leader that is cut off may
// not know it for some seconds, so whatever lead does must be safe when two do it: it decides and commits by compare
// like everybody else.
func (s *Store) Lead(ctx context.Context, name string, lead func(context.Context)) {
	for attempt := 0; ctx.Err() == nil; {
		began := time.Now()
		if err := s.leadOnce(ctx, name, lead); err != nil && ctx.Err() == nil {
			s.options.Logger.Debug("an election failed", "name", name, "error", err)
		}
		if time.Since(began) > backoffMost {
			attempt = 0
		}
		if backoff(ctx, &attempt) != nil {
			return
		}
	}
}

func (s *Store) leadOnce(ctx context.Context, name string, lead func(context.Context)) error {
	session, err := concurrency.NewSession(s.log.requests, concurrency.WithTTL(leaseOfOffice), concurrency.WithContext(ctx))
	if err != nil {
		return fmt.Errorf("open a session: %w", err)
	}
	election := concurrency.NewElection(session, s.options.Prefix+leaders+"/"+name)
	defer s.giveBack(ctx, session) // so that the next leader need not wait for it
	if err := s.campaign(ctx, session, election); err != nil {
		return err
	}
	office, leave := context.WithCancel(ctx)
	defer leave()
	lost := make(chan struct{})
	go func() { // ends with office or session, and is waited for
		defer close(lost)
		select {
		case <-session.Done():
			leave()
		case <-office.Done():
		}
	}()
	lead(office)
	leave()
	<-lost
	return nil
}

// leaders is the first segment of the keys of elections. It is no table: the index has no use for them.
const leaders = "leaders"

// campaign waits to be elected, and gives up when the session is lost meanwhile.
func (s *Store) campaign(ctx context.Context, session *concurrency.Session, election *concurrency.Election) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	elected := make(chan error, 1)
	go func() { elected <- election.Campaign(ctx, rand.Text()) }() // ends with ctx
	select {
	case err := <-elected:
		return err
	case <-session.Done():
		cancel()
		return fmt.Errorf("the session was lost: %w", <-elected)
	}
}
