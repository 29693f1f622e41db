package gateway

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"runtime"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/gorilla/mux"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.37.0"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/semaphore"

	"usher"
	"usher/participants"
	"usher/rooms"
	"usher/store"
	"usher/tenant"
)

// Options configure a Gateway. All fields but the durations are required; a zero duration has its default.
type Options struct {
	Log          *store.Store
	Tenants      *tenant.Service
	Rooms        *rooms.Service
	Participants *participants.Service
	OperatorKey  tenant.Secret
	Logger       *slog.Logger

	TrustedProxies Proxies // whose X-Forwarded-For and traceparent are believed; none by default

	MaxStaleness   time.Duration // how old the index may be and still answer; 10 min
	RequestTimeout time.Duration // for one request once it is received, whatever it waits for; 15 s

	// MaxCPUWait is how long work may wait for a processor, half of all that is waited being in shorter waits, before
	// requests wait for others to end, and are refused when they have waited too long; 0: none is.
	MaxCPUWait time.Duration

	AnonymousPerSecond float64 // requests from one address without a valid credential; DefaultAnonymousPerSecond
	AnonymousBurst     int     // of those at once; DefaultAnonymousBurst

	// BodyMemory is how many bytes of requests' bodies may be held at once; DefaultBodyMemory, and LeastBodyMemory at least.
	BodyMemory int64

	Now func() time.Time // time.Now

	Metrics         prometheus.Registerer // where the metrics go; nil: nowhere
	MaxTenantSeries int                   // how many tenants have series of their own; DefaultTenantSeries
}

// Gateway serves the API.
type Gateway struct {
	Options
	router    *mux.Router
	resources map[*mux.Route]*resource
	lines     slog.Handler // of the log

	operator [sha256.Size]byte // of the operator's key

	limits  *limits
	heavy   *semaphore.Weighted // see heavyBody
	reading overload            // apart from writing, since what comes from memory must not wait for the log
	writing overload
	bySeat  *crowd[seatID]
	bySite  *crowd[netip.Prefix]
	bodies  bodies
	metrics metrics
	byOwner *tenantMetrics

	origins origins
}

// New makes a Gateway.
func New(o Options) *Gateway {
	if o.MaxStaleness == 0 {
		o.MaxStaleness = store.DefaultMaxStaleness
	}
	if o.RequestTimeout == 0 {
		o.RequestTimeout = 15 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	o.AnonymousPerSecond = cmp.Or(o.AnonymousPerSecond, DefaultAnonymousPerSecond)
	o.BodyMemory = max(LeastBodyMemory, cmp.Or(o.BodyMemory, DefaultBodyMemory))
	o.AnonymousBurst = cmp.Or(o.AnonymousBurst, DefaultAnonymousBurst)
	g := &Gateway{
		Options: o, operator: sha256.Sum256([]byte(o.OperatorKey.Reveal())), limits: newLimits(o),
		bySeat: newCrowd[seatID](mostOfSeat), bySite: newCrowd[netip.Prefix](mostOfAddress), bodies: bodies{most: o.BodyMemory, held: make(map[holder]int64)},
		lines: o.Logger.Handler(), metrics: newMetrics(o.Metrics), byOwner: newTenantMetrics(o.MaxTenantSeries, o.Rooms.Census, o.Metrics),
	}
	for kind, of := range map[string]*overload{"read": &g.reading, "write": &g.writing} {
		of.most, of.waits, of.shed = o.MaxCPUWait, readWaits, g.metrics.shed.WithLabelValues(kind).Inc
		of.processors = func() int { return runtime.GOMAXPROCS(0) }
		of.describe(o.Metrics, kind)
	}
	g.metrics.holding(o.Metrics, &g.bodies)
	g.heavy = semaphore.NewWeighted(int64(max(1, runtime.GOMAXPROCS(0)/2)))
	g.route()
	return g
}

// call is one request on its way through the gateway.
type call struct {
	*http.Request
	ctx      context.Context // the request's, with its deadline
	id       string          // X-Request-ID
	resource *resource       // nil until one is found
	route    *endpoint       // nil until one is found
	query    url.Values      // of routes that take one
	body     []byte          // once it is received
	caller   caller
	request  store.Request // as its changes see it
	answer   recorder
	started  time.Time
	failure  error // what the answer tells of, when it is a problem

	limited bool // by a rate limit
	paid    int  // requests that have been taken out of the caller's buckets

	held     hold         // of the memory for bodies
	asSeat   seatID       // among whose requests it is under way, when a seat's
	asSite   netip.Prefix // likewise,
	fromSite bool         // when an address's
	joined   int          // how many were seated
}

// Context ends when the caller is gone, or when the request has taken as long as it may.
func (c *call) Context() context.Context { return c.ctx }

// Names of headers in the form in which net/http keeps them, which saves it from finding that form for each request.
const (
	headerAPIKey     = "X-Api-Key"
	headerRequestID  = "X-Request-Id"
	headerRevision   = "Usher-Revision"
	headerRateLimit  = "Ratelimit"
	headerRatePolicy = "Ratelimit-Policy"
)

// ServeHTTP takes a request through what every request goes through: its id, its log line and metrics, and the safety net
// that turns a panic into an answer.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.metrics.inFlight.Inc()
	defer g.metrics.inFlight.Dec()
	c := &call{Request: r, ctx: g.traced(r), id: requestID(r.Header.Get(headerRequestID)), answer: recorder{ResponseWriter: w, unread: unread(r), length: r.ContentLength}, started: g.Now()}
	if r.ProtoMajor == 1 {
		c.answer.conn, _ = r.Context().Value(oneWayKey{}).(*oneWay)
	}
	c.answer.set(headerRequestID, c.id)
	c.answer.set(headerRevision, strconv.FormatInt(g.Log.Revision(), 10))
	if r.ProtoMajor == 1 && len(r.TransferEncoding) > 0 {
		// It may have had a Content-Length as well, which net/http has dropped: then a proxy before us may have read it in
		// another way, and what follows may not be a request (RFC 9112, section 6.1).
		c.answer.set("Connection", "close")
	}
	defer func() {
		if p := recover(); p != nil {
			g.metrics.panics.Inc()
			g.fail(&c.answer, c, usher.Internal(fmt.Errorf("%v\n%s", p, debug.Stack()), "serve: panic"))
		}
		g.note(c)
		g.release(c)
	}()
	g.dispatch(&c.answer, c)
}

