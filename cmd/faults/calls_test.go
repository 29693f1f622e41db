package faults

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"

	"github.com/gofrs/uuid/v5"
)

// room is a room that calls are made about.
type room struct {
	school *school
	ref    string // its UUID, or its name
	named  bool   // by a name, under which there may be several rooms, one after the other

	mu    sync.Mutex
	seats []known // participants that somebody was told of; guarded by mu
	calls int     // guarded by mu
}

// known is a participant, with its refresh token if it was told alone.
type known struct{ pid, refresh string }

// Rooms are short, so that their histories can be checked.
const (
	roomsInUse  = 3
	callsOfRoom = 40
)

// room gives one to be busy with, and replaces one that has had its calls.
func (s *school) room(random *rand.Rand) (r *room, over *room) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rooms == nil { // at first
		for i := range 2 {
			s.rooms = append(s.rooms, &room{school: s, ref: fmt.Sprintf("class %d", i), named: true})
		}
	}
	for len(s.rooms) < 2+roomsInUse {
		s.rooms = append(s.rooms, &room{school: s, ref: uuid.Must(uuid.NewV7()).String()})
	}
	at := random.IntN(len(s.rooms))
	r = s.rooms[at]
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls++
	if r.calls < callsOfRoom {
		return r, nil
	}
	s.rooms = append(s.rooms[:at:at], s.rooms[at+1:]...)
	return nil, r
}

// ended takes a room back that is to be ended another time, and a name, which is to be used again.
func (s *school) ended(r *room, c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.named {
		r = &room{school: s, ref: r.ref, named: true}
	} else if c.fate() == done {
		return
	}
	s.rooms = append(s.rooms, r)
}

// seat is one that somebody was told of; the zero one for none.
func (r *room) seat(random *rand.Rand) known {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.seats) == 0 {
		return known{}
	}
	return r.seats[random.IntN(len(r.seats))]
}

func (r *room) told(pid, refresh string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seats = append(r.seats, known{pid, refresh})
}

func (r *room) path() string { return "/api/v1/rooms/" + r.ref }

var users = []string{"", "", "ann", "bob", "cat", "dan", "eve"}

// act makes one of the calls of a tenant's backend.
func (s *school) act(w *workload, random *rand.Rand) {
	r, over := s.room(random)
	if over != nil {
		s.ended(over, w.end(over, random))
		return
	}
	switch n := random.IntN(100); {
	case n < 45:
		w.add(r, random, "")
	case n < 53:
		w.addTwice(r, random)
	case n < 61:
		w.bulk(r, random)
	case n < 76:
		w.remove(r, random)
	case n < 78:
		w.end(r, random)
	default:
		w.list(r, random)
	}
}

func (w *workload) wanted(random *rand.Rand) wanted {
	return wanted{tag: w.tag(), user: users[random.IntN(len(users))]}
}

func (s wanted) body() map[string]any {
	body := map[string]any{"display_name": s.tag}
	if s.user != "" {
		body["external_user_id"] = s.user
	}
	return body
}

func (w *workload) add(r *room, random *rand.Rand, idem string) *call {
	seat := w.wanted(random)
	return w.addSeat(r, w.anyGateway(random), seat, idem, random.IntN(4) == 0)
}

func (w *workload) addSeat(r *room, g *gateway, seat wanted, idem string, look bool) *call {
	c := &call{kind: addKind, gateway: g, method: "POST", path: r.path() + "/participants", body: seat.body(), school: r.school, room: r,
		seats: []wanted{seat}, idem: idem}
	if idem != "" {
		c.headers = []string{"Idempotency-Key", idem}
	}
	w.ask(r.school.key, c)
	if c.status == http.StatusCreated {
		pid := c.answer["participant_id"].(string)
		r.told(pid, c.refresh)
		c.refresh = "" // the memory of a long run stays small
		if look {
			w.look(r, g, c, pid)
		}
	}
	return c
}

