package gateway

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"usher"
)

// busy is an overload whose waits for a processor the test makes up.
type busy struct {
	*overload
	t      *testing.T
	counts []uint64
	shed   atomic.Int32
}

const fast, middling, slow = 0, 2, 3 // places in the histogram of waits

func newBusy(t *testing.T) *busy {
	b := &busy{t: t, counts: make([]uint64, 4)}
	b.overload = &overload{
		most: 20 * time.Millisecond, processors: func() int { return 2 }, shed: func() { b.shed.Add(1) },
		waits: func() waits { return waits{slices.Clone(b.counts), []float64{0, .001, .01, .1, 1}} },
	}
	return b
}

// pass lets time go by in which work waits for so long, and says what the bound is then.
func (b *busy) pass(wait int, lasts time.Duration) (bound int) {
	for end := time.Now().Add(lasts); time.Now().Before(end); time.Sleep(lookInterval) {
		b.counts[wait] += 100
		b.mu.Lock()
		b.left++
		b.mu.Unlock()
		b.look(time.Now())
	}
	return b.bound
}

func TestTheBoundFollowsTheWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBusy(t)
		least := leastBound * b.processors()
		if bound := b.pass(fast, time.Second); bound != 0 {
			t.Errorf("below saturation %d may be under way", bound)
		}
		for range 10 * least {
			if err := b.enter(t.Context(), time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		if bound := b.pass(slow, 150*time.Millisecond); bound == 0 || bound <= least || bound >= 10*least {
			t.Errorf("soon after the beginning of an overload %d may be under way, of %d", bound, 10*least)
		}
		if bound := b.pass(slow, time.Minute); bound != least {
			t.Errorf("after a minute of overload %d may be under way, want %d", bound, least)
		}
		if bound := b.pass(fast, time.Second); bound <= least {
			t.Errorf("soon after its end still %d may be under way", bound)
		}
		if bound := b.pass(fast, 10*time.Second); bound != 0 {
			t.Errorf("when it is over %d may be under way", bound)
		}
		b.pass(slow, time.Minute)
		time.Sleep(2 * overloadOver)
		if bound := b.pass(fast, lookInterval); bound != 0 {
			t.Errorf("when nobody has come meanwhile %d may be under way", bound)
		}
	})
}

// arrivals has requests come to a gateway that can take no more, one after the other; each says on ended what became of it.
type arrivals struct {
	*busy
	ended chan string
}

// testArrivals runs the test in parallel, in a time of its own.
func testArrivals(t *testing.T, test func(*testing.T, arrivals)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { test(t, newArrivals(t)) })
}

