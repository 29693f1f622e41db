package gateway_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// raw sends bytes as they are and gives the answers until the gateway closes the connection or has no more to say.
func (h *house) raw(text string) (statuses []int, bodies string) {
	h.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(h.url, "http://"))
	if err != nil {
		h.t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, text); err != nil {
		h.t.Fatal(err)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.CloseWrite() // so that the gateway waits for no more
	}
	reader := bufio.NewReader(conn)
	for {
		r, err := http.ReadResponse(reader, nil)
		if err != nil {
			return statuses, bodies
		}
		body, _ := io.ReadAll(r.Body) // it may be cut off
		_ = r.Body.Close()
		statuses, bodies = append(statuses, r.StatusCode), bodies+string(body)
	}
}

// TestNoRequestIsSmuggled: where two readers could take a connection's bytes in two ways, the gateway answers one request
// with a refusal and takes nothing that follows for another.
func TestNoRequestIsSmuggled(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	key := "X-API-Key: " + h.key + "\r\n"
	const start, json = "POST /api/v1/rooms HTTP/1.1\r\nHost: usher\r\n", "Content-Type: application/json\r\n"
	// What an attacker would have taken for a second request.
	hidden := "POST /api/v1/rooms HTTP/1.1\r\nHost: usher\r\n" + key + json + "Content-Length: 20\r\n\r\n{\"name\": \"smuggled\"}"
	for name, text := range map[string]string{
		"length and chunks":           start + key + json + "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden,
		"chunks and length":           start + key + json + "Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\n" + hidden,
		"two lengths":                 start + key + json + "Content-Length: 0\r\nContent-Length: 20\r\n\r\n" + hidden,
		"a list of lengths":           start + key + json + "Content-Length: 0, 20\r\n\r\n" + hidden,
		"a signed length":             start + key + json + "Content-Length: +0\r\n\r\n" + hidden,
		"a negative length":           start + key + json + "Content-Length: -1\r\n\r\n" + hidden,
		"a length in hex":             start + key + json + "Content-Length: 0x0\r\n\r\n" + hidden,
		"a length beyond 64 bits":     start + key + json + "Content-Length: 18446744073709551616\r\n\r\n" + hidden,
		"chunked twice":               start + key + json + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden,
		"another coding":              start + key + json + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + hidden,
		"chunked, identity":           start + key + json + "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + hidden,
		"a tab before chunked":        start + key + json + "Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n" + hidden,
		"a space before the colon":    start + key + json + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + hidden,
		"a folded header":             start + key + json + "Transfer-Encoding:\r\n chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n" + hidden,
		"a chunk of a size in excess": start + key + json + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n\r\n" + hidden,
		"a negative chunk":            start + key + json + "Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n" + hidden,
		"a chunk without an end":      start + key + json + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}XX0\r\n\r\n" + hidden,
		"a null in a header":          start + key + json + "X-A: \x00\r\nContent-Length: 0\r\n\r\n" + hidden,
		"no host":                     "POST /api/v1/rooms HTTP/1.1\r\n" + key + json + "Content-Length: 0\r\n\r\n" + hidden,
		"two hosts":                   start + "Host: other\r\n" + key + json + "Content-Length: 0\r\n\r\n" + hidden,
		"a space in the target":       "POST /api/v1/rooms /x HTTP/1.1\r\nHost: usher\r\n" + key + json + "Content-Length: 0\r\n\r\n" + hidden,
		"HTTP 2 in words":             "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + hidden,
	} {
		t.Run(name, func(t *testing.T) {
			statuses, bodies := h.raw(text)
			for i, status := range statuses {
				if status < 400 || status >= 600 || status == 500 || i > 0 {
					t.Errorf("answered %v %s", statuses, bodies)
				}
			}
		})
	}
	if r := h.send(h.key, "GET", "/api/v1/rooms?name=smuggled", nil); strings.Contains(r.raw, "smuggled") {
		t.Errorf("a room was smuggled in: %s", r.raw)
	}
}

// TestARequestsBodyEndsWhereItSays: what a refused request has left unread is never the beginning of the next one.
func TestARequestsBodyEndsWhereItSays(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	inner := "GET /api/v1/rooms HTTP/1.1\r\nHost: usher\r\nX-API-Key: " + h.key + "\r\n\r\n"
	for name, head := range map[string]string{
		"a GET":           "GET /api/v1/rooms HTTP/1.1\r\nHost: usher\r\n",
		"no credential":   "POST /api/v1/rooms HTTP/1.1\r\nHost: usher\r\nContent-Type: application/json\r\n",
		"no such path":    "POST /nothing HTTP/1.1\r\nHost: usher\r\n",
		"no such method":  "PUT /api/v1/rooms HTTP/1.1\r\nHost: usher\r\n",
		"a wrong type":    "POST /api/v1/rooms HTTP/1.1\r\nHost: usher\r\nX-API-Key: " + h.key + "\r\nContent-Type: text/plain\r\n",
		"an upgrade":      "GET /docs HTTP/1.1\r\nHost: usher\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
		"something to do": "DELETE /api/v1/rooms/none HTTP/1.1\r\nHost: usher\r\nX-API-Key: " + h.key + "\r\n",
	} {
		length := "Content-Length: " + itoa(len(inner)) + "\r\n\r\n"
		if statuses, bodies := h.raw(head + length + inner + inner); len(statuses) > 2 || strings.Count(bodies, `"rooms":[`) > len(statuses) {
			t.Errorf("%s: answered %v", name, statuses)
		} else if len(statuses) == 2 && statuses[1] != http.StatusOK {
			t.Errorf("%s: the request behind it is answered %v", name, statuses)
		}
	}
	// A bare line feed ends a line for net/http; there is still one request, and its body has the length that it says.
	statuses, _ := h.raw("POST /api/v1/rooms HTTP/1.1\nHost: usher\nX-API-Key: " + h.key + "\nContent-Type: application/json\nContent-Length: 15\n\n{\"name\": \"one\"}")
	if len(statuses) != 1 {
		t.Errorf("bare line feeds are answered %v", statuses)
	}
	if statuses, _ := h.raw("GET /docs HTTP/1.1\r\nHost: usher\r\nX-Fold: a\r\n  b: c\r\n\r\n"); len(statuses) != 1 || statuses[0] >= 500 {
		t.Errorf("a folded header is answered %v", statuses)
	}
}
