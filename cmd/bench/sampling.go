package main

import (
	"fmt"
	"time"
)

// A percentile is that of enough samples. A round that has fewer when its time is over goes on until it has them, but not
// for ever: what is then missing is said, and the range of the samples stands beside the figure.
const (
	leastSamples      = 100 // of what is asked for one after the other; the p99 is the second slowest
	leastSamplesQuick = 20
	leastAdds         = 500 // of adds at a rate; the p99 is the fifth slowest
	leastAddsQuick    = 100
	patience          = 30 * time.Second
)

func (h *harness) leastAdds() int {
	if h.quick {
		return leastAddsQuick
	}
	return leastAdds
}

// sampling is how long one round takes samples.
type sampling struct {
	least int
	over  time.Time // the round's time
	last  time.Time // no longer in any case
}

func (h *harness) sampling(round time.Duration) sampling {
	s := sampling{least: leastSamples, over: time.Now().Add(round)}
	if h.quick {
		s.least = leastSamplesQuick
	}
	s.last = s.over.Add(patience)
	return s
}

// until is when a round with so many samples ends, if it gets no more.
func (s sampling) until(samples int) time.Time {
	if samples >= s.least {
		return s.over
	}
	return s.last
}

func (s sampling) ended(samples int) bool { return !time.Now().Before(s.until(samples)) }

// enough says when there are fewer samples than there should be, and fails only without any.
func (h *harness) enough(what string, samples, least int) error {
	switch {
	case samples == 0:
		return fmt.Errorf("%s: no samples", what)
	case samples < least:
		h.say("%s: only %d samples of %d, after %s more than the round: the figure is as uncertain as that", what, samples, least, patience)
	}
	return nil
}

// spread is the range of the samples that a percentile is of, and their number.
func spread(sorted []time.Duration) []number {
	return []number{
		of("samples", float64(len(sorted)), ""), of("fastest", millis(percentile(sorted, 0)), "ms"), of("slowest", millis(percentile(sorted, 1)), "ms"),
	}
}