// deadline gives a request that may wait for the log no longer than it may take. A read waits for nothing, but where it
// asks for a revision, which has a shorter time of its own.
func (g *Gateway) deadline(c *call) (cancel context.CancelFunc) {
	if reads(c.Method) {
		return func() {}
	}
	c.ctx, cancel = context.WithTimeout(c.ctx, g.RequestTimeout)
	return cancel
}

// reads says whether requests of the method change nothing.
func reads(method string) bool { return method == http.MethodGet || method == http.MethodHead }

const maxRequestID = 128

// requestID is the caller's own id where it is fit for a header and a log line, and otherwise a new one.
func requestID(given string) string {
	for _, b := range []byte(given) {
		if b <= ' ' || b >= 0x7f || b == '"' || b == '\\' {
			given = ""
			break
		}
	}
	if given == "" || len(given) > maxRequestID {
		return rand.Text()
	}
	return given
}

// traced is the request's context with the trace that it belongs to: the one that was begun for it here, or the one that
// its caller names, so that the log can be searched for it even where Usher exports no traces. Whether it is sampled only a
// trusted proxy may say.
func (g *Gateway) traced(r *http.Request) context.Context {
	ctx := r.Context()
	if r.Header.Get("Traceparent") == "" || trace.SpanContextFromContext(ctx).IsValid() {
		return ctx
	}
	ctx = propagation.TraceContext{}.Extract(ctx, propagation.HeaderCarrier(r.Header))
	if named := trace.SpanContextFromContext(ctx); named.IsSampled() && !g.TrustedProxies.Sent(r) {
		ctx = trace.ContextWithRemoteSpanContext(ctx, named.WithTraceFlags(named.TraceFlags().WithSampled(false)))
	}
	return ctx
}

// note tells the log, the metrics and the trace what became of a request.
func (g *Gateway) note(c *call) {
	answer, failure, ended := &c.answer, c.failure, g.Now()
	took := ended.Sub(c.started)
	g.logRequest(c, ended, took)
	span := trace.SpanFromContext(c.Context())
	g.metrics.request(c, took, span.SpanContext())
	g.byOwner.request(c.caller.tenant.ID, answer.status, c.joined, c.limited)
	if !span.IsRecording() {
		return
	}
	if c.route != nil {
		span.SetName(c.Method + " " + c.route.path)
		span.SetAttributes(semconv.HTTPRoute(c.route.path))
	}
	span.SetAttributes(attribute.String("usher.request_id", c.id), attribute.String("usher.tenant", string(c.caller.tenant.ID)))
	if failure != nil {
		span.SetAttributes(semconv.ErrorTypeKey.String(string(usher.AsError(failure).Code)))
	}
}

// logRequest writes the one line of a request. Only here does the cause of a failure come to light. The line is put
// together for the handler itself: a Logger would look up where in the source it was called.
func (g *Gateway) logRequest(c *call, ended time.Time, took time.Duration) {
	answer, level, lines := &c.answer, slog.LevelInfo, g.lines
	if answer.status >= http.StatusInternalServerError {
		level = slog.LevelError
	}
	if !lines.Enabled(c.Context(), level) {
		return
	}
	line := slog.NewRecord(ended, level, "request", 0)
	if c.route != nil && c.route.method == c.Method {
		lines = c.route.lines
	} else {
		line.AddAttrs(slog.String("method", c.Method))
		if c.route != nil {
			line.AddAttrs(slog.String("route", c.route.path))
		}
	}
	line.AddAttrs(slog.String("request_id", c.id), slog.Int("status", answer.status), slog.Float64("took_ms", float64(took.Microseconds())/1000))
	if c.caller.tenant.ID != "" {
		line.AddAttrs(slog.String("tenant", string(c.caller.tenant.ID)))
	}
	if span := trace.SpanContextFromContext(c.Context()); span.HasTraceID() {
		line.AddAttrs(slog.String("trace_id", span.TraceID().String()))
	}
	if c.failure != nil {
		line.AddAttrs(slog.String("code", string(usher.AsError(c.failure).Code)))
	}
	if level == slog.LevelError {
		line.AddAttrs(slog.Any("error", c.failure))
	}
	_ = lines.Handle(c.Context(), line) // as with any Logger, nobody could be told
}

