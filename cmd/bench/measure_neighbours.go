package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

var (
	g16a = goal{"G16a", "beside a flood", "a tenant's adds beside another that sends a hundred times what it may, against alone: p99", "×", 1.5, false}
	g16b = goal{"G16b", "beside large bulks", "a tenant's adds beside another that sends bulks of the largest bodies, against alone: p99", "×", 1.5, false}
	g16c = goal{"G16c", "beside dear patches", "a tenant's adds beside another that sends the dearest patches, against alone: p99", "×", 1.5, false}
	g16d = goal{"G16d", "beside a seat's loop", "a tenant's adds beside a loop with a token of one of its own seats, against alone: p99", "×", 1.5, false}
	g16e = goal{"G16e", "not refused", "share of a tenant's adds that are taken beside a loop with a token of one of its own seats", "%", 100, true}
)

const (
	greedyLimit  = 20 // requests per second that the tenant of the flood may make
	floodFactor  = 100
	greedyMany   = 64 // connections
	dearFew      = 8  // connections: each of these requests is work
	dearPerSec   = 50 // bulks and patches; 100 items each, the bulks are ten times what a tenant may by default
	seatPerSec   = 2000
	ownPerSec    = 500 // what the tenant of the seat may make, which is the default
	ownBurst     = 1000
	bodyMost     = 1<<20 - 1
	metadataMost = 4 << 10
	// recovering is how long a gateway may take to be itself again after a greedy neighbour has gone.
	recovering = 3 * time.Minute
)

// neighbour is one form of greed.
type neighbour struct {
	goal   goal
	name   string
	config map[string]any // of the tenant that is measured; nil: it may do as much as one ever may
	greed  func(h *harness, g *gateway, measured owner) (plan, error)
	taken  *goal // the share of the measured adds that are taken
}

var neighbours = []neighbour{
	{goal: g16a, name: "flood", greed: (*harness).flood},
	{goal: g16b, name: "bulks", greed: (*harness).largeBulks},
	{goal: g16c, name: "patches", greed: (*harness).dearPatches},
	{goal: g16d, name: "seat", greed: (*harness).seatLoop, taken: &g16e,
		config: map[string]any{"requests_per_second": ownPerSec, "burst": ownBurst, "max_participants_per_room": 10_000}},
}

// measureNeighbours is G16: a tenant's adds, alone and beside somebody greedy on the same gateway, by turns. Each form has a
// gateway of its own, so that none starts from what another one has left behind.
func (h *harness) measureNeighbours() (figures []figure, err error) {
	probe, err := child(h.ctx, h.dir, "load")
	if err != nil {
		return nil, err
	}
	defer func() { probe.stop() }()
	var failures []error
	for _, n := range neighbours {
		found, err := h.measureNeighbour(n, probe)
		if err != nil { // the other forms are worth knowing all the same
			failures = append(failures, fmt.Errorf("%s: %w", n.name, err))
			probe.stop()
			if probe, err = child(h.ctx, h.dir, "load"); err != nil {
				return figures, err
			}
			if err := h.freshLoad(); err != nil {
				return figures, err
			}
		}
		figures = append(figures, slices.DeleteFunc(found, func(f figure) bool { return len(f.Rounds) == 0 })...)
	}
	return figures, errors.Join(failures...)
}

func (h *harness) measureNeighbour(n neighbour, probe *process) ([]figure, error) {
	g, err := h.gateway("neighbours-" + n.name)
	if err != nil {
		return nil, err
	}
	defer g.stop()
	slowness := figure{goal: n.goal}
	var taken figure
	if n.taken != nil {
		taken.goal = *n.taken
	}
	if err := h.warm(n, g, probe); err != nil {
		return nil, err
	}
	for round := range h.rounds {
		h.say("neighbours, %s, round %d of %d", n.name, round+1, h.rounds)
		measured, err := n.measured(g)
		if err != nil {
			return []figure{slowness, taken}, err
		}
		greedy, err := n.greed(h, g, measured)
		if err == nil {
			err = h.recovered(g, measured)
		}
		if err != nil {
			return []figure{slowness, taken}, err
		}
		few := []owner{measured}
		time.Sleep(quiet)
		if err := h.ready(probe, h.measuredAdds(g, few)); err != nil {
			return []figure{slowness, taken}, err
		}
		settle()
		alone, err := h.timed(probe)
		if err == nil && alone.Answers == 0 {
			err = errors.New("none of the adds was taken with nobody beside them")
		}
		if err != nil {
			return []figure{slowness, taken}, err
		}
		beside, load, err := h.timedBeside(g, probe, h.measuredAdds(g, few), greedy)
		if err != nil {
			return []figure{slowness, taken}, err
		}
		slowness.add(seconds(beside, .99)/seconds(alone, .99), slices.Concat([]number{
			of("beside", 1000*seconds(beside, .99), "ms"), of("alone", 1000*seconds(alone, .99), "ms"),
			of("p50 beside", 1000*seconds(beside, .5), "ms"), of("p50 alone", 1000*seconds(alone, .5), "ms"),
			of("refused beside", 100*part(beside), "%"), of("refused alone", 100*part(alone), "%"),
		}, spread(beside.Latencies), told(load))...)
		if n.taken != nil {
			taken.add(100 * (1 - part(beside)))
		}
		if err := h.recovered(g, measured); err != nil {
			return []figure{slowness, taken}, err
		}
	}
	if n.taken == nil {
		return []figure{slowness}, nil
	}
	return []figure{slowness, taken}, nil
}

