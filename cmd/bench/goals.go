package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// goal is a bound that a figure must keep.
type goal struct {
	ID    string  `json:"id"`
	Label string  `json:"label"` // what it is, where there is little room
	What  string  `json:"what"`
	Unit  string  `json:"unit"`               // "×" for a ratio
	Bound float64 `json:"bound,omitempty"`    // at most, or at least; 0: none, the figure is there for context
	Least bool    `json:"at_least,omitempty"` // the bound is the least
}

func (g goal) met(measured float64) bool {
	if g.Least {
		return measured >= g.Bound
	}
	return measured <= g.Bound
}

func (g goal) bound() string {
	switch {
	case g.Bound == 0:
		return "–"
	case g.Least:
		return "≥ " + format(g.Bound, g.Unit)
	}
	return "≤ " + format(g.Bound, g.Unit)
}

func format(v float64, unit string) string {
	switch {
	case unit == "×":
		return fmt.Sprintf("%.2f×", v)
	case v >= 100 || v == float64(int64(v)):
		return strings.TrimSpace(fmt.Sprintf("%.0f %s", v, unit))
	case v < 10:
		return strings.TrimSpace(fmt.Sprintf("%.2f %s", v, unit))
	}
	return strings.TrimSpace(fmt.Sprintf("%.1f %s", v, unit))
}

// figure is a goal with what was measured, once in each round.
type figure struct {
	goal
	Rounds  []float64 `json:"rounds"`
	Context []number  `json:"context,omitempty"`
}

// number is an absolute figure that a ratio is made of, or that stands beside it: it is this machine's.
type number struct {
	What   string    `json:"what"`
	Unit   string    `json:"unit"`
	Rounds []float64 `json:"rounds"`
}

func of(what string, value float64, unit string) number { return number{what, unit, []float64{value}} }

// add takes what one round has found.
func (f *figure) add(measured float64, context ...number) {
	f.Rounds = append(f.Rounds, measured)
	for i, n := range context {
		if i == len(f.Context) {
			f.Context = append(f.Context, number{What: n.What, Unit: n.Unit})
		}
		f.Context[i].Rounds = append(f.Context[i].Rounds, n.Rounds...)
	}
}

func (f figure) median() float64 { return median(f.Rounds) }

// verdict says whether the goal is met; a figure without a bound has none.
func (f figure) verdict() string {
	switch {
	case f.Bound == 0:
		return "–"
	case f.met():
		return "yes"
	}
	return "NO"
}

func (f figure) met() bool { return len(f.Rounds) > 0 && f.goal.met(f.median()) }

func (f figure) spread() string {
	return format(slices.Min(f.Rounds), f.Unit) + " – " + format(slices.Max(f.Rounds), f.Unit)
}

// context names the medians of what the figure is made of.
func (f figure) context() string {
	parts := make([]string, len(f.Context))
	for i, n := range f.Context {
		parts[i] = n.What + " " + format(median(n.Rounds), n.Unit)
	}
	return strings.Join(parts, ", ")
}

// MarshalJSON adds what follows from the rounds.
func (f figure) MarshalJSON() ([]byte, error) {
	type plain figure // without this method
	judged := struct {
		plain
		Median float64 `json:"median"`
		Min    float64 `json:"min"`
		Max    float64 `json:"max"`
		Met    *bool   `json:"met,omitempty"`
	}{plain: plain(f), Median: f.median(), Min: slices.Min(f.Rounds), Max: slices.Max(f.Rounds)}
	if f.Bound != 0 {
		met := f.met()
		judged.Met = &met
	}
	return json.Marshal(judged)
}

// The goals, in the words of the table.
var (
	g1  = goal{"G1", "add: CPU", "add, 64 connections: CPU against a bare POST of the same bytes and three raw Ed25519 signatures", "×", 1.8, false}
	g2  = goal{"G2", "adds/s, 64 in flight", "adds per second, 64 in flight, against raw in-process etcd transactions", "×", 0.35, true}
	g3  = goal{"G3", "adds/s, one connection", "adds per second, one connection, against raw transactions one at a time", "×", 0.50, true}
	g4a = goal{"G4a", "bulk of 100: CPU", "bulk of 100: CPU against 300 raw signatures", "×", 1.5, false}
	g4b = goal{"G4b", "bulk of 100, in adds", "bulk of 100: CPU in single adds", "adds", 60, false}
	g5a = goal{"G5a", "list of 100: CPU", "list of 100, asked for again and again: CPU against a bare handler writing the same bytes", "×", 1.5, false}
	g5b = goal{"G5b", "list of 100, not kept: CPU", "the same of a list that is not kept, read from the index each time", "×", 1.5, false}
	g6  = goal{"G6", "routing, key, look-up", "routing, API key and index look-up: CPU over a bare handler", "µs", 7, false}
	g7a = goal{"G7a", "signing a token", "one token against one raw Ed25519 signature", "×", 1.10, false}
	g7b = goal{"G7b", "verifying a token", "verifying a token against one raw verification", "×", 1.15, false}
	g7c = goal{"G7c", "allocations for a token", "allocations for a token", "allocations", 4, false}
	g8a = goal{"G8a", "seen elsewhere, p50", "visible on another replica, from the request on, against the add's own answer: p50", "×", 1.0, false}
	g8b = goal{"G8b", "seen elsewhere, p99", "visible on another replica, from the request on, against the add's own answer: p99", "×", 1.2, false}
	g9a = goal{"G9a", "commit to watch, p99", "from the commit to the event on a client's watch at saturation, p99", "ms", 50, false}
	g9b = goal{"G9b", "revisions/s", "revisions per second at saturation", "revisions/s", 5000, false}

	g10a = goal{"G10a", "index: B a participant", "index heap for each participant of 377 bytes", "B", 1000, false}
	g10b = goal{"G10b", "index against a map", "index heap against a plain map of the same rows", "×", 1.6, false}
	g11a = goal{"G11a", "first load", "first load against draining the same range unindexed", "×", 1.5, false}
	g11b = goal{"G11b", "first load, 10× keys", "first load of ten times the keys", "×", 12, false}
	g12  = goal{"G12", "settings in force, p99", "settings change to in force on another replica, p99, while 2 000 adds/s run", "ms", 50, false}
)
