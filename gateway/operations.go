package gateway

import (
	"net/http"
	"strconv"
	"sync/atomic"

	"github.com/go-json-experiment/json"

	"usher/store"
)

// Operations is what the people who run Usher ask, on a port of its own: /healthz (the process answers) and /readyz
// (it can be sent traffic).
type Operations struct {
	log      *store.Store
	draining atomic.Bool
}

// NewOperations makes Operations for the log.
func NewOperations(log *store.Store) *Operations { return &Operations{log: log} }

// Drain makes the process not ready, so that no new traffic is sent to it.
func (o *Operations) Drain() { o.draining.Store(true) }

// ServeHTTP answers /healthz and /readyz.
func (o *Operations) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/healthz":
		writeBody(w, http.StatusOK, "text/plain; charset=utf-8", []byte("ok\n"))
	case "/readyz":
		o.ready(w)
	default:
		http.NotFound(w, r)
	}
}

// ready tells the state. A stale replica still answers reads, so it stays ready: were all of them taken out when etcd is
// lost, reads would be lost with it.
func (o *Operations) ready(w http.ResponseWriter) {
	state, age := o.log.State()
	status := http.StatusOK
	if state == store.Starting || o.draining.Load() {
		status = http.StatusServiceUnavailable
	}
	body, err := json.Marshal(map[string]string{
		"state": state.String(), "revision": strconv.FormatInt(o.log.Revision(), 10), "lag": strconv.FormatInt(o.log.Lag(), 10),
		"stale_seconds": strconv.Itoa(int(age.Seconds())), "rejected_records": strconv.Itoa(len(o.log.Rejected())),
		"draining": strconv.FormatBool(o.draining.Load()),
	}, json.Deterministic(true))
	if err != nil {
		status, body = http.StatusInternalServerError, nil
	}
	writeBody(w, status, "application/json", body)
}
