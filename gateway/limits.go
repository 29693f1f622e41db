package gateway

import (
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"

	"usher"
	"usher/participants"
	"usher/tenant"
)

// A participant's token is for one client in one room: it reads the room and the list, and sends a heartbeat now and then.
// Ten requests a second are many times what such a client makes, and the burst is for one that has just come in. A tenant's
// participants together have as much as the settings give its API keys, and never take from these.
const (
	seatPerSecond = 10
	seatBurst     = 50
)

// Defaults of Options: what an address gets for all who call from it without a valid credential. A school's browsers may
// share one address, and a browser asks for leave before its script calls (CORS).
const (
	DefaultAnonymousPerSecond = 50
	DefaultAnonymousBurst     = 500
)

// How many buckets of a kind are kept. At the default terms a bucket is full again within ten seconds, so that to have one
// of one's own forgotten before would take many thousands of others in that time.
const (
	keptTenants   = 1 << 14
	keptSeats     = 1 << 16
	keptAddresses = 1 << 16
)

// limits are the token buckets of all who call but the operator. Each replica gives out its share of what a tenant may
// make, so that the tenant's total holds, whatever their number. Nothing is shared between them but that number: an uneven
// load balancer costs a tenant a part of its total, and never gives it more. A seat and an address stay with one replica as
// long as their connection lasts, so theirs are not divided: they have as much at each replica.
type limits struct {
	replicas func() int // counts those alive

	keys      buckets[tenant.ID]
	seats     buckets[tenant.ID]
	seat      buckets[seatID]
	addresses buckets[netip.Prefix]

	eachSeat, eachAddress terms

	alive   atomic.Int64 // what replicas said last
	askedAt atomic.Int64 // when it was asked, in Unix seconds
}

// seatID is a participant of a tenant.
type seatID struct {
	tenant      tenant.ID
	participant participants.ID
}

func newLimits(o Options) *limits {
	return &limits{
		replicas: o.Log.Replicas,
		keys:     newBuckets[tenant.ID](keptTenants), seats: newBuckets[tenant.ID](keptTenants),
		seat: newBuckets[seatID](keptSeats), addresses: newBuckets[netip.Prefix](keptAddresses),
		eachSeat:    fixed(ofSeat, seatPerSecond, seatBurst),
		eachAddress: fixed(ofAddress, o.AnonymousPerSecond, o.AnonymousBurst),
	}
}

// granted are the terms of this replica's share of what the settings give.
func (l *limits) granted(bucket string, s tenant.Settings, now time.Time) terms {
	share := float64(l.share(now))
	return terms{bucket: bucket, perSecond: float64(s.RequestsPerSecond) / share, burst: max(1, int(float64(s.Burst)/share))}
}

// share is into how many parts the limits are divided. It is asked once a second: replicas come and go seldom.
func (l *limits) share(now time.Time) int64 {
	if second := now.Unix(); l.askedAt.Swap(second) != second {
		l.alive.Store(int64(l.replicas()))
	}
	return max(1, l.alive.Load())
}

// charge has the caller, who has a valid credential, pay for a request that costs as much as so many ordinary ones. The
// operator is not limited.
func (g *Gateway) charge(c *call, cost int) error {
	a, limited := g.pay(c, cost)
	if !limited {
		return nil
	}
	g.metrics.limited(a.bucket, a.refused)
	if err := c.within(a); err != nil {
		return err
	}
	return g.enterSeat(c)
}

// chargeItems has the caller pay for a request that has turned out to be about n things. One is paid for already. A
// request for more than fits into a bucket costs a full one.
func (g *Gateway) chargeItems(c *call, n int) error {
	if n <= 1 {
		return nil
	}
	a, limited := g.pay(c, n-1)
	if !limited {
		return nil
	}
	if a.refused {
		g.metrics.limited(a.bucket, true)
	}
	return c.within(a)
}

// pay takes the cost out of the caller's buckets: of a seat, out of its own and then out of that of all seats. It gives
// what is left of the one that decided.
func (g *Gateway) pay(c *call, cost int) (a allowance, limited bool) {
	l, t, now := g.limits, c.caller.tenant, c.started
	switch {
	case c.caller.credential == operatorKey || t.ID == "":
		return a, false
	case c.caller.credential != seatJWT:
		granted := l.granted(ofTenantKeys, t.Settings, now)
		return l.keys.take(t.ID, granted, granted.fitting(cost, c.paid), now), true
	}
	a = l.seat.take(c.caller.seatID(), l.eachSeat, l.eachSeat.fitting(cost, c.paid), now)
	if a.refused {
		return a, true
	}
	granted := l.granted(ofTenantSeats, t.Settings, now)
	if all := l.seats.take(t.ID, granted, granted.fitting(cost, c.paid), now); all.refused {
		return all, true
	}
	return a, true
}

// fitting is the cost, or what a full bucket has where that is less, beyond what was paid already.
func (t terms) fitting(cost, paid int) int { return max(0, min(cost, t.burst-paid)) }

func (c *caller) seatID() seatID { return seatID{c.tenant.ID, c.seat.Participant} }

// within tells the caller what is left, and refuses when it is too little.
func (c *call) within(a allowance) error {
	a.tell(&c.answer)
	c.limited = a.refused
	if !a.refused {
		c.paid++
		return nil
	}
	return &usher.Error{Code: usher.CodeRateLimited, RetryAfter: max(a.retry, time.Second), Detail: a.explain(c.caller.tenant.Settings)}
}

// explain says what was too much. Of a tenant's limit it gives the whole, and not this replica's share.
func (a allowance) explain(s tenant.Settings) string {
	switch a.bucket {
	case ofTenantSeats:
		return fmt.Sprintf("The tenant's participants together may make %d requests per second, and %d at once.", s.RequestsPerSecond, s.Burst)
	case ofSeat:
		return fmt.Sprintf("A participant may make %d requests per second, and %d at once.", seatPerSecond, seatBurst)
	case ofAddress:
		return fmt.Sprintf("Without a valid credential %g requests per second may come from one address, and %d at once.", a.perSecond, a.burst)
	}
	return fmt.Sprintf("The tenant may make %d requests per second, and %d at once.", s.RequestsPerSecond, s.Burst)
}

// chargeStranger has the address pay for a caller that has shown no valid credential. failure is why not, where one was
// needed: it is the answer as long as the address can pay.
func (g *Gateway) chargeStranger(c *call, failure error) error {
	site := Site(g.address(c))
	a := g.limits.addresses.take(site, g.limits.eachAddress, 1, c.started)
	g.metrics.limited(a.bucket, a.refused)
	a.tell(&c.answer)
	if c.limited = a.refused; a.refused {
		detail := a.explain(tenant.Settings{})
		if failure != nil {
			detail += " What is wrong with this request: " + usher.AsError(failure).Message()
		}
		return &usher.Error{Code: usher.CodeRateLimited, RetryAfter: max(a.retry, time.Second), Detail: detail}
	}
	return g.enterSite(c)
}

// chargeVisitor has whoever comes for what needs no credential pay: for one that is valid its owner, and otherwise the
// address. So a caller with a valid credential never feels who else is at its address.
func (g *Gateway) chargeVisitor(c *call) error {
	if c.Header.Get(headerAPIKey) != "" || c.Header.Get("Authorization") != "" {
		if g.authenticate(c) == nil {
			return g.charge(c, 1)
		}
		c.caller = caller{}
	}
	return g.chargeStranger(c, nil)
}
