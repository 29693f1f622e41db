package gateway_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"usher/gateway"
	"usher/tenant"
)

// value is what a metric shows now: of the series that have all of the labels, summed.
func (h *house) value(name string, labels ...string) (sum float64) {
	h.t.Helper()
	for _, m := range h.metric(name) {
		if hasLabels(m, labels) {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return sum
}

func (h *house) metric(name string) []*dto.Metric {
	h.t.Helper()
	families, err := h.metrics.Gather()
	if err != nil {
		h.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()
		}
	}
	return nil
}

func hasLabels(m *dto.Metric, labels []string) bool {
	is := make(map[string]string)
	for _, l := range m.GetLabel() {
		is[l.GetName()] = l.GetValue()
	}
	for i := 0; i+1 < len(labels); i += 2 {
		if is[labels[i]] != labels[i+1] {
			return false
		}
	}
	return true
}

// wants checks what a metric shows. A request is counted when it is over, which may be after its answer has come.
func (h *house) wants(want float64, name string, labels ...string) {
	h.t.Helper()
	h.until(name, func() bool { return h.value(name, labels...) == want })
	if got := h.value(name, labels...); got != want {
		h.t.Errorf("%s%v is %g, want %g", name, labels, got, want)
	}
}

// until waits for something to become true.
func (h *house) until(what string, is func() bool) {
	h.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !is(); {
		if time.Now().After(deadline) {
			h.t.Errorf("waited in vain for %s", what)
			return
		}
	}
}

// journal is a log that can be read while it is written.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (j *journal) Write(line []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(line)
}

// line is the line with the words, once it is there.
func (j *journal) line(h *house, words string) (found string) {
	h.t.Helper()
	h.until("a line with "+words, func() bool {
		j.mu.Lock()
		defer j.mu.Unlock()
		for _, l := range strings.Split(j.text.String(), "\n") {
			if strings.Contains(l, words) {
				found += l
			}
		}
		return found != ""
	})
	return found
}

func TestMetricsAreNamedAsPrometheusWantsThem(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	h.add("CS101", object{"display_name": "A"})
	problems, err := testutil.GatherAndLint(h.metrics)
	if err != nil || len(problems) > 0 {
		t.Error(err, problems)
	}
	families, err := h.metrics.Gather()
	if err != nil || len(families) < 30 {
		t.Fatal(err, len(families))
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetType() == dto.MetricType_HISTOGRAM && hasLabels(m, []string{"tenant", h.tenant}) {
				t.Errorf("%s is a histogram for each tenant", f.GetName())
			}
		}
	}
}

func TestRequestsAreCountedByRouteAndStatus(t *testing.T) {
	t.Parallel()
	h := open(t, `{"max_participants_per_room": 2}`)
	const route, requests = "/api/v1/rooms/{id}/participants", "usher_http_request_duration_seconds"
	h.add("CS101", object{"display_name": "A"})
	h.add("CS101", object{"display_name": "B"})
	h.refused(h.key, 409, "room_full", "POST", "/api/v1/rooms/CS101/participants", `{"display_name":"C"}`)
	h.must(200, "GET", "/api/v1/rooms/CS101/participants", nil)
	h.refused("usk_wrong", 401, "unauthenticated", "GET", "/api/v1/rooms/CS101", nil)
	h.send(h.key, "GET", "/nothing/here", nil)
	h.wants(2, requests, "method", "POST", "route", route, "status", "2xx")
	h.wants(1, requests, "method", "POST", "route", route, "status", "4xx")
	h.wants(1, requests, "method", "GET", "route", route, "status", "2xx")
	h.wants(1, requests, "route", "unmatched", "status", "4xx")
	h.wants(2, "usher_participants_joins_total", "outcome", "seated")
	h.wants(1, "usher_participants_joins_total", "outcome", "room_full")
	h.wants(1, "usher_auth_decisions_total", "credential", "api_key", "decision", "unauthenticated")
	h.wants(4, "usher_auth_decisions_total", "credential", "api_key", "decision", "allowed")
	h.wants(6, "usher_tokens_issued_total", "alg", "EdDSA")
	h.wants(2, "usher_participants_active")
	h.wants(1, "usher_rooms_active")
	h.wants(2, "usher_tenant_participants", "tenant", h.tenant)
	h.wants(2, "usher_tenant_joins_total", "tenant", h.tenant)
	h.wants(2, "usher_tenant_requests_total", "tenant", h.tenant, "status", "4xx")
	h.wants(1, "usher_state", "state", "READY")
	h.wants(1, "usher_log_relists_total", "reason", "first_load")
	if h.value("usher_writer_batch_changes") == 0 || h.value("usher_log_commit_duration_seconds", "outcome", "committed") == 0 {
		t.Error("no transaction was counted")
	}
}