func newArrivals(t *testing.T) arrivals {
	a := arrivals{newBusy(t), make(chan string, 2*mostWaiting)}
	a.pass(fast, time.Second)
	a.pass(slow, time.Second)
	for a.underWay < a.bound {
		if err := a.enter(t.Context(), time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

func (a arrivals) come(who string) {
	go func() {
		if err := a.enter(a.t.Context(), time.Now()); err != nil {
			who += " is refused"
		}
		a.ended <- who
	}()
	synctest.Wait()
}

// next is what becomes of the next one.
func (a arrivals) next(want string, after time.Duration) {
	a.t.Helper()
	began := time.Now()
	if who := <-a.ended; who != want || time.Since(began) != after {
		a.t.Errorf("%s after %s, want %s after %s", who, time.Since(began), want, after)
	}
}

func TestWhileSomeAreRefusedTheOthersAreFaster(t *testing.T) {
	testArrivals(t, func(t *testing.T, a arrivals) {
		least := a.bound
		if bound := a.pass(middling, time.Second); bound <= least {
			t.Errorf("%d may be under way while nobody is refused, not more than %d", bound, least)
		}
		a.pass(slow, time.Second)
		for range 40 {
			a.come("one")
		}
		time.Sleep(patience)
		if bound := a.pass(middling, time.Second); a.shed.Load() == 0 || bound > least {
			t.Errorf("%d were refused, and %d may be under way, more than %d", a.shed.Load(), bound, least)
		}
	})
}

func TestWhoWaitsIsTakenInOrder(t *testing.T) {
	testArrivals(t, func(_ *testing.T, a arrivals) {
		a.come("first")
		a.come("second")
		a.leave()
		a.next("first", 0)
		a.leave()
		a.next("second", 0)
	})
}

// TestHowManyWaitDecidesWhoGoesFirst: callers who in order are all served soon must not starve one of them.
func TestHowManyWaitDecidesWhoGoesFirst(t *testing.T) {
	testArrivals(t, func(_ *testing.T, a arrivals) {
		a.come("first")
		time.Sleep(2 * crowded)
		a.come("second")
		a.come("third")
		a.pace = 3 / inOrder.Seconds()
		a.leave()
		a.next("first", 0)
		for _, who := range []string{"fourth", "fifth", "sixth"} {
			a.come(who)
		}
		a.pace = 3 / inOrder.Seconds()
		a.leave()
		a.next("sixth", 0)
		a.leave()
		a.next("fifth", 0)
		a.leave()
		a.next("second", 0)
	})
}

func TestInACrowdTheNewestIsTaken(t *testing.T) {
	testArrivals(t, func(t *testing.T, a arrivals) {
		a.come("first")
		time.Sleep(2 * crowded)
		a.come("second")
		a.come("third")
		a.leave()
		a.next("third", 0)
		a.leave()
		a.next("second", 0)
		a.leave() // the place is left to who comes next
		a.come("fourth")
		a.next("fourth", 0)
		a.next("first is refused", patience-2*crowded)
		if got := a.shed.Load(); got != 1 || a.waiting.Len() != 0 || a.underWay != a.bound {
			t.Errorf("counted: %d, waiting: %d, under way: %d of %d", got, a.waiting.Len(), a.underWay, a.bound)
		}
	})
}

func TestAfterACrowdTheOthersAreTaken(t *testing.T) {
	testArrivals(t, func(_ *testing.T, a arrivals) {
		a.come("first")
		a.come("second")
		time.Sleep(2 * crowded)
		a.leave()
		a.next("second", 0)
		a.leave()
		a.next("first", 0)
	})
}

// TestAfterACrowdAFewWhoComeDoNotHoldUpTheOthers: who comes now and then takes no more than a place.
func TestAfterACrowdAFewWhoComeDoNotHoldUpTheOthers(t *testing.T) {
	testArrivals(t, func(t *testing.T, a arrivals) {
		for range 60 {
			a.come("one of the crowd")
		}
		time.Sleep(2 * crowded)
		a.come("the last of it") // as many have come as leave
		for range a.bound / 2 {
			a.leave()
		}
		for range 10 {
			a.come("a straggler")
			time.Sleep(fresh * 3 / 4)
			a.leave()
		}
		if a.underWay < a.bound && a.waiting.Len() > 0 {
			t.Errorf("%d are under way of %d, and %d wait", a.underWay, a.bound, a.waiting.Len())
		}
	})
}

// TestAPlaceIsNotLeftEmpty: it is kept for who comes next, and not for long, also while others stay under way.
func TestAPlaceIsNotLeftEmpty(t *testing.T) {
	testArrivals(t, func(_ *testing.T, a arrivals) {
		a.come("first")
		time.Sleep(2 * crowded)
		a.come("second")
		a.leave()
		a.next("second", 0)
		a.leave()
		a.next("first", fresh)
	})
}

func TestAnIdleGatewayTakesAtOnce(t *testing.T) {
	testArrivals(t, func(_ *testing.T, a arrivals) {
		a.come("first")
		time.Sleep(2 * crowded)
		a.come("second")
		a.leave()
		a.next("second", 0)
		for a.underWay > 0 {
			a.leave()
		}
		a.next("first", 0)
	})
}

func TestWhoWaitsTooLongIsToldWhenToComeAgain(t *testing.T) {
	testArrivals(t, func(t *testing.T, b arrivals) {
		err := b.enter(t.Context(), time.Now())
		var refused *usher.Error
		if !errors.As(err, &refused) || refused.Code != usher.CodeUnavailable || refused.RetryAfter < overloadRetry || b.shed.Load() != 1 {
			t.Errorf("%v, counted: %d", err, b.shed.Load())
		}
		gone, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Millisecond, cancel)
		began := time.Now()
		if err := b.enter(gone, time.Now()); err == nil || time.Since(began) > patience/2 {
			t.Errorf("a caller who is gone still waits: %v after %s", err, time.Since(began))
		}
	})
}

func TestOfTooManyWhoWaitTheOldestIsRefused(t *testing.T) {
	testArrivals(t, func(t *testing.T, b arrivals) {
		for range mostWaiting {
			b.come("one who waits")
		}
		if before := b.shed.Load(); before != 0 {
			t.Fatalf("%d were refused before", before)
		}
		b.come("one too many")
		if b.shed.Load() != 1 || b.waiting.Len() != mostWaiting {
			t.Errorf("%d were refused, %d wait", b.shed.Load(), b.waiting.Len())
		}
	})
}

func TestWithoutABoundNothingWaits(t *testing.T) {
	t.Parallel()
	var o overload
	for range 2 * mostWaiting {
		if err := o.enter(t.Context(), time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	o.leave()
}

// TestNextBound: whatever the waits are, a bound is one that keeps the processors busy, falls while they are too long, and
// is gone some time after they are not.
func TestNextBound(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		processors := rapid.IntRange(1, 256).Draw(t, "processors")
		underWay := rapid.IntRange(0, 100_000).Draw(t, "under way")
		bound := 0
		for _, waited := range rapid.SliceOf(rapid.Float64Range(0, 100)).Draw(t, "waited") {
			tooLong, leaving := waited > 1, rapid.Bool().Draw(t, "leaving")
			next := nextBound(bound, underWay, processors, waited, leaving)
			switch least := leastBound * processors; {
			case next != 0 && next < least, tooLong && next == 0, next < bound/2 && next != 0:
				t.Fatalf("%d after %d", next, bound)
			case tooLong && bound > least && next >= bound, !tooLong && bound == 0 && next != 0:
				t.Fatalf("%d after %d", next, bound)
			case !tooLong && leaving && next != 0 && next <= bound, !tooLong && !leaving && next != bound:
				t.Fatalf("%d after %d", next, bound)
			}
			bound = next
		}
		for range 200 {
			bound = nextBound(bound, underWay, processors, 0, true)
		}
		if bound != 0 {
			t.Fatalf("ten seconds later still %d", bound)
		}
	})
}

// TestWhoHardlyWaitsDoesNotHideWhoDoes: that many goroutines are woken for a moment says nothing of how long work waits.
func TestWhoHardlyWaitsDoesNotHideWhoDoes(t *testing.T) {
	t.Parallel()
	bounds := []float64{0, .000_001, .010, .100, 1}
	before := waits{[]uint64{5, 5, 5, 5}, bounds}
	for _, hardly := range []uint64{0, 10, 100_000} {
		if got := (waits{[]uint64{5 + hardly, 5 + hardly, 105, 5}, bounds}).typical(before); got != 10*time.Millisecond {
			t.Errorf("a hundred have waited for 10 ms, and beside %d who hardly did it seems to be %s", hardly, got)
		}
	}
	if got := (waits{[]uint64{5, 5, 105, 6}, bounds}).typical(before); got != 10*time.Millisecond {
		t.Errorf("one who has waited for 100 ms makes 10 ms of a hundred others %s", got)
	}
}

// TestTheRuntimeTellsOfWaits: what the runtime counts is what is read here.
func TestTheRuntimeTellsOfWaits(t *testing.T) {
	t.Parallel()
	before := readWaits()
	if len(before.bounds) != len(before.counts)+1 {
		t.Fatalf("%d counts in %d bounds", len(before.counts), len(before.bounds))
	}
	if all := before.typical(waits{}); all < 0 || all > time.Minute {
		t.Errorf("work has waited for %s", all)
	}
	if none := before.typical(before); none != 0 {
		t.Errorf("in no time somebody has waited for %s", none)
	}
}
