package faults

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// hoarder is a tenant that keeps as much as it may.
type hoarder struct {
	school *school

	mu    sync.Mutex
	rooms map[string][]string // name → participants that were told of in it; guarded by mu
}

const (
	hoardBytes = 4 << 20
	hoardRooms = 8
	// defaultBytes is what a tenant may keep if its settings say nothing else.
	defaultBytes = 64 << 20
)

// hoarded is as much metadata as a participant may have.
var hoarded = map[string]any{"notes": strings.Repeat("n", 4<<10-len(`{"notes":""}`))}

// newHoarder makes the tenant, and fills what it may keep.
func newHoarder(t testing.TB, w *workload) *hoarder {
	t.Helper()
	made := w.ask(operatorKey, &call{kind: keyKind, gateway: w.gateways[0], method: "POST", path: "/api/v1/tenants", body: map[string]any{"name": "hoarder",
		"config": map[string]any{"max_stored_bytes": hoardBytes, "max_participants_per_room": 10_000, "requests_per_second": 100_000, "burst": 100_000}}})
	if made.status != http.StatusCreated {
		t.Fatalf("no tenant: %s", made)
	}
	h := &hoarder{school: &school{policy: "allow"}, rooms: make(map[string][]string)}
	h.school.id, h.school.key = made.answer["tenant"].(map[string]any)["id"].(string), made.answer["api_key"].(string)
	const atOnce = 50
	for n := 0; ; n++ {
		if n > hoardBytes/(atOnce*len(hoarded["notes"].(string)))+1 {
			t.Fatalf("the hoarder has stored more than %d bytes and is not refused", hoardBytes)
		}
		if h.add(w, w.gateways[0], n%hoardRooms, atOnce) {
			return h
		}
	}
}

func (h *hoarder) act(w *workload, random *rand.Rand) {
	g := w.anyGateway(random)
	room, seat := h.any(random)
	switch n := random.IntN(20); {
	case n < 11 || room == "":
		h.add(w, g, random.IntN(hoardRooms), 1+random.IntN(40))
	case n < 13:
		h.judge(w, w.ask(h.school.key, &call{kind: storeKind, gateway: g, method: "PATCH", path: "/api/v1/rooms/" + room, body: map[string]any{"metadata": hoarded}}))
	case n < 19 && seat != "":
		h.removes(w, w.ask(h.school.key, &call{kind: storeKind, gateway: g, method: "DELETE", path: "/api/v1/rooms/" + room + "/participants/" + seat}))
	default:
		h.removes(w, w.ask(h.school.key, &call{kind: storeKind, gateway: g, method: "DELETE", path: "/api/v1/rooms/" + room}))
		h.mu.Lock()
		delete(h.rooms, room)
		h.mu.Unlock()
	}
}

// any is a room that somebody was told of, and one in it; "" for none.
func (h *hoarder) any(random *rand.Rand) (room, seat string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for name, seats := range h.rooms { // in the order of the map, which is none
		if len(seats) > 0 {
			seat = seats[random.IntN(len(seats))]
		}
		return name, seat
	}
	return "", ""
}

// add seats so many with as much metadata as they may have, and says whether any was refused for want of room.
func (h *hoarder) add(w *workload, g *gateway, room, n int) (full bool) {
	items := make([]map[string]any, n)
	for i := range items {
		items[i] = map[string]any{"display_name": "hoarded", "metadata": hoarded}
	}
	name := fmt.Sprint("hoard-", room)
	c := &call{kind: storeKind, gateway: g, method: "POST", path: "/api/v1/rooms/" + name + "/participants/bulk", body: map[string]any{"participants": items}}
	w.ask(h.school.key, c)
	c.body, c.raw = n, c.raw[:min(len(c.raw), 300)] // the memory of a long run stays small
	full = h.judge(w, c)
	results, _ := c.answer["results"].([]any)
	c.answer = nil
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, result := range results {
		result := result.(map[string]any)
		pid, _ := result["participant_id"].(string)
		code, _ := result["code"].(string)
		if pid != "" {
			h.rooms[name] = append(h.rooms[name], pid)
		}
		if problem := misrefused(code); pid == "" && problem != "" {
			w.broken.add("an item of a bulk is refused %s: %s", problem, c)
		}
		full = full || code == quotaExceeded
	}
	return full
}

const quotaExceeded = "quota_exceeded"

// judge looks at the answer to what adds bytes, and says whether it was refused for want of room.
func (h *hoarder) judge(w *workload, c *call) (full bool) {
	if c.code == quotaExceeded && c.status != http.StatusForbidden {
		w.broken.add("a tenant that is full is answered %s", c)
	}
	if problem := misrefused(c.code); c.fate() == refused && problem != "" {
		w.broken.add("what a full tenant adds is refused %s: %s", problem, c)
	}
	return c.code == quotaExceeded
}

// misrefused says what is wrong with the refusal of what adds bytes; "" for nothing. A room may be gone by then.
func misrefused(code string) string {
	switch code {
	case quotaExceeded, "unavailable", "outcome_unknown", "room_not_found", "room_ended", "participant_not_found":
		return ""
	}
	return "for another reason than its bound: " + code
}

// removes looks at the answer to what removes bytes: that is not refused for want of room.
func (h *hoarder) removes(w *workload, c *call) {
	if c.code == quotaExceeded {
		w.broken.add("a tenant that is full cannot remove: %s", c)
	}
	w.holds(c, nil)
}

func (h *hoarder) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.rooms = make(map[string][]string)
}

// stored is what the log keeps for each tenant: the length of the keys and values of every record whose path begins with
// its id. An API key's record begins with the key's hash, and counts for nobody.
type stored struct {
	sizes  map[string]int    // by key
	owners map[string]string // tenants, by key
	bytes  map[string]int64  // by tenant
	bounds map[string]int64  // by tenant
	grown  map[string]bool   // tenants that have more than before the revision
}

func newStored() *stored {
	return &stored{sizes: make(map[string]int), owners: make(map[string]string), bytes: make(map[string]int64), bounds: make(map[string]int64), grown: make(map[string]bool)}
}

func (s *stored) put(table, tenant, key string, value int) {
	if table == "api-keys" || !strings.HasPrefix(tenant, "tenant_") {
		return
	}
	size := len(key) + value
	s.bytes[tenant] += int64(size - s.sizes[key])
	s.grown[tenant] = s.grown[tenant] || size > s.sizes[key]
	s.sizes[key], s.owners[key] = size, tenant
}

func (s *stored) remove(key string) {
	s.bytes[s.owners[key]] -= int64(s.sizes[key])
	delete(s.sizes, key)
	delete(s.owners, key)
}

func (s *stored) bound(t tenantRecord) {
	s.bounds[t.ID] = defaultBytes
	if t.Config.MaxStoredBytes > 0 {
		s.bounds[t.ID] = t.Config.MaxStoredBytes
	}
}

// look holds what is kept for each tenant at the end of a revision against its bound.
func (s *stored) look(revision int64) (broken []string) {
	for tenant := range s.grown {
		if bound, is := s.bounds[tenant]; is && s.bytes[tenant] > bound {
			broken = append(broken, fmt.Sprintf("revision %d: %d bytes are stored for %s, which may have %d", revision, s.bytes[tenant], tenant, bound))
		}
	}
	clear(s.grown)
	return broken
}
