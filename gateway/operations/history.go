package operations

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	dto "github.com/prometheus/client_model/go"
)

const (
	sampleInterval = 5 * time.Second
	// remembered is how far back the status page looks. Whoever wants more has Prometheus.
	remembered = 15 * time.Minute
	// busyWindow is over how long the busiest tenants are found.
	busyWindow = 5 * time.Minute
)

// history keeps samples of the process's own metrics: the status page shows what Prometheus would, from the same numbers.
type history struct {
	mu      sync.Mutex
	samples []sample // the oldest first; guarded by mu
}

// sample is what the metrics were at a time.
type sample struct {
	at       time.Time
	requests map[string]float64 // by class of the status
	duration buckets            // of requests
	commits  buckets            // of transactions
	joins    float64
	tenants  map[string]float64 // requests by tenant
	gauges   map[string]float64 // by name, of those that have no labels
	members  map[string]member  // etcd's, by endpoint
}

type member struct {
	up, serving, leader bool
	size, quota         float64 // bytes
}

// buckets are a histogram's: how many were at most as long as the bound, in seconds.
type buckets struct {
	bounds []float64
	counts []float64 // cumulative
	total  float64
}

// Sample watches the metrics for the status page, until the context ends.
func (o *Operations) Sample(ctx context.Context) {
	ticker := time.NewTicker(o.Interval)
	defer ticker.Stop()
	for {
		families, err := o.Metrics.Gather()
		if err != nil {
			o.Logger.Warn("not all metrics could be gathered", "error", err)
		}
		o.history.keep(sampleOf(families, o.Now()))
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (h *history) keep(s sample) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.samples = append(h.samples, s)
	old := 0
	for s.at.Sub(h.samples[old].at) > remembered {
		old++
	}
	h.samples = slices.Delete(h.samples, 0, old)
}

func (h *history) all() []sample {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.samples)
}

func sampleOf(families []*dto.MetricFamily, at time.Time) sample {
	s := sample{
		at: at, requests: make(map[string]float64), tenants: make(map[string]float64), gauges: make(map[string]float64),
		members: make(map[string]member),
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			s.read(family.GetName(), m)
		}
	}
	return s
}

func (s *sample) read(name string, m *dto.Metric) {
	switch name {
	case "usher_http_request_duration_seconds":
		s.requests[label(m, "status")] += float64(m.GetHistogram().GetSampleCount())
		s.duration.add(m.GetHistogram())
	case "usher_log_commit_duration_seconds":
		s.commits.add(m.GetHistogram())
	case "usher_participants_joins_total":
		if label(m, "outcome") == "seated" {
			s.joins += m.GetCounter().GetValue()
		}
	case "usher_tenant_requests_total":
		s.tenants[label(m, "tenant")] += m.GetCounter().GetValue()
	case "usher_etcd_up", "usher_etcd_serving", "usher_etcd_has_leader", "usher_etcd_db_size_bytes", "usher_etcd_db_quota_bytes":
		s.readMember(name, label(m, "member"), m.GetGauge().GetValue())
	default:
		if g := m.GetGauge(); g != nil && (len(m.GetLabel()) == 0 || name == "usher_tenants") {
			s.gauges[name] += g.GetValue()
		}
	}
}

func (s *sample) readMember(name, endpoint string, value float64) {
	is := s.members[endpoint]
	switch name {
	case "usher_etcd_up":
		is.up = value == 1
	case "usher_etcd_serving":
		is.serving = value == 1
	case "usher_etcd_has_leader":
		is.leader = value == 1
	case "usher_etcd_db_size_bytes":
		is.size = value
	case "usher_etcd_db_quota_bytes":
		is.quota = value
	}
	s.members[endpoint] = is
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

func (b *buckets) add(h *dto.Histogram) {
	if b.bounds == nil {
		for _, bucket := range h.GetBucket() {
			b.bounds = append(b.bounds, bucket.GetUpperBound())
		}
		b.counts = make([]float64, len(b.bounds))
	}
	for i, bucket := range h.GetBucket() {
		if i < len(b.counts) {
			b.counts[i] += float64(bucket.GetCumulativeCount())
		}
	}
	b.total += float64(h.GetSampleCount())
}

// quantile of what came between two samples, by interpolation as Prometheus does it; 0 when nothing came.
func (b buckets) quantile(q float64, before buckets) float64 {
	rank := q * (b.total - before.total)
	if rank <= 0 {
		return 0
	}
	below, bound := 0.0, 0.0
	for i, count := range b.counts {
		if i < len(before.counts) {
			count -= before.counts[i]
		}
		if count >= rank && count > below {
			return bound + (b.bounds[i]-bound)*(rank-below)/(count-below)
		}
		below, bound = count, b.bounds[i]
	}
	return bound // longer than the last bound
}

// busyTenant is a tenant by its requests.
type busyTenant struct {
	ID        string
	PerSecond float64
}

const busiestShown = 8

// busiest are the tenants with the most requests of late.
func busiest(samples []sample) []busyTenant {
	if len(samples) < 2 {
		return nil
	}
	last := samples[len(samples)-1]
	since := samples[0]
	for _, s := range samples {
		if last.at.Sub(s.at) >= busyWindow {
			since = s
		}
	}
	seconds := last.at.Sub(since.at).Seconds()
	var busy []busyTenant
	for _, t := range slices.Sorted(maps.Keys(last.tenants)) {
		if n := last.tenants[t] - since.tenants[t]; n > 0 {
			busy = append(busy, busyTenant{ID: t, PerSecond: n / seconds})
		}
	}
	slices.SortStableFunc(busy, func(a, b busyTenant) int { return cmp.Compare(b.PerSecond, a.PerSecond) })
	return busy[:min(len(busy), busiestShown)]
}
