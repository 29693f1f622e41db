package store

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.etcd.io/etcd/client/v3"
)

const (
	membersInterval = 10 * time.Second
	memberTimeout   = 2 * time.Second
)

// members is how etcd's members are, asked of each: what an operator must know before the log stops to take writes, also
// where nobody scrapes etcd itself.
type members struct {
	mu     sync.Mutex
	status map[string]*clientv3.StatusResponse // by endpoint; nil for one that does not answer; guarded by mu

	up, leader, size, used, quota, alarm *prometheus.Desc
}

func (m *members) describe(registry prometheus.Registerer) {
	describe := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, append([]string{"member"}, labels...), nil)
	}
	m.up = describe("usher_etcd_up", "1 when the member of etcd answers this replica.")
	m.leader = describe("usher_etcd_has_leader", "1 when the member knows a leader.")
	m.size = describe("usher_etcd_db_size_bytes", "Size of the member's database file.")
	m.used = describe("usher_etcd_db_used_bytes", "The part of the database file that a defragmentation would leave.")
	m.quota = describe("usher_etcd_db_quota_bytes", "Size of the database file at which etcd takes no more writes.")
	m.alarm = describe("usher_etcd_alarm", "1 when the alarm is raised. Writes are refused until it is disarmed.", "alarm")
	if registry != nil {
		registry.MustRegister(m)
	}
}

// follow asks the members now and then, until the context ends.
func (m *members) follow(ctx context.Context, s *Store) error {
	ticker := time.NewTicker(membersInterval)
	defer ticker.Stop()
	for {
		m.ask(ctx, s)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

func (m *members) ask(ctx context.Context, s *Store) {
	endpoints := s.log.requests.Endpoints()
	if len(endpoints) == 0 {
		endpoints = []string{embeddedMemberName} // the client of the embedded server knows only the one
	}
	status := make(map[string]*clientv3.StatusResponse, len(endpoints))
	var (
		mu    sync.Mutex // guards status
		asked sync.WaitGroup
	)
	for _, endpoint := range endpoints {
		asked.Go(func() {
			asking, cancel := context.WithTimeout(ctx, memberTimeout)
			defer cancel()
			response, err := s.log.requests.Status(asking, endpoint)
			if err != nil {
				s.options.Logger.Debug("a member of etcd does not answer", "member", endpoint, "error", err)
				response = nil
			}
			mu.Lock()
			status[endpoint] = response
			mu.Unlock()
		})
	}
	asked.Wait()
	m.mu.Lock()
	m.status = status
	m.mu.Unlock()
}

// Describe is part of prometheus.Collector.
func (m *members) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.up, m.leader, m.size, m.used, m.quota, m.alarm} {
		to <- d
	}
}

// alarms are those that etcd knows.
var alarms = []string{"NOSPACE", "CORRUPT"}

// Collect is part of prometheus.Collector.
func (m *members) Collect(to chan<- prometheus.Metric) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for member, status := range m.status {
		gauge := func(d *prometheus.Desc, value float64, labels ...string) {
			to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, append([]string{member}, labels...)...)
		}
		gauge(m.up, number(status != nil))
		if status == nil {
			continue
		}
		gauge(m.leader, number(status.Leader != 0))
		gauge(m.size, float64(status.DbSize))
		gauge(m.used, float64(status.DbSizeInUse))
		if status.DbSizeQuota > 0 { // etcd before 3.6 does not tell
			gauge(m.quota, float64(status.DbSizeQuota))
		}
		raised := strings.Join(status.Errors, " ")
		for _, alarm := range alarms {
			gauge(m.alarm, number(strings.Contains(raised, alarm)), alarm)
		}
	}
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