func TestTokensAreCountedByWhatCameOfThem(t *testing.T) {
	t.Parallel()
	h := open(t, `{"access_token_ttl_seconds": 60}`)
	seat := h.add("CS101", object{"display_name": "A"})
	token := seat["auth_token"].(string)
	if r := h.send(token, "GET", "/api/v1/rooms/CS101", nil); r.status != 200 {
		t.Fatal(r.raw)
	}
	h.clock.advance(120e9)
	h.refused(token, 401, "token_expired", "GET", "/api/v1/rooms/CS101", nil)
	h.wants(1, "usher_tokens_verified_total", "alg", "EdDSA", "result", "valid")
	h.wants(1, "usher_tokens_verified_total", "alg", "EdDSA", "result", "token_expired")
	h.wants(1, "usher_auth_decisions_total", "credential", "participant_token", "decision", "token_expired")
}

func TestTenantsBeyondTheLimitShareSeries(t *testing.T) {
	t.Parallel()
	h := openWith(t, "", func(h *house) { h.series = 2 })
	var others []string
	for range 3 {
		id, key := h.newTenant("")
		h.send(key, "POST", "/api/v1/rooms/CS101/participants", object{"display_name": "A"})
		others = append(others, id)
	}
	h.add("CS101", object{"display_name": "A"})
	h.wants(1, "usher_tenant_joins_total", "tenant", others[0])
	h.wants(1, "usher_tenant_joins_total", "tenant", others[1])
	h.wants(0, "usher_tenant_joins_total", "tenant", others[2])
	h.wants(2, "usher_tenant_joins_total", "tenant", "other")
	h.wants(2, "usher_tenant_participants", "tenant", "other")
	h.wants(2, "usher_tenant_series_overflows_total")
	h.wants(2, "usher_tenant_series")
	// A deleted tenant makes room.
	h.byOperator(204, "DELETE", "/api/v1/tenants/"+others[0], nil)
	h.wants(0, "usher_tenant_joins_total", "tenant", others[0])
	h.add("CS101", object{"display_name": "B"})
	h.wants(1, "usher_tenant_joins_total", "tenant", h.tenant)
}

func TestTheOldestSigningKeysAreNamed(t *testing.T) {
	t.Parallel()
	h := open(t, `{"signing_key_rotation_days": 30}`)
	for range 12 {
		h.newTenant("")
	}
	if n := len(h.metric("usher_signing_key_active_timestamp_seconds")); n != 10 {
		t.Errorf("%d tenants are named, want 10", n)
	}
	h.wants(13, "usher_tenants", "status", "active")
	due := h.value("usher_signing_key_due_timestamp_seconds", "tenant", h.tenant)
	if days := (due - float64(h.clock.start.Unix())) / 86400; days < 29 || days > 31 {
		t.Errorf("the key is due in %g days, want 30", days)
	}
}

// TestATraceLeadsToTheTransaction follows a request that its caller traces into the log.
func TestATraceLeadsToTheTransaction(t *testing.T) {
	t.Parallel()
	spans := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans), sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.AlwaysSample())))
	var log journal
	h := openWith(t, "", func(h *house) {
		h.tracing = provider
		h.logger = slog.New(slog.NewJSONHandler(&log, nil))
	})
	const traceID, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	r := h.send(h.key, "POST", "/api/v1/rooms/CS101/participants", `{"display_name":"A"}`, "Traceparent", "00-"+traceID+"-"+parent+"-01", "X-Request-ID", "traced")
	if r.status != http.StatusCreated {
		t.Fatal(r.raw)
	}
	named := make(map[string]sdktrace.ReadOnlySpan)
	h.until("the spans", func() bool {
		for _, s := range spans.Ended() {
			if s.SpanContext().TraceID().String() == traceID || len(s.Links()) > 0 && s.Links()[0].SpanContext.TraceID().String() == traceID {
				named[s.Name()] = s
			}
		}
		return len(named) >= 3
	})
	request, commit, transaction := named["POST /api/v1/rooms/{id}/participants"], named["store.Commit"], named["etcd.Txn"]
	if request == nil || commit == nil || transaction == nil {
		t.Fatalf("the trace has %v", named)
	}
	if request.Parent().SpanID().String() != parent || commit.Parent().SpanID() != request.SpanContext().SpanID() {
		t.Error("the spans are not each other's children")
	}
	if links := commit.Links(); len(links) != 1 || links[0].SpanContext.SpanID() != transaction.SpanContext().SpanID() {
		t.Errorf("the commit does not lead to its transaction: %v", links)
	}
	if links := transaction.Links(); len(links) != 1 || links[0].SpanContext.SpanID() != commit.SpanContext().SpanID() {
		t.Errorf("the transaction does not lead to what it carried: %v", links)
	}
	line := log.line(h, `"request_id":"traced"`)
	if strings.Count(line, `"msg"`) != 1 || !strings.Contains(line, `"trace_id":"`+traceID+`"`) || !strings.Contains(line, h.tenant) {
		t.Errorf("the log says %s", line)
	}
	if !hasExemplar(h.metric("usher_http_request_duration_seconds"), traceID) {
		t.Error("no bucket names the trace")
	}
	if !hasExemplar(h.metric("usher_log_commit_duration_seconds"), transaction.SpanContext().TraceID().String()) {
		t.Error("no bucket of the commits names a trace")
	}
}

