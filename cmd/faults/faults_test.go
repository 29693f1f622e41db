package faults

import (
	"net/http"
	"strconv"
	"syscall"
	"testing"
	"time"

	"usher/store"
)

// aFault is done to the bench, with traffic meanwhile; when do returns, nothing is spoilt any more.
type aFault struct {
	name string
	long bool // too long for a short run's random sequence
	do   func(*testing.T, *bench)
}

var faultsAlone = []aFault{
	{name: "a gateway is killed", do: killGateway},
	{name: "a member is killed", do: func(t *testing.T, b *bench) { b.killMembers(t, b.anyMember()) }},
	{name: "the leader is killed", do: func(t *testing.T, b *bench) { b.killMembers(t, b.cluster.leader()) }},
	{name: "everything is killed", do: killAll},
	{name: "the quorum is lost", do: loseQuorum},
	{name: "a member is stopped", do: func(t *testing.T, b *bench) { b.stopMember(t, b.anyMember()) }},
	{name: "the leader is stopped", do: func(t *testing.T, b *bench) { b.stopMember(t, b.cluster.leader()) }},
	{name: "a gateway is stopped", do: stopGateway},
	{name: "one gateway is cut off", do: cutOff},
	{name: "one gateway is cut off for a thousand revisions", do: cutOffForLong},
	{name: "one gateway's links are slow", do: slowLinks},
	{name: "a member is cut off from its peers", do: func(t *testing.T, b *bench) { b.isolate(t, b.anyMember(), true, true) }},
	{name: "the leader is cut off from its peers", do: func(t *testing.T, b *bench) { b.isolate(t, b.cluster.leader(), true, true) }},
	{name: "a member cannot connect to its peers", do: func(t *testing.T, b *bench) { b.isolate(t, b.anyMember(), true, false) }},
	{name: "the leader's peers cannot connect to it", do: func(t *testing.T, b *bench) { b.isolate(t, b.cluster.leader(), false, true) }},
	{name: "a watch is held", do: holdWatch},
	{name: "what a watch has not seen is compacted", do: compactUnseen},
	{name: "compactions during the first load", do: compactWhileLoading},
	{name: "a value that does not decode", do: spoilARecord},
	{name: "a thousand changes in one revision", do: expireMany},
	{name: "nobody calls", long: true, do: idle},
	{name: "restored from a backup, and not as the page says", do: func(t *testing.T, b *bench) { b.restore(t) }},
	{name: "restored from a backup", do: func(t *testing.T, b *bench) {
		b.restore(t, "--bump-revision", "1000000000", "--mark-compacted", "--initial-cluster-token", strconv.FormatUint(b.random.Uint64(), 16))
	}},
}

func killGateway(t *testing.T, b *bench) {
	g := b.anyGateway()
	b.work.traffic(20, time.Second)
	g.kill()
	b.work.traffic(200, 3*time.Second)
	b.startGateways(t)
}

func (b *bench) startGateways(t *testing.T) {
	t.Helper()
	for _, g := range b.gateways {
		if !g.running() {
			if err := g.start(); err != nil {
				t.Fatal(err)
			}
		}
	}
	b.waitReady(t)
}

func (b *bench) killMembers(t *testing.T, members ...*member) {
	t.Helper()
	for _, m := range members {
		m.kill()
	}
	b.writes(t, 10*time.Second)
	b.work.traffic(200, 3*time.Second)
	b.startMembers(t)
}

func (b *bench) startMembers(t *testing.T) {
	t.Helper()
	if err := b.cluster.start(); err != nil {
		t.Fatal(err)
	}
}

func killAll(t *testing.T, b *bench) {
	for _, p := range b.processes() {
		p.signal(syscall.SIGKILL)
	}
	for _, p := range b.processes() {
		<-p.exited
	}
	b.startMembers(t)
	b.startGateways(t)
}

// commitDeadline is how long a gateway waits for one transaction (store.Options.CommitTimeout), and those behind it with it.
const commitDeadline = store.DefaultCommitTimeout

