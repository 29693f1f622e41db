package tenant

import (
	"cmp"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"usher"
	"usher/tenant/token"
)

// metrics is what the tenants and their tokens tell of themselves.
type metrics struct {
	issued, verified *prometheus.CounterVec
}

func newMetrics(s *Service, registry prometheus.Registerer) metrics {
	make := promauto.With(registry)
	if registry != nil {
		registry.MustRegister(newCensus(s))
	}
	return metrics{
		issued: make.NewCounterVec(prometheus.CounterOpts{Name: "usher_tokens_issued_total", Help: "Tokens signed, by algorithm."}, []string{"alg"}),
		verified: make.NewCounterVec(prometheus.CounterOpts{
			Name: "usher_tokens_verified_total", Help: "Tokens verified, by their key's algorithm and what came of it: valid, or a code.",
		}, []string{"alg", "result"}),
	}
}

func (m metrics) sign(alg token.Algorithm, tokens int) {
	m.issued.WithLabelValues(string(alg)).Add(float64(tokens))
}

// verify notes a verification. The algorithm is the key's, never what a stranger has written.
func (m metrics) verify(alg token.Algorithm, err error) {
	result := "valid"
	if err != nil {
		result = string(usher.AsError(err).Code)
	}
	m.verified.WithLabelValues(cmp.Or(string(alg), "unknown"), result).Inc()
}

// keysShown is for how many tenants the age of the signing key is told: those that have gone longest without a new one.
const keysShown = 10

// census counts the tenants and looks for old signing keys, when it is asked to.
type census struct {
	service             *Service
	tenants, signs, due *prometheus.Desc
}

func newCensus(s *Service) *census {
	return &census{
		service: s,
		tenants: prometheus.NewDesc("usher_tenants", "Tenants, by status. The same on every replica.", []string{"status"}, nil),
		signs: prometheus.NewDesc("usher_signing_key_active_timestamp_seconds",
			"Since when a tenant's signing key signs, of the tenants with the oldest.", []string{"tenant"}, nil),
		due: prometheus.NewDesc("usher_signing_key_due_timestamp_seconds",
			"When a tenant's signing key has to be replaced by its settings, of the tenants that are due first.", []string{"tenant"}, nil),
	}
}

// Describe is part of prometheus.Collector.
func (c *census) Describe(to chan<- *prometheus.Desc) {
	to <- c.tenants
	to <- c.signs
	to <- c.due
}

// keyTime is a time in the life of a tenant's signing key.
type keyTime struct {
	tenant ID
	at     time.Time
}

// Collect is part of prometheus.Collector.
func (c *census) Collect(to chan<- prometheus.Metric) {
	snapshot, now := c.service.log.Snapshot(), c.service.now()
	byStatus := map[Status]int{StatusActive: 0, StatusSuspended: 0}
	var signs, due []keyTime
	for t := range All(snapshot, "") {
		byStatus[t.Status]++
		key, ok := current(snapshot, t.ID, now)
		if !ok {
			continue
		}
		signs = append(signs, keyTime{t.ID, key.ActiveFrom.Time})
		if days := t.Settings.SigningKeyRotationDays; days > 0 {
			due = append(due, keyTime{t.ID, key.ActiveFrom.AddDate(0, 0, days)})
		}
	}
	for status, n := range byStatus {
		to <- prometheus.MustNewConstMetric(c.tenants, prometheus.GaugeValue, float64(n), string(status))
	}
	first(to, c.signs, signs)
	first(to, c.due, due)
}

// first tells the earliest of the times.
func first(to chan<- prometheus.Metric, d *prometheus.Desc, times []keyTime) {
	slices.SortFunc(times, func(a, b keyTime) int { return a.at.Compare(b.at) })
	for _, k := range times[:min(keysShown, len(times))] {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(k.at.Unix()), string(k.tenant))
	}
}