// warm makes adds that are not counted: the side that comes first finds the gateway cold.
func (h *harness) warm(n neighbour, g *gateway, probe *process) error {
	measured, err := n.measured(g)
	if err != nil {
		return err
	}
	p := h.measuredAdds(g, []owner{measured})
	p.For, p.Least = time.Second, 0
	if err := h.ready(probe, p); err != nil {
		return err
	}
	_, err = h.timed(probe)
	return err
}

// measured makes the tenant whose adds are timed. Each round has a new one, as it has a new greedy one: what one has used
// up of its limits is not the next one's.
func (n neighbour) measured(g *gateway) (owner, error) {
	if n.config == nil {
		all, err := g.tenantsWith(1, 100_000)
		if err != nil {
			return owner{}, err
		}
		return all[0], nil
	}
	return g.tenant("Measured", n.config)
}

// measuredAdds may be refused, which is counted.
func (h *harness) measuredAdds(g *gateway, few []owner) plan {
	p := h.probes(g, few)
	p.Want.Refused = []int{http.StatusTooManyRequests, http.StatusServiceUnavailable}
	return p
}

// seconds is a percentile of all that was asked for. An add that was refused is one that was not done in the time in which
// the others were, and counts with that: who refuses everybody is not fast.
func seconds(o outcome, share float64) float64 {
	if at := int(share * float64(o.Answers+o.Refused)); at < o.Answers {
		return o.Latencies[at].Seconds()
	}
	return o.Took.Seconds()
}

// told is what the greedy one was answered, a second.
func told(load run) []number {
	var taken, limited, refused, unavailable, closed int
	for status, n := range load.Statuses {
		switch {
		case status == 0:
			closed += n
		case status < 400:
			taken += n
		case status == http.StatusTooManyRequests:
			limited += n
		case status == http.StatusServiceUnavailable:
			unavailable += n
		default:
			refused += n
		}
	}
	var all []number
	for _, c := range []struct {
		what string
		n    int
	}{{"greedy: 2xx", taken}, {"4xx", refused}, {"429", limited}, {"503", unavailable}, {"closed", closed}} {
		all = append(all, of(c.what, float64(c.n)/load.Took.Seconds(), "/s"))
	}
	return all
}

