package faults

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"
)

// registry is the tenant whose settings and keys are changed.
type registry struct {
	id, key string
	first   float64      // what the setting was when the era began; changed while nobody calls
	values  atomic.Int64 // the last value that was written; each is written once
}

// firstValue is what the setting is at first. It is one that nothing follows from: the operator is not limited.
const firstValue = 1000

func newRegistry(t testing.TB, w *workload) *registry {
	t.Helper()
	r := &registry{first: firstValue}
	r.id, r.key = w.newTenant(t, "registry", map[string]any{"burst": firstValue, "requests_per_second": 100_000})
	r.values.Store(firstValue)
	return r
}

func (r *registry) path(rest string) string { return "/api/v1/tenants/" + r.id + rest }

func (r *registry) act(w *workload, random *rand.Rand) {
	switch n := random.IntN(10); {
	case n < 4:
		r.read(w, random)
	case n < 8:
		r.patch(w, random)
	default:
		r.keys(w, random)
	}
}

func (r *registry) read(w *workload, random *rand.Rand) {
	w.ask(operatorKey, r.reading(w, random))
}

func (r *registry) reading(w *workload, random *rand.Rand) *call {
	return &call{kind: configKind, gateway: w.anyGateway(random), method: "GET", path: r.path("/config"), strong: true}
}

// setting is the value that an answer with the settings has.
func (c *call) setting() int { return int(c.answer["burst"].(float64)) }

func (r *registry) patch(w *workload, random *rand.Rand) {
	c := &call{kind: patchKind, gateway: w.anyGateway(random), method: "PATCH", path: r.path("/config"), value: int(r.values.Add(1))}
	c.body = map[string]any{"burst": c.value}
	if random.IntN(2) == 0 {
		before := w.ask(operatorKey, r.reading(w, random))
		if before.fate() != done {
			return
		}
		c.expect, c.headers = before.setting(), []string{"If-Match", before.header.Get("ETag")}
	}
	if w.ask(operatorKey, c); c.fate() == done && c.setting() != c.value {
		w.broken.add("a patch is answered with another value: %s", c)
	}
}

// write changes the setting through the gateway, which always takes a write of the log.
func (r *registry) write(w *workload, g *gateway) *call {
	c := &call{kind: patchKind, gateway: g, method: "PATCH", path: r.path("/config"), value: int(r.values.Add(1))}
	c.body = map[string]any{"burst": c.value}
	return w.ask(operatorKey, c)
}

// keys makes a key and revokes it, and sees that both are in force everywhere.
func (r *registry) keys(w *workload, random *rand.Rand) {
	made := w.ask(operatorKey, &call{kind: keyKind, gateway: w.anyGateway(random), method: "POST", path: r.path("/keys"),
		body: map[string]any{"name": fmt.Sprint("key ", w.tags.Add(1)), "scopes": []string{"rooms:read"}}})
	if made.fate() != done {
		return
	}
	secret, id := made.answer["api_key"].(string), made.answer["key"].(map[string]any)["id"].(string)
	used := w.ask(secret, &call{kind: readKind, gateway: w.anyGateway(random), method: "GET", path: "/api/v1/rooms", headers: after(made)})
	if used.status == http.StatusUnauthorized {
		w.broken.add("a key that was made is not known: %s", used)
	}
	gone := w.ask(operatorKey, &call{kind: revokeKind, gateway: w.anyGateway(random), method: "DELETE", path: r.path("/keys/" + id), pid: id})
	if gone.status == http.StatusNotFound {
		w.broken.add("a key that was made cannot be revoked: %s", gone)
	}
	w.holds(gone, reading(secret))
	if gone.fate() != done {
		return
	}
	if used = w.ask(secret, &call{kind: readKind, gateway: w.anyGateway(random), method: "GET", path: "/api/v1/rooms", headers: after(gone)}); used.fate() == done {
		w.broken.add("a key that was revoked is taken: %s", used)
	}
}

// after makes a read at least as new as the answer.
func after(c *call) []string {
	revision, err := strconv.ParseInt(c.header.Get("Usher-Revision"), 10, 64)
	if err != nil {
		return nil
	}
	return []string{"Usher-Min-Revision", strconv.FormatInt(revision, 10)}
}
