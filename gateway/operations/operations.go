// Package operations is what the people who run Usher ask, on a port of its own that only they should reach:
//
//	/           the status page, for a person with a browser
//	/healthz    200 while the process answers
//	/readyz     200 when it can be sent traffic, and its state as JSON; 503 and STARTING until then
//	/metrics    for Prometheus, with exemplars where OpenMetrics is asked for
//	/log-level  GET tells from which level on lines are logged, PUT changes it
//	/debug/index          what the index consists of: records and a digest for each table, to compare replicas by
//	/debug/index/{table}  a table's records: path, revisions, and a digest of the value
//	/debug/pprof/{name}  a profile for go tool pprof: profile (of CPU), heap, allocs, goroutine, mutex, block, trace
//
// It serves nothing of the API and knows no tenant's secrets.
package operations

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"usher/store"
)

// Options are what Operations shows. All fields are required but Interval and Now.
type Options struct {
	Metrics  prometheus.Gatherer
	Level    *slog.LevelVar // of the log
	Recent   func() []Line  // the last warnings and errors, the newest first
	Logger   *slog.Logger
	Version  string
	Interval time.Duration    // between two samples of the metrics for the status page; 0 means 5 s
	Now      func() time.Time // time.Now
}

// Line is a line of the log as the status page shows it.
type Line struct {
	At   time.Time
	Bad  bool // an error, rather than a warning
	Text string
}

// Operations serves the operations port.
type Operations struct {
	Options
	log      atomic.Pointer[store.Store] // nil until Follow
	routes   *http.ServeMux
	history  history
	started  time.Time
	draining atomic.Bool
}

// New makes Operations, which tell of a process that is starting, until Follow. The status page shows nothing of the past
// before Sample runs.
func New(o Options) *Operations {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Interval == 0 {
		o.Interval = sampleInterval
	}
	ops := &Operations{Options: o, routes: http.NewServeMux(), started: o.Now()}
	ops.routes.HandleFunc("GET /{$}", ops.followed(ops.status))
	ops.routes.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, "ok") })
	ops.routes.HandleFunc("GET /readyz", ops.ready)
	ops.routes.HandleFunc("GET /log-level", func(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, ops.level()) })
	ops.routes.HandleFunc("PUT /log-level", ops.changeLevel)
	ops.routes.HandleFunc("GET /debug/index", ops.followed(ops.index))
	ops.routes.HandleFunc("GET /debug/index/{table}", ops.followed(ops.indexTable))
	ops.routes.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	ops.routes.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	for _, name := range []string{"heap", "allocs", "goroutine", "mutex", "block"} { // not cmdline: it may hold a key
		ops.routes.Handle("GET /debug/pprof/"+name, pprof.Handler(name))
	}
	ops.routes.Handle("GET /metrics", promhttp.HandlerFor(o.Metrics, promhttp.HandlerOpts{
		EnableOpenMetrics: true, MaxRequestsInFlight: scrapesAtOnce, Timeout: scrapeTimeout,
		ErrorLog: slog.NewLogLogger(o.Logger.Handler(), slog.LevelWarn),
	}))
	return ops
}

const (
	scrapesAtOnce = 4
	scrapeTimeout = 10 * time.Second
)

// Follow shows the log, once there is one.
func (o *Operations) Follow(log *store.Store) { o.log.Store(log) }

// followed answers from the log, or that there is none yet.
func (o *Operations) followed(handle func(*store.Store, http.ResponseWriter, *http.Request)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		log := o.log.Load()
		if log == nil {
			w.Header().Set("Retry-After", "1")
			w.Header().Set("Refresh", "1") // for a browser
			text(w, http.StatusServiceUnavailable, "Usher is starting: it waits for etcd, and then reads the log. Its own log says more.")
			return
		}
		handle(log, w, r)
	}
}

// Drain makes the process not ready, so that no new traffic is sent to it.
func (o *Operations) Drain() { o.draining.Store(true) }

// ServeHTTP answers.
func (o *Operations) ServeHTTP(w http.ResponseWriter, r *http.Request) { o.routes.ServeHTTP(w, r) }

// ready tells the state. A stale replica still answers reads, so it stays ready: were all of them taken out when etcd is
// lost, reads would be lost with it.
func (o *Operations) ready(w http.ResponseWriter, _ *http.Request) {
	state, status := store.Starting, http.StatusOK
	told := map[string]string{"draining": strconv.FormatBool(o.draining.Load())}
	if log := o.log.Load(); log != nil {
		var age time.Duration
		state, age = log.State()
		told["revision"], told["lag"] = strconv.FormatInt(log.Revision(), 10), strconv.FormatInt(log.Lag(), 10)
		told["stale_seconds"], told["rejected_records"] = strconv.Itoa(int(age.Seconds())), strconv.Itoa(len(log.Rejected()))
	}
	told["state"] = state.String()
	if state == store.Starting || o.draining.Load() {
		status = http.StatusServiceUnavailable
	}
	body, err := json.Marshal(told, json.Deterministic(true))
	if err != nil {
		status, body = http.StatusInternalServerError, nil
	}
	write(w, status, "application/json", body)
}

func (o *Operations) level() string { return strings.ToLower(o.Level.Level().String()) }

// maxLevelBody is more than the name of any level has.
const maxLevelBody = 64

func (o *Operations) changeLevel(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxLevelBody))
	before := o.level()
	if err == nil {
		err = o.Level.UnmarshalText([]byte(strings.TrimSpace(string(body))))
	}
	if err != nil {
		text(w, http.StatusBadRequest, "The body must be debug, info, warn or error.")
		return
	}
	o.Logger.Warn("the level of the log was changed", "from", before, "to", o.level())
	text(w, http.StatusOK, o.level())
}

func text(w http.ResponseWriter, status int, line string) {
	write(w, status, "text/plain; charset=utf-8", fmt.Appendln(nil, line))
}

func write(w http.ResponseWriter, status int, contentType string, body []byte) {
	header := w.Header()
	header.Set("Content-Type", contentType)
	header.Set("Content-Length", strconv.Itoa(len(body)))
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the caller is gone, if this fails
}
