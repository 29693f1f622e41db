package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"
)

// childFlag makes this program one of the children.
const childFlag = "child"

var children = map[string]func(args []string) error{
	"load": serveLoad, "bare": serveBare, "signatures": serveSignatures, "transactions": serveTransactions,
	"tokens": serveTokens, "index": serveIndex,
}

func main() {
	var err error
	if len(os.Args) > 2 && os.Args[1] == childFlag {
		err = children[os.Args[2]](os.Args[3:])
	} else {
		err = bench()
	}
	if err != nil && !errors.Is(err, pflag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// measurement is some goals that are measured together.
type measurement struct {
	name string
	what string
	run  func(*harness) ([]figure, error)
}

// among says whether it is asked for, by its name or how that begins; without any, all are.
func (m measurement) among(only []string) bool {
	return len(only) == 0 || slices.ContainsFunc(only, func(begins string) bool { return strings.HasPrefix(m.name, begins) })
}

var measurements = []measurement{
	{"adds", "G1 to G4: what seating costs", (*harness).measureAdds},
	{"reads", "G5 and G6: listing, and reading one participant", (*harness).measureReads},
	{"tokens", "G7: signing and verifying", (*harness).measureTokens},
	{"replicas", "G8, G9 and G12: what a second replica sees", (*harness).measureReplicas},
	{"index", "G10 and G11: memory and the first load", (*harness).measureIndex},
	{"neighbours", "G16: beside a greedy tenant, in four forms", (*harness).measureNeighbours},
	{"overload", "G17: past saturation", (*harness).measureOverload},
	{"livekit", "G13: against livekit-server, where --livekit-server names one", (*harness).measureLiveKit},
	{"growth-participants", "G14: costs at up to 1 000 000 participants", (*harness).measureParticipants},
	{"growth-tenants", "G15: costs at up to 50 000 tenants", (*harness).measureTenants},
	{"cluster", "three replicas on an etcd of three, for context", (*harness).measureCluster},
}

// options are the flags.
type options struct {
	Quick    bool
	Strict   bool
	Only     []string
	Rounds   int
	Each     time.Duration
	Out      string
	JSON     string
	Profiles string
	Dir      string
	LiveKit  string
}

const usage = `bench measures Usher against its own limits, side by side in one run, and prints the goals with what was measured.
It starts everything that it needs, on loopback and in a temporary directory, from the source in the current directory:

    go run ./cmd/bench                            # all of it, for docs/performance.md with --out docs/performance
    go run ./cmd/bench --quick                    # under two minutes
    go run ./cmd/bench --only growth,cluster      # some of it

It ends with 1 when something could not be measured, or with --strict when a goal is not met. What there is to measure:

%s
Flags:
%s`

func parse(args []string) (o options, err error) {
	flags := pflag.NewFlagSet("bench", pflag.ContinueOnError)
	flags.BoolVar(&o.Quick, "quick", false, "fewer, shorter rounds and smaller sizes: under two minutes, and wider spreads")
	flags.BoolVar(&o.Strict, "strict", false, "fail when a goal is not met")
	flags.StringSliceVar(&o.Only, "only", nil, "measure these only, by their names or how these begin")
	flags.IntVar(&o.Rounds, "rounds", 5, "how often each side is measured (3 with --quick)")
	flags.DurationVar(&o.Each, "each", 3*time.Second, "how long each time (700ms with --quick)")
	flags.StringVar(&o.Out, "out", "", "directory for bench.json, bench.md (the tables), bench.svg and bench.png (the picture)")
	flags.StringVar(&o.JSON, "json", "", "file for all that was measured, as JSON")
	flags.StringVar(&o.Profiles, "profiles", "", "directory for a CPU profile of each load on a gateway (it slows it)")
	flags.StringVar(&o.Dir, "dir", "", "directory for what is written on the way, on the disk to be measured (default: a temporary one)")
	flags.StringVar(&o.LiveKit, "livekit-server", "", "a livekit-server program, to measure G13")
	flags.Usage = func() {
		var what strings.Builder
		for _, m := range measurements {
			_, _ = fmt.Fprintf(&what, "    %-20s %s\n", m.name, m.what)
		}
		fmt.Printf(usage, what.String(), flags.FlagUsages())
	}
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("%q is not a flag; see --help", flags.Arg(0))
	}
	for _, name := range o.Only {
		if !slices.ContainsFunc(measurements, func(m measurement) bool { return m.among([]string{name}) }) {
			return o, fmt.Errorf("--only: there is no measurement %q; see --help", name)
		}
	}
	if o.Quick && !flags.Changed("rounds") {
		o.Rounds = 3
	}
	if o.Quick && !flags.Changed("each") {
		o.Each = 700 * time.Millisecond
	}
	if o.Rounds < 1 || o.Each <= 0 {
		return o, errors.New("--rounds and --each must be more than nothing")
	}
	return o, nil
}

// prepare finds out at once what would otherwise fail after minutes.
func (o options) prepare() error {
	if o.LiveKit != "" {
		if _, err := os.Stat(o.LiveKit); err != nil {
			return fmt.Errorf("--livekit-server: %w", err)
		}
	}
	for _, dir := range []string{o.Out, o.Profiles, filepath.Dir(o.JSON)} {
		if dir == "" {
			continue
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make the directory for what is measured: %w", err)
		}
	}
	return nil
}

func bench() error {
	o, err := parse(os.Args[1:])
	if err == nil {
		err = o.prepare()
	}
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	h := &harness{ctx: ctx, quick: o.Quick, rounds: o.Rounds, each: o.Each, say: progress, profiles: o.Profiles, liveKit: o.LiveKit}
	if h.dir, err = os.MkdirTemp(o.Dir, "usher-bench-"); err != nil {
		return err
	}
	failed := false
	defer func() {
		if failed {
			h.say("the logs of what has failed are in %s", h.dir)
			return
		}
		_ = os.RemoveAll(h.dir) // a temporary one
	}()
	if h.usher, err = h.build("usher/cmd/usher"); err != nil {
		return err
	}
	if h.load, err = child(ctx, h.dir, "load"); err != nil {
		return err
	}
	defer func() { h.load.stop() }()
	r, err := h.measure(o.Only)
	if failed = len(r.Failures) > 0; err != nil {
		return err
	}
	if err := errors.Join(r.table(os.Stdout), r.write(o.Out, o.JSON)); err != nil {
		return err
	}
	switch {
	case len(r.Failures) > 0:
		return fmt.Errorf("%d measurements failed", len(r.Failures))
	case o.Strict && len(r.missed()) > 0:
		return fmt.Errorf("goals are not met: %s", strings.Join(r.missed(), ", "))
	}
	return nil
}

// measure makes the measurements, and goes on when one fails: what was found otherwise is worth keeping.
func (h *harness) measure(only []string) (r report, err error) {
	r = report{Began: time.Now(), Quick: h.quick}
	if r.Machine, err = thisMachine(h.ctx, h.usher); err != nil {
		return r, err
	}
	var left []string
	for _, m := range measurements {
		if !m.among(only) {
			left = append(left, m.name)
			continue
		}
		figures, err := m.run(h)
		var absent notAtHand
		switch {
		case h.ctx.Err() != nil:
			return r, errors.New("interrupted")
		case errors.As(err, &absent):
			r.Unknown = append(r.Unknown, unknown{m.what, string(absent)})
		case err != nil:
			h.say("%s FAILED: %v", m.name, err)
			r.Failures = append(r.Failures, unknown{m.what, err.Error()})
			if err := h.freshLoad(); err != nil {
				return r, err
			}
		}
		r.Figures = append(r.Figures, figures...)
	}
	if len(left) > 0 {
		r.Unknown = append(r.Unknown, unknown{strings.Join(left, ", "), "left out by --only"})
	}
	r.Growth, r.Took = h.lines, time.Since(r.Began).Seconds()
	return r, nil
}

// notAtHand is why something cannot be measured here, without anything being wrong.
type notAtHand string

func (n notAtHand) Error() string { return string(n) }

// freshLoad starts the load child again: a plan that failed may have left it in the middle of something.
func (h *harness) freshLoad() (err error) {
	h.load.stop()
	h.load, err = child(h.ctx, h.dir, "load")
	return err
}

var began = time.Now()

// progress tells a person what goes on.
func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%5.0f s  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
}
