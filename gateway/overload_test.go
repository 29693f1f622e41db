package gateway

import (
	"net/http"
	"testing"
	"time"
)

// TestOverload drives the share that is let in by waits that the test makes up.
func TestOverload(t *testing.T) {
	t.Parallel()
	const fast, slow = 0, 2 // places in the histogram
	now := time.Now()
	counts := make([]uint64, 3)
	shed := make(map[string]int)
	o := overload{
		most: 20 * time.Millisecond, shed: func(kind string) { shed[kind]++ },
		waits: func() waits { return waits{append([]uint64(nil), counts...), []float64{0, .001, .1, 1}} },
	}
	// pass lets time go by in which work waits for so long, and says which share of requests was let in at its end.
	pass := func(wait int, lasts time.Duration) (reads, writes float64) {
		for end := now.Add(lasts); now.Before(end); now = now.Add(lookInterval) {
			counts[wait] += 100
			o.look(now)
		}
		const asked = 4000
		for range asked {
			if o.admit(http.MethodGet, now) == nil {
				reads++
			}
			if o.admit(http.MethodPost, now) == nil {
				writes++
			}
		}
		return reads / asked, writes / asked
	}
	near := func(got, want float64) bool { return got > want-.05 && got < want+.05 }
	check := func(what string, reads, writes, wantReads, wantWrites float64) {
		t.Helper()
		if !near(reads, wantReads) || !near(writes, wantWrites) {
			t.Errorf("%s: %.2f of reads and %.2f of writes are let in, want %.2f and %.2f", what, reads, writes, wantReads, wantWrites)
		}
	}
	r, w := pass(fast, time.Second)
	check("below saturation", r, w, 1, 1)
	r, w = pass(slow, 400*time.Millisecond)
	check("in a burst", r, w, 1, 1)
	r, w = pass(fast, 2*time.Second)
	check("after the burst", r, w, 1, 1)
	r, w = pass(slow, overloadLasts+200*time.Millisecond)
	if r != 1 || w > .8 || w < .4 {
		t.Errorf("soon after the beginning of an overload %.2f of reads and %.2f of writes are let in", r, w)
	}
	r, w = pass(slow, time.Minute)
	check("after a minute of overload", r, w, 2*float64(leastShare), float64(leastShare))
	r, w = pass(fast, 10*time.Second)
	check("when it is over", r, w, 1, 1)
	pass(slow, time.Minute)
	now = now.Add(2 * time.Second)
	r, w = pass(fast, lookInterval)
	check("when nobody has come meanwhile", r, w, 1, 1)
	if shed["read"] == 0 || shed["write"] == 0 {
		t.Errorf("counted: %v", shed)
	}
	if (&overload{}).admit(http.MethodPost, now) != nil {
		t.Error("without a bound something is refused")
	}
}

// TestTheRuntimeTellsOfWaits: what the runtime counts is what is read here.
func TestTheRuntimeTellsOfWaits(t *testing.T) {
	t.Parallel()
	before := readWaits()
	if len(before.bounds) != len(before.counts)+1 {
		t.Fatalf("%d counts in %d bounds", len(before.counts), len(before.bounds))
	}
	if all := before.ninetieth(waits{}); all < 0 || all > time.Minute {
		t.Errorf("nine in ten have waited for %s", all)
	}
	if none := before.ninetieth(before); none != 0 {
		t.Errorf("in no time somebody has waited for %s", none)
	}
}
