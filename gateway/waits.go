package gateway

import (
	goruntime "runtime/metrics"
	"time"
)

// waits is a histogram of how long goroutines that could run have waited for a processor.
type waits struct {
	counts []uint64
	bounds []float64 // in seconds; one more than counts
}

// readWaits asks the runtime, which takes some microseconds.
func readWaits() waits {
	sample := []goruntime.Sample{{Name: "/sched/latencies:seconds"}}
	goruntime.Read(sample)
	h := sample[0].Value.Float64Histogram()
	return waits{counts: h.Counts, bounds: h.Buckets}
}

// typical is the wait in the middle of all that was waited since before: half of that time was spent in shorter ones; 0
// when nobody has waited. Unlike a share of the waits it does not depend on how many goroutines hardly wait at all.
func (w waits) typical(before waits) time.Duration {
	spent := func(i int) float64 {
		n := w.counts[i]
		if i < len(before.counts) {
			n -= before.counts[i]
		}
		return float64(n) * max(0, w.bounds[i]) // the lower bound: the upper may be infinite
	}
	var all, seen float64
	for i := range w.counts {
		all += spent(i)
	}
	for i := range w.counts {
		if seen += spent(i); seen > 0 && 2*seen >= all {
			return time.Duration(w.bounds[i] * float64(time.Second))
		}
	}
	return 0
}
