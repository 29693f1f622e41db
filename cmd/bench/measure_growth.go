package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// growing is a gateway on an etcd of its own, so that the memory and the CPU of each are to be told apart, and what is
// measured of it at each size.
type growing struct {
	h       *harness
	name    string
	cluster []*etcd
	gateway *gateway
	owners  []owner
	list    string // path of a room of 100

	add, get, change, memory, load, restart, loadTime, collect, idle *line
}

// Bounds of growth: a call has to find its way through trees whose depth doubles from a thousand to a million, and should
// notice no more of it. What is for each thing once must cost each the same, with G11's allowance.
const (
	callGrowth  = 2
	totalGrowth = 1.2
)

// measureParticipants is G14.
func (h *harness) measureParticipants() ([]figure, error) {
	sizes := []int{1000, 100_000, 1_000_000}
	if h.quick {
		sizes = []int{1000, 10_000, 50_000}
	}
	g := &growing{h: h, name: "participants"}
	return g.measure("G14", sizes, g.seatUpTo)
}

// measureTenants is G15.
func (h *harness) measureTenants() ([]figure, error) {
	sizes := []int{10, 1000, 50_000}
	if h.quick {
		sizes = []int{10, 500, 3000}
	}
	g := &growing{h: h, name: "tenants"}
	return g.measure("G15", sizes, g.tenantsUpTo)
}

func (g *growing) measure(id string, sizes []int, upTo func(n int) error) (figures []figure, err error) {
	if err := g.through(id, sizes, upTo); err != nil {
		return nil, err
	}
	for _, l := range g.lines() {
		if len(l.Points) == 0 {
			continue
		}
		g.h.lines = append(g.h.lines, *l)
		if l.Bound == 0 {
			continue
		}
		f, err := l.growth()
		if err != nil {
			return figures, err
		}
		figures = append(figures, f)
	}
	return figures, nil
}

func (g *growing) lines() []*line {
	return []*line{g.add, g.get, g.change, g.memory, g.load, g.restart, g.loadTime, g.collect, g.idle}
}

// newLines names what is measured.
func (g *growing) newLines(id string) {
	call := func(letter, what string) *line {
		return &line{
			goal: goal{id + letter, what + ", by " + g.name, what + ": CPU, by the number of " + g.name, "×", callGrowth, false},
			By:   g.name, Name: what, Cost: what + ": CPU of the gateway and of etcd", In: "µs",
		}
	}
	total := func(letter, label, what, unit string) *line {
		return &line{
			goal: goal{id + letter, label + ", by " + g.name, what + ": the share of each, by the number of " + g.name, "×", totalGrowth, false},
			By:   g.name, Name: label, Cost: what, In: unit, Total: true,
		}
	}
	g.add, g.get, g.change = call("a", "add"), call("b", "list of 100"), call("c", "settings change")
	g.memory, g.load, g.restart = total("d", "heap", "heap of the gateway", "MB"), total("e", "first load: CPU", "start and first load: CPU of the gateway", "ms"), total("f", "restart", "restart, etcd and all", "s")
	g.loadTime = total("", "first load: time", "first load", "s")
	g.collect, g.idle = total("", "garbage collection", "a full garbage collection: CPU", "ms"), total("", "standing by", "a second without requests: CPU", "ms")
	for _, l := range []*line{g.loadTime, g.collect, g.idle} {
		l.Bound = 0 // they depend on what else the machine does, or are too small to judge
	}
}

// through measures at each size.
func (g *growing) through(id string, sizes []int, upTo func(n int) error) (err error) {
	g.newLines(id)
	if g.cluster, err = g.h.etcds("growth-"+g.name, 1); err != nil {
		return err
	}
	defer func() { stopAll(g.cluster) }()
	if g.gateway, err = g.h.on(g.cluster, "growth-"+g.name); err != nil {
		return err
	}
	defer func() { g.gateway.stop() }()
	if g.owners, err = g.gateway.tenants(10); err != nil {
		return err
	}
	if err := g.listed(); err != nil {
		return err
	}
	rounds := g.h.rounds
	if g.h.quick {
		rounds = min(rounds, 2)
	}
	for _, n := range sizes {
		g.h.say("growth: up to %s %s", thousands(n), g.name)
		if err := upTo(n); err != nil {
			return fmt.Errorf("up to %d %s: %w", n, g.name, err)
		}
		for round := range rounds {
			g.h.say("growth at %s %s, round %d of %d", thousands(n), g.name, round+1, rounds)
			if err := g.round(n); err != nil {
				return fmt.Errorf("at %d %s: %w", n, g.name, err)
			}
		}
		if err := g.standBy(n); err != nil {
			return err
		}
	}
	return nil
}

