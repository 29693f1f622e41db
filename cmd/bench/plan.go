package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// plan is a load to put on a server over HTTP/1.1.
type plan struct {
	Address     string
	Beside      []string // more addresses: the connections take turns
	Connections int
	For         time.Duration // how long requests are begun
	Least       int           // answers: while there are fewer, requests are begun for longer than For
	Held        bool          // requests are begun for longer than For, until a word that it is enough
	Most        time.Duration // the longest that they are begun for either reason
	Each        int           // how many requests each connection makes, instead of for a time; 0 for as many as go
	PerSecond   int           // how many are begun, spread evenly over the connections; 0 for as many as go
	Request     request
	Want        want
}

// request says what to send. The same bytes each time, unless it seats, changes, or has turns: then each goes on where the
// one before left off.
type request struct {
	Method, Path string
	Header       map[string]string
	Body         string
	Seats        *seats
	Changes      *changes
	Turns        []turn // each is sent once; Each of the plan says how many of them are a connection's
	Cycle        []turn // each connection sends one after the other, and begins again
}

// turn is one request among several.
type turn struct{ Path, Token, Body string }

// changes are of a setting, to another value each time, by the operator: it is above what a tenant may set itself. The
// connections are divided among the tenants.
type changes struct{ Owners []owner }

// seats fills rooms. The connections are divided among tenants, and those of a tenant fill one room together, then the
// next, as when lessons begin.
type seats struct {
	Keys     []string // of the tenants
	Name     string   // begins the names of the rooms
	PerRoom  int
	AtOnce   int    // how many are added by one request; 1 is a single add
	Metadata string // of each participant, JSON; "" for none
	Apart    bool   // each connection fills rooms of its own instead
	Together int    // connections that fill a room together; set when the load begins
}

// want is what every answer must be like.
type want struct {
	Status      int
	Least, Most int    // bytes of the body
	Begins      string // the body
	Refused     []int  // statuses that are no failure if they come with Retry-After, but are counted apart
	Any         bool   // every answer is counted by its status instead, be it 2xx, 4xx or 503; and it is no failure when a connection is closed
}

// outcome is what became of a plan.
type outcome struct {
	Answers   int
	Took      time.Duration
	Least     int             // of the plan
	Latencies []time.Duration // sorted
	Refused   int             // that are not among the answers
	Statuses  map[int]int     // of Any: how many answers had each; 0 is a connection that was closed without one
	Failure   string          // the first answer that was not as wanted
}

func (o outcome) perSecond() float64 { return float64(o.Answers) / o.Took.Seconds() }

// percentile is the latency that the share of the answers were faster than.
func (o outcome) percentile(share float64) time.Duration { return percentile(o.Latencies, share) }

func percentile(sorted []time.Duration, share float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(share*float64(len(sorted))))]
}

// run is an outcome with the CPU that it has cost the processes that were measured.
type run struct {
	outcome
	CPU  time.Duration   // of all of them
	Each []time.Duration // of each
}

// cpuEach is the CPU of one answer, in seconds.
func (r run) cpuEach() float64 { return r.CPU.Seconds() / float64(r.Answers) }

// put puts the load on the first of the processes, and measures what it costs them all.
func (h *harness) put(p plan, on ...*process) (run, error) { return h.putWhile(p, nil, on...) }

// putWhile is put, with a load that is held until something else is measured.
func (h *harness) putWhile(p plan, measure func() error, on ...*process) (run, error) {
	p.Held = measure != nil
	settle()
	if _, err := ask[string](h.load, p); err != nil { // it has connected
		return run{}, err
	}
	profiled := h.profile(p, on[0])
	before := cpus(on)
	if err := h.load.tell("begin"); err != nil {
		return run{}, err
	}
	var measured error
	if measure != nil {
		measured = measure()
		if err := h.load.tell("enough"); err != nil {
			return run{}, errors.Join(measured, err)
		}
	}
	var done outcome
	err := h.load.hear(&done)
	r := run{outcome: done, Each: cpus(on)}
	for i := range r.Each {
		r.Each[i] -= before[i]
		r.CPU += r.Each[i]
	}
	if err == nil {
		err = errors.Join(profiled(), measured)
	}
	switch {
	case err != nil:
		return r, err
	case done.Failure != "":
		return r, fmt.Errorf("%s %s: %s", p.Request.Method, p.Request.Path, done.Failure)
	case done.Answers == 0 || r.CPU <= 0:
		return r, errors.New("nothing was measured")
	}
	return r, nil
}

// settle waits until the disk has what was written so far: what one side leaves to be written must not slow the next.
func settle() { unix.Sync() }

func cpus(of []*process) (used []time.Duration) {
	for _, p := range of {
		used = append(used, p.cpu())
	}
	return used
}

// profile takes profiles of a gateway, of CPU and of what is allocated, for as long as the plan goes on. What it returns waits for it.
func (h *harness) profile(p plan, on *process) (wait func() error) {
	if h.profiles == "" || on.ops == "" {
		return func() error { return nil }
	}
	h.profiled++
	var both errgroup.Group
	for _, what := range []string{"profile", "allocs"} {
		name := fmt.Sprintf("%03d-%s-%d.%s.pprof", h.profiled, p.Request.Method, p.Connections, what)
		both.Go(func() error {
			return fetch(h.ctx, fmt.Sprintf("http://%s/debug/pprof/%s?seconds=%d", on.ops, what, max(1, int(p.For.Seconds()))), filepath.Join(h.profiles, name))
		})
	}
	return both.Wait
}

func fetch(ctx context.Context, url, path string) error {
	body, err := get(ctx, url)
	if err != nil {
		return err
	}
	return os.WriteFile(path, body, 0o600)
}

// get reads what must be there.
func get(ctx context.Context, url string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", url, resp.Status)
	}
	return body, err
}

func median(all []float64) float64 {
	sorted := slices.Sorted(slices.Values(all))
	if n := len(sorted); n%2 == 0 {
		return (sorted[n/2-1] + sorted[n/2]) / 2
	}
	return sorted[len(sorted)/2]
}
