package gateway_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"usher/observability"
)

// sink is an answer that nobody reads, but for its status.
type sink struct {
	header http.Header
	status int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) Write(b []byte) (int, error) { return len(b), nil }
func (s *sink) WriteHeader(status int)      { s.status = status }

// exchange makes requests of the gateway in this process, with the log written as it is in production, and nothing of
// net/http around it. What it returns must not be called twice at once; each call makes the next request.
func (h *house) exchange(method string, next func(n int) (path, body string)) func() {
	answer, n := &sink{header: make(http.Header)}, 0
	return func() {
		path, body := next(n)
		n++
		request := &http.Request{
			Method: method, Host: "usher.example", RemoteAddr: "127.0.0.1:1", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
			Header: http.Header{"X-Api-Key": {h.key}, "User-Agent": {"bench"}, "Content-Type": {"application/json"}},
			Body:   io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
		}
		var err error
		if request.URL, err = url.ParseRequestURI(path); err != nil {
			h.t.Fatal(err)
		}
		clear(answer.header)
		h.clock.advance(10 * time.Microsecond) // so that the tenant's limit lets in any number
		h.handler.ServeHTTP(answer, request)
		if answer.status >= http.StatusMultipleChoices {
			h.t.Fatalf("%s %s: %d", method, path, answer.status)
		}
	}
}

// openBench is open, as a gateway in production is set up, with 100 participants in the room "CS101".
func openBench(t testing.TB) (h *house, ids []string) {
	h = openWith(t, `{"requests_per_second":100000,"burst":100000,"max_participants_per_room":10000}`, func(h *house) {
		buffered := observability.NewBuffered(io.Discard)
		t.Cleanup(func() { _ = buffered.Close() })
		h.logger = observability.NewLogger(buffered, observability.LogText, slog.LevelInfo, observability.NewRecent(100))
	})
	for i := range 100 {
		added := h.add("CS101", object{"display_name": "John Doe", "external_user_id": fmt.Sprint("user_", i)})
		ids = append(ids, added["participant_id"].(string))
	}
	return h, ids
}

// exchanges are those that are measured: reads that are nothing but routing, credential and look-up; lists; adds.
func exchanges(t testing.TB) map[string]func() {
	h, ids := openBench(t)
	always := func(path string) func(int) (string, string) {
		return func(int) (string, string) { return path, "" }
	}
	return map[string]func(){
		"Get":     h.exchange("GET", always("/api/v1/rooms/CS101/participants/"+ids[50])),
		"List":    h.exchange("GET", always("/api/v1/rooms/CS101/participants?active=true")),
		"Refresh": h.exchange("POST", always("/api/v1/rooms/CS101/participants/"+ids[50]+"/token")),
		"Add": h.exchange("POST", func(n int) (string, string) {
			return fmt.Sprintf("/api/v1/rooms/Lesson%%20%d/participants", n/100),
				fmt.Sprintf(`{"display_name":"John Doe","external_user_id":"user_%d","role":"participant"}`, n)
		}),
	}
}

// BenchmarkExchange is a request without net/http: go test ./gateway -run '^$' -bench Exchange -benchmem.
func BenchmarkExchange(b *testing.B) {
	for name, exchange := range exchanges(b) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				exchange()
			}
		})
	}
}
