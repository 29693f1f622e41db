package faults

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// locksmith takes credentials away while they are used on every gateway.
type locksmith struct {
	revoked   *school // its keys are made, used and revoked
	suspended *school // it is suspended, and resumed
	one       sync.Mutex
}

// addsOfEach is how many seats a credential asks of each gateway, one after the other: some before it is taken away, some
// while it is, and some after.
const addsOfEach = 4

// seatsOfARoom is when the locksmith goes on to the next room.
const seatsOfARoom = 400

func newLocksmith(t testing.TB, w *workload) *locksmith {
	t.Helper()
	l := &locksmith{}
	for name, s := range map[string]**school{"revoked": &l.revoked, "suspended": &l.suspended} {
		*s = &school{policy: "allow", capacity: 10_000, live: namesakesLive}
		(*s).id, (*s).key = w.newTenant(t, name, map[string]any{"requests_per_second": 100_000, "burst": 100_000, "max_participants_per_room": 10_000})
	}
	return l
}

func (l *locksmith) act(w *workload, random *rand.Rand) {
	if random.IntN(3) > 0 {
		l.revoke(w, random)
		return
	}
	if l.one.TryLock() { // who else is suspended meanwhile shows nothing
		defer l.one.Unlock()
		l.suspend(w, random)
	}
}

// revoke makes a key, and revokes it through one gateway while it seats people through all.
func (l *locksmith) revoke(w *workload, random *rand.Rand) {
	s := l.revoked
	made := w.ask(operatorKey, &call{kind: keyKind, gateway: w.anyGateway(random), method: "POST", path: "/api/v1/tenants/" + s.id + "/keys",
		body: map[string]any{"name": fmt.Sprint("key ", w.tags.Add(1)), "scopes": []string{"participants:write", "rooms:read"}}})
	switch made.fate() {
	case done:
	case refused:
		l.tidy(w, w.anyGateway(random))
		return
	case unknown:
		return
	}
	secret, id := made.answer["api_key"].(string), made.answer["key"].(map[string]any)["id"].(string)
	gone := &call{kind: revokeKind, gateway: w.anyGateway(random), method: "DELETE", path: "/api/v1/tenants/" + s.id + "/keys/" + id, pid: id}
	w.takeAway(s, secret, usedBy+id, gone, after(made))
	w.holds(gone, reading(secret))
}

// suspend suspends the tenant through one gateway while it seats people through all, and has it served again.
func (l *locksmith) suspend(w *workload, random *rand.Rand) {
	s := l.suspended
	path := "/api/v1/tenants/" + s.id
	gone := &call{kind: revokeKind, gateway: w.anyGateway(random), method: "POST", path: path + "/suspend", body: map[string]any{}}
	w.takeAway(s, s.key, "seat of", gone, nil)
	w.holds(gone, reading(s.key))
	w.ask(operatorKey, &call{kind: revokeKind, gateway: w.anyGateway(random), method: "POST", path: path + "/resume"})
}

// takeAway seats people with a credential through all gateways, and has the operator make the call that takes it away
// when the first of them have sat down.
func (w *workload) takeAway(s *school, secret, tag string, by *call, headers []string) {
	path := fmt.Sprintf("/api/v1/rooms/locks-%d/participants", w.tags.Load()/seatsOfARoom)
	first := make(chan struct{}, len(w.gateways)*addsOfEach)
	var adds sync.WaitGroup
	for _, g := range w.gateways {
		adds.Go(func() {
			for range addsOfEach {
				seat := wanted{tag: fmt.Sprintf("%s %d", tag, w.tags.Add(1))}
				c := w.ask(secret, &call{kind: addKind, gateway: g, method: "POST", path: path, body: seat.body(), headers: headers, school: s, seats: []wanted{seat}})
				c.refresh = ""
				first <- struct{}{}
			}
		})
	}
	select {
	case <-first:
	case <-time.After(time.Second):
	}
	w.ask(operatorKey, by)
	adds.Wait()
}

