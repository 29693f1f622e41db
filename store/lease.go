package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// leases give records of tables with a Lifetime the etcd lease that takes them away again. Many records share one, since
// a lease costs etcd a write when it is granted and work for as long as it lives; a record may therefore stay for up to
// a share of its lifetime longer, never shorter. Only the writer uses them, so there is no lock.
type leases struct {
	current map[time.Duration]*lease // by lifetime
}

type lease struct {
	id      clientv3.LeaseID
	until   time.Time // for new records
	records int
}

const (
	// leaseShare is how much longer than asked a record may live: a 48th, half an hour for a day.
	leaseShare = 48
	// leaseRecords bounds what the end of one lease deletes at once, in one transaction of etcd.
	leaseRecords = 1000
)

// leasesFor finds or grants what the groups' records need.
func (s *Store) leasesFor(ctx context.Context, groups []*group) error {
	for _, g := range groups {
		for _, key := range g.tx.order {
			change := g.tx.changes[key]
			lifetime := change.table.lifetime()
			if lifetime == 0 || change.row == nil {
				continue
			}
			if err := s.leases.take(ctx, s.log.requests, lifetime, s.options.Now()); err != nil {
				return err
			}
		}
	}
	return nil
}

// take makes room for one more record.
func (l *leases) take(ctx context.Context, client *clientv3.Client, lifetime time.Duration, now time.Time) error {
	if have := l.current[lifetime]; have != nil && have.records < leaseRecords && now.Before(have.until) {
		have.records++
		return nil
	}
	longer := max(time.Second, lifetime/leaseShare)
	granted, err := client.Grant(ctx, int64((lifetime+longer)/time.Second))
	if err != nil {
		return fmt.Errorf("grant a lease of %s: %w", lifetime, err)
	}
	if l.current == nil {
		l.current = make(map[time.Duration]*lease)
	}
	l.current[lifetime] = &lease{id: granted.ID, until: now.Add(longer), records: 1}
	return nil
}

// of is the lease for a record of the lifetime; the record must have been taken into account.
func (l *leases) of(lifetime time.Duration) clientv3.LeaseID { return l.current[lifetime].id }

// lost says whether a commit failed since a lease is gone, as it is after a restore of etcd's data; new ones are then
// granted. etcd checks leases before it writes anything.
func (l *leases) lost(err error) bool {
	if !errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return false
	}
	l.current = nil
	return true
}