// recovered waits until an add of the tenant is taken.
func (h *harness) recovered(g *gateway, o owner) error {
	began := time.Now()
	for {
		_, _, err := g.call(http.MethodPost, "/api/v1/rooms/Recovered/participants", o.Key, map[string]string{"display_name": "A"}, http.StatusCreated)
		took := time.Since(began)
		switch {
		case err == nil:
			if took > time.Second {
				h.say("the gateway takes adds again after %s", took.Round(time.Millisecond))
			}
			return nil
		case took > recovering || h.ctx.Err() != nil:
			return fmt.Errorf("the gateway takes no adds %s after the greedy one has gone: %w", took.Round(time.Second), err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// greed is a load of which every answer is counted, and none is wanted.
func (h *harness) greed(g *gateway, connections, perSecond int, r request) plan {
	return plan{Address: g.address, Connections: connections, PerSecond: perSecond, For: settling + h.each + lasting, Request: r, Want: want{Any: true}}
}

// flood is adds, a hundred times as many as the tenant may make.
func (h *harness) flood(g *gateway, _ owner) (plan, error) {
	o, err := g.tenant("Greedy", map[string]any{"requests_per_second": greedyLimit, "burst": greedyLimit, "max_participants_per_room": 10_000})
	return h.greed(g, greedyMany, floodFactor*greedyLimit, request{Method: http.MethodPost, Seats: h.seating([]owner{o}, 1)}), err
}

// largeBulks is bulks of as many bytes as each item may have, into many rooms, by a tenant with the default limits.
func (h *harness) largeBulks(g *gateway, _ owner) (plan, error) {
	o, err := g.tenant("Greedy", map[string]any{})
	s := h.seating([]owner{o}, bulkSize)
	s.Apart, s.Metadata = true, largest()
	return h.greed(g, greedyMany, dearPerSec, request{Method: http.MethodPost, Seats: s}), err
}

// largest is as much metadata as a participant may have.
func largest() string {
	const around = `{"notes":""}`
	return `{"notes":"` + strings.Repeat("n", metadataMost-len(around)) + `"}`
}

// dearPatches is patches of settings with wrong roles, and of a room's metadata with as many members as are read, by turns,
// by a tenant with the default limits.
func (h *harness) dearPatches(g *gateway, _ owner) (plan, error) {
	o, err := g.tenant("Greedy", map[string]any{})
	if err != nil {
		return plan{}, err
	}
	config, room := "/api/v1/tenants/"+o.ID+"/config", "/api/v1/rooms/Dear"
	if _, _, err := g.call(http.MethodPost, "/api/v1/rooms", o.Key, map[string]string{"name": "Dear"}, http.StatusCreated); err != nil {
		return plan{}, err
	}
	roles := h.largestRead(g, o, config, `{"roles":{`, `"!%d":["x"]`)
	objects := h.largestRead(g, o, room, `{"metadata":{`, `"%d":{}`)
	nulls := h.largestRead(g, o, room, `{"metadata":{`, `"%d":null`)
	taken := members(`{"metadata":{`, `"%d":0`, metadataMost)
	changed := members(`{"metadata":{`, `"%d":1`, metadataMost)
	h.say("neighbours, patches: %d wrong roles, %d and %d members of metadata are read", strings.Count(roles, `"!`), strings.Count(objects, ":{}"), strings.Count(nulls, ":null"))
	var cycle []turn
	for _, metadata := range []string{objects, taken, nulls, changed} {
		cycle = append(cycle, turn{Path: config, Body: roles}, turn{Path: room, Body: metadata})
	}
	return h.greed(g, dearFew, dearPerSec, request{Method: http.MethodPatch, Header: map[string]string{"X-API-Key": o.Key}, Cycle: cycle}), nil
}

// members is a document with as many members as go into so many bytes.
func members(begins, member string, bytes int) string {
	var b strings.Builder
	b.WriteString(begins)
	for n := 0; ; n++ {
		next := fmt.Sprintf(member, n)
		if b.Len()+len(next)+len(",}}") > bytes {
			return b.String() + "}}"
		}
		if n > 0 {
			b.WriteByte(',')
		}
		b.WriteString(next)
	}
}

// largestRead is the largest of such documents that is not refused for its size.
func (h *harness) largestRead(g *gateway, o owner, path, begins, member string) string {
	for size := bodyMost; ; size /= 2 {
		body := members(begins, member, size)
		_, _, err := g.call(http.MethodPatch, path, o.Key, json.RawMessage(body), http.StatusRequestEntityTooLarge)
		if err != nil && strings.Contains(err.Error(), fmt.Sprintf("%s %s: ", http.MethodPatch, path)) || size < metadataMost { // answered, and with something else
			return body
		}
	}
}

// seatLoop is reads of its room by a seat of the tenant that is measured.
func (h *harness) seatLoop(g *gateway, measured owner) (plan, error) {
	text, _, err := g.call(http.MethodPost, "/api/v1/rooms/Loop/participants", measured.Key, map[string]string{"display_name": "Viewer", "role": "viewer"}, http.StatusCreated)
	if err != nil {
		return plan{}, err
	}
	var seat struct {
		AuthToken string `json:"auth_token"`
		Room      struct{ ID string }
	}
	if err := json.Unmarshal(text, &seat); err != nil {
		return plan{}, err
	}
	return h.greed(g, greedyMany, seatPerSec, request{
		Method: http.MethodGet, Path: "/api/v1/rooms/" + seat.Room.ID, Header: map[string]string{"Authorization": "Bearer " + seat.AuthToken},
	}), nil
}
