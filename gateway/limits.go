package gateway

import (
	"fmt"
	"math"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"usher"
	"usher/tenant"
)

// limits holds a token bucket for each tenant: requests_per_second is how fast it fills, burst how much it holds. Each
// replica gives out its share, so that the tenant's total holds, whatever their number. Nothing is shared between them
// but that number: an uneven load balancer costs a tenant a part of its total, and never gives it more.
type limits struct {
	replicas func() int // counts those alive

	buckets sync.Map     // tenant.ID → *bucket
	alive   atomic.Int64 // what replicas said last
	askedAt atomic.Int64 // when it was asked, in Unix seconds
}

type bucket struct {
	mu      sync.Mutex
	limiter *rate.Limiter // guarded by mu, so that settings and tokens agree
	policy  string        // what callers are told of the limiter; guarded by mu
}

// allowance is what a tenant has left.
type allowance struct {
	refused   bool
	burst     int           // of this replica
	perSecond float64       // of this replica
	remaining int           // requests that it may make at once
	retry     time.Duration // when refused, until there is one
	policy    string        // as the header RateLimit-Policy has it
}

// take takes one request out of the tenant's bucket.
func (l *limits) take(t tenant.ID, s tenant.Settings, now time.Time) allowance {
	share := float64(l.share(now))
	perSecond := rate.Limit(float64(s.RequestsPerSecond) / share)
	burst := max(1, int(float64(s.Burst)/share))
	kept, ok := l.buckets.Load(t)
	if !ok {
		kept, _ = l.buckets.LoadOrStore(t, &bucket{limiter: rate.NewLimiter(perSecond, burst)})
	}
	b := kept.(*bucket)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.policy == "" || b.limiter.Limit() != perSecond || b.limiter.Burst() != burst {
		b.limiter.SetLimitAt(now, perSecond)
		b.limiter.SetBurstAt(now, burst)
		b.policy = fmt.Sprintf(`"tenant";q=%d;w=%.0f`, burst, math.Ceil(float64(burst)/float64(perSecond)))
	}
	a := allowance{refused: !b.limiter.AllowN(now, 1), burst: burst, perSecond: float64(perSecond), policy: b.policy}
	tokens := b.limiter.TokensAt(now)
	a.remaining = max(0, int(tokens))
	if a.refused {
		a.retry = time.Duration((1 - tokens) / float64(perSecond) * float64(time.Second))
	}
	return a
}

// share is into how many parts the limits are divided. It is asked once a second: replicas come and go seldom.
func (l *limits) share(now time.Time) int64 {
	if second := now.Unix(); l.askedAt.Swap(second) != second {
		l.alive.Store(int64(l.replicas()))
	}
	return max(1, l.alive.Load())
}

// tell lets the caller know where it stands (draft-ietf-httpapi-ratelimit-headers-10): q requests in w seconds, r left,
// all of them again in t seconds.
func (a allowance) tell(w *recorder) {
	reset := math.Ceil(float64(a.burst-a.remaining) / a.perSecond)
	state := append(make([]byte, 0, 32), `"tenant";r=`...)
	state = append(strconv.AppendInt(state, int64(a.remaining), 10), ";t="...)
	w.set(headerRatePolicy, a.policy)
	w.set(headerRateLimit, string(strconv.AppendInt(state, int64(reset), 10)))
}

// limit refuses the request of a tenant that makes too many. The operator is not limited.
func (g *Gateway) limit(c *call, w *recorder) error {
	t := c.caller.tenant
	if c.caller.credential == operatorKey || t.ID == "" {
		return nil
	}
	a := g.limits.take(t.ID, t.Settings, c.started)
	a.tell(w)
	c.limited = a.refused
	g.metrics.limited(a.refused)
	if !a.refused {
		return nil
	}
	return &usher.Error{Code: usher.CodeRateLimited, RetryAfter: max(a.retry, time.Second),
		Detail: fmt.Sprintf("The tenant may make %d requests per second, and %d at once.", t.Settings.RequestsPerSecond, t.Settings.Burst)}
}