func hasExemplar(series []*dto.Metric, traceID string) bool {
	for _, m := range series {
		for _, b := range m.GetHistogram().GetBucket() {
			for _, l := range b.GetExemplar().GetLabel() {
				if l.GetName() == "trace_id" && l.GetValue() == traceID {
					return true
				}
			}
		}
	}
	return false
}

// TestAnUntracedGatewayLogsItsCallersTrace finds the caller's trace in the log where Usher exports none.
func TestAnUntracedGatewayLogsItsCallersTrace(t *testing.T) {
	t.Parallel()
	var log journal
	h := openWith(t, "", func(h *house) { h.logger = slog.New(slog.NewTextHandler(&log, nil)) })
	h.send(h.key, "GET", "/api/v1/rooms", nil, "Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00")
	if line := log.line(h, "trace_id=4bf92f3577b34da6a3ce929d0e0e4736"); !strings.Contains(line, "/api/v1/rooms") {
		t.Error(line)
	}
}

// TestAStrangerDoesNotDecideWhatIsSampled: only a trusted proxy's word leads to an exemplar. The log has the trace in any case.
func TestAStrangerDoesNotDecideWhatIsSampled(t *testing.T) {
	t.Parallel()
	var log journal
	h := openWith(t, "", func(h *house) { h.logger = slog.New(slog.NewTextHandler(&log, nil)) })
	for from, c := range map[string]struct {
		trace string
		shown bool
	}{
		"203.0.113.7:1": {"4bf92f3577b34da6a3ce929d0e0e4701", false},
		"127.0.0.1:1":   {"4bf92f3577b34da6a3ce929d0e0e4702", true},
	} {
		request := httptest.NewRequest(http.MethodGet, "/api/v1/rooms", nil)
		request.RemoteAddr = from
		request.Header.Set("X-API-Key", h.key)
		request.Header.Set("Traceparent", "00-"+c.trace+"-00f067aa0ba902b7-01")
		answer := httptest.NewRecorder()
		h.handler.ServeHTTP(answer, request)
		if shown := hasExemplar(h.metric("usher_http_request_duration_seconds"), c.trace); answer.Code != 200 || shown != c.shown {
			t.Errorf("from %s: %d, and a bucket names the trace: %v", from, answer.Code, shown)
		}
		log.line(h, "trace_id="+c.trace)
	}
}

// TestAPanicIsAnsweredCountedAndLogged has a gateway without one of its parts.
func TestAPanicIsAnsweredCountedAndLogged(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	h.add("CS101", object{"display_name": "A"})
	var log journal
	registry := prometheus.NewRegistry()
	g := gateway.New(gateway.Options{
		Log: h.sweeper.Log, Tenants: h.sweeper.Tenants, Rooms: h.sweeper.Rooms, Participants: nil,
		OperatorKey: tenant.OperatorKey(operatorKey), Logger: slog.New(slog.NewJSONHandler(&log, nil)), Now: h.clock.now, Metrics: registry,
	})
	request := httptest.NewRequest(http.MethodGet, "/api/v1/rooms/CS101/participants", nil)
	request.Header.Set("X-API-Key", h.key)
	request.Header.Set("X-Request-ID", "broken")
	answer := httptest.NewRecorder()
	g.ServeHTTP(answer, request)
	if body := answer.Body.String(); answer.Code != http.StatusInternalServerError || !strings.Contains(body, `"code":"internal"`) || strings.Contains(body, "nil pointer") {
		t.Errorf("answered %d %s", answer.Code, body)
	}
	h.metrics = registry
	h.wants(1, "usher_http_panics_total")
	h.wants(1, "usher_http_request_duration_seconds", "status", "5xx")
	line := log.line(h, `"request_id":"broken"`)
	if strings.Count(line, `"msg"`) != 1 || !strings.Contains(line, "nil pointer") || !strings.Contains(line, "metrics_test.go") || !strings.Contains(line, h.tenant) {
		t.Errorf("the log says %s", line)
	}
}