// tidy revokes the keys of which nobody was told, so that more can be made.
func (l *locksmith) tidy(w *workload, g *gateway) {
	path := "/api/v1/tenants/" + l.revoked.id + "/keys"
	listed := w.ask(operatorKey, &call{kind: readKind, gateway: g, method: "GET", path: path})
	keys, _ := listed.answer["keys"].([]any)
	for _, k := range keys {
		if k := k.(map[string]any); k["main"] != true {
			w.ask(operatorKey, &call{kind: revokeKind, gateway: g, method: "DELETE", path: path + "/" + k["id"].(string)})
		}
	}
}

// usedBy begins the display name of a seat that an API key has asked for; the key's id follows.
const usedBy = "by "

// takenAway is what the log says of credentials, and of seats that they have asked for.
type takenAway struct {
	ids       map[string]string // of keys, by the path of their records
	revoked   map[string]int64  // since which revision, by id
	suspended map[string]int64  // likewise, by tenant
	fresh     []freshSeat       // of the revision
}

type freshSeat struct {
	tenant string
	seat   *seatRecord
}

type tenantRecord struct {
	ID     string `json:"id"`
	Status string `json:"status"`
	Config struct {
		MaxStoredBytes int64 `json:"max_stored_bytes"`
	} `json:"config"`
}

func newTakenAway() *takenAway {
	return &takenAway{ids: make(map[string]string), revoked: make(map[string]int64), suspended: make(map[string]int64)}
}

func (a *takenAway) key(path, id string) {
	a.ids[path] = id
	delete(a.revoked, id)
}

func (a *takenAway) revoke(path string, revision int64) {
	a.revoked[a.ids[path]] = revision
	delete(a.ids, path)
}

func (a *takenAway) tenant(t tenantRecord, revision int64) {
	switch {
	case t.Status == "active":
		delete(a.suspended, t.ID)
	case a.suspended[t.ID] == 0:
		a.suspended[t.ID] = revision
	}
}

func (a *takenAway) seated(tenant string, s *seatRecord) {
	a.fresh = append(a.fresh, freshSeat{tenant, s})
}

// look holds the seats of a whole revision against what was taken away before it. What is taken away in the same one may
// have come later in it.
func (a *takenAway) look(revision int64) (broken []string) {
	for _, f := range a.fresh {
		if by, is := strings.CutPrefix(f.seat.DisplayName, usedBy); is {
			id, _, _ := strings.Cut(by, " ")
			if since := a.revoked[id]; since > 0 && since < revision {
				broken = append(broken, fmt.Sprintf("revision %d: %s was seated in %s by %s, which was revoked in revision %d", revision, f.seat.ID, f.tenant, id, since))
			}
		}
		if since := a.suspended[f.tenant]; since > 0 && since < revision {
			broken = append(broken, fmt.Sprintf("revision %d: %s was seated in %s, which is suspended since revision %d", revision, f.seat.ID, f.tenant, since))
		}
	}
	a.fresh = a.fresh[:0]
	return broken
}

// reading asks for rooms with a key that was taken away.
func reading(secret string) func(w *workload, g *gateway) *call {
	return func(w *workload, g *gateway) *call {
		return w.ask(secret, &call{kind: tryKind, gateway: g, method: "GET", path: "/api/v1/rooms", patience: tryPatience})
	}
}

// refreshing asks for fresh tokens of a seat that was taken away; nil if nobody knows its token.
func (w *workload) refreshing(r *room, seat known) func(w *workload, g *gateway) *call {
	if seat.refresh == "" {
		return nil
	}
	return func(w *workload, g *gateway) *call {
		return w.ask(seat.refresh, &call{kind: tryKind, gateway: g, method: "POST", path: r.path() + "/participants/" + seat.pid + "/token", patience: tryPatience})
	}
}

