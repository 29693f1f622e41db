package main

import (
	"errors"
	"net/http"
	"time"
)

var (
	g17a = goal{"G17a", "past saturation, p50", "an add that is taken while twice as many are sent as can be, against half as many as can be: p50", "×", 2, false}
	g17b = goal{"G17b", "past saturation, p99", "an add that is taken while twice as many are sent as can be, against half as many as can be: p99", "×", 2, false}
	g17c = goal{"G17c", "taken past saturation", "adds taken while twice as many are sent as can be, against as many as can be", "×", 0.5, true}
)

const (
	probesPerSecond = 250
	// probing is so many connections that one that waits to be refused is not late with its next request.
	probing = 256

	// settling is how long an overload goes on before it is looked at: what comes at once and is soon done is let in.
	settling = 2 * time.Second
	// lasting is how long it goes on after that: who waits when it ends is taken late, and is not past saturation any more.
	lasting = time.Second
	// quiet is how long nobody calls before a load, so that none is refused for the one before.
	quiet = 1500 * time.Millisecond
)

// measureOverload is G17: past saturation. The crowd that makes the load and the few whose adds are timed are processes of their own:
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
	probe, err := child(h.ctx, h.dir, "load")
	if err != nil {
		return nil, err
	}
	defer probe.stop()

	f17a, f17b, f17c := figure{goal: g17a}, figure{goal: g17b}, figure{goal: g17c}
	rounds := h.rounds
	if h.quick {
		rounds = 1
	}
	for round := range rounds {
		h.say("overload, round %d of %d", round+1, rounds)
		can, err := h.put(h.crowding(g, crowd, 64, 0), g.process)
		if err != nil {
			return nil, err
		}
		half, _, err := h.timedBeside(g, probe, h.probes(g, few), h.crowding(g, crowd, 64, can.perSecond()/2))
		if err != nil {
			return nil, err
		}
		twice, many, err := h.timedBeside(g, probe, h.probes(g, few), h.crowding(g, crowd, 512, 2*can.perSecond()))
		if err != nil {
			return nil, err
		}
		f17a.add(ratio(twice, half, .5), of("past saturation", millis(twice.percentile(.5)), "ms"), of("at half", millis(half.percentile(.5)), "ms"), of("refused at half", 100*part(half), "%"))
		f17b.add(ratio(twice, half, .99), append([]number{of("past saturation", millis(twice.percentile(.99)), "ms"), of("at half", millis(half.percentile(.99)), "ms")},
			spread(twice.Latencies)...)...)
		f17c.add((many.perSecond()+twice.perSecond())/can.perSecond(), of("taken", many.perSecond(), "/s"), of("turned away", float64(many.Refused)/many.Took.Seconds(), "/s"),
			of("can be", can.perSecond(), "/s"), of("refused", 100*part(twice), "%"))
	}
	return []figure{f17a, f17b, f17c}, nil
}

// crowding is adds at a rate, of which some may be refused.
func (h *harness) crowding(g *gateway, owners []owner, connections int, perSecond float64) plan {
	p := h.adding(g, owners, connections)
	p.PerSecond, p.Want.Refused = int(perSecond), []int{http.StatusServiceUnavailable}
	p.For = settling + h.each + lasting
	return p
}

// timedBeside times adds of a few while a crowd adds too, once that has gone on for a while.
func (h *harness) timedBeside(g *gateway, probe *process, probes, crowd plan) (timed outcome, load run, err error) {
	time.Sleep(quiet)
	if err := h.ready(probe, probes); err != nil {
		return timed, load, err
	}
	load, err = h.during(crowd, func() error {
		time.Sleep(settling)
		if timed, err = h.timed(probe); err != nil {
			return err
		}
		time.Sleep(lasting)
		return nil
	}, g.process)
	return timed, load, err
}

// probes are the adds that are timed.
func (h *harness) probes(g *gateway, few []owner) plan {
	p := h.crowding(g, few, probing, probesPerSecond)
	p.For, p.Least, p.Most = h.each, h.leastAdds(), h.each+patience
	return p
}

// ready has the probes connected, to be timed.
func (h *harness) ready(probe *process, probes plan) error {
	_, err := ask[string](probe, probes)
	return err
}

// timed lets probes that are ready begin, and waits until they are done.
func (h *harness) timed(probe *process) (outcome, error) {
	o, err := ask[outcome](probe, "begin")
	if err == nil && o.Failure != "" {
		err = errors.New(o.Failure)
	}
	return o, errors.Join(err, h.enough("adds at a rate", o.Answers+o.Refused, o.Least))
}

func ratio(of, against outcome, share float64) float64 {
	return of.percentile(share).Seconds() / against.percentile(share).Seconds()
}

// part is which part of what was sent was refused.
func part(o outcome) float64 { return float64(o.Refused) / float64(o.Refused+o.Answers) }