// look reads what was just written, from the replica that has answered, without a word of a revision.
func (w *workload) look(r *room, g *gateway, written *call, pid string) {
	room := written.answer["room"].(map[string]any)["id"].(string)
	c := w.ask(r.school.key, &call{kind: readKind, gateway: g, method: "GET", path: "/api/v1/rooms/" + room + "/participants/" + pid, school: r.school})
	if c.status == http.StatusNotFound {
		w.broken.add("a replica does not show what it has answered: %s; then %s", written, c)
	}
}

// addTwice is a caller that did not hear the answer, and repeats its request.
func (w *workload) addTwice(r *room, random *rand.Rand) {
	idem := uuid.Must(uuid.NewV7()).String()
	first := w.add(r, random, idem)
	if again := w.addSeat(r, w.anyGateway(random), first.seats[0], idem, false); first.fate() == done && again.fate() == done {
		if first.answer["participant_id"] != again.answer["participant_id"] || again.header.Get("Idempotent-Replayed") != "true" {
			w.broken.add("an Idempotency-Key made two: %s; then %s", first, again)
		}
	}
}

func (w *workload) bulk(r *room, random *rand.Rand) {
	c := &call{kind: bulkKind, gateway: w.anyGateway(random), method: "POST", path: r.path() + "/participants/bulk", school: r.school, room: r}
	if random.IntN(2) == 0 {
		c.path += "?atomic=true"
	}
	var items []map[string]any
	for range 2 + random.IntN(2) {
		seat := w.wanted(random)
		c.seats, items = append(c.seats, seat), append(items, seat.body())
	}
	c.body = map[string]any{"participants": items}
	w.ask(r.school.key, c)
	for _, item := range c.items() {
		if item.pid != "" {
			r.told(item.pid, "")
		}
	}
}

func (c *call) atomic() bool { return c.kind == bulkKind && c.path[len(c.path)-len("true"):] == "true" }

// item is what became of one wanted seat.
type item struct {
	fate fate
	code string
	pid  string
}

// items are what became of each of the wanted seats.
func (c *call) items() []item {
	items := make([]item, len(c.seats))
	for i := range items {
		items[i] = item{fate: c.fate(), code: c.code}
	}
	if c.fate() != done {
		return items
	}
	if c.kind == addKind {
		items[0].pid = c.answer["participant_id"].(string)
		return items
	}
	for i, result := range c.answer["results"].([]any) {
		result := result.(map[string]any)
		if result["success"] == true {
			items[i].pid = result["participant_id"].(string)
			continue
		}
		items[i].code = result["code"].(string)
		items[i].fate = refused
		if items[i].code == "outcome_unknown" {
			items[i].fate = unknown
		}
	}
	return items
}

func (w *workload) remove(r *room, random *rand.Rand) {
	seat := r.seat(random)
	pid := seat.pid
	if pid == "" || r.named { // a name may be another room's by now
		return
	}
	c := w.ask(r.school.key, &call{kind: removeKind, gateway: w.anyGateway(random), method: "DELETE", path: r.path() + "/participants/" + pid,
		school: r.school, room: r, pid: pid})
	if c.status == http.StatusNotFound {
		w.broken.add("a participant that was acknowledged is not found: %s", c)
	}
	w.holds(c, w.refreshing(r, seat))
}

func (w *workload) end(r *room, random *rand.Rand) *call {
	seat := r.seat(random)
	c := w.ask(r.school.key, &call{kind: endKind, gateway: w.anyGateway(random), method: "POST", path: r.path() + "/end", school: r.school, room: r})
	if !r.named { // the room of the name may be another one than the seat's
		w.holds(c, w.refreshing(r, seat))
	}
	return c
}

// list asks who is in the room, as everybody must see it by now.
func (w *workload) list(r *room, random *rand.Rand) {
	w.ask(r.school.key, &call{kind: listKind, gateway: w.anyGateway(random), method: "GET", path: r.path() + "/participants?active=true",
		strong: true, school: r.school, room: r})
}
