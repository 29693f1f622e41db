package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
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
	run  func(*harness) ([]figure, error)
}

var measurements = []measurement{
	{"adds", (*harness).measureAdds},
	{"reads", (*harness).measureReads},
	{"tokens", (*harness).measureTokens},
	{"replicas", (*harness).measureReplicas},
	{"index", (*harness).measureIndex},
}

func bench() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	flags := pflag.NewFlagSet("bench", pflag.ContinueOnError)
	quick := flags.Bool("quick", false, "fewer and shorter rounds: under two minutes, and wider spreads")
	only := flags.StringSlice("only", nil, "measure these only: "+strings.Join(measurementNames(), ", "))
	rounds := flags.Int("rounds", 5, "how often each side is measured")
	each := flags.Duration("each", 3*time.Second, "how long each time")
	profiles := flags.String("profiles", "", "directory for a CPU profile of each load on a gateway (it slows it)")
	dir := flags.String("dir", "", "directory for what is written on the way, on the disk to be measured (default: a temporary one)")
	if err := flags.Parse(os.Args[1:]); err != nil {
		return err
	}
	h := &harness{ctx: ctx, rounds: *rounds, each: *each, say: progress, profiles: *profiles}
	if h.quick = *quick; h.quick {
		h.rounds, h.each = 3, 700*time.Millisecond
	}
	var err error
	if h.dir, err = os.MkdirTemp(*dir, "usher-bench-"); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(h.dir) }() // a temporary one
	if err := h.build(); err != nil {
		return err
	}
	if h.load, err = child(ctx, h.dir, "load"); err != nil {
		return err
	}
	defer h.load.stop()
	var figures []figure
	for _, m := range measurements {
		if len(*only) > 0 && !slices.Contains(*only, m.name) {
			continue
		}
		measured, err := m.run(h)
		if err != nil {
			return fmt.Errorf("measure %s: %w", m.name, err)
		}
		figures = append(figures, measured...)
	}
	return table(os.Stdout, figures)
}

func measurementNames() (names []string) {
	for _, m := range measurements {
		names = append(names, m.name)
	}
	return names
}

var began = time.Now()

// progress tells a person what goes on.
func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%5.0f s  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
}
