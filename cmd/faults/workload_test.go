package faults

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/time/rate"
)

// workload is what many tenants ask of the gateways while faults happen, and every answer that they got.
type workload struct {
	gateways []*gateway
	client   *http.Client
	limiter  *rate.Limiter
	schools  []*school
	registry *registry
	namesake *namesake
	locks    *locksmith
	hoarder  *hoarder  // nil: this log has no room for one
	epoch    time.Time // what times of calls are measured from

	gate     sync.RWMutex // held for reading during a call; quiet holds it for writing
	newest   atomic.Int64 // the newest revision that any answer has shown
	answered atomic.Int64 // calls
	tags     atomic.Int64
	broken   problems // what a call itself found wrong
	enforced enforced // what answers said of Usher-Enforced

	mu    sync.Mutex
	calls []*call // of the era; guarded by mu

	working sync.WaitGroup
}

// problems are found by many goroutines.
type problems struct {
	mu  sync.Mutex
	all []string // guarded by mu
}

func (p *problems) add(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = append(p.all, fmt.Sprintf(format, args...))
}

func (p *problems) take() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := p.all
	p.all = nil
	return all
}

// kind is what a call asks for.
type kind string

const (
	addKind    kind = "add"
	bulkKind   kind = "bulk"
	removeKind kind = "remove"
	endKind    kind = "end"
	listKind   kind = "list"
	readKind   kind = "read" // whatever is not written and not part of a history
	patchKind  kind = "patch"
	configKind kind = "config"
	keyKind    kind = "key"
	revokeKind kind = "revoke"
	nameKind   kind = "name"  // a room is made, renamed or ended
	storeKind  kind = "store" // bytes are added, or removed
	tryKind    kind = "try"   // what must be refused, for what gave the right to it was taken away
)

// call is a request and what came of it.
type call struct {
	kind     kind
	gateway  *gateway
	method   string
	path     string
	body     any
	headers  []string      // pairs
	strong   bool          // a read, as new as every answer that anybody has had before it
	patience time.Duration // 0 for the client's

	school *school
	room   *room
	seats  []wanted // of adds
	pid    string   // of removals
	idem   string   // Idempotency-Key
	value  int      // of settings: what is written
	expect int      // of settings: what If-Match was taken from; 0 for none

	began, ended time.Time
	status       int // 0: there was no answer
	code         string
	header       http.Header
	answer       map[string]any
	refresh      string // the refresh token of the seat that was added, until it is known to its room
	raw          string
}

// wanted is a seat that a call asks for. Its tag is the display name, which no other has.
type wanted struct{ tag, user string }

// fate is what is known of a write from its answer.
type fate int

const (
	done    fate = iota
	refused      // for sure: it must not be in the log
	unknown
)

func (c *call) fate() fate { return fateOf(c.status, c.code) }

func fateOf(status int, code string) fate {
	switch {
	case status >= 200 && status < 300:
		return done
	case status >= 400 && status < 500, code == "unavailable":
		return refused
	}
	return unknown
}

func (c *call) String() string {
	request, _ := json.Marshal(c.body)
	return fmt.Sprintf("%s %s %s %s → %d %.300s", c.gateway.name, c.method, c.path, request, c.status, c.raw)
}

// ask makes the call and keeps it.
func (w *workload) ask(key string, c *call) *call {
	var body io.Reader
	if c.body != nil {
		encoded, err := json.Marshal(c.body)
		if err != nil {
			panic(err) // a mistake of the bench
		}
		body = bytes.NewReader(encoded)
	}
	ctx, cancel := within(cmp.Or(c.patience, clientTimeout))
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, c.method, c.gateway.url+c.path, body)
	if err != nil {
		panic(err)
	}
	request.Header.Set("Authorization", "Bearer "+key)
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(c.headers); i += 2 {
		request.Header.Set(c.headers[i], c.headers[i+1])
	}
	c.began = time.Now()
	if c.strong { // looked up when its time has begun: what ended before that is in it
		request.Header.Set("Usher-Min-Revision", strconv.FormatInt(w.newest.Load(), 10))
	}
	response, err := w.client.Do(request)
	if err == nil {
		var text []byte
		text, err = io.ReadAll(response.Body)
		_ = response.Body.Close()
		c.raw = string(text)
		if err == nil {
			c.status, c.header = response.StatusCode, response.Header
			if len(text) > 0 && json.Unmarshal(text, &c.answer) != nil {
				w.broken.add("an answer is no JSON: %s", c)
			}
			c.code, _ = c.answer["code"].(string)
			c.refresh, _ = c.answer["refresh_token"].(string)
			c.forgetTokens()
			w.hear(c)
		}
	}
	c.ended = time.Now()
	if err != nil {
		c.raw = err.Error()
	}
	w.judge(c)
	w.mu.Lock()
	w.calls = append(w.calls, c)
	w.mu.Unlock()
	w.answered.Add(1)
	return c
}

