package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"usher/store/porttest"
)

func TestTheBestMembersAreUsed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ found, want string }{
		{"a serves, b serves, c serves", "a b c"},
		{"a serves, b silent, c serves", "a c"},
		{"a serves, b answers, c serves", "a c"},
		{"a silent, b silent, c serves", "c"},
		{"a answers, b silent, c answers", "a c"}, // an election, and who led before hangs
		{"a answers, b answers, c answers", "a b c"},
		{"a silent, b silent, c silent", "a b c"},
		{"", "a b c"}, // nobody was asked yet
	} {
		found := make(map[string]finding)
		for _, one := range strings.Split(c.found, ", ") {
			member, how, _ := strings.Cut(one, " ")
			found[member] = finding{health: map[string]health{"answers": answers, "serves": serves}[how]}
		}
		endpoints := []string{"a", "b", "c"}
		if got := strings.Join(best(endpoints, found), " "); got != c.want {
			t.Errorf("%s: %s are used, want %s", c.found, got, c.want)
		}
		if len(endpoints) != 3 || endpoints[1] != "b" {
			t.Errorf("%s: the configured ones are now %v", c.found, endpoints)
		}
	}
}

// door is a way to a server that can be held: then nothing is delivered either way, and connections stay open and can be
// made, as if the server's process were stopped.
type door struct {
	listener net.Listener
	held     sync.RWMutex // held for reading by what is delivered
}

func openDoor(t *testing.T, to string) *door {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &door{listener: listener}
	var carrying sync.WaitGroup
	t.Cleanup(func() { _ = listener.Close(); carrying.Wait() })
	carrying.Go(func() { // ends with the listener
		for {
			from, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", to)
			if err != nil {
				_ = from.Close()
				continue
			}
			carrying.Go(func() { d.carry(server, from) }) // both end when either side does
			carrying.Go(func() { d.carry(from, server) })
		}
	})
	return d
}

func (d *door) carry(to, from net.Conn) {
	defer func() { _, _ = to.Close(), from.Close() }()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		d.held.RLock()
		_, writeErr := to.Write(buffer[:n])
		d.held.RUnlock()
		if err != nil || writeErr != nil {
			return
		}
	}
}

