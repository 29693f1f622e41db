package main

import (
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// TestMain makes the test's program one of the children, as the benchmark's own is.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == childFlag {
		if err := children[os.Args[2]](os.Args[3:]); err != nil {
			_, _ = os.Stderr.WriteString(err.Error())
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func newHarness(t *testing.T) *harness {
	t.Helper()
	h := &harness{ctx: t.Context(), dir: t.TempDir(), quick: true, rounds: 1, each: 50 * time.Millisecond, say: t.Logf}
	var err error
	if h.load, err = child(h.ctx, h.dir, "load"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.load.stop() })
	return h
}

// A short run finds something on the real program, and reports it.
func TestAShortRun(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	var err error
	if h.usher, err = h.build("usher/cmd/usher"); err != nil {
		t.Fatal(err)
	}
	r, err := h.measure([]string{"reads"})
	if err != nil || len(r.Failures) > 0 {
		t.Fatalf("%v, %+v", err, r.Failures)
	}
	if len(r.Figures) != 3 || r.Figures[0].ID != "G5a" || r.Figures[2].ID != "G6" {
		t.Fatalf("it has found %+v", r.Figures)
	}
	for _, f := range r.Figures {
		for _, n := range f.Context { // the ratio of two such short times may be anything
			if len(n.Rounds) != 1 || n.Rounds[0] <= 0 {
				t.Errorf("%s: %s is %v", f.ID, n.What, n.Rounds)
			}
		}
	}
	if !strings.HasPrefix(r.Machine.Usher, "usher ") || r.Machine.Cores < 1 {
		t.Errorf("it was measured on %+v", r.Machine)
	}
}

// What is not as wanted fails the measurement, however fast it was.
func TestNothingPassesByMeasuringNothing(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	server, address, err := h.bare(bare{Bytes: 100})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.stop)
	good := plan{
		Address: address, Connections: 2, For: h.each, Request: request{Method: http.MethodGet, Path: "/"},
		Want: want{Status: http.StatusOK, Least: 100, Most: 100, Begins: "xxxx"},
	}
	if r, err := h.put(good, server); err != nil || r.Answers == 0 || r.CPU <= 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	for name, spoil := range map[string]func(*plan){
		"another status":    func(p *plan) { p.Want.Status = http.StatusCreated },
		"too short":         func(p *plan) { p.Want.Least, p.Want.Most = 101, 200 },
		"too long":          func(p *plan) { p.Want.Least, p.Want.Most = 0, 99 },
		"another beginning": func(p *plan) { p.Want.Begins = "{" },
		"no time":           func(p *plan) { p.For = 0 },
	} {
		bad := good
		spoil(&bad)
		if r, err := h.put(bad, server); err == nil {
			t.Errorf("%s: it has measured %+v", name, r)
		}
	}
}

// Turns are each taken once, whatever connection takes them.
func TestTurnsAreEachTakenOnce(t *testing.T) {
	t.Parallel()
	p := plan{Address: "x", Connections: 2, Each: 2, Request: request{Method: http.MethodGet, Turns: []turn{{Path: "/0"}, {Path: "/1"}, {Path: "/2"}, {Path: "/3"}}}}
	taken := map[string]int{}
	for n := range p.Connections {
		for sent := range p.Each {
			c := client{plan: &p, n: n, sent: sent}
			taken[strings.Fields(string(c.render(nil)))[1]]++
		}
	}
	for _, turn := range p.Request.Turns {
		if taken[turn.Path] != 1 {
			t.Errorf("%s was taken %d times", turn.Path, taken[turn.Path])
		}
	}
}

// A plan that is held goes on until a word, one that has too few answers until it has them, and neither for ever. What any answer
// is wanted of is counted by status.
func TestALoadGoesOnAsLongAsItIsHeld(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	server, address, err := h.bare(bare{Bytes: 100})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.stop)
	p := plan{
		Address: address, Connections: 2, For: time.Millisecond, PerSecond: 100, Want: want{Any: true},
		Request: request{Method: http.MethodGet, Cycle: []turn{{Path: "/0"}, {Path: "/1", Body: "{}"}}},
	}
	held, err := h.during(p, func() error { time.Sleep(300 * time.Millisecond); return nil }, server)
	if err != nil || held.Took < 300*time.Millisecond || held.Statuses[http.StatusOK] != held.Answers || held.Answers < 10 {
		t.Errorf("held for %s: %v, %d answers, %v", held.Took, held.Statuses, held.Answers, err)
	}
	p.Least, p.Most = 20, time.Minute
	if enough, err := h.put(p, server); err != nil || enough.Answers < 20 || enough.Took > 30*time.Second {
		t.Errorf("%d answers after %s: %v", enough.Answers, enough.Took, err)
	}
	p.Most = 50 * time.Millisecond
	if bounded, err := h.put(p, server); err != nil || bounded.Answers >= 20 {
		t.Errorf("%d answers after %s: %v", bounded.Answers, bounded.Took, err)
	}
}
