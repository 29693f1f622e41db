package faults

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var (
	runFor    = flag.Duration("faults.for", 0, "for how long to do random faults, after each was done alone; 0 does none at all")
	seed      = flag.Uint64("faults.seed", 0, "what the random faults and the calls come from; 0 makes one")
	perSecond = flag.Int("faults.rate", 150, "calls per second")
	raced     = flag.Bool("faults.race", false, "run gateways that look for data races")

	programs                                  string // directory
	etcdProgram, etcdutlProgram, usherProgram string
)

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(func() int {
		if *runFor == 0 {
			return m.Run()
		}
		if *seed == 0 {
			*seed = rand.Uint64()
		}
		fmt.Printf("repeat with: go test ./cmd/faults -count=1 -timeout=0 -faults.for=%s -faults.rate=%d -faults.seed=%d\n", *runFor, *perSecond, *seed)
		var err error
		if programs, err = os.MkdirTemp("", "usher-faults"); err == nil {
			defer func() { _ = os.RemoveAll(programs) }()
			err = buildAll()
		}
		if err != nil {
			fmt.Println(err)
			return 1
		}
		return m.Run()
	}())
}

// buildAll makes the programs that the bench runs. Charts is a module of its own, which has etcdutl.
func buildAll() (err error) {
	var flags []string
	if *raced {
		flags = append(flags, "-race")
	}
	if usherProgram, err = build("../..", "usher", "./cmd/usher", flags...); err != nil {
		return err
	}
	if etcdProgram, err = build("../..", "etcd", "go.etcd.io/etcd/server/v3"); err != nil {
		return err
	}
	etcdutlProgram, err = build("../../charts", "etcdutl", "go.etcd.io/etcd/etcdutl/v3")
	return err
}

// bench is the house in which things break.
type bench struct {
	dir      string
	random   *rand.Rand // of the faults; only the test's goroutine uses it
	cluster  *cluster
	gateways []*gateway
	work     *workload
	witness  *witness
	checked  time.Time // up to when histories were
}

func newBench(t *testing.T, o clusterOptions) *bench {
	t.Helper()
	if *runFor == 0 {
		t.Skip("it takes minutes: give -faults.for, for instance 30s")
	}
	b := &bench{dir: t.TempDir(), random: rand.New(rand.NewPCG(*seed, 1<<32))}
	b.cluster = newCluster(t, b.dir, o)
	keys := filepath.Join(b.dir, "master-keys")
	if err := os.WriteFile(keys, []byte(strings.Repeat("A", 43)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		g := newGateway(t, b.dir, b.cluster, i, keys)
		if err := g.start(); err != nil {
			t.Fatal(err)
		}
		b.gateways = append(b.gateways, g)
	}
	b.waitReady(t)
	b.work = newWorkload(t, b.gateways, *perSecond, o.quota == 0 && o.data == nil)
	b.witness = newWitness(b.cluster.client, &b.work.broken)
	for _, s := range append(b.work.schools, b.work.namesake.school, b.work.locks.revoked, b.work.locks.suspended) {
		b.witness.schools[s.id] = s
	}
	b.witness.begin(t)
	t.Cleanup(func() { b.witness.end() })
	b.work.begin(t, *seed)
	t.Cleanup(func() {
		for _, p := range b.processes() {
			if t.Failed() {
				t.Logf("%s wrote at last:\n%s", p.name, p.tail(6))
			}
		}
	})
	return b
}

func (b *bench) processes() (all []*process) {
	for _, m := range b.cluster.members {
		all = append(all, &m.process)
	}
	for _, g := range b.gateways {
		all = append(all, &g.process)
	}
	return all
}

func (b *bench) waitReady(t *testing.T) {
	t.Helper()
	for _, g := range b.gateways {
		if !until(time.Minute, g.ready) {
			_, _, state := g.ask("/readyz")
			t.Fatalf("%s is not ready: %s\n%s", g.name, state, g.tail(20))
		}
	}
}

func (b *bench) anyGateway() *gateway { return b.gateways[b.random.IntN(len(b.gateways))] }

func (b *bench) anyMember() *member { return b.cluster.members[b.random.IntN(len(b.cluster.members))] }

// writes makes sure that the gateways take writes again within the time; without any, all of them.
func (b *bench) writes(t *testing.T, patience time.Duration, through ...*gateway) {
	t.Helper()
	if len(through) == 0 {
		through = b.gateways
	}
	began := time.Now()
	var all sync.WaitGroup
	for _, g := range through {
		all.Go(func() {
			var last *call
			if !until(patience, func() bool {
				last = b.work.registry.write(b.work, g)
				return last.fate() == done
			}) {
				t.Errorf("%s takes no writes after %s: %s", g.name, patience, last)
			}
		})
	}
	all.Wait()
	t.Logf("writes after %s", time.Since(began).Round(10*time.Millisecond))
}

// settle waits until all is well again, and checks everything.
func (b *bench) settle(t *testing.T) {
	t.Helper()
	b.writes(t, 20*time.Second)
	defer b.work.quiet()()
	b.check(t)
}

// check holds everything against everything, while nobody calls.
func (b *bench) check(t *testing.T) {
	t.Helper()
	for _, g := range b.gateways {
		if err := b.cluster.checkIndex(g); err != nil {
			t.Error(err)
		}
	}
	if err := b.witness.caughtUp(); err != nil {
		t.Error(err)
	}
	now := time.Now()
	broken, undecided := b.work.checkHistories(b.witness, b.checked)
	b.checked = now
	for _, problem := range append(append(b.work.broken.take(), b.work.checkAnswers(b.witness)...), broken...) {
		t.Error(problem)
	}
	t.Logf("%s; %d histories, %d of them too long to be decided", b.work.tally(), undecided.of, undecided.histories)
	for _, p := range b.processes() {
		if !p.running() {
			t.Errorf("%s has ended:\n%s", p.name, p.tail(20))
		}
		if p.wrote("too_many_pings") || p.wrote("DATA RACE") {
			t.Errorf("%s is not well:\n%s", p.name, p.tail(40))
		}
	}
}

// TestFaults does each fault alone, and then random ones for as long as was asked for.
func TestFaults(t *testing.T) {
	b := newBench(t, clusterOptions{})
	b.work.traffic(300, 10*time.Second)
	b.holdNothing(t)
	t.Run("none", func(t *testing.T) { b.settle(t) })
	for _, f := range faultsAlone {
		t.Run(f.name, func(t *testing.T) {
			f.do(t, b)
			b.settle(t)
		})
		if t.Failed() {
			return // what follows would stand on it
		}
	}
	for n, end := 0, time.Now().Add(*runFor); time.Now().Before(end) && !t.Failed(); n++ {
		f := faultsAlone[b.random.IntN(len(faultsAlone))]
		if f.long && *runFor < 5*time.Minute {
			continue
		}
		t.Run(fmt.Sprintf("random/%d %s", n, f.name), func(t *testing.T) {
			f.do(t, b)
			b.settle(t)
		})
	}
	if !t.Failed() {
		t.Run("what is held", b.checkHoldings)
	}
}

// stopFor stops a process for as long as it takes the workload to go on without it.
func (p *process) stopFor(during func()) {
	p.signal(syscall.SIGSTOP)
	during()
	p.signal(syscall.SIGCONT)
}
