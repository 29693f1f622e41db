package main

import (
	"fmt"
	"slices"
)

// goal is a bound that a figure must keep.
type goal struct {
	ID    string
	What  string
	Unit  string  // "×" for a ratio
	Bound float64 // at most, or at least
	Least bool    // the bound is the least
}

func (g goal) met(measured float64) bool {
	if g.Least {
		return measured >= g.Bound
	}
	return measured <= g.Bound
}

func (g goal) bound() string {
	sign := "≤"
	if g.Least {
		sign = "≥"
	}
	return sign + " " + g.format(g.Bound)
}

func (g goal) format(v float64) string {
	switch {
	case g.Unit == "×":
		return fmt.Sprintf("%.2f×", v)
	case v >= 100 || v == float64(int64(v)):
		return fmt.Sprintf("%.0f %s", v, g.Unit)
	}
	return fmt.Sprintf("%.1f %s", v, g.Unit)
}

// figure is a goal with what was measured, once in each round.
type figure struct {
	goal
	Rounds  []float64
	Context string // what the figure is made of, as absolute numbers: they are this machine's
}

func (f figure) median() float64 { return median(f.Rounds) }

func (f figure) met() bool { return len(f.Rounds) > 0 && f.goal.met(f.median()) }

func (f figure) spread() string {
	return f.format(slices.Min(f.Rounds)) + " – " + f.format(slices.Max(f.Rounds))
}

// The goals, in the words of the table.
var (
	g1  = goal{"G1", "add, 64 connections: CPU against a bare POST of the same bytes and three raw Ed25519 signatures", "×", 1.8, false}
	g2  = goal{"G2", "adds per second, 64 in flight, against raw in-process etcd transactions", "×", 0.35, true}
	g3  = goal{"G3", "adds per second, one connection, against raw transactions one at a time", "×", 0.50, true}
	g4a = goal{"G4a", "bulk of 100: CPU against 300 raw signatures", "×", 1.5, false}
	g4b = goal{"G4b", "bulk of 100: CPU in single adds", "adds", 60, false}
	g5  = goal{"G5", "list of 100: CPU against a bare handler writing the same bytes", "×", 1.5, false}
	g6  = goal{"G6", "routing, API key and index look-up: CPU over a bare handler", "µs", 7, false}
	g7a = goal{"G7a", "one token against one raw Ed25519 signature", "×", 1.10, false}
	g7b = goal{"G7b", "verifying a token against one raw verification", "×", 1.15, false}
	g7c = goal{"G7c", "allocations for a token", "allocations", 4, false}
	g8a = goal{"G8a", "visible on another replica, from the request on, against the add's own answer: p50", "×", 1.0, false}
	g8b = goal{"G8b", "visible on another replica, from the request on, against the add's own answer: p99", "×", 1.2, false}
	g9a = goal{"G9a", "from the commit to the event on a client's watch at saturation, p99", "ms", 50, false}
	g9b = goal{"G9b", "revisions per second at saturation", "revisions/s", 5000, false}

	g10a = goal{"G10a", "index heap for each participant of 377 bytes", "B", 1000, false}
	g10b = goal{"G10b", "index heap against a plain map of the same rows", "×", 1.6, false}
	g11a = goal{"G11a", "first load against draining the same range unindexed", "×", 1.5, false}
	g11b = goal{"G11b", "first load of ten times the keys", "×", 12, false}
	g12  = goal{"G12", "settings change to in force on another replica, p99, while 2 000 adds/s run", "ms", 50, false}
)
