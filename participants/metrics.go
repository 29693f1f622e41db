package participants

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"usher"
	"usher/rooms"
)

func newJoins(registry prometheus.Registerer) *prometheus.CounterVec {
	return promauto.With(registry).NewCounterVec(prometheus.CounterOpts{
		Name: "usher_participants_joins_total",
		Help: "Requests for a seat, by what came of them: seated, existing (the user had one), replayed (an Idempotency-Key), or the code of the refusal.",
	}, []string{"outcome"})
}

// note counts what came of a batch of requests.
func (s *Service) note(a *admission, requests int, err error) {
	count := func(outcome string, n int) { s.joins.WithLabelValues(outcome).Add(float64(n)) }
	switch {
	case err != nil:
		count(string(usher.AsError(err).Code), requests)
		return
	case a.replayed:
		count("replayed", len(a.seats))
		return
	}
	for _, seat := range a.seats {
		switch {
		case seat.refused != nil:
			count(string(seat.refused.Code), 1)
		case seat.existing:
			count("existing", 1)
		default:
			count("seated", 1)
		}
	}
}

// sweeperMetrics is what the sweep tells of itself. Only the replica that sweeps has anything to tell.
type sweeperMetrics struct {
	leading, lastSuccess prometheus.Gauge
	took                 prometheus.Histogram
	failures             prometheus.Counter
	swept                *prometheus.CounterVec
}

func newSweeperMetrics(registry prometheus.Registerer) sweeperMetrics {
	make := promauto.With(registry)
	return sweeperMetrics{
		leading: make.NewGauge(prometheus.GaugeOpts{Name: "usher_sweeper_leading", Help: "1 on the replica that sweeps."}),
		lastSuccess: make.NewGauge(prometheus.GaugeOpts{
			Name: "usher_sweeper_last_success_timestamp_seconds", Help: "When a sweep of this replica was last complete; 0 when none was.",
		}),
		took: make.NewHistogram(prometheus.HistogramOpts{
			Name: "usher_sweeper_duration_seconds", Help: "How long a sweep took.", Buckets: prometheus.ExponentialBuckets(.001, 4, 9),
		}),
		failures: make.NewCounter(prometheus.CounterOpts{Name: "usher_sweeper_failures_total", Help: "Sweeps that were not complete. The next tries again."}),
		swept: make.NewCounterVec(prometheus.CounterOpts{
			Name: "usher_sweeper_swept_total", Help: "What sweeps did: rooms_ended, rooms_forgotten, participants_timed_out.",
		}, []string{"what"}),
	}
}

func (m sweeperMetrics) sweep(took time.Duration, swept rooms.Swept, err error) {
	m.took.Observe(took.Seconds())
	for what, n := range map[string]int{"rooms_ended": swept.Ended, "rooms_forgotten": swept.Forgotten, "participants_timed_out": swept.TimedOut} {
		m.swept.WithLabelValues(what).Add(float64(n))
	}
	if err != nil {
		m.failures.Inc()
		return
	}
	m.lastSuccess.SetToCurrentTime()
}
