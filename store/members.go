package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/client/v3"
)

const (
	membersInterval = 10 * time.Second
	// unwellInterval is how often they are asked while one of them does not serve.
	unwellInterval = time.Second
	// memberTimeout is longer than a member takes that is well, and short: see slowCall.
	memberTimeout = time.Second
)

// members is how etcd's members are, asked of each: what decides which of them are used, and what an operator must know
// before the log stops to take writes, also where nobody scrapes etcd itself.
type members struct {
	mu      sync.Mutex
	found   map[string]finding   // by endpoint; guarded by mu
	leftOut map[uint64]time.Time // by the member's id, since when it is not used; guarded by mu

	ids map[string]uint64 // by endpoint, as the member has last told; only follow's goroutine uses it

	up, serving, leader, size, used, quota, alarm *prometheus.Desc
}

// finding is what came of asking a member how it is.
type finding struct {
	health health
	status *clientv3.StatusResponse // nil for one that is silent
	err    error                    // nil for one that serves
}

func (m *members) describe(registry prometheus.Registerer) {
	describe := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, append([]string{"member"}, labels...), nil)
	}
	m.up = describe("usher_etcd_up", "1 when the member of etcd answers this replica.")
	m.serving = describe("usher_etcd_serving", "1 when the member answers reads by quorum. While any does, this replica uses only those that do.")
	m.leader = describe("usher_etcd_has_leader", "1 when the member knows a leader.")
	m.size = describe("usher_etcd_db_size_bytes", "Size of the member's database file.")
	m.used = describe("usher_etcd_db_used_bytes", "The part of the database file that a defragmentation would leave.")
	m.quota = describe("usher_etcd_db_quota_bytes", "Size of the database file at which etcd takes no more writes.")
	m.alarm = describe("usher_etcd_alarm", "1 when the alarm is raised. Writes are refused until it is disarmed.", "alarm")
	if registry != nil {
		registry.MustRegister(m)
	}
}

// follow asks the members now and then, and at once when one seems to be late, until the context ends. Those that are well
// are used.
func (m *members) follow(ctx context.Context, s *Store) error {
	timer := time.NewTimer(membersInterval)
	defer timer.Stop()
	for {
		found := m.ask(ctx, s)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		m.choose(s, found)
		interval := membersInterval
		for _, f := range found {
			if f.health < serves {
				interval = unwellInterval
			}
		}
		timer.Reset(interval)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		case <-s.log.slow:
		}
	}
}

// ask asks all members, also those that are not used.
func (m *members) ask(ctx context.Context, s *Store) map[string]finding {
	endpoints := s.log.endpoints
	if len(endpoints) == 0 {
		endpoints = []string{embeddedMemberName}
	}
	var (
		mu    sync.Mutex // guards found
		found = make(map[string]finding, len(endpoints))
		asked sync.WaitGroup
	)
	for _, endpoint := range endpoints {
		asked.Go(func() {
			asking, cancel := context.WithTimeout(ctx, memberTimeout)
			defer cancel()
			f := s.askMember(asking, endpoint)
			mu.Lock()
			found[endpoint] = f
			mu.Unlock()
		})
	}
	asked.Wait()
	return found
}

// askMember asks one for its status and then, over the same new connection, for a read by quorum: one whose disk hangs, or
// that is cut off from its peers, tells its status as ever.
func (s *Store) askMember(ctx context.Context, endpoint string) finding {
	if len(s.log.endpoints) == 0 { // the client of the embedded server knows only the one, and there is none to choose
		status, err := s.log.requests.Status(ctx, endpoint)
		if err != nil {
			return finding{health: silent, err: err}
		}
		return finding{health: serves, status: status}
	}
	conn, err := s.log.dial(endpoint)
	if err != nil {
		return finding{health: silent, err: err}
	}
	defer func() { _ = conn.Close() }()
	status, err := etcdserverpb.NewMaintenanceClient(conn).Status(ctx, &etcdserverpb.StatusRequest{})
	if err != nil {
		return finding{health: silent, err: fmt.Errorf("ask for its status: %w", err)}
	}
	f := finding{health: serves, status: (*clientv3.StatusResponse)(status)}
	read := &etcdserverpb.RangeRequest{Key: []byte(s.options.Prefix), CountOnly: true}
	if _, err := etcdserverpb.NewKVClient(conn).Range(clientv3.WithRequireLeader(ctx), read); err != nil {
		f.health, f.err = answers, fmt.Errorf("read by quorum: %w", err)
	}
	return f
}

// choose has those members used that are in the best health.
func (m *members) choose(s *Store, found map[string]finding) {
	chosen, leftOut := best(s.log.endpoints, found), make(map[uint64]time.Time)
	var before []string
	if len(s.log.endpoints) > 0 {
		before = s.log.use(chosen)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, endpoint := range s.log.endpoints {
		was, is, f := slices.Contains(before, endpoint), slices.Contains(chosen, endpoint), found[endpoint]
		if f.status != nil {
			m.ids[endpoint] = f.status.Header.MemberId
		}
		id := m.ids[endpoint]
		switch {
		case was && !is:
			s.options.Logger.Warn("a member of etcd is left out", "member", endpoint, "error", f.err)
			leftOut[id] = time.Now()
		case !is:
			leftOut[id] = m.leftOut[id]
		case !was:
			s.options.Logger.Info("a member of etcd is used again", "member", endpoint)
		}
	}
	m.found, m.leftOut = found, leftOut
}

// leftOutSince says whether the member was in use at the time, and is not any more.
func (m *members) leftOutSince(id uint64, then time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	since, is := m.leftOut[id]
	return is && since.After(then)
}

// Describe is part of prometheus.Collector.
func (m *members) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.up, m.serving, m.leader, m.size, m.used, m.quota, m.alarm} {
		to <- d
	}
}

// alarms are those that etcd knows.
var alarms = []string{"NOSPACE", "CORRUPT"}

// Collect is part of prometheus.Collector.
func (m *members) Collect(to chan<- prometheus.Metric) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for member, f := range m.found {
		gauge := func(d *prometheus.Desc, value float64, labels ...string) {
			to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, append([]string{member}, labels...)...)
		}
		status := f.status
		gauge(m.up, number(status != nil))
		gauge(m.serving, number(f.health == serves))
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
