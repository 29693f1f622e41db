package gateway

import (
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"go.opentelemetry.io/otel/trace"

	"usher"
)

// metrics is what the HTTP surface tells of itself. Labels are bounded: methods and routes by the table of routes, the
// status by its class. No tenant ever labels a histogram.
type metrics struct {
	requests *prometheus.HistogramVec
	inFlight prometheus.Gauge
	sent     prometheus.Counter
	auth     *prometheus.CounterVec
	allowed  map[credential]prometheus.Counter // of auth, the decisions that are made all the time
	passed   map[string]prometheus.Counter     // by kind of bucket
	refused  map[string]prometheus.Counter
	shed     *prometheus.CounterVec
	panics   prometheus.Counter
}

// requestBuckets are those of OpenTelemetry's http.server.request.duration, in seconds.
var requestBuckets = []float64{.005, .01, .025, .05, .075, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10}

func newMetrics(registry prometheus.Registerer) metrics {
	make := promauto.With(registry)
	limits := make.NewCounterVec(prometheus.CounterOpts{
		Name: "usher_rate_limit_decisions_total", Help: "Requests that a rate limit has let pass, and refused: that of a tenant's keys, of its seats together, of one seat, or of one address without a valid credential.",
	}, []string{"bucket", "decision"})
	m := metrics{
		requests: make.NewHistogramVec(prometheus.HistogramOpts{
			Name: "usher_http_request_duration_seconds", Help: "Requests, by method, template of the route and class of the status.",
			Buckets: requestBuckets,
		}, []string{"method", "route", "status"}),
		inFlight: make.NewGauge(prometheus.GaugeOpts{Name: "usher_http_requests_in_flight", Help: "Requests that are being answered."}),
		sent:     make.NewCounter(prometheus.CounterOpts{Name: "usher_http_response_bytes_total", Help: "Bytes of the bodies of answers."}),
		auth: make.NewCounterVec(prometheus.CounterOpts{
			Name: "usher_auth_decisions_total",
			Help: "Decisions on credentials: the kind of the credential, and allowed or the code of the refusal.",
		}, []string{"credential", "decision"}),
		allowed: map[credential]prometheus.Counter{},
		passed:  map[string]prometheus.Counter{}, refused: map[string]prometheus.Counter{},
		shed: make.NewCounterVec(prometheus.CounterOpts{
			Name: "usher_http_shed_total", Help: "Requests that were refused because there was more to do than the processors can.",
		}, []string{"kind"}),
		panics: make.NewCounter(prometheus.CounterOpts{Name: "usher_http_panics_total", Help: "Requests whose handling ended in a panic, which was caught."}),
	}
	for _, by := range []credential{operatorKey, apiKey, serviceJWT, seatJWT} {
		m.allowed[by] = m.auth.WithLabelValues(string(by), decisionAllowed)
	}
	for _, bucket := range []string{ofTenantKeys, ofTenantSeats, ofSeat, ofAddress} {
		m.passed[bucket] = limits.WithLabelValues(bucket, decisionAllowed)
		m.refused[bucket] = limits.WithLabelValues(bucket, "refused")
	}
	for _, kind := range []string{"read", "write"} {
		m.shed.WithLabelValues(kind)
	}
	return m
}

// holding tells how many bytes of bodies are held.
func (m metrics) holding(registry prometheus.Registerer, b *bodies) {
	promauto.With(registry).NewGaugeFunc(prometheus.GaugeOpts{
		Name: "usher_http_body_bytes", Help: "Bytes of requests' bodies that are held, of --body-memory at most.",
	}, func() float64 { return float64(b.total()) })
}

const decisionAllowed = "allowed"

// durations are the histograms of a route, by class of the status, ready so that no request has to look its own up. Each
// is made when it first has something to show.
type durations struct {
	vec           *prometheus.HistogramVec
	method, route string
	byClass       [len(statusClasses)]atomic.Pointer[prometheus.Observer]
}

func (m metrics) durations(method, route string) *durations {
	return &durations{vec: m.requests, method: method, route: route}
}

func (d *durations) of(status int) prometheus.Observer {
	class := status / 100
	if class < 0 || class >= len(d.byClass) {
		class = 0
	}
	if ready := d.byClass[class].Load(); ready != nil {
		return *ready
	}
	made := d.vec.WithLabelValues(d.method, d.route, statusClass(status))
	d.byClass[class].Store(&made)
	return made
}

// request notes one that was answered. Its trace, when it has one, is shown with the bucket that it fell into.
func (m metrics) request(c *call, took time.Duration, span trace.SpanContext) {
	var duration prometheus.Observer
	if c.route != nil && c.route.method == c.Method {
		duration = c.route.durations.of(c.answer.status)
	} else {
		route := "unmatched"
		if c.route != nil { // HEAD, which is answered as GET
			route = c.route.path
		}
		duration = m.requests.WithLabelValues(methodOf(c.Request), route, statusClass(c.answer.status))
	}
	if exemplars, ok := duration.(prometheus.ExemplarObserver); ok && span.IsSampled() {
		exemplars.ObserveWithExemplar(took.Seconds(), prometheus.Labels{"trace_id": span.TraceID().String()})
	} else {
		duration.Observe(took.Seconds())
	}
	m.sent.Add(float64(c.answer.bytes))
}

var knownMethods = []string{http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodDelete, http.MethodPut, http.MethodHead, http.MethodOptions}

// methodOf is the request's method, or _OTHER for what a stranger has made up (OpenTelemetry's name for it).
func methodOf(r *http.Request) string {
	if slices.Contains(knownMethods, r.Method) {
		return r.Method
	}
	return "_OTHER"
}

var statusClasses = [...]string{1: "1xx", 2: "2xx", 3: "3xx", 4: "4xx", 5: "5xx"}

func statusClass(status int) string {
	if class := status / 100; class >= 1 && class < len(statusClasses) {
		return statusClasses[class]
	}
	return "none" // the connection was gone before there was an answer
}

// authorized notes who was let in, or why not.
func (m metrics) authorized(by credential, err error) {
	if err == nil {
		m.allowed[by].Inc()
		return
	}
	m.auth.WithLabelValues(string(by), string(usher.AsError(err).Code)).Inc()
}

func (m metrics) limited(bucket string, refused bool) {
	if refused {
		m.refused[bucket].Inc()
		return
	}
	m.passed[bucket].Inc()
}
