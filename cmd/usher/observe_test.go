package main_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"image/png"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	spans "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"

	"usher/store/porttest"
)

// ask is a request to the operations port.
func (p *process) ask(method, path, body string, headers ...string) (status int, header http.Header, answer string) {
	p.t.Helper()
	request, err := http.NewRequest(method, p.ops+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return response.StatusCode, response.Header, string(text)
}

// until waits for something to become true.
func until(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !is(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func TestTheOperationsPort(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir(), true, "--log-format", "json")
	if status, _, body := p.ask("GET", "/healthz", ""); status != 200 || body != "ok\n" {
		t.Error(status, body)
	}
	if status, _, body := p.ask("GET", "/readyz", ""); status != 200 || !strings.Contains(body, `"state":"READY"`) {
		t.Error(status, body)
	}
	if status, _, _ := p.ask("GET", "/api/v1/rooms", ""); status != 404 {
		t.Error("the API is served on the operations port")
	}
	status, _, text := p.ask("GET", "/metrics", "")
	if status != 200 {
		t.Error(status)
	}
	if problems, err := promlint.New(strings.NewReader(text)).Lint(); err != nil || len(problems) > 0 {
		t.Error(err, problems)
	}
	for _, name := range []string{"usher_build_info{", "go_goroutines", "process_cpu_seconds_total", "usher_etcd_has_leader{", "usher_sweeper_leading "} {
		until(t, name, func() bool {
			_, _, text := p.ask("GET", "/metrics", "")
			return strings.Contains(text, name)
		})
	}
	if _, header, _ := p.ask("GET", "/metrics", "", "Accept", "application/openmetrics-text"); !strings.Contains(header.Get("Content-Type"), "openmetrics") {
		t.Error("no OpenMetrics:", header)
	}
	if status, _, body := p.ask("PUT", "/log-level", "loud"); status != 400 || !strings.Contains(body, "debug") {
		t.Error(status, body)
	}
	if status, _, body := p.ask("PUT", "/log-level", "error"); status != 200 || body != "error\n" {
		t.Error(status, body)
	}
	if _, _, body := p.ask("GET", "/log-level", ""); body != "error\n" {
		t.Error(body)
	}
	if status, _, err := p.do("GET", "/api/v1/rooms", ""); err != nil || status != 200 {
		t.Fatal(status, err)
	}
	p.kill()
	if strings.Contains(p.stderr.String(), `"msg":"request"`) {
		t.Error("a request was logged though the level is error:", p.stderr)
	}
}

// TestADrainLosesNoRequest has callers on kept connections while the process is told to end. Until each has been asked to
// go elsewhere, every one of its requests is answered.
func TestADrainLosesNoRequest(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir(), true, "--drain-delay", "2s")
	var callers sync.WaitGroup
	told := make(chan struct{}, 16)
	for range cap(told) {
		callers.Go(func() {
			client := &http.Client{Transport: &http.Transport{}} // a connection of its own
			for {
				request, err := http.NewRequest(http.MethodPost, p.url+"/api/v1/rooms/CS101/participants", strings.NewReader(`{"display_name":"A"}`))
				if err != nil {
					t.Error(err)
					return
				}
				request.Header.Set("X-API-Key", p.key)
				request.Header.Set("Content-Type", "application/json")
				response, err := client.Do(request)
				if err != nil {
					t.Errorf("a request was lost: %v", err)
					return
				}
				_, _ = io.Copy(io.Discard, response.Body)
				_ = response.Body.Close()
				if status := response.StatusCode; status != 201 && status != 409 && status != 429 {
					t.Errorf("answered %d", status)
				}
				if response.Close {
					told <- struct{}{}
					return
				}
			}
		})
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	until(t, "not ready", func() bool {
		status, _, _ := p.ask("GET", "/readyz", "")
		return status == 503
	})
	callers.Wait()
	if len(told) != cap(told) {
		t.Errorf("only %d of %d callers were asked to go elsewhere", len(told), cap(told))
	}
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("it did not end well: %v %s", err, p.stderr)
	}
}

func TestCheckProvesAnInstallation(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := start(t, dir, true)
	key, err := os.ReadFile(filepath.Join(dir, "operator-key"))
	if err != nil {
		t.Fatal(err)
	}
	o := operatorOf(t, p.url, string(key))
	o.says("made the tenant|took the seat p_|verified its token|removed it", "check")
	if list := o.says("demo", "tenant", "list"); strings.Contains(list, "usher check") {
		t.Errorf("the tenant is still there: %s", list)
	}
	backend := operator{t: t, env: []string{"USHER_URL=" + p.url, "USHER_API_KEY=" + p.key}}
	backend.says("took the seat p_|verified its token", "check")
	operator{t: t, env: []string{"USHER_URL=http://127.0.0.1:1", "USHER_API_KEY=" + p.key}}.fails("take a seat: no answer", "check")
}

// TestTheStatusPage looks at the page as a person does: in a browser, for its words and for its colours.
func TestTheStatusPage(t *testing.T) {
	t.Parallel()
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("needs chromium: apt-get install chromium")
	}
	p := start(t, t.TempDir(), true)
	for i := range 40 {
		if status, _, err := p.do("POST", fmt.Sprintf("/api/v1/rooms/room-%d/participants", i%4), `{"display_name":"<b>A</b>"}`); err != nil || status != 201 {
			t.Fatal(status, err)
		}
	}
	if status, _, _ := p.ask("PUT", "/log-level", "info"); status != 200 { // a warning for the list
		t.Fatal(status)
	}
	until(t, "samples", func() bool {
		_, _, page := p.ask("GET", "/", "")
		return strings.Contains(page, "requests per second") && strings.Contains(page, "of 8 GiB") && strings.Contains(page, `<b>40</b><span class="soft">participants`) && strings.Contains(page, "since (UTC)")
	})
	browse := func(args ...string) string {
		t.Helper()
		args = append([]string{"--headless", "--no-sandbox", "--disable-gpu", "--user-data-dir=" + t.TempDir()}, args...)
		out, err := exec.Command(chromium, append(args, p.ops+"/")...).Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	page := browse("--dump-dom")
	host, _ := os.Hostname()
	for _, words := range []string{
		`<span class="badge READY">READY</span>`, host, "revisions behind", "<b>40</b><span class=\"soft\">participants</span>",
		"<b>4</b><span class=\"soft\">rooms</span>", "<polyline", "Busiest tenants", "tenant_", "the level of the log was changed",
	} {
		if !strings.Contains(page, words) {
			t.Errorf("the page does not say %s:\n%s", words, page)
		}
	}
	for _, scheme := range []struct {
		name, setting string
		background    [3]uint32
	}{{"light", "1", [3]uint32{0xf5, 0xf7, 0xfa}}, {"dark", "0", [3]uint32{0x12, 0x16, 0x1c}}} {
		picture := filepath.Join(t.TempDir(), "status.png")
		browse("--window-size=1200,900", "--blink-settings=preferredColorScheme="+scheme.setting, "--screenshot="+picture)
		file, err := os.Open(picture)
		if err != nil {
			t.Fatal(err)
		}
		image, err := png.Decode(file)
		_ = file.Close()
		if err != nil {
			t.Fatal(err)
		}
		count := func(width, height int, want [3]uint32) (n int) {
			for y := range height {
				for x := range width {
					if r, g, b, _ := image.At(x, y).RGBA(); [3]uint32{r >> 8, g >> 8, b >> 8} == want {
						n++
					}
				}
			}
			return n
		}
		// The badge, in the style that the page's own policy has to let pass.
		if green := count(400, 80, [3]uint32{0x1f, 0x7a, 0x4d}); green < 500 {
			t.Errorf("%s: the badge is not green: %d pixels are", scheme.name, green)
		}
		if back := count(1200, 900, scheme.background); back < 100_000 {
			t.Errorf("%s: the page is not: only %d pixels are of its background", scheme.name, back)
		}
	}
}

// receiver is an OpenTelemetry collector that keeps what it is sent.
type receiver struct {
	collector.UnimplementedTraceServiceServer
	mu    sync.Mutex
	spans []*spans.Span // guarded by mu
}

func (r *receiver) Export(_ context.Context, request *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, resource := range request.GetResourceSpans() {
		for _, scope := range resource.GetScopeSpans() {
			r.spans = append(r.spans, scope.GetSpans()...)
		}
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

// named are the spans of the name.
func (r *receiver) named(name string) (found []*spans.Span) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.spans {
		if s.GetName() == name {
			found = append(found, s)
		}
	}
	return found
}

// TestTracesReachACollector sends the spans of a request over OTLP, from the HTTP request into etcd over gRPC.
func TestTracesReachACollector(t *testing.T) {
	t.Parallel()
	var ports net.ListenConfig
	listener, err := ports.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	received, server := &receiver{}, grpc.NewServer()
	collector.RegisterTraceServiceServer(server, received)
	go func() { _ = server.Serve(listener) }() // ends with Stop
	t.Cleanup(server.Stop)

	dir, etcd := t.TempDir(), "http://"+porttest.Free(t)
	first := start(t, dir, true, "--etcd-listen", etcd)
	p := start(t, t.TempDir(), false, "--issuer-url", "http://usher.test", "--etcd-endpoints", etcd, "--operator-key", strings.Repeat("k", 16),
		"--master-key-file", filepath.Join(dir, "master-key"), "--otlp-endpoint", "http://"+listener.Addr().String(), "--trace-ratio", "1")
	p.key = first.key
	if status, _, err := p.do("POST", "/api/v1/rooms/CS101/participants", `{"display_name":"A"}`); err != nil || status != 201 {
		t.Fatal(status, err)
	}
	until(t, "the spans", func() bool {
		return len(received.named("POST /api/v1/rooms/{id}/participants")) == 1 && len(received.named("etcdserverpb.KV/Txn")) > 0
	})
	// A stranger's trace is linked to, and does not decide: this one says that nothing is to be sampled.
	const stranger = "4bf92f3577b34da6a3ce929d0e0e4736"
	request, err := http.NewRequest(http.MethodGet, p.url+"/api/v1/rooms/CS101", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-API-Key", p.key)
	request.Header.Set("Traceparent", "00-"+stranger+"-00f067aa0ba902b7-00")
	if answer, err := http.DefaultClient.Do(request); err != nil || answer.Body.Close() != nil || answer.StatusCode != http.StatusOK {
		t.Fatal(answer, err)
	}
	until(t, "the stranger's request", func() bool { return len(received.named("GET /api/v1/rooms/{id}")) == 1 })
	if span := received.named("GET /api/v1/rooms/{id}")[0]; len(span.GetParentSpanId()) > 0 || len(span.GetLinks()) != 1 || hex.EncodeToString(span.GetLinks()[0].GetTraceId()) != stranger {
		t.Errorf("a stranger's request is traced as %v", span)
	}
	transaction, rpc := received.named("etcd.Txn"), received.named("etcdserverpb.KV/Txn")
	if len(transaction) != 1 || len(rpc) != 1 || string(rpc[0].GetParentSpanId()) != string(transaction[0].GetSpanId()) {
		t.Errorf("the call of etcd is not the transaction's child: %v %v", transaction, rpc)
	}
}

// TestTheIndexIsShown in sum, and record by record.
func TestTheIndexIsShown(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir(), true)
	if status, _, err := p.do("POST", "/api/v1/rooms/r/participants", `{"display_name":"A"}`); err != nil || status != 201 {
		t.Fatal(status, err)
	}
	status, _, summary := p.ask("GET", "/debug/index", "")
	if status != 200 || !strings.Contains(summary, `"participants":{"records":1,`) || strings.Contains(summary, "rejected") {
		t.Errorf("the summary is %d %s", status, summary)
	}
	status, header, lines := p.ask("GET", "/debug/index/participants", "")
	var path, digest string
	var created, modified int64
	if n, err := fmt.Sscan(lines, &path, &created, &modified, &digest); status != 200 || n != 4 || err != nil || created != modified || len(digest) != 64 {
		t.Errorf("the list is %d %q", status, lines)
	}
	if sum := sha256.Sum256([]byte(lines)); header.Get("Usher-Revision") == "" || !strings.Contains(summary, hex.EncodeToString(sum[:])) {
		t.Errorf("the digest of the list is not in %s", summary)
	}
	if status, _, _ := p.ask("GET", "/debug/index/nothing", ""); status != 404 {
		t.Errorf("an unknown table is answered %d", status)
	}
}
