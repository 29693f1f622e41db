package gateway

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"usher"
	"usher/participants"
	"usher/tenant"
)

// TestABucketGivesNoMoreThanItsTerms: whatever is asked of it, and when, no more passes in any time than it holds and fills.
func TestABucketGivesNoMoreThanItsTerms(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		terms := terms{bucket: ofSeat, perSecond: float64(rapid.IntRange(1, 100).Draw(t, "perSecond")), burst: rapid.IntRange(1, 200).Draw(t, "burst")}
		b, begin := newBuckets[string](10), time.Now()
		now, passed := begin, 0
		for range rapid.IntRange(1, 100).Draw(t, "requests") {
			now = now.Add(time.Duration(rapid.IntRange(0, 2000).Draw(t, "ms")) * time.Millisecond)
			n := rapid.IntRange(0, 300).Draw(t, "n")
			if a := b.take("a", terms, n, now); !a.refused {
				passed += min(n, terms.burst)
			} else if a.retry <= 0 || b.take("a", terms, n, now.Add(a.retry+time.Millisecond)).refused {
				t.Fatalf("%d were refused for %s, and then again", n, a.retry)
			} else {
				now = now.Add(a.retry + time.Millisecond)
				passed += min(n, terms.burst)
			}
			if most := float64(terms.burst) + terms.perSecond*now.Sub(begin).Seconds() + .001; float64(passed) > most {
				t.Fatalf("%d passed, of %g", passed, most)
			}
		}
	})
}

func TestOnlySoManyBucketsAreKept(t *testing.T) {
	t.Parallel()
	b := newBuckets[int](100)
	for i := range 10_000 {
		b.take(i, terms{bucket: ofAddress, perSecond: 1, burst: 1}, 1, time.Now())
	}
	if n := b.kept.Len(); n != 100 {
		t.Errorf("%d buckets are kept", n)
	}
}

// TestBodiesStayWithinEveryShare: whoever takes and gives back what, nobody holds more than their part, and nothing is left
// over.
func TestBodiesStayWithinEveryShare(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		b := &bodies{most: int64(rapid.IntRange(LeastBodyMemory, 64<<20).Draw(t, "most")), held: make(map[holder]int64)}
		var holds []*hold
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			if len(holds) > 0 && rapid.IntRange(0, 3).Draw(t, "end") == 0 {
				i := rapid.IntRange(0, len(holds)-1).Draw(t, "which")
				holds[i].release()
				holds = append(holds[:i], holds[i+1:]...)
				continue
			}
			by := caller{credential: apiKey}
			by.tenant.ID = tenant.ID(fmt.Sprint("tenant", rapid.IntRange(0, 5).Draw(t, "tenant")))
			if rapid.Bool().Draw(t, "a seat") {
				by.credential, by.seat.Participant = seatJWT, participants.ID(fmt.Sprint("seat", rapid.IntRange(0, 9).Draw(t, "seat")))
			}
			h := &hold{bodies: b}
			h.shares, h.n = b.sharesOf(&by)
			for range rapid.IntRange(1, 4).Draw(t, "steps of it") {
				n := int64(rapid.IntRange(0, largestBody).Draw(t, "bytes"))
				fits := b.fits(h.shares[:h.n], n)
				err := h.grow(n)
				if (err == nil) != (fits == nil) {
					t.Fatalf("it fits: %v, and is taken: %v", fits, err)
				}
				if err != nil && !usher.HasCode(err, usher.CodeRateLimited) && !usher.HasCode(err, usher.CodeUnavailable) {
					t.Fatal(err)
				}
				for _, s := range h.shares[:h.n] {
					if b.held[s.holder] > s.most {
						t.Fatalf("%v holds %d of %d", s.holder, b.held[s.holder], s.most)
					}
				}
			}
			holds = append(holds, h)
		}
		for _, h := range holds {
			h.release()
		}
		if len(b.held) > 0 || b.total() != 0 {
			t.Fatalf("left over: %v", b.held)
		}
	})
}