// forgetTokens keeps the memory of a long run small.
func (c *call) forgetTokens() {
	forget := func(seat map[string]any) {
		for _, name := range []string{"access_token", "refresh_token", "auth_token", "tenant_config", "recording_decision"} {
			delete(seat, name)
		}
	}
	forget(c.answer)
	results, _ := c.answer["results"].([]any)
	for _, result := range results {
		forget(result.(map[string]any))
	}
	if c.status < 300 { // what went well tells nothing more
		c.raw = c.raw[:min(len(c.raw), 300)]
	}
}

// What a call may take: gateway.Options.RequestTimeout, the wait for a revision, and what two busy cores add.
const (
	writeDeadline = 15 * time.Second
	readDeadline  = 3 * time.Second
	slack         = 4 * time.Second
	clientTimeout = 40 * time.Second
)

// judge looks at what can be said of one answer by itself.
func (w *workload) judge(c *call) {
	deadline := writeDeadline
	if c.method == http.MethodGet {
		deadline = readDeadline
	}
	if took := c.ended.Sub(c.began); took > deadline+slack && !c.gateway.excused(c.began, c.ended) {
		w.broken.add("it took %s, and may take %s: %s", took.Round(time.Millisecond), deadline, c)
	}
	switch {
	case c.status == 0:
		return
	case c.status == http.StatusInternalServerError:
		w.broken.add("an internal error: %s", c)
	case c.status == http.StatusServiceUnavailable && c.header.Get("Retry-After") == "":
		w.broken.add("a 503 without Retry-After: %s", c)
	case c.status == http.StatusTooManyRequests && !c.strangers():
		w.broken.add("the bench is limited: %s", c)
	}
}

// strangers says whether an answer that refuses one too many is for the budget of a seat, or of callers without a credential
// that is known, such as an API key that was revoked. The bench spends these, and no tenant's.
func (c *call) strangers() bool {
	policy := c.header.Get("RateLimit-Policy")
	return policy != "" && !strings.HasPrefix(policy, `"tenant";`)
}

// hear notes how new an answer is, before its time has ended.
func (w *workload) hear(c *call) {
	revision, err := strconv.ParseInt(c.header.Get("Usher-Revision"), 10, 64)
	if err != nil {
		w.broken.add("an answer without a revision: %s", c)
		return
	}
	for seen := w.newest.Load(); revision > seen && !w.newest.CompareAndSwap(seen, revision); {
		seen = w.newest.Load()
	}
}

func (w *workload) tag() string { return fmt.Sprintf("seat %d", w.tags.Add(1)) }

// school is a tenant of the workload.
type school struct {
	id, key  string
	policy   string
	capacity int
	live     int // max_concurrent_rooms

	mu    sync.Mutex
	rooms []*room // in use; guarded by mu
}

// maxLiveRooms is as many as are in use, so that one which could not be ended yet brings the tenant to its limit.
const maxLiveRooms = 2 + roomsInUse

var schoolConfigs = []map[string]any{
	{"duplicate_participant_policy": "reject", "max_participants_per_room": 3, "force_recording": true},
	{"duplicate_participant_policy": "replace", "max_participants_per_room": 4, "force_recording": true, "first_participant_is_host": true},
	{"duplicate_participant_policy": "return_existing", "max_participants_per_room": 3, "auto_start_recording": true, "first_participant_is_host": true},
	{"duplicate_participant_policy": "allow", "max_participants_per_room": 5},
}