// loseQuorum looks at what product §8 promises for then: reads go on, and say how old they may be; writes are refused.
func loseQuorum(t *testing.T, b *bench) {
	b.cluster.members[0].kill()
	b.cluster.members[1].kill()
	for _, g := range b.gateways {
		s := b.work.schools[0]
		var read *call
		if !until(15*time.Second, func() bool {
			read = b.work.ask(s.key, &call{kind: readKind, gateway: g, method: "GET", path: "/api/v1/rooms", school: s})
			return read.status != http.StatusOK || read.header.Get("Usher-Stale") != ""
		}) || read.status != http.StatusOK {
			t.Errorf("without a quorum a read is answered %s, stale: %q", read, read.header.Get("Usher-Stale"))
		}
		write := b.work.ask(s.key, &call{kind: readKind, gateway: g, method: "POST", path: "/api/v1/rooms", body: map[string]any{"name": b.work.tag()}, school: s})
		if took := write.ended.Sub(write.began); write.code != "unavailable" || took > commitDeadline+slack {
			t.Errorf("a stale gateway answers a write after %s: %s", took, write)
		}
	}
	b.startMembers(t)
}

// stopMember bounds what it costs each gateway: one transaction that the member has kept, and one that was lost in an
// election. Not as long as until the keepalive finds it dead (15 s): the gateway leaves it out before.
func (b *bench) stopMember(t *testing.T, m *member) {
	t.Helper()
	m.stopFor(func() {
		b.writes(t, 2*commitDeadline+slack)
		b.work.traffic(200, 3*time.Second)
	})
}

func stopGateway(_ *testing.T, b *bench) {
	g := b.anyGateway()
	g.suspend()
	g.stopFor(func() { b.work.traffic(300, 5*time.Second) })
	until(10*time.Second, g.ready)
	g.resume()
}

func (b *bench) others(than *gateway) (others []*gateway) {
	for _, g := range b.gateways {
		if g != than {
			others = append(others, g)
		}
	}
	return others
}

func cutOff(t *testing.T, b *bench) {
	g := b.anyGateway()
	g.spoil(fault{cut: true})
	b.writes(t, commitDeadline+slack, b.others(g)...)
	if !until(15*time.Second, func() bool { return !g.ready() }) {
		t.Errorf("%s does not notice that it is cut off", g.name)
	}
	b.work.traffic(200, 3*time.Second)
	g.spoil(fault{})
}

// cutOffForLong has the log go on for more revisions than etcd brings at once.
func cutOffForLong(t *testing.T, b *bench) {
	g := b.anyGateway()
	g.spoil(fault{cut: true})
	b.work.traffic(50, time.Second)
	b.ballast(t, 1500)
	b.work.traffic(100, time.Second)
	g.spoil(fault{})
}

func slowLinks(t *testing.T, b *bench) {
	g := b.anyGateway()
	g.spoil(fault{delay: 100 * time.Millisecond})
	b.writes(t, 15*time.Second)
	b.work.traffic(300, 5*time.Second)
	g.spoil(fault{})
}

func (b *bench) isolate(t *testing.T, lonely *member, made, taken bool) {
	t.Helper()
	b.cluster.isolate(lonely, fault{cut: true}, made, taken)
	b.writes(t, 15*time.Second)
	b.work.traffic(200, 3*time.Second)
	b.cluster.mend()
}

// holdWatch lets a gateway's requests through while its watch brings nothing, and no word that it does not.
func holdWatch(t *testing.T, b *bench) {
	g := b.anyGateway()
	g.spoil(fault{held: true, watch: true})
	b.work.traffic(200, 3*time.Second)
	b.writes(t, 10*time.Second, b.others(g)...)
	if !until(30*time.Second, func() bool { return !g.ready() }) {
		t.Errorf("%s does not notice that it hears nothing", g.name)
	}
	b.work.traffic(200, 3*time.Second)
	g.spoil(fault{})
}
