package store

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"go.opentelemetry.io/otel/trace"

	"usher"
)

// metrics is what the log, the writer and the watch tell of themselves. Durations are in seconds, batches in changes.
type metrics struct {
	batch     prometheus.Histogram
	wait      prometheus.Histogram
	redecided prometheus.Counter
	shed      prometheus.Counter

	decide     prometheus.Histogram
	overBudget prometheus.Counter
	commits    *prometheus.HistogramVec

	lag      prometheus.Histogram
	events   prometheus.Counter
	breaks   prometheus.Counter
	relists  *prometheus.CounterVec
	listTook prometheus.Gauge
}

// commitBuckets reach from a transaction on a local SSD to the longest that is waited for.
var commitBuckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5}

func newMetrics(s *Store, registry prometheus.Registerer) *metrics {
	make := promauto.With(registry)
	m := &metrics{
		batch: make.NewHistogram(prometheus.HistogramOpts{
			Name: "usher_writer_batch_changes", Help: "Changes that one transaction of the log carried.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 11),
		}),
		wait: make.NewHistogram(prometheus.HistogramOpts{
			Name: "usher_writer_wait_seconds", Help: "From a change's arrival at the writer until its transaction is sent.", Buckets: commitBuckets,
		}),
		redecided: make.NewCounter(prometheus.CounterOpts{
			Name: "usher_writer_redecided_total", Help: "Changes that were decided again because another replica had written first.",
		}),
		shed: make.NewCounter(prometheus.CounterOpts{
			Name: "usher_writer_shed_total", Help: "Changes that were refused because more came than the log takes.",
		}),
		decide: make.NewHistogram(prometheus.HistogramOpts{
			Name: "usher_writer_decide_seconds", Help: "How long a decision took. All writes of the replica wait for it.",
			Buckets: prometheus.ExponentialBuckets(1e-6, 4, 10),
		}),
		overBudget: make.NewCounter(prometheus.CounterOpts{
			Name: "usher_writer_decide_over_budget_total", Help: "Decisions that took longer than the 10 ms that one may; the log names them.",
		}),
		commits: make.NewHistogramVec(prometheus.HistogramOpts{
			Name: "usher_log_commit_duration_seconds", Help: "Transactions of the log: committed, refused for sure, or of unknown outcome.", Buckets: commitBuckets,
		}, []string{"outcome"}),
		lag: make.NewHistogram(prometheus.HistogramOpts{
			Name: "usher_watch_lag_seconds", Help: "From the acknowledgement of a transaction until this replica's index shows it.", Buckets: commitBuckets,
		}),
		events: make.NewCounter(prometheus.CounterOpts{Name: "usher_watch_events_total", Help: "Changes that the watch has brought."}),
		breaks: make.NewCounter(prometheus.CounterOpts{Name: "usher_watch_breaks_total", Help: "Times that the watch broke, for whatever reason."}),
		relists: make.NewCounterVec(prometheus.CounterOpts{
			Name: "usher_log_relists_total", Help: "Times that the whole log was listed, by reason. The first load is one.",
		}, []string{"reason"}),
		listTook: make.NewGauge(prometheus.GaugeOpts{
			Name: "usher_log_last_list_duration_seconds", Help: "How long the last list of the whole log took, until the index showed it.",
		}),
	}
	for _, reason := range relistReasons {
		m.relists.WithLabelValues(string(reason))
	}
	m.describe(s, make)
	return m
}

// describe registers what is read from the store when it is asked for.
func (m *metrics) describe(s *Store, make promauto.Factory) {
	gauge := func(name, help string, labels prometheus.Labels, value func() float64) {
		make.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}, value)
	}
	gauge("usher_writer_queue_changes", "Changes that wait for the next transaction.", nil, func() float64 { return float64(s.writer.waiting()) })
	gauge("usher_watch_applied_revision", "The log's revision that the index shows.", nil, func() float64 { return float64(s.Revision()) })
	gauge("usher_watch_observed_revision", "The newest revision that a quorum of etcd has shown this replica.", nil,
		func() float64 { return float64(s.observed()) })
	gauge("usher_log_rejected_records", "Records that do not decode; the last good value of each stays in force.", nil,
		func() float64 { return float64(s.index.countRejected()) })
	gauge("usher_replicas", "Replicas that are alive, as far as this one knows.", nil, func() float64 { return float64(s.Replicas()) })
	gauge("usher_staleness_seconds", "How long ago the index was last proven to hold everything that was committed.", nil,
		func() float64 { return s.staleness().Seconds() })
	for _, state := range []State{Starting, Ready, Stale} {
		gauge("usher_state", "1 for the state that this replica is in: STARTING, READY or STALE.", prometheus.Labels{"state": state.String()},
			func() float64 {
				now, _ := s.State()
				return number(now == state)
			})
	}
}

// committed notes a transaction. Its trace, when it has one, is shown with the bucket that it fell into.
func (m *metrics) committed(span trace.SpanContext, began time.Time, err error) {
	outcome := "committed"
	switch {
	case usher.HasCode(err, usher.CodeOutcomeUnknown):
		outcome = "unknown"
	case err != nil:
		outcome = "refused"
	}
	observe(m.commits.WithLabelValues(outcome), time.Since(began), span)
}

func observe(o prometheus.Observer, took time.Duration, span trace.SpanContext) {
	if exemplars, ok := o.(prometheus.ExemplarObserver); ok && span.IsSampled() {
		exemplars.ObserveWithExemplar(took.Seconds(), prometheus.Labels{"trace_id": span.TraceID().String()})
		return
	}
	o.Observe(took.Seconds())
}
