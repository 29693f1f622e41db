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

// ninetieth is what nine in ten have waited for at most since before; 0 when nobody has.
func (w waits) ninetieth(before waits) time.Duration {
	since := func(i int) uint64 {
		if i < len(before.counts) {
			return w.counts[i] - before.counts[i]
		}
		return w.counts[i]
	}
	var all, seen uint64
	for i := range w.counts {
		all += since(i)
	}
	for i := range w.counts {
		if seen += since(i); all > 0 && seen*10 >= all*9 {
			return time.Duration(w.bounds[i] * float64(time.Second)) // the lower bound: the upper may be infinite
		}
	}
	return 0
}
