package gateway

import (
	"cmp"
	"errors"
	"io"
	"sync"
	"time"

	"usher"
	"usher/participants"
	"usher/tenant"
)

// What body a route takes, in bytes: none, or its largest.
const (
	noBody       = 0
	ordinaryBody = 64 << 10 // a few fields, and metadata of 4 KiB
	bulkBody     = 1 << 20  // a thousand items
	settingsBody = 32 << 10 // as tenant.PatchSettings takes it
	largestBody  = bulkBody
)

// DefaultBodyMemory is how many bytes of bodies may be held at once: those of sixty-four bulks.
const DefaultBodyMemory = 64 << 20

// LeastBodyMemory leaves every caller room for the largest body.
const LeastBodyMemory = 4 * largestBody

// bodies counts the bytes of bodies that the process holds, and bounds them: of all together, and for each tenant's keys, for
// each tenant's participants, and for each participant. What is sent is counted as it arrives, since who says that there is
// much to come holds nothing yet. The operator's are counted, and never refused.
type bodies struct {
	most int64 // of all together

	mu   sync.Mutex
	held map[holder]int64 // guarded by mu; of those who hold any
}

// holder is who holds bytes; the zero holder is the process.
type holder struct {
	kind        string // of the buckets
	tenant      tenant.ID
	participant participants.ID
}

// Parts of the whole that one tenant's keys, and its participants, may hold.
const (
	keysPart  = 4
	seatsPart = 16
)

// share is a holder, and how much it may hold.
type share struct {
	holder
	most int64
}

// sharesOf are whose parts a caller's body is counted in, its own first.
func (b *bodies) sharesOf(by *caller) (shares [3]share, n int) {
	process := share{most: b.most}
	part := func(n int64) int64 { return max(largestBody, b.most/n) }
	switch {
	case by.credential == operatorKey || by.tenant.ID == "":
		return [3]share{process}, 1
	case by.credential == seatJWT:
		return [3]share{
			{holder{ofSeat, by.tenant.ID, by.seat.Participant}, largestBody},
			{holder{ofTenantSeats, by.tenant.ID, ""}, part(seatsPart)},
			process,
		}, 3
	}
	return [3]share{{holder{ofTenantKeys, by.tenant.ID, ""}, part(keysPart)}, process}, 2
}

// room says whether n bytes more fit into all of the shares, and of whose they are too many otherwise. Called under mu.
func (b *bodies) room(shares []share, n int64) error {
	for _, s := range shares {
		if b.held[s.holder]+n <= s.most {
			continue
		}
		if s.holder == (holder{}) {
			return &usher.Error{Code: usher.CodeUnavailable, RetryAfter: bodyRetry, Detail: "This replica holds as many bytes of requests as it may. Nothing was done; try again."}
		}
		return &usher.Error{Code: usher.CodeRateLimited, RetryAfter: bodyRetry, Detail: "Requests that are under way for the same caller hold as many bytes as it may have in them. Nothing was done; try again when one has ended."}
	}
	return nil
}

const bodyRetry = time.Second

// fits says whether n bytes would fit, without taking them.
func (b *bodies) fits(shares []share, n int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.room(shares, n)
}

// take takes n bytes, or gives them back when n is negative, unless they do not fit.
func (b *bodies) take(shares []share, n int64, always bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.room(shares, n); err != nil && n > 0 && !always {
		return err
	}
	for _, s := range shares {
		if b.held[s.holder] += n; b.held[s.holder] == 0 {
			delete(b.held, s.holder)
		}
	}
	return nil
}

// total is how many bytes are held.
func (b *bodies) total() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.held[holder{}]
}

// hold is what a request holds of the shares.
type hold struct {
	bodies *bodies
	shares [3]share
	n      int // of the shares
	always bool
	bytes  int64
}

func (h *hold) grow(n int64) error {
	err := h.bodies.take(h.shares[:h.n], n, h.always)
	if err == nil {
		h.bytes += n
	}
	return err
}

// release gives back all that is held.
func (h *hold) release() {
	if h.bytes > 0 {
		_ = h.grow(-h.bytes) // what is given back always fits
	}
}

// expect looks at what is said of the body, before any of it is read: whether the route takes one, and one as large.
func (c *call) expect() error {
	switch most := c.route.body; {
	case c.ContentLength == 0:
		return nil
	case most == noBody:
		return usher.Errorf(usher.CodeInvalidRequest, "There is no body here. Send the request without one.")
	case c.ContentLength > most:
		return tooLarge(most)
	}
	return nil
}

func tooLarge(most int64) error {
	return usher.Errorf(usher.CodeBodyTooLarge, "The body may have at most %d bytes here.", most)
}

// firstRead is how much room there is at first for a body whose length is not known, or is more.
const firstRead = 8 << 10

// receive reads the body, where there is one.
func (g *Gateway) receive(c *call) error {
	if c.ContentLength == 0 {
		return nil
	}
	h := &c.held
	h.bodies, h.always = &g.bodies, c.caller.credential == operatorKey
	h.shares, h.n = g.bodies.sharesOf(&c.caller)
	if c.ContentLength > 0 && !h.always {
		if err := g.bodies.fits(h.shares[:h.n], c.ContentLength); err != nil {
			return err
		}
	}
	// One byte more than there may be shows that there is more.
	all := cmp.Or(max(0, c.ContentLength), c.route.body+1)
	body, err := h.read(c.Body, all)
	if err != nil {
		return err
	}
	if int64(len(body)) > c.route.body {
		return tooLarge(c.route.body)
	}
	c.body, c.answer.unread = body, false
	return nil
}

// read reads up to most bytes, and takes room for them as they come. What is counted is the room that is in use: what it was
// copied out of as it grew, a half of it at most, is left to the garbage collector.
func (h *hold) read(from io.Reader, most int64) (body []byte, err error) {
	for size := min(firstRead, most); ; size = min(2*size, most) {
		if err := h.grow(size - int64(len(body))); err != nil {
			return nil, err
		}
		larger := make([]byte, size)
		n := copy(larger, body)
		for n < len(larger) && err == nil {
			var more int
			more, err = from.Read(larger[n:])
			n += more
		}
		body = larger[:n]
		if errors.Is(err, io.EOF) || err == nil && size == most {
			return body, nil
		}
		if err != nil {
			return nil, &usher.Error{Code: usher.CodeInvalidRequest, Detail: "The body could not be read.", Err: err}
		}
	}
}