// recorder remembers what was answered.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int     // of the body
	unread bool    // the request has a body that is not received
	length int64   // of that body, as it says; below 0: it does not
	conn   *oneWay // of a request over HTTP/1, when it can send an answer in one system call
	values []string
	room   [8]string // for the first of the values, so that the headers of most answers are one piece of memory
}

// set sets a header whose name is in the form in which net/http keeps it.
func (r *recorder) set(name, value string) {
	if r.values == nil {
		r.values = r.room[:0]
	}
	r.values = append(r.values, value)
	n := len(r.values)
	r.Header()[name] = r.values[n-1 : n : n]
}

// unread says whether a request comes with a body that is in the way of the next request on its connection.
func unread(r *http.Request) bool { return r.ProtoMajor == 1 && r.ContentLength != 0 }

// Of a body that nobody wants net/http looks for the end, before it sends the answer or after: 256 KiB of it at most, but for
// as long as the caller takes to send them. A small one is nearly always there already, and then the connection can be used
// again: who comes again and again would otherwise connect each time. That is tried for drainTime, and so is it made sure
// that a caller who is still sending more reads the answer before the connection ends.
const (
	smallBody = 16 << 10
	drainTime = time.Second / 2
)

// leaveBody has the answer be the last of its connection, when the request's body is still to come.
func (r *recorder) leaveBody() {
	if !r.unread {
		return
	}
	if r.length < 0 || r.length > smallBody {
		r.Header().Set("Connection", "close")
	}
	_ = http.NewResponseController(r.ResponseWriter).SetReadDeadline(time.Now().Add(drainTime)) // where there is a connection
}

// WriteHeader notes the status.
func (r *recorder) WriteHeader(status int) {
	r.leaveBody()
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

// Write counts the bytes.
func (r *recorder) Write(body []byte) (int, error) {
	n, err := r.send(body)
	r.bytes += n
	return n, err
}

func (r *recorder) send(body []byte) (int, error) {
	if r.conn == nil || len(body) < leastGathered || len(body) > mostGathered {
		return r.ResponseWriter.Write(body)
	}
	return r.conn.together(func() (int, error) { return r.ResponseWriter.Write(body) })
}

// admitState answers for the state of the index: none, stale and said to be, or too stale.
func (g *Gateway) admitState(w *recorder) error {
	state, age := g.Log.State()
	switch {
	case state == store.Starting:
		return starting()
	case state == store.Stale && age > g.MaxStaleness:
		return &usher.Error{Code: usher.CodeUnavailable, RetryAfter: 5 * time.Second,
			Detail: fmt.Sprintf("This replica has not heard from the log for %s. Try again.", age.Round(time.Second))}
	case state == store.Stale:
		w.Header().Set("Usher-Stale", strconv.Itoa(int(age.Seconds())))
	}
	return nil
}

// catchUp waits for the revision that the caller asks for, and says whether it is newer than what was seen.
func (g *Gateway) catchUp(c *call, seen int64) (newer bool, err error) {
	wanted := c.Header.Get("Usher-Min-Revision")
	if wanted == "" || c.route.access.anyTime {
		return false, nil
	}
	revision, err := strconv.ParseInt(wanted, 10, 64)
	if err != nil || revision < 0 {
		return false, usher.Invalid(usher.FieldError{Field: "Usher-Min-Revision", Message: "must be a revision: a number that an Usher-Revision header has shown"})
	}
	newer = revision > seen
	if err := g.waitRevision(c, revision); err != nil {
		return false, err
	}
	c.answer.set(headerRevision, strconv.FormatInt(g.Log.Revision(), 10))
	return newer, nil
}

// waitRevision waits until this replica has seen the revision, which may be one that it never will: of a log that was
// since restored to an older state, or of a caller's invention.
func (g *Gateway) waitRevision(c *call, revision int64) error {
	if revision <= g.Log.Revision() { // as nearly always
		return nil
	}
	ctx, cancel := context.WithTimeout(c.Context(), minRevisionWait)
	defer cancel()
	return g.Log.WaitRevision(ctx, revision)
}

// minRevisionWait is how long a caller may wait for a revision that this replica has not seen (product §8).
const minRevisionWait = 3 * time.Second
