package faults

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// undecodable is a value that is no record.
const undecodable = "this is no JSON"

// ballast writes below the gateways' prefix, in a table that is none of theirs, one revision for each write.
func (b *bench) ballast(t *testing.T, revisions int) {
	t.Helper()
	const writers = 20
	var all sync.WaitGroup
	for i := range writers {
		all.Go(func() {
			for n := range revisions / writers {
				if err := b.put(prefix+"ballast/"+strconv.Itoa(i*revisions+n), "{}"); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}

func (b *bench) put(key, value string, options ...clientv3.OpOption) error {
	ctx, cancel := within(clientTimeout)
	defer cancel()
	_, err := b.cluster.client.Put(ctx, key, value, options...)
	return err
}

func (b *bench) delete(t *testing.T, key string, options ...clientv3.OpOption) {
	t.Helper()
	ctx, cancel := within(clientTimeout)
	defer cancel()
	if _, err := b.cluster.client.Delete(ctx, key, options...); err != nil {
		t.Fatal(err)
	}
}

// compact takes away all history that the witness has seen.
func (b *bench) compact(t *testing.T) {
	t.Helper()
	if err := b.witness.caughtUp(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := within(clientTimeout)
	defer cancel()
	if _, err := b.cluster.client.Compact(ctx, b.witness.at(), clientv3.WithCompactPhysical()); err != nil && !errors.Is(err, rpctypes.ErrCompacted) {
		t.Fatal(err)
	}
}

// nobody is a room of no tenant, of which records can be written that are of no consequence.
const nobody = "tenant_00000000000000000000000000/room_00000000000000000000000000/"

func ban(user string) (key, value string) {
	return prefix + "bans/" + nobody + user, `{"external_user_id":"` + user + `","banned_at":"2026-01-06T10:00:00.000Z","expires_at":"2126-01-06T10:00:00.000Z"}`
}

// compactUnseen compacts what a gateway has not seen yet, a delete among it.
func compactUnseen(t *testing.T, b *bench) {
	g := b.anyGateway()
	key, value := ban("short")
	if err := b.put(key, value); err != nil {
		t.Fatal(err)
	}
	if !until(10*time.Second, func() bool {
		_, _, bans := g.ask("/debug/index/bans")
		return strings.Contains(bans, "short")
	}) {
		t.Fatalf("%s does not show what was put into the log", g.name)
	}
	g.spoil(fault{held: true, watch: true})
	b.work.traffic(100, 2*time.Second)
	b.delete(t, key)
	b.compact(t)
	g.spoil(fault{cut: true})
	b.work.traffic(100, time.Second)
	b.compact(t)
	g.spoil(fault{})
}

// compactWhileLoading compacts again and again while a gateway reads the log for the first time.
func compactWhileLoading(t *testing.T, b *bench) {
	g := b.anyGateway()
	g.kill()
	g.spoil(fault{delay: 50 * time.Millisecond})
	if err := g.start(); err != nil {
		t.Fatal(err)
	}
	compactions := 0
	for deadline := time.Now().Add(30 * time.Second); !g.ready() && time.Now().Before(deadline); compactions++ {
		b.work.traffic(20, time.Second)
		b.compact(t)
	}
	t.Logf("ready after %d compactions", compactions)
	g.spoil(fault{})
}

// spoilARecord writes what no gateway can read, and has one start while it is there.
func spoilARecord(t *testing.T, b *bench) {
	good, value := ban("good")
	bad, _ := ban("bad")
	if err := errors.Join(b.put(good, value), b.put(bad, value), b.put(bad, undecodable)); err != nil {
		t.Fatal(err)
	}
	g := b.anyGateway()
	b.work.traffic(100, 2*time.Second)
	g.kill()
	if err := g.start(); err != nil {
		t.Fatal(err)
	}
	b.waitReady(t)
	for _, g := range b.gateways {
		_, _, bans := g.ask("/debug/index/bans")
		if _, _, ready := g.ask("/readyz"); !strings.Contains(ready, `"rejected_records":"1"`) || !strings.Contains(bans, "/good ") {
			t.Errorf("%s: %s, with the bans %s", g.name, ready, bans)
		}
	}
	b.delete(t, prefix+"bans/"+nobody, clientv3.WithPrefix())
	for _, g := range b.gateways {
		if !until(10*time.Second, func() bool {
			_, _, ready := g.ask("/readyz")
			return strings.Contains(ready, `"rejected_records":"0"`)
		}) {
			t.Errorf("%s still rejects a record that is gone", g.name)
		}
	}
}

// expireMany has a thousand records go in one revision, as the end of a lease does.
func expireMany(t *testing.T, b *bench) {
	ctx, cancel := within(clientTimeout)
	defer cancel()
	lease, err := b.cluster.client.Grant(ctx, 600)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		var puts []clientv3.Op
		for j := range 100 {
			key, value := ban(fmt.Sprintf("u%d-%d", i, j))
			puts = append(puts, clientv3.OpPut(key, value, clientv3.WithLease(lease.ID)))
		}
		if _, err := b.cluster.client.Txn(ctx).Then(puts...).Commit(); err != nil {
			t.Fatal(err)
		}
	}
	b.work.traffic(50, time.Second)
	if _, err := b.cluster.client.Revoke(ctx, lease.ID); err != nil {
		t.Fatal(err)
	}
	b.work.traffic(50, time.Second)
}

// idle lets nobody call for longer than a watch may be silent.
func idle(t *testing.T, b *bench) {
	still := 12 * time.Second
	if *runFor >= 5*time.Minute {
		still = 3 * time.Minute
	}
	goOn := b.work.quiet()
	before := b.breaks(t)
	<-time.After(still)
	after := b.breaks(t)
	goOn()
	if !slices.Equal(before, after) {
		t.Errorf("an idle watch broke: %v, then %v", before, after)
	}
}

var watchBreaks = regexp.MustCompile(`(?m)^usher_watch_breaks_total (.*)$`)

// breaks is how often each gateway's watch has broken.
func (b *bench) breaks(t *testing.T) (breaks []string) {
	t.Helper()
	for _, g := range b.gateways {
		_, _, metrics := g.ask("/metrics")
		found := watchBreaks.FindStringSubmatch(metrics)
		if found == nil {
			t.Fatalf("%s does not tell how often its watch broke", g.name)
		}
		breaks = append(breaks, found[1])
	}
	return breaks
}

// restore takes the log back to an older state, as an operator does from a backup. What was written since is lost; the
// rest, and what comes after, is as good as ever. One gateway is away until the log has outgrown what it knows.
func (b *bench) restore(t *testing.T, flags ...string) {
	t.Helper()
	ctx, cancel := within(clientTimeout)
	defer cancel()
	snapshot := filepath.Join(b.dir, "snapshot.db")
	if err := b.save(ctx, snapshot); err != nil {
		t.Fatal(err)
	}
	b.work.traffic(150, 5*time.Second) // is lost
	defer b.work.quiet()()
	lost, err := b.cluster.revision()
	if err != nil {
		t.Fatal(err)
	}
	b.witness.end()
	for _, m := range b.cluster.members {
		m.kill()
	}
	// It takes longer than this in practice. A gateway that is stale proves the log before it is ready again; one that has
	// not noticed that etcd was gone finds out within a second, and may show a mixture until then.
	for _, g := range b.gateways {
		if !until(10*time.Second, func() bool { return !g.ready() }) {
			t.Errorf("%s does not notice that etcd is gone", g.name)
		}
	}
	away := b.anyGateway()
	away.spoil(fault{cut: true})
	for i, m := range b.cluster.members {
		m.data = filepath.Join(filepath.Dir(m.data), fmt.Sprintf("restored-%d", b.random.Uint64()))
		args := []string{"snapshot", "restore", snapshot, "--data-dir", m.data, "--name", m.name,
			"--initial-advertise-peer-urls", m.peers.url(), "--initial-cluster", m.flag("--initial-cluster")}
		if out, err := exec.Command(etcdutlProgram, append(args, flags...)...).CombinedOutput(); err != nil {
			t.Fatalf("restore: %v\n%s", err, out)
		}
		m.args[slices.Index(m.args, "--data-dir")+1] = m.data
		b.cluster.members[i] = m
	}
	b.startMembers(t)
	b.witness.newEra()
	b.witness.begin(t)
	var all sync.WaitGroup
	for _, g := range b.others(away) {
		all.Go(func() {
			r := b.work.registry
			for range 100 {
				value := r.values.Add(1)
				b.work.ask(operatorKey, &call{kind: readKind, gateway: g, method: "PATCH", path: r.path("/config"), body: map[string]any{"burst": value}})
			}
		})
	}
	b.ballast(t, 400)
	all.Wait()
	if now, err := b.cluster.revision(); err != nil || now <= lost {
		t.Errorf("the log is at %d, and was at %d: %v", now, lost, err)
	}
	away.spoil(fault{})
	for _, g := range b.gateways {
		if err := b.cluster.checkIndex(g); err != nil {
			t.Error(err)
		}
	}
	b.work.newEra()
}

func (b *bench) save(ctx context.Context, path string) error {
	snapshot, err := b.cluster.client.Snapshot(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = snapshot.Close() }()
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, snapshot)
	return errors.Join(err, file.Close())
}

// flag is the value of one of the member's.
func (m *member) flag(name string) string { return m.args[slices.Index(m.args, name)+1] }

// newEra forgets what was answered so far, and every room.
func (w *workload) newEra() {
	w.broken.take()
	w.newest.Store(0)
	r := w.registry
	now := w.ask(operatorKey, &call{kind: readKind, gateway: w.gateways[0], method: "GET", path: r.path("/config")})
	if r.first, _ = now.answer["burst"].(float64); r.first == 0 {
		w.broken.add("the settings cannot be read: %s", now)
	}
	w.mu.Lock()
	w.calls = nil
	w.mu.Unlock()
	for _, s := range w.schools {
		s.mu.Lock()
		s.rooms = nil
		s.mu.Unlock()
	}
	w.namesake.forget()
	if w.hoarder != nil {
		w.hoarder.forget()
	}
}

func (w *witness) newEra() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.byTag, w.elected, w.settings = make(map[string][]*seatRecord), make(map[string]bool), make(map[int]bool)
	w.taken = newTakenAway() // what was revoked may be in force again
}