// startCluster starts three members, and gives a way to each.
func startCluster(t *testing.T) (members []*embed.Etcd, doors []*door) {
	t.Helper()
	var peers, clients []url.URL
	var initial []string
	for i := range 3 {
		for _, urls := range []*[]url.URL{&peers, &clients} {
			*urls = append(*urls, url.URL{Scheme: "http", Host: porttest.Free(t)})
		}
		initial = append(initial, fmt.Sprintf("m%d=%s", i, &peers[i]))
	}
	for i := range 3 {
		config, err := embedConfig(EmbedOptions{Dir: filepath.Join(t.TempDir(), "data"), ListenClient: clients[i].String(), Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		config.Name, config.InitialCluster = fmt.Sprintf("m%d", i), strings.Join(initial, ",")
		config.ListenPeerUrls, config.AdvertisePeerUrls = peers[i:i+1], peers[i:i+1]
		config.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
		member, err := embed.StartEtcd(config)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(member.Close)
		members, doors = append(members, member), append(doors, openDoor(t, clients[i].Host))
	}
	for _, member := range members {
		<-member.Server.ReadyNotify()
	}
	return members, doors
}

// TestAMemberThatHangsIsLeftOut: of three members one takes what it is sent and does not answer it, as a process that is
// stopped; or tells its status as ever, and applies nothing, as during a defragmentation. Writes are soon as they were, and
// what was sent to it before is answered when it goes on; then it is used again.
//
// It runs beside no other, since what is bounded is a time.
func TestAMemberThatHangsIsLeftOut(t *testing.T) {
	cluster, doors := startCluster(t)
	victim := 0
	if cluster[0].Server.Leader() == cluster[0].Server.MemberID() {
		victim = 1
	}
	var endpoints []string
	for _, d := range doors {
		endpoints = append(endpoints, "http://"+d.listener.Addr().String())
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	log, err := Dial(ctx, DialOptions{Endpoints: endpoints, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	metrics := prometheus.NewRegistry()
	s, err := Open(log, Options{Logger: slog.New(slog.DiscardHandler), Metrics: metrics}, numbers)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if err := s.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		hang  sync.Locker
		up    float64       // of the member, meanwhile
		bound time.Duration // until writes are as ever: for what etcd's keepalive would mend too, less than that takes (15 s)
	}{
		{"it does not answer", &doors[victim].held, 0, 14 * time.Second},
		{"it applies nothing", backendOf(cluster[victim]), 1, 25 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			waitUntil(t, "all members are used", func() bool { return len(log.requests.Endpoints()) == 3 })
			c.hang.Lock()
			goOn := sync.OnceFunc(c.hang.Unlock)
			defer goOn()
			began := time.Now()
			var before sync.WaitGroup
			for i := range 3 { // one for each member
				before.Go(func() {
					_, err := log.requests.Put(ctx, fmt.Sprintf("/before/%d", i), "")
					if err != nil && !errors.Is(err, rpctypes.ErrTimeout) { // the member itself gives up after 7 s
						t.Errorf("what was sent before the member was left out: %v", err)
					}
				})
			}
			defer before.Wait()
			for done := 0; done < 12; { // one of three, as before, would be sent to it
				done++
				if _, err := Commit(ctx, s, add(1, 1000, "n")); err != nil {
					t.Logf("after %s: %v", time.Since(began).Round(time.Millisecond), err)
					done = 0
					<-time.After(tick)
				}
				if took := time.Since(began); took > c.bound {
					t.Fatalf("after %s there were no twelve writes in a row", took.Round(time.Millisecond))
				}
			}
			t.Logf("twelve writes in a row after %s", time.Since(began).Round(time.Millisecond))
			if used := log.requests.Endpoints(); slices.Contains(used, endpoints[victim]) {
				t.Errorf("%v are used", used)
			}
			// On a busy machine another may have been late for a moment.
			waitUntil(t, "both others are used", func() bool { return len(log.requests.Endpoints()) == 2 })
			for i, endpoint := range endpoints {
				up, serving := 1., 1.
				if i == victim {
					up, serving = c.up, 0
				}
				waitUntil(t, fmt.Sprintf("of %s up is %v and serving is %v", endpoint, up, serving), func() bool { // it may have been half asked
					return gauge(t, metrics, "usher_etcd_up", endpoint) == up && gauge(t, metrics, "usher_etcd_serving", endpoint) == serving
				})
			}
			goOn()
			waitUntil(t, "it is used again", func() bool { return len(log.requests.Endpoints()) == 3 })
		})
	}
}

// TestAWatchLeavesAMemberThatIsLeftOut, and one that has begun since then stays: it may have found nobody else.
func TestAWatchLeavesAMemberThatIsLeftOut(t *testing.T) {
	t.Parallel()
	s := openStore(t, newPrefix())
	ctx := deadline(t)
	answer, err := etcd.requests.Get(ctx, "anything")
	if err != nil {
		t.Fatal(err)
	}
	member, m := answer.Header.MemberId, &s.members
	waitUntil(t, "the member was asked", func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.found != nil
	})
	now := time.Now()
	m.mu.Lock()
	m.leftOut = map[uint64]time.Time{member: now}
	m.mu.Unlock()
	waitUntil(t, "the watch has left", func() bool {
		var breaks dto.Metric
		if err := s.metrics.breaks.Write(&breaks); err != nil {
			t.Fatal(err)
		}
		return breaks.GetCounter().GetValue() > 0
	})
	if m.leftOutSince(member, now.Add(time.Second)) {
		t.Error("a watch that began since then leaves, too")
	}
	if m.leftOutSince(member+1, now.Add(-time.Second)) {
		t.Error("a watch leaves another member")
	}
	written, err := etcd.requests.Put(ctx, s.options.Prefix+"numbers/n", "1")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.WaitRevision(ctx, written.Header.Revision); err != nil {
		t.Errorf("the watch has not come back: %v", err)
	}
}

// backend is what a member applies transactions to; a defragmentation locks it in the same way.
type backend struct{ member *embed.Etcd }

func backendOf(member *embed.Etcd) backend { return backend{member} }

func (b backend) Lock()   { b.member.Server.Backend().BatchTx().LockOutsideApply() }
func (b backend) Unlock() { b.member.Server.Backend().BatchTx().Unlock() }

func waitUntil(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for began := time.Now(); !holds(); <-time.After(tick) {
		if time.Since(began) > 10*time.Second {
			t.Fatalf("not after 10 s: %s", what)
		}
	}
}

// gauge is a metric of the member; -1 when there is none.
func gauge(t *testing.T, from prometheus.Gatherer, name, member string) float64 {
	t.Helper()
	families, err := from.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			if family.GetName() == name && metric.GetLabel()[0].GetValue() == member {
				return metric.GetGauge().GetValue()
			}
		}
	}
	return -1
}
