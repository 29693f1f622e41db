package main

import (
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// What three replicas do on an etcd of three is this machine's, and has no bound.
var (
	c1 = goal{"C1", "adds/s, three replicas", "three replicas on an etcd of three, 64 connections: adds per second, each room filled through one replica", "adds/s", 0, false}
	c2 = goal{"C2", "adds/s, rooms shared", "the same with every room filled through all three at once", "adds/s", 0, false}
	c3 = goal{"C3", "add, three replicas, p50", "the add's own answer meanwhile (C1): p50", "ms", 0, false}
	c4 = goal{"C4", "add, three replicas, p99", "the add's own answer meanwhile (C1): p99", "ms", 0, false}
	c5 = goal{"C5", "seen on another, p50", "visible on another replica, from the request on, under the load of C1: p50", "ms", 0, false}
	c6 = goal{"C6", "seen on another, p99", "visible on another replica, from the request on, under the load of C1: p99", "ms", 0, false}
)

// measureCluster is three gateways on an etcd of three, each a process of its own, which speak gRPC.
func (h *harness) measureCluster() ([]figure, error) {
	cluster, err := h.etcds("cluster", 3)
	defer func() { stopAll(cluster) }()
	if err != nil {
		return nil, err
	}
	var gateways []*gateway
	var measured []*process
	for i := range 3 {
		g, err := h.on(cluster, fmt.Sprintf("cluster-gateway-%d", i))
		if err != nil {
			return nil, err
		}
		defer g.stop()
		gateways, measured = append(gateways, g), append(measured, g.process)
	}
	for _, e := range cluster {
		measured = append(measured, e.process)
	}
	owners, err := gateways[0].tenants(9)
	if err != nil {
		return nil, err
	}
	busy, watched := owners[:8], owners[8]
	for _, g := range gateways[1:] { // they know the tenants before they are asked for them
		if err := g.caughtUp(gateways, watched); err != nil {
			return nil, err
		}
	}
	figures := []figure{{goal: c1}, {goal: c2}, {goal: c3}, {goal: c4}, {goal: c5}, {goal: c6}}
	for round := range h.rounds {
		h.say("cluster, round %d of %d", round+1, h.rounds)
		apart, together := h.adding(gateways[0], busy, 64), h.adding(gateways[0], busy, 64)
		for _, p := range []*plan{&apart, &together} {
			p.Beside = []string{gateways[1].address, gateways[2].address}
		}
		apart.Request.Seats.Apart = true
		apart.For = max(h.each, 3*time.Second) // for enough samples of what is seen
		var seen []time.Duration
		alone, err := h.during(apart, func() (err error) {
			_, seen, err = h.joinsSeen(gateways[0], gateways[1], watched, fmt.Sprintf("Watched %d", round), apart.For)
			return err
		}, measured...)
		if err != nil {
			return nil, err
		}
		shared, err := h.put(together, measured...)
		if err != nil {
			return nil, err
		}
		if err := gateways[2].caughtUp(gateways, watched); err != nil {
			return nil, err
		}
		for _, side := range []struct {
			plan plan
			run  run
		}{{apart, alone}, {together, shared}} {
			if err := h.counted(gateways[2], side.plan, busy, side.run.Answers); err != nil {
				return nil, err
			}
		}
		figures[0].add(alone.perSecond(), of("CPU of an add: gateways", 1e6*sum(alone.Each[:3])/float64(alone.Answers), "µs"),
			of("etcd", 1e6*sum(alone.Each[3:])/float64(alone.Answers), "µs"))
		figures[1].add(shared.perSecond(), of("CPU of an add: gateways", 1e6*sum(shared.Each[:3])/float64(shared.Answers), "µs"),
			of("etcd", 1e6*sum(shared.Each[3:])/float64(shared.Answers), "µs"), of("p50", millis(shared.percentile(.5)), "ms"),
			of("p99", millis(shared.percentile(.99)), "ms"))
		figures[2].add(millis(alone.percentile(.5)))
		figures[3].add(millis(alone.percentile(.99)))
		figures[4].add(millis(percentile(seen, .5)))
		figures[5].add(millis(percentile(seen, .99)), spread(seen)...)
	}
	return figures, nil
}

// caughtUp waits until the gateway shows what any of them has answered so far. Each shows its own writes when it answers.
func (g *gateway) caughtUp(all []*gateway, o owner) error {
	newest := int64(0)
	for _, other := range all {
		_, header, err := other.call(http.MethodGet, "/settings.schema.json", o.Key, nil, http.StatusOK)
		if err != nil {
			return err
		}
		revision, err := strconv.ParseInt(header.Get("Usher-Revision"), 10, 64)
		if err != nil {
			return err
		}
		newest = max(newest, revision)
	}
	_, _, err := g.callFrom(http.MethodGet, "/api/v1/tenants/"+o.ID, operatorKey, newest)
	return err
}

func sum(all []time.Duration) (seconds float64) {
	for _, d := range all {
		seconds += d.Seconds()
	}
	return seconds
}
