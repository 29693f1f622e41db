package main

import (
	"errors"
	"net/http"
	"time"
)

var (
	g16  = goal{"G16", "beside a greedy tenant", "a tenant's adds beside another that sends a hundred times what it may, against alone: p99", "×", 1.5, false}
	g17a = goal{"G17a", "past saturation, p50", "an add that is taken while twice as many are sent as can be, against half as many as can be: p50", "×", 2, false}
	g17b = goal{"G17b", "past saturation, p99", "an add that is taken while twice as many are sent as can be, against half as many as can be: p99", "×", 2, false}
	g17c = goal{"G17c", "taken past saturation", "adds taken while twice as many are sent as can be, against as many as can be", "×", 0.5, true}
)

const (
	probesPerSecond = 250
	// probing is so many connections that one that waits to be refused is not late with its next request.
	probing     = 256
	greedyLimit = 20 // requests per second

	// settling is how long an overload goes on before it is looked at: what comes at once and is soon done is let in.
	settling = 2 * time.Second
	// lasting is how long it goes on after that: who waits when it ends is taken late, and is not past saturation any more.
	lasting = time.Second
	// quiet is how long nobody calls before a load, so that none is refused for the one before.
	quiet = 1500 * time.Millisecond
)

// measureOverload is G16 and G17: beside a greedy tenant, and past saturation. The crowd that makes the load and the few whose adds are timed are processes of their own:
// a crowd past saturation is late in reading what it was answered.
func (h *harness) measureOverload() ([]figure, error) {
	g, err := h.gateway("overload")
	if err != nil {
		return nil, err
	}
	defer g.stop()
	owners, err := g.tenants(9)
	if err != nil {
		return nil, err
	}
	crowd, few := owners[:8], owners[8:]
	greedy, err := g.tenantsWith(1, greedyLimit)
	if err != nil {
		return nil, err
	}
	probe, err := child(h.ctx, h.dir, "load")
	if err != nil {
		return nil, err
	}
	defer probe.stop()

	f16, f17a, f17b, f17c := figure{goal: g16}, figure{goal: g17a}, figure{goal: g17b}, figure{goal: g17c}
	rounds := h.rounds
	if h.quick {
		rounds = 1
	}
	for round := range rounds {
		h.say("overload, round %d of %d", round+1, rounds)
		alone, _, err := h.timedBeside(g, probe, few, h.crowding(g, greedy, 1, 1, http.StatusTooManyRequests))
		if err != nil {
			return nil, err
		}
		harassed, _, err := h.timedBeside(g, probe, few, h.crowding(g, greedy, 32, 100*greedyLimit, http.StatusTooManyRequests))
		if err != nil {
			return nil, err
		}
		f16.add(ratio(harassed, alone, .99), of("beside", millis(harassed.percentile(.99)), "ms"), of("alone", millis(alone.percentile(.99)), "ms"))
		can, err := h.put(h.crowding(g, crowd, 64, 0, http.StatusServiceUnavailable), g.process)
		if err != nil {
			return nil, err
		}
		half, _, err := h.timedBeside(g, probe, few, h.crowding(g, crowd, 64, can.perSecond()/2, http.StatusServiceUnavailable))
		if err != nil {
			return nil, err
		}
		twice, many, err := h.timedBeside(g, probe, few, h.crowding(g, crowd, 512, 2*can.perSecond(), http.StatusServiceUnavailable))
		if err != nil {
			return nil, err
		}
		f17a.add(ratio(twice, half, .5), of("past saturation", millis(twice.percentile(.5)), "ms"), of("at half", millis(half.percentile(.5)), "ms"), of("refused at half", 100*part(half), "%"))
		f17b.add(ratio(twice, half, .99), of("past saturation", millis(twice.percentile(.99)), "ms"), of("at half", millis(half.percentile(.99)), "ms"))
		f17c.add((many.perSecond()+twice.perSecond())/can.perSecond(), of("taken", many.perSecond(), "/s"), of("turned away", float64(many.Refused)/many.Took.Seconds(), "/s"),
			of("can be", can.perSecond(), "/s"), of("refused", 100*part(twice), "%"))
	}
	return []figure{f16, f17a, f17b, f17c}, nil
}

// crowding is adds at a rate, of which some may be refused.
func (h *harness) crowding(g *gateway, owners []owner, connections int, perSecond float64, refused int) plan {
	p := h.adding(g, owners, connections)
	p.PerSecond, p.Want.Refused = int(perSecond), refused
	p.For = settling + h.each + lasting
	return p
}

// timedBeside times adds of a few while a crowd adds too, once that has gone on for a while.
func (h *harness) timedBeside(g *gateway, probe *process, few []owner, crowd plan) (timed outcome, load run, err error) {
	time.Sleep(quiet)
	probes := h.crowding(g, few, probing, probesPerSecond, crowd.Want.Refused)
	probes.For = h.each
	if _, err := ask[string](probe, probes); err != nil {
		return timed, load, err
	}
	load, err = h.during(crowd, func(<-chan struct{}) error {
		time.Sleep(settling)
		timed, err = ask[outcome](probe, nil)
		if err == nil && timed.Failure != "" {
			err = errors.New(timed.Failure)
		}
		return err
	}, g.process)
	return timed, load, err
}

func ratio(of, against outcome, share float64) float64 {
	return of.percentile(share).Seconds() / against.percentile(share).Seconds()
}

// part is which part of what was sent was refused.
func part(o outcome) float64 { return float64(o.Refused) / float64(o.Refused+o.Answers) }
