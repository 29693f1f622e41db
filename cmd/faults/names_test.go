package faults

import (
	"math/rand/v2"
	"net/url"
	"slices"
	"sync"
	"testing"
)

// namesake is a tenant whose rooms all want to have the same few names.
type namesake struct {
	school *school

	mu    sync.Mutex
	rooms []string // ids of rooms that may go on; guarded by mu
}

const (
	leastNamesakes = 4
	mostNamesakes  = 10
	namesakesLive  = 1000 // max_concurrent_rooms, which is the default
)

var wantedNames = []string{"alpha", "beta", "a name with spaces"}

func newNamesake(t testing.TB, w *workload) *namesake {
	t.Helper()
	s := &school{policy: "allow", capacity: 100, live: namesakesLive}
	s.id, s.key = w.newTenant(t, "namesake", map[string]any{"requests_per_second": 100_000, "burst": 100_000})
	return &namesake{school: s}
}

// act has rooms compete for a name on several gateways at once: two are renamed to it, and perhaps a third is made.
func (n *namesake) act(w *workload, random *rand.Rand) {
	n.mu.Lock()
	random.Shuffle(len(n.rooms), func(i, j int) { n.rooms[i], n.rooms[j] = n.rooms[j], n.rooms[i] })
	rooms := slices.Clone(n.rooms)
	n.mu.Unlock()
	switch {
	case len(rooms) < leastNamesakes:
		n.make(w, w.anyGateway(random), "spare "+w.tag())
		return
	case len(rooms) > mostNamesakes:
		n.end(w, w.anyGateway(random), rooms[0])
		return
	}
	name := wantedNames[random.IntN(len(wantedNames))]
	through := random.Perm(len(w.gateways))
	won := make([]bool, 2)
	var all sync.WaitGroup
	for i := range won {
		all.Go(func() { won[i] = n.rename(w, w.gateways[through[i]], rooms[i], name).fate() == done })
	}
	if random.IntN(2) == 0 {
		all.Go(func() { n.make(w, w.gateways[through[2]], name) })
	}
	all.Wait()
	for i, has := range won {
		switch {
		case has && random.IntN(4) == 0:
			n.end(w, w.anyGateway(random), rooms[i])
		case has:
			n.rename(w, w.anyGateway(random), rooms[i], "spare "+w.tag())
		}
	}
}

func (n *namesake) make(w *workload, g *gateway, name string) {
	c := w.ask(n.school.key, &call{kind: nameKind, gateway: g, method: "POST", path: "/api/v1/rooms", body: map[string]any{"name": name}, school: n.school})
	if id, _ := c.answer["id"].(string); c.fate() == done {
		n.mu.Lock()
		n.rooms = append(n.rooms, id)
		n.mu.Unlock()
	}
}

func (n *namesake) rename(w *workload, g *gateway, room, name string) *call {
	c := w.ask(n.school.key, &call{kind: nameKind, gateway: g, method: "PATCH", path: "/api/v1/rooms/" + room, body: map[string]any{"name": name}, school: n.school})
	if got, _ := c.answer["name"].(string); c.fate() == done && got != name {
		w.broken.add("a room that was renamed is called %q: %s", got, c)
	}
	return c
}

func (n *namesake) end(w *workload, g *gateway, room string) {
	w.ask(n.school.key, &call{kind: nameKind, gateway: g, method: "POST", path: "/api/v1/rooms/" + room + "/end", school: n.school})
	n.mu.Lock()
	defer n.mu.Unlock()
	n.rooms = slices.DeleteFunc(n.rooms, func(id string) bool { return id == room })
}

func (n *namesake) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.rooms = nil
}

// name takes which room the name, as a path has it, leads to; "" for none. Called under mu.
func (w *witness) name(tenant, escaped, room string) {
	name, err := url.PathUnescape(escaped)
	if err != nil {
		w.broken.add("the name %q of %s cannot be read: %v", escaped, tenant, err)
		return
	}
	if w.names[tenant] == nil {
		w.names[tenant] = make(map[string]string)
	}
	if w.names[tenant][name] = room; room == "" {
		delete(w.names[tenant], name)
	}
}

// lookNames holds that rooms of a tenant which go on have different names, and that each name leads to its room. A room
// that was made by its id alone is called by that, and needs no record of its name. Called under mu.
func (w *witness) lookNames(revision int64, tenant string) {
	called := make(map[string]string)
	for id, r := range w.rooms[tenant] {
		if r.Status == "ended" {
			continue
		}
		if other, taken := called[r.Name]; taken {
			w.broken.add("revision %d: %s and %s of %s are both called %q", revision, id, other, tenant, r.Name)
		}
		called[r.Name] = id
		if leads := w.names[tenant][r.Name]; leads != id && r.Name != id {
			w.broken.add("revision %d: the name %q of %s leads to %q, and %s has it", revision, r.Name, tenant, leads, id)
		}
	}
}
