package gateway

import (
	"sync"
	"time"

	"usher"
)

// How many requests may be under way at once. A client in a room asks one or two things at a time; at one address there may
// be a school.
const (
	mostOfSeat    = 8
	mostOfAddress = 64
)

// crowd counts the requests that are under way for each of many callers, and lets none have more than so many.
type crowd[K comparable] struct {
	most int

	mu       sync.Mutex
	underWay map[K]int // guarded by mu; of those who have any
}

func newCrowd[K comparable](most int) *crowd[K] {
	return &crowd[K]{most: most, underWay: make(map[K]int)}
}

// enter counts a request, unless it is one too many.
func (c *crowd[K]) enter(of K) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.underWay[of] >= c.most {
		return &usher.Error{Code: usher.CodeRateLimited, RetryAfter: time.Second, Detail: "Too many requests of the same caller are under way at once. Try again when one has ended."}
	}
	c.underWay[of]++
	return nil
}

func (c *crowd[K]) leave(of K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.underWay[of]--; c.underWay[of] == 0 {
		delete(c.underWay, of)
	}
}

// enterSeat counts the call among those of its seat until it ends.
func (g *Gateway) enterSeat(c *call) error {
	if c.caller.credential != seatJWT || c.asSeat != (seatID{}) {
		return nil
	}
	id := c.caller.seatID()
	err := g.bySeat.enter(id)
	if err == nil {
		c.asSeat = id
	}
	return err
}

// enterSite counts the call among those of its address until it ends.
func (g *Gateway) enterSite(c *call) error {
	site := Site(g.address(c))
	err := g.bySite.enter(site)
	if err == nil {
		c.asSite, c.fromSite = site, true
	}
	return err
}

// release ends what the call has taken of what others need.
func (g *Gateway) release(c *call) {
	c.held.release()
	if c.asSeat != (seatID{}) {
		g.bySeat.leave(c.asSeat)
	}
	if c.fromSite {
		g.bySite.leave(c.asSite)
	}
}
