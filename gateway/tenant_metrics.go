package gateway

import (
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"usher/rooms"
	"usher/tenant"
)

// tenantMetrics counts by tenant, for as many tenants as have room: those who came first have series of their own, until
// they are deleted; what the others do is counted under "other", and how often that happens is counted too.
type tenantMetrics struct {
	limit int
	known func() map[tenant.ID]rooms.Occupancy // asked at each scrape

	mu       sync.RWMutex
	counts   map[tenant.ID]*tenantCounts // guarded by mu
	other    tenantCounts
	overflow atomic.Int64

	requests, joins, limited, rooms, participants, bytes, mostBytes, allRooms, allParticipants, overflowed, series *prometheus.Desc
}

// tenantCounts is what one tenant has done here.
type tenantCounts struct {
	requests [len(statusClasses)]atomic.Int64 // by class of the status
	joins    atomic.Int64
	limited  atomic.Int64
}

// DefaultTenantSeries is how many tenants have series of their own.
const DefaultTenantSeries = 500

const otherTenants = "other"

func newTenantMetrics(limit int, known func() map[tenant.ID]rooms.Occupancy, registry prometheus.Registerer) *tenantMetrics {
	if limit == 0 {
		limit = DefaultTenantSeries
	}
	describe := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	m := &tenantMetrics{
		limit: limit, known: known, counts: make(map[tenant.ID]*tenantCounts),
		requests:     describe("usher_tenant_requests_total", "Requests of a tenant, by class of the status.", "tenant", "status"),
		joins:        describe("usher_tenant_joins_total", "Participants seated for a tenant.", "tenant"),
		limited:      describe("usher_tenant_rate_limited_total", "Requests of a tenant that its rate limit has refused.", "tenant"),
		rooms:        describe("usher_tenant_rooms", "A tenant's rooms that have not ended. The same on every replica.", "tenant"),
		participants: describe("usher_tenant_participants", "A tenant's active participants. The same on every replica.", "tenant"),
		bytes: describe("usher_tenant_stored_bytes",
			"Bytes that are kept for a tenant, or set aside for its rooms. The same on every replica.", "tenant"),
		mostBytes:       describe("usher_tenant_max_stored_bytes", "Bytes that may be kept for a tenant: its setting max_stored_bytes.", "tenant"),
		allRooms:        describe("usher_rooms_active", "Rooms that have not ended. The same on every replica."),
		allParticipants: describe("usher_participants_active", "Participants in rooms. The same on every replica."),
		overflowed: describe("usher_tenant_series_overflows_total",
			"Requests that were counted under tenant=\"other\", because --metrics-max-tenants tenants have series already."),
		series: describe("usher_tenant_series", "Tenants that have series of their own."),
	}
	if registry != nil {
		registry.MustRegister(m)
	}
	return m
}

// request notes one of the tenant's.
func (m *tenantMetrics) request(t tenant.ID, status, joined int, limited bool) {
	if t == "" {
		return
	}
	counts := m.of(t)
	if class := status / 100; class >= 1 && class < len(counts.requests) {
		counts.requests[class].Add(1)
	}
	if joined > 0 {
		counts.joins.Add(int64(joined))
	}
	if limited {
		counts.limited.Add(1)
	}
}

func (m *tenantMetrics) of(t tenant.ID) *tenantCounts {
	m.mu.RLock()
	counts, full := m.counts[t], len(m.counts) >= m.limit
	m.mu.RUnlock()
	if counts == nil && !full {
		counts = m.admit(t)
	}
	if counts == nil {
		m.overflow.Add(1)
		return &m.other
	}
	return counts
}

// admit gives the tenant series of its own, unless others have just taken the last.
func (m *tenantMetrics) admit(t tenant.ID) *tenantCounts {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.counts[t] == nil && len(m.counts) < m.limit {
		m.counts[t] = &tenantCounts{}
	}
	return m.counts[t]
}

// forget takes the series of tenants away that exist no more, which makes room for others.
func (m *tenantMetrics) forget(known map[tenant.ID]rooms.Occupancy) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for t := range m.counts {
		if _, ok := known[t]; !ok {
			delete(m.counts, t)
		}
	}
}

// Describe is part of prometheus.Collector.
func (m *tenantMetrics) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.requests, m.joins, m.limited, m.rooms, m.participants, m.bytes, m.mostBytes, m.allRooms, m.allParticipants, m.overflowed, m.series} {
		to <- d
	}
}

// Collect is part of prometheus.Collector.
func (m *tenantMetrics) Collect(to chan<- prometheus.Metric) {
	known := m.known()
	m.forget(known)
	m.mu.RLock()
	defer m.mu.RUnlock()
	var others, all rooms.Occupancy
	for t, has := range known {
		all.Rooms += has.Rooms
		all.Participants += has.Participants
		if counts := m.counts[t]; counts != nil {
			m.tell(to, string(t), counts, has)
			continue
		}
		others.Rooms += has.Rooms
		others.Participants += has.Participants
		others.Bytes += has.Bytes
		others.MostBytes += has.MostBytes
	}
	m.tell(to, otherTenants, &m.other, others)
	to <- prometheus.MustNewConstMetric(m.allRooms, prometheus.GaugeValue, float64(all.Rooms))
	to <- prometheus.MustNewConstMetric(m.allParticipants, prometheus.GaugeValue, float64(all.Participants))
	to <- prometheus.MustNewConstMetric(m.overflowed, prometheus.CounterValue, float64(m.overflow.Load()))
	to <- prometheus.MustNewConstMetric(m.series, prometheus.GaugeValue, float64(len(m.counts)))
}

func (m *tenantMetrics) tell(to chan<- prometheus.Metric, name string, counts *tenantCounts, has rooms.Occupancy) {
	count := func(d *prometheus.Desc, n int64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), append([]string{name}, labels...)...)
	}
	for class := range counts.requests {
		if n := counts.requests[class].Load(); n > 0 {
			count(m.requests, n, statusClasses[class])
		}
	}
	count(m.joins, counts.joins.Load())
	count(m.limited, counts.limited.Load())
	to <- prometheus.MustNewConstMetric(m.rooms, prometheus.GaugeValue, float64(has.Rooms), name)
	to <- prometheus.MustNewConstMetric(m.participants, prometheus.GaugeValue, float64(has.Participants), name)
	to <- prometheus.MustNewConstMetric(m.bytes, prometheus.GaugeValue, float64(has.Bytes), name)
	to <- prometheus.MustNewConstMetric(m.mostBytes, prometheus.GaugeValue, float64(has.MostBytes), name)
}