// tryPatience is longer than a gateway is stopped for: what it answers when it goes on counts too.
const tryPatience = 12 * time.Second

// enforced counts what answers to what takes something away said of it.
type enforced struct {
	mu            sync.Mutex
	whole, partly int // guarded by mu
}

func (e *enforced) String() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return fmt.Sprintf("%d taken away on every replica, %d on some", e.whole, e.partly)
}

// holds makes sure of what an answer says about what it has taken away: when all replicas are said to have applied it, none
// does after that what try asks for, whatever is wrong with it.
func (w *workload) holds(taken *call, try func(*workload, *gateway) *call) {
	if taken.fate() != done {
		return
	}
	n, of, err := enforcedBy(taken.header.Get("Usher-Enforced"))
	w.enforced.mu.Lock()
	switch {
	case err == nil && n == of:
		w.enforced.whole++
	case err == nil:
		w.enforced.partly++
	}
	w.enforced.mu.Unlock()
	var tries []*call
	if err == nil && n == of && try != nil {
		tries = make([]*call, len(w.gateways))
		var all sync.WaitGroup
		for i, g := range w.gateways {
			all.Go(func() { tries[i] = try(w, g) })
		}
		all.Wait()
	}
	for _, problem := range judgeEnforced(taken, tries) {
		w.broken.add("%s", problem)
	}
}

// enforcedBy reads the header Usher-Enforced: n of so many replicas.
func enforcedBy(header string) (n, of int, err error) {
	if _, err := fmt.Sscanf(header, "%d/%d", &n, &of); err != nil || header != fmt.Sprintf("%d/%d", n, of) || n < 1 || n > of {
		return 0, 0, fmt.Errorf("not n/m: %q", header)
	}
	return n, of, nil
}

// judgeEnforced holds what was tried after the answer against what the answer says.
func judgeEnforced(taken *call, tries []*call) (broken []string) {
	n, of, err := enforcedBy(taken.header.Get("Usher-Enforced"))
	if err != nil {
		return []string{fmt.Sprintf("Usher-Enforced is %v: %s", err, taken)}
	}
	if n < of {
		return nil // some may still answer
	}
	for _, c := range tries {
		if c.fate() == done {
			broken = append(broken, fmt.Sprintf("it is said to be enforced by %d of %d: %s; then %s", n, of, taken, c))
		}
	}
	return broken
}

// TestTheEnforcedCheckKnowsRightFromWrong: a check that cannot fail finds nothing.
func TestTheEnforcedCheckKnowsRightFromWrong(t *testing.T) {
	t.Parallel()
	g := &gateway{process: process{name: "g0"}}
	answered := func(status int) *call { return &call{gateway: g, method: "POST", path: "/try", status: status} }
	for name, c := range map[string]struct {
		header string
		tries  []int
		broken bool
	}{
		"all, and all refuse":            {"3/3", []int{401, 401, 0}, false},
		"all, and one has no etcd":       {"3/3", []int{401, 503, 409}, false},
		"all, and one still takes it":    {"3/3", []int{401, 200, 401}, true},
		"one of one still takes it":      {"1/1", []int{200}, true},
		"some, and another one takes it": {"2/3", []int{401, 401, 200}, false},
		"more than there are":            {"4/3", nil, true},
		"not even who has answered":      {"0/3", nil, true},
		"no count":                       {"all", nil, true},
		"more than a count":              {"3/3 replicas", nil, true},
	} {
		taken := &call{gateway: g, method: "DELETE", path: "/taken", status: http.StatusNoContent, header: http.Header{}}
		taken.header.Set("Usher-Enforced", c.header)
		var tries []*call
		for _, status := range c.tries {
			tries = append(tries, answered(status))
		}
		if broken := judgeEnforced(taken, tries); (len(broken) > 0) != c.broken {
			t.Errorf("%s: %q", name, broken)
		}
	}
}
