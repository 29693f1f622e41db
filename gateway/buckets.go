package gateway

import (
	"fmt"
	"math"
	"strconv"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"
)

// The kinds of buckets, as the headers RateLimit and RateLimit-Policy and the metrics name them.
const (
	ofTenantKeys  = "tenant"       // all API keys of a tenant, and the service tokens made of them
	ofTenantSeats = "tenant-seats" // all participants' tokens of a tenant
	ofSeat        = "seat"         // the tokens of one participant
	ofAddress     = "address"      // callers at one address that have shown no valid credential
)

// terms are how fast a bucket fills, and how much it holds.
type terms struct {
	bucket    string
	perSecond float64
	burst     int
	policy    string // as the header RateLimit-Policy has it; "" is made from the others
}

// fixed are terms that do not change, with their header ready.
func fixed(bucket string, perSecond float64, burst int) terms {
	t := terms{bucket: bucket, perSecond: perSecond, burst: burst}
	t.policy = t.header()
	return t
}

func (t terms) header() string {
	return fmt.Sprintf(`"%s";q=%d;w=%.0f`, t.bucket, t.burst, math.Ceil(float64(t.burst)/t.perSecond))
}

// buckets are token buckets, one for each caller of a kind. So many are kept; then the one that was used longest ago goes,
// which by then is full, or nearly: its owner gains nothing when it comes back to a new one.
type buckets[K comparable] struct{ kept *lru.Cache[K, *bucket] }

func newBuckets[K comparable](most int) buckets[K] {
	kept, err := lru.New[K, *bucket](most)
	if err != nil {
		panic(err) // only a size below one is an error
	}
	return buckets[K]{kept}
}

type bucket struct {
	mu      sync.Mutex
	limiter *rate.Limiter // guarded by mu, so that terms and tokens agree
	policy  string        // what callers are told of the limiter; guarded by mu
}

// allowance is what a caller has left in a bucket.
type allowance struct {
	terms
	refused   bool
	remaining int           // requests that it may make at once
	retry     time.Duration // when refused, until there is enough
}

// take takes n requests out of a bucket, or nothing when there are fewer. A bucket that is full lets any n pass.
func (b buckets[K]) take(of K, t terms, n int, now time.Time) allowance {
	kept, ok := b.kept.Get(of)
	if !ok {
		kept = &bucket{limiter: rate.NewLimiter(rate.Limit(t.perSecond), t.burst)}
		if other, found, _ := b.kept.PeekOrAdd(of, kept); found {
			kept = other
		}
	}
	return kept.take(t, n, now)
}

func (b *bucket) take(t terms, n int, now time.Time) allowance {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.policy == "" || b.limiter.Limit() != rate.Limit(t.perSecond) || b.limiter.Burst() != t.burst {
		b.limiter.SetLimitAt(now, rate.Limit(t.perSecond))
		b.limiter.SetBurstAt(now, t.burst)
		if b.policy = t.policy; b.policy == "" {
			b.policy = t.header()
		}
	}
	n = min(n, t.burst)
	a := allowance{terms: t, refused: !b.limiter.AllowN(now, n)}
	a.policy = b.policy
	tokens := b.limiter.TokensAt(now)
	a.remaining = max(0, int(tokens))
	if a.refused {
		a.retry = time.Duration((float64(n) - tokens) / t.perSecond * float64(time.Second))
	}
	return a
}

// tell lets the caller know where it stands (draft-ietf-httpapi-ratelimit-headers-10): q requests in w seconds, r left,
// all of them again in t seconds.
func (a allowance) tell(w *recorder) {
	reset := math.Ceil(float64(a.burst-a.remaining) / a.perSecond)
	state := append(make([]byte, 0, 48), '"')
	state = append(append(state, a.bucket...), `";r=`...)
	state = append(strconv.AppendInt(state, int64(a.remaining), 10), ";t="...)
	w.set(headerRatePolicy, a.policy)
	w.set(headerRateLimit, string(strconv.AppendInt(state, int64(reset), 10)))
}
