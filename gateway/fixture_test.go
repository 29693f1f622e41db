package gateway_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.jetify.com/typeid"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"usher/gateway"
	"usher/gateway/openapitest"
	"usher/participants"
	"usher/rooms"
	"usher/store"
	"usher/tenant"
	"usher/tenant/token"
)

// etcd is one real embedded server for all tests of the package; each test has its own prefix in it.
var etcd *store.Log

// etcdDir is where its files are.
var etcdDir string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "usher-gateway-test")
	if err != nil {
		panic(err)
	}
	etcdDir = dir
	etcd, err = store.Embed(context.Background(), store.EmbedOptions{Dir: dir, Logger: quiet()})
	if err != nil {
		panic(err)
	}
	code := m.Run()
	_ = etcd.Close()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// clock is a time that only the test moves, but for a microsecond each time it is read: no two things happen at once.
type clock struct {
	start  time.Time
	offset atomic.Int64
}

func (c *clock) now() time.Time {
	return c.start.Add(time.Duration(c.offset.Add(int64(time.Microsecond))))
}
func (c *clock) advance(d time.Duration) { c.offset.Add(int64(d)) }

const operatorKey = "an-operator-key-for-tests"

// house is a running gateway on real etcd, with a tenant.
type house struct {
	t       testing.TB
	url     string
	client  *http.Client // holds every answer against openapi.yaml
	clock   *clock
	tenant  string
	key     string // of the tenant
	logger  *slog.Logger
	prefix  string
	handler http.Handler          // the gateway without what is around it
	sweeper *participants.Sweeper // of this gateway; it runs only when a test says so
	master  string                // path of the master key file
	metrics *prometheus.Registry  // of this gateway
	tracing trace.TracerProvider  // nil: none
	series  int                   // how many tenants have series of their own; 0 for the default
	burst   int                   // requests from one address without a credential; 0: as many as tests like
	bodies  int64                 // bytes of bodies that may be held; 0 for the default
	ops     int                   // max-txn-ops that the gateways believe in; 0 for the default
	log     *store.Log            // the one for all tests, where it is not a test's own
	decided func([]store.Key)     // told what decisions have read
}

var prefixes atomic.Int64

// open starts a gateway on an empty part of the log and makes a tenant with the settings.
func open(t testing.TB, config string) *house {
	t.Helper()
	return openWithOps(t, config, 0)
}

// openWithOps is open for a log that takes only so many operations in one transaction.
func openWithOps(t testing.TB, config string, ops int) *house {
	t.Helper()
	return openWith(t, config, func(h *house) { h.ops = ops })
}

// openWith is open for a house that is not as all the others.
func openWith(t testing.TB, config string, furnish func(*house)) *house {
	t.Helper()
	h := &house{
		t: t, logger: quiet(), client: &http.Client{Transport: openapitest.Transport(t, http.DefaultTransport)}, clock: &clock{start: time.Now()},
		prefix: fmt.Sprintf("/test-%d/", prefixes.Add(1)), master: filepath.Join(t.TempDir(), "master"),
		tracing: noop.NewTracerProvider(),
	}
	h.log = etcd
	furnish(h)
	if err := token.CreateMasterKeyFile(h.master); err != nil {
		t.Fatal(err)
	}
	h.url = h.start()
	h.tenant, h.key = h.newTenant(config)
	return h
}

// second is another gateway on the same log, as another replica would be.
func (h *house) second() *house {
	other := *h
	other.url = other.start()
	return &other
}

func (h *house) start() string {
	h.t.Helper()
	tables := append(append(tenant.Definitions(), rooms.Definitions()...), participants.Definitions()...)
	registry := prometheus.NewRegistry()
	h.metrics = registry
	log, err := store.Open(h.log, store.Options{
		Prefix: h.prefix, MaxTxnOps: h.ops, Logger: h.logger, Metrics: registry, Tracer: h.tracing.Tracer("usher"), Decided: h.decided,
	}, tables...)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(log.Close)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := log.WaitReady(ctx); err != nil {
		h.t.Fatal(err)
	}
	keys, err := token.LoadMasterKeys(h.master)
	if err != nil {
		h.t.Fatal(err)
	}
	tenants := tenant.New(log, keys, "https://usher.example", h.clock.now, registry)
	live, seated := rooms.New(log, h.clock.now), participants.New(log, tenants, h.clock.now, registry)
	h.sweeper = &participants.Sweeper{Log: log, Tenants: tenants, Rooms: live, Participants: seated, Interval: 10 * time.Millisecond, Logger: h.logger}
	h.handler = gateway.New(gateway.Options{
		Log: log, Tenants: tenants, Rooms: live, Participants: seated,
		OperatorKey: tenant.OperatorKey(operatorKey), Logger: h.logger, RequestTimeout: time.Minute, Now: h.clock.now,
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Metrics: registry, MaxTenantSeries: h.series, AnonymousBurst: cmp.Or(h.burst, 1_000_000), BodyMemory: h.bodies,
	})
	server := httptest.NewServer(otelhttp.NewHandler(h.handler, "HTTP", otelhttp.WithTracerProvider(h.tracing), otelhttp.WithPropagators(propagation.TraceContext{})))
	h.t.Cleanup(server.Close)
	return server.URL
}