// listed fills the room that is listed.
func (g *growing) listed() error {
	p := g.h.bulks(g.gateway, g.owners[:1], 1)
	p.Each = 1
	if _, err := g.h.put(p, g.gateway.process); err != nil {
		return err
	}
	return g.gateway.rooms(g.owners[:1], p.Request.Seats.Name+" ", func(_ owner, r room) error {
		if r.ParticipantCount != bulkSize {
			return fmt.Errorf("the room to be listed has %d participants", r.ParticipantCount)
		}
		g.list = "/api/v1/rooms/" + r.ID + "/participants?active=true"
		return nil
	})
}

// seatUpTo seats until there are so many participants.
func (g *growing) seatUpTo(n int) error {
	there, err := g.seated()
	if err != nil {
		return err
	}
	connections := min(10, (n-there)/bulkSize)
	if err := g.h.fill(g.gateway, g.owners, n-there, connections); err != nil {
		return err
	}
	there, err = g.seated()
	if err == nil && there != n {
		err = fmt.Errorf("%d participants are there", there)
	}
	return err
}

func (g *growing) seated() (n int, err error) {
	return n, g.gateway.rooms(g.owners, "", func(_ owner, r room) error {
		n += r.ParticipantCount
		return nil
	})
}

// tenantsUpTo makes tenants until there are so many.
func (g *growing) tenantsUpTo(n int) error {
	there, err := g.tenants()
	if err != nil || there == n {
		return err
	}
	const connections = 10
	began := time.Now()
	made, err := g.h.put(plan{
		Address: g.gateway.address, Connections: connections, Each: (n - there) / connections,
		Request: request{Method: http.MethodPost, Path: "/api/v1/tenants", Header: map[string]string{"Authorization": "Bearer " + operatorKey}, Body: `{"name":"One of many"}`},
		Want:    want{Status: http.StatusCreated, Least: 300, Most: 3000, Begins: `{"tenant":{"id":"tenant_`},
	}, g.gateway.process)
	if err != nil {
		return err
	}
	g.h.say("growth: %d tenants took %.0f s", made.Answers, time.Since(began).Seconds())
	there, err = g.tenants()
	if err == nil && there != n {
		err = fmt.Errorf("%d tenants are there", there)
	}
	return err
}

func (g *growing) tenants() (n int, err error) {
	for token := ""; ; {
		text, _, err := g.gateway.call(http.MethodGet, "/api/v1/tenants?page_size=1000&page_token="+url.QueryEscape(token), operatorKey, nil, http.StatusOK)
		if err != nil {
			return 0, err
		}
		var page struct {
			Tenants []struct{ ID string }
			Next    string `json:"next_page_token"`
		}
		if err := json.Unmarshal(text, &page); err != nil {
			return 0, err
		}
		n += len(page.Tenants)
		if token = page.Next; token == "" {
			return n, nil
		}
	}
}

// round starts all again and measures it once.
func (g *growing) round(n int) error {
	g.gateway.stop()
	stopAll(g.cluster)
	began := time.Now()
	if err := g.h.again(g.cluster[0]); err != nil {
		return err
	}
	again, err := g.h.on(g.cluster, "growth-"+g.name)
	if err != nil {
		return err
	}
	g.gateway = again
	g.restart.add(n, time.Since(began).Seconds())
	g.load.add(n, 1000*again.cpu().Seconds())
	if err := g.loaded(n); err != nil {
		return err
	}
	return g.calls(n)
}

