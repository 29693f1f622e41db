package main_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// dialed is a connection as a caller has it that knows, or cares for, no client library.
func (p *process) dialed(text string) net.Conn {
	p.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(conn, text); err != nil {
		p.t.Fatal(err)
	}
	return conn
}

// addHead is all of an add but its body, of so many bytes.
func addHead(room, key string, length int) string {
	return fmt.Sprintf("POST /api/v1/rooms/%s/participants HTTP/1.1\r\nHost: usher\r\nX-API-Key: %s\r\n"+
		"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n", room, key, length)
}

// ended waits until the gateway has closed the connection, and gives what it said before.
func ended(t *testing.T, conn net.Conn) string {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	said, err := io.ReadAll(conn)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the connection is still open")
	}
	return string(said)
}

// unhurt has others call until done is closed, and wants every one of them answered in time.
func (p *process) unhurt(done <-chan struct{}) {
	p.t.Helper()
	var slowest time.Duration
	answered := 0
	for {
		began := time.Now()
		status, answer, err := p.do("POST", fmt.Sprintf("/api/v1/rooms/room-%d/participants", answered/90), `{"display_name":"A"}`)
		slowest = max(slowest, time.Since(began))
		if err != nil || status != http.StatusCreated && status != http.StatusTooManyRequests {
			p.t.Errorf("another caller is answered %d %v %v", status, answer, err)
			return
		}
		answered++
		select {
		case <-done:
			p.t.Logf("%d others were answered, the slowest after %s", answered, slowest)
			if slowest > 5*time.Second {
				p.t.Errorf("another caller has waited for %s", slowest)
			}
			return
		default:
		}
	}
}

// TestSlowCallersHurtNobody: connections that say nothing, headers and bodies that come by the byte, and answers that
// nobody reads are all ended in their time, and others are answered meanwhile.
func TestSlowCallersHurtNobody(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir(), true, "--header-timeout", "2s", "--body-timeout", "3s", "--answer-timeout", "4s", "--idle-timeout", "2s", "--log-level", "error",
		"--anonymous-requests-per-second", "1000000", "--anonymous-burst", "1000000")
	trickle := func(conn net.Conn, text string) {
		for i := range len(text) {
			if _, err := io.WriteString(conn, text[i:i+1]); err != nil {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
	var slow sync.WaitGroup
	for range 1000 { // a thousand that say nothing
		conn := p.dialed("")
		slow.Go(func() { ended(t, conn) })
	}
	for range 100 { // slow-loris
		conn := p.dialed("GET /api/v1/rooms HTTP/1.1\r\nHost: usher\r\nX-Slow: ")
		slow.Go(func() { trickle(conn, strings.Repeat("a", 300)) })
		slow.Go(func() { ended(t, conn) })
	}
	for range 100 { // a body by the byte
		conn := p.dialed(addHead("CS101", p.key, 300))
		slow.Go(func() { trickle(conn, `{"display_name": "`+strings.Repeat("a", 280)) })
		slow.Go(func() {
			if said := ended(t, conn); !strings.Contains(said, " 400 ") && said != "" {
				t.Errorf("a body that does not come is answered %q", said)
			}
		})
	}
	for range 20 { // answers that nobody reads: the API's document, as often as a connection takes
		conn := p.dialed("")
		slow.Go(func() {
			ask := strings.Repeat("GET /openapi.yaml HTTP/1.1\r\nHost: usher\r\n\r\n", 100)
			for deadline := time.Now().Add(30 * time.Second); ; {
				_ = conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
				_, err := io.WriteString(conn, ask)
				if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
					return // ended
				}
				if time.Now().After(deadline) {
					t.Error("a caller that does not read is still connected")
					return
				}
			}
		})
	}
	for range 100 { // one request, and then nothing
		conn := p.dialed("GET /settings.schema.json HTTP/1.1\r\nHost: usher\r\n\r\n")
		slow.Go(func() {
			r, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil || r.StatusCode != http.StatusOK {
				t.Error("no answer:", err)
				return
			}
			_ = r.Body.Close()
			ended(t, conn)
		})
	}
	done := make(chan struct{})
	go func() {
		slow.Wait()
		close(done)
	}()
	p.unhurt(done)
	until(t, "the connections to be gone", func() bool {
		_, _, text := p.ask("GET", "/metrics", "")
		_, rest, told := strings.Cut(text, "\nusher_http_connections ")
		var open int
		_, err := fmt.Sscan(rest, &open)
		return told && err == nil && open < 10 // none is open once those of others have been idle for too long
	})
}

// TestConnectionsAreBounded: those beyond the bound wait, and are taken when others end.
func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir(), true, "--max-connections", "20", "--max-connections-per-address", "20", "--header-timeout", "1s", "--idle-timeout", "1s")
	began := time.Now()
	for range 20 {
		p.dialed("")
	}
	status, _, err := p.do("GET", "/api/v1/rooms", "")
	if err != nil || status != http.StatusOK {
		t.Error(status, err)
	}
	if waited := time.Since(began); waited < 900*time.Millisecond { // none of the others may end before a second is over
		t.Errorf("it was taken after %s, beside 20 others", waited)
	}
}

// TestAnAddressHasOnlySoManyConnections: what is too much is closed at once, and there is room again when others end.
func TestAnAddressHasOnlySoManyConnections(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir(), true, "--max-connections", "20")
	const half = 10
	var open []net.Conn
	for range half {
		open = append(open, p.dialed(""))
	}
	if said := ended(t, p.dialed("")); said != "" {
		t.Errorf("one connection too many is told %q", said)
	}
	until(t, "the refusal to be counted", func() bool {
		_, _, text := p.ask("GET", "/metrics", "")
		return strings.Contains(text, "\nusher_http_connections_refused_total 1\n")
	})
	_ = open[0].Close()
	until(t, "room for another", func() bool {
		conn := p.dialed("GET /docs HTTP/1.1\r\nHost: usher\r\nConnection: close\r\n\r\n")
		return strings.Contains(ended(t, conn), " 200 ")
	})
	trusting := start(t, t.TempDir(), true, "--max-connections", "20", "--trusted-proxies", "127.0.0.0/8")
	for range half + 5 {
		trusting.dialed("")
	}
	if status, _, err := trusting.do("GET", "/api/v1/rooms", ""); err != nil || status != http.StatusOK {
		t.Error("behind a trusted proxy:", status, err)
	}
}

// TestHeadersAreBounded: more than fits is refused before it is kept.
func TestHeadersAreBounded(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir(), true)
	conn := p.dialed("GET /docs HTTP/1.1\r\nHost: usher\r\n")
	go func() {
		for range 100_000 {
			if _, err := io.WriteString(conn, "X-More: "+strings.Repeat("a", 1000)+"\r\n"); err != nil {
				return
			}
		}
	}()
	if said := ended(t, conn); said != "" && !strings.Contains(said, " 431 ") {
		t.Errorf("answered %q", said)
	}
}