// newWorkload makes the tenants; hoards says whether there is one among them that keeps as much as it may.
func newWorkload(t testing.TB, gateways []*gateway, perSecond int, hoards bool) *workload {
	t.Helper()
	w := &workload{
		gateways: gateways, limiter: rate.NewLimiter(rate.Limit(perSecond), 10), epoch: time.Now(),
		client: &http.Client{Timeout: clientTimeout, Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
	}
	for i := range 2 * len(schoolConfigs) {
		config := schoolConfigs[i%len(schoolConfigs)]
		s := &school{policy: config["duplicate_participant_policy"].(string), capacity: config["max_participants_per_room"].(int), live: maxLiveRooms}
		body := map[string]any{"max_concurrent_rooms": maxLiveRooms, "requests_per_second": 100_000, "burst": 100_000}
		for name, value := range config {
			body[name] = value
		}
		s.id, s.key = w.newTenant(t, fmt.Sprintf("school %d", i), body)
		w.schools = append(w.schools, s)
	}
	w.registry, w.namesake, w.locks = newRegistry(t, w), newNamesake(t, w), newLocksmith(t, w)
	if hoards {
		w.hoarder = newHoarder(t, w)
	}
	for _, g := range gateways { // all know the keys before they are used without a word of a revision
		w.ask(operatorKey, &call{kind: readKind, gateway: g, method: "GET", path: w.registry.path("/config"), strong: true})
	}
	return w
}

// begin lets the tenants' backends call, until the test ends.
func (w *workload) begin(t testing.TB, seed uint64) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	t.Cleanup(func() { stop(); w.working.Wait() })
	const workers = 30 // so that a gateway which keeps some waiting does not keep all
	for i := range workers {
		random := rand.New(rand.NewPCG(seed, uint64(i)))
		w.working.Go(func() { // ends with ctx
			for w.limiter.Wait(ctx) == nil {
				w.gate.RLock()
				w.act(random)
				w.gate.RUnlock()
			}
		})
	}
}

// tally sums up what calls came to.
func (w *workload) tally() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var fates [3]int
	for _, c := range w.calls {
		fates[c.fate()]++
	}
	return fmt.Sprintf("%d calls: %d done, %d refused, %d of unknown outcome; %s", len(w.calls), fates[done], fates[refused], fates[unknown], &w.enforced)
}

func (w *workload) newTenant(t testing.TB, name string, config map[string]any) (id, key string) {
	t.Helper()
	c := w.ask(operatorKey, &call{kind: keyKind, gateway: w.gateways[0], method: "POST", path: "/api/v1/tenants",
		body: map[string]any{"name": name, "config": config}})
	if c.status != http.StatusCreated {
		t.Fatalf("no tenant: %s", c)
	}
	return c.answer["tenant"].(map[string]any)["id"].(string), c.answer["api_key"].(string)
}

func (w *workload) anyGateway(random *rand.Rand) *gateway {
	return w.gateways[random.IntN(len(w.gateways))]
}

// act makes one call, or a few that belong together.
func (w *workload) act(random *rand.Rand) {
	switch n := random.IntN(200); {
	case n < 20:
		w.registry.act(w, random)
		return
	case n < 30:
		w.namesake.act(w, random)
		return
	case n < 34:
		w.locks.act(w, random)
		return
	case n < 38 && w.hoarder != nil:
		w.hoarder.act(w, random)
		return
	}
	w.schools[random.IntN(len(w.schools))].act(w, random)
}

// traffic waits until so many more calls were answered, or the time is over.
func (w *workload) traffic(calls int64, patience time.Duration) {
	until := time.Now().Add(patience)
	for enough := w.answered.Load() + calls; w.answered.Load() < enough && time.Now().Before(until); {
		<-time.After(10 * time.Millisecond)
	}
}

// quiet waits for the calls that are under way, and lets no others begin until go on is called.
func (w *workload) quiet() (goOn func()) {
	w.gate.Lock()
	return w.gate.Unlock
}