// loaded takes what a gateway has that has just loaded everything.
func (g *growing) loaded(n int) error {
	before := g.gateway.cpu()
	if _, err := get(g.h.ctx, "http://"+g.gateway.ops+"/debug/pprof/heap?gc=1"); err != nil { // it collects first
		return err
	}
	g.collect.add(n, 1000*(g.gateway.cpu()-before).Seconds())
	heap, err := g.gateway.metric(g.h, "go_memstats_heap_alloc_bytes")
	if err != nil {
		return err
	}
	load, err := g.gateway.metric(g.h, "usher_log_last_list_duration_seconds")
	if err != nil {
		return err
	}
	g.memory.add(n, heap/1e6)
	g.loadTime.add(n, load)
	return nil
}

// metric reads one without labels from the operations port.
func (g *gateway) metric(h *harness, name string) (float64, error) {
	text, err := get(h.ctx, "http://"+g.ops+"/metrics")
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(text) {
		if value, ok := strings.CutPrefix(string(line), name+" "); ok {
			return strconv.ParseFloat(strings.TrimSpace(value), 64)
		}
	}
	return 0, fmt.Errorf("there is no metric %s", name)
}

// calls measures what calls cost, and takes away what they have left behind.
func (g *growing) calls(n int) error {
	first := g.h.adding(g.gateway, g.owners, 64)
	first.Each = 1
	if _, err := g.h.put(first, g.gateway.process); err != nil { // the first call of each tenant makes its signers ready
		return err
	}
	adding := g.h.adding(g.gateway, g.owners, 64)
	adding.Each = 16
	added, err := g.cost(adding)
	if err != nil {
		return err
	}
	if err := g.h.counted(g.gateway, adding, g.owners, added.Answers); err != nil {
		return err
	}
	text, _, err := g.gateway.call(http.MethodGet, g.list, g.owners[0].Key, nil, http.StatusOK)
	if err != nil {
		return err
	}
	if seats := bytes.Count(text, []byte(`"id":"p_`)); seats != bulkSize {
		return fmt.Errorf("the list has %d participants", seats)
	}
	listed, err := g.cost(plan{
		Address: g.gateway.address, Connections: 64, Each: 64,
		Request: request{Method: http.MethodGet, Path: g.list, Header: map[string]string{"X-API-Key": g.owners[0].Key}},
		Want:    want{Status: http.StatusOK, Least: len(text), Most: len(text), Begins: `{"participants":[{"id":"p_`},
	})
	if err != nil {
		return err
	}
	changed, err := g.cost(plan{
		Address: g.gateway.address, Connections: len(g.owners), Each: 20,
		Request: request{Method: http.MethodPatch, Changes: &changes{Owners: g.owners}},
		Want:    want{Status: http.StatusOK, Least: 300, Most: 4000, Begins: `{`},
	})
	if err != nil {
		return err
	}
	g.add.add(n, 1e6*added.cpuEach())
	g.get.add(n, 1e6*listed.cpuEach())
	g.change.add(n, 1e6*changed.cpuEach())
	return errors.Join(g.remove(first), g.remove(adding))
}

// remove deletes the rooms that a load has filled.
func (g *growing) remove(p plan) error {
	return g.gateway.rooms(g.owners, p.Request.Seats.Name+" ", func(o owner, r room) error {
		_, _, err := g.gateway.call(http.MethodDelete, "/api/v1/rooms/"+r.ID, o.Key, nil, http.StatusNoContent)
		return err
	})
}

// cost puts a load on the gateway and measures it and its etcd.
func (g *growing) cost(p plan) (run, error) {
	return g.h.put(p, g.gateway.process, g.cluster[0].process)
}

// standBy measures what it costs that nothing happens: sweeping, and what etcd does.
func (g *growing) standBy(n int) error {
	const sweep = 5 * time.Second // how often the gateway looks for what time has brought about
	if g.h.quick {
		return nil
	}
	before := cpus([]*process{g.gateway.process, g.cluster[0].process})
	select {
	case <-g.h.ctx.Done():
		return errors.New("interrupted")
	case <-time.After(2 * sweep):
	}
	after := cpus([]*process{g.gateway.process, g.cluster[0].process})
	g.idle.add(n, 1000*(after[0]-before[0]+after[1]-before[1]).Seconds()/(2*sweep).Seconds())
	return nil
}