// register counts this gateway among the replicas for as long as the test runs. What it returns ends that before.
func (h *house) register() (leave func()) {
	h.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	registered, left := make(chan struct{}), make(chan struct{})
	go func() { // ends with ctx, and is waited for
		defer close(left)
		h.sweeper.Log.Register(ctx, "v0", nil, func() { close(registered) })
	}()
	leave = sync.OnceFunc(func() {
		cancel()
		<-left
	})
	h.t.Cleanup(leave)
	<-registered
	return leave
}

// sweep has this gateway sweep once.
func (h *house) sweep() rooms.Swept {
	h.t.Helper()
	swept, err := h.sweeper.Sweep(context.Background())
	if err != nil {
		h.t.Fatal(err)
	}
	return swept
}

// writeHeartbeats has this gateway write all that it has heard.
func (h *house) writeHeartbeats() {
	h.t.Helper()
	if err := h.sweeper.Participants.WritePresence(context.Background(), true); err != nil {
		h.t.Fatal(err)
	}
}

// object is a JSON object as a test looks at it.
type object = map[string]any

type reply struct {
	status int
	header http.Header
	body   object
	raw    string
}

// send makes a request as the credential; body is sent as it is when it is a string, and as JSON otherwise.
func (h *house) send(credential, method, path string, body any, headers ...string) reply {
	h.t.Helper()
	var content io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		content = strings.NewReader(b)
	default:
		encoded, err := json.Marshal(b)
		if err != nil {
			h.t.Fatal(err)
		}
		content = bytes.NewReader(encoded)
	}
	request, err := http.NewRequest(method, h.url+path, content)
	if err != nil {
		h.t.Fatal(err)
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if credential != "" {
		request.Header.Set("Authorization", "Bearer "+credential)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := h.client.Do(request)
	if err != nil {
		h.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	r := reply{status: response.StatusCode, header: response.Header, raw: string(raw)}
	if len(raw) > 0 && strings.HasSuffix(r.header.Get("Content-Type"), "json") {
		if err := json.Unmarshal(raw, &r.body); err != nil {
			h.t.Fatalf("%s %s: answer is not JSON: %s", method, path, raw)
		}
	}
	return r
}

// must is send with the tenant's key, for a request that has to be answered with the status.
func (h *house) must(status int, method, path string, body any) object {
	h.t.Helper()
	r := h.send(h.key, method, path, body)
	if r.status != status {
		h.t.Fatalf("%s %s %v: %d, want %d: %s", method, path, body, r.status, status, r.raw)
	}
	return r.body
}

// refused is send for a request that has to be refused with the status and code.
func (h *house) refused(credential string, status int, code, method, path string, body any, headers ...string) reply {
	h.t.Helper()
	r := h.send(credential, method, path, body, headers...)
	if r.status != status || r.body["code"] != code {
		h.t.Errorf("%s %s %v: %d %v, want %d %s: %s", method, path, body, r.status, r.body["code"], status, code, r.raw)
	}
	return r
}

func (h *house) newTenant(config string) (id, key string) {
	h.t.Helper()
	body := object{"name": "a school"}
	if config != "" {
		body["config"] = json.RawMessage(config)
	}
	r := h.send(operatorKey, "POST", "/api/v1/tenants", body)
	if r.status != http.StatusCreated {
		h.t.Fatalf("create a tenant: %d %s", r.status, r.raw)
	}
	return r.body["tenant"].(object)["id"].(string), r.body["api_key"].(string)
}

func (h *house) add(room string, body object) object {
	h.t.Helper()
	return h.must(http.StatusCreated, "POST", "/api/v1/rooms/"+room+"/participants", body)
}

func (h *house) list(room, query string) []any {
	h.t.Helper()
	return h.must(http.StatusOK, "GET", "/api/v1/rooms/"+room+"/participants"+query, nil)["participants"].([]any)
}

// together runs f n times at once and waits for all.
func together(n int, f func(i int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { f(i) })
	}
	all.Wait()
}

// uuidOf is the bare UUID of a TypeID.
func uuidOf(t *testing.T, id string) string {
	t.Helper()
	parsed, err := typeid.FromString(id)
	if err != nil {
		t.Fatal(err)
	}
	return parsed.UUID()
}
