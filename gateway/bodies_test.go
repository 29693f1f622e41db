package gateway_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"usher/gateway"
)

// upload is a request whose body comes slowly, or not at all.
type upload struct {
	net.Conn
	t *testing.T
}

// begin sends the head of a request, and the beginning of its body.
func (h *house) begin(t *testing.T, credential, method, path, framing, body string) upload {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(h.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	head := method + " " + path + " HTTP/1.1\r\nHost: usher\r\nAuthorization: Bearer " + credential + "\r\nContent-Type: application/json\r\n" + framing + "\r\n\r\n"
	if _, err := io.WriteString(conn, head+body); err != nil {
		t.Fatal(err)
	}
	return upload{conn, t}
}

// status is that of the answer, and whether it is the connection's last.
func (u upload) status() (status int, last bool) {
	u.t.Helper()
	r, err := http.ReadResponse(bufio.NewReader(u), nil)
	if err != nil {
		u.t.Fatal(err)
	}
	_ = r.Body.Close()
	return r.StatusCode, r.Close
}

const heldBytes = "usher_http_body_bytes"

// TestABodyIsRefusedBeforeItIsRead: on a route that has none, of more bytes than the route takes, or of a caller who may not
// send it. The answer comes although the body never does.
func TestABodyIsRefusedBeforeItIsRead(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	seat := h.add("r", object{"display_name": "A", "role": "host"})
	own, token := seats+"/"+idOf(seat), seat["auth_token"].(string)
	const chunked = "Transfer-Encoding: chunked"
	length := func(n int) string { return fmt.Sprint("Content-Length: ", n) }
	for _, c := range []struct {
		credential, method, path, framing string
		want                              int
	}{
		{token, "POST", own + "/heartbeat", length(1), 400},
		{token, "POST", own + "/heartbeat", length(1 << 30), 400},
		{token, "POST", own + "/heartbeat", chunked, 400},
		{token, "POST", own + "/token", length(100), 400},
		{h.key, "DELETE", own, chunked, 400},
		{h.key, "GET", "/api/v1/rooms", length(100), 400},
		{"", "GET", "/docs", length(100), 400},
		{h.key, "POST", "/api/v1/rooms/r/lock", length(2), 400},
		{h.key, "POST", seats, length(64<<10 + 1), 413},
		{h.key, "POST", seats + "/bulk", length(1<<20 + 1), 413},
		{h.key, "PATCH", h.config(), length(32<<10 + 1), 413},
		{"usk_mistyped", "POST", seats, length(100), 401},
		{"", "POST", seats, chunked, 401},
		{h.key, "POST", "/nothing", length(100), 404},
		{h.key, "PUT", "/api/v1/rooms", length(100), 405},
	} {
		status, last := h.begin(t, c.credential, c.method, c.path, c.framing, "").status()
		if status != c.want || !last {
			t.Errorf("%s %s with %s: %d, want %d; the last of its connection: %v", c.method, c.path, c.framing, status, c.want, last)
		}
	}
	h.wants(0, heldBytes)
	if status, last := h.begin(t, token, "POST", own+"/heartbeat", length(0), "").status(); status != 204 || last {
		t.Errorf("a body of no bytes: %d, the last: %v", status, last)
	}
	// What is larger than it may be, and does not say so, is read no further than that.
	large := strings.Repeat(fmt.Sprintf("%x\r\n%s\r\n", 1<<10, strings.Repeat(" ", 1<<10)), 65)
	if status, last := h.begin(t, h.key, "POST", seats, chunked, large).status(); status != 413 || !last {
		t.Errorf("chunks beyond the bound: %d, the last: %v", status, last)
	}
	h.wants(0, heldBytes)
}

// TestSlowUploadsOfOneSeatAreBounded: neither their number nor what they hold grows with how many there are.
func TestSlowUploadsOfOneSeatAreBounded(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	host := h.add("r", object{"display_name": "A", "role": "host"})
	token, own := host["auth_token"].(string), seats+"/"+idOf(host)
	var uploads []upload
	for range 100 {
		h.clock.advance(time.Second) // so that the rate is not what bounds it
		uploads = append(uploads, h.begin(t, token, "POST", seats+"/bulk-remove", "Content-Length: 1000000", strings.Repeat(" ", 300_000)))
		h.begin(t, token, "POST", own+"/heartbeat", "Content-Length: 1000000", strings.Repeat(" ", 10_000))
	}
	refused := make(chan int, len(uploads))
	for _, u := range uploads {
		go func() {
			r, err := http.ReadResponse(bufio.NewReader(u), nil)
			if err != nil {
				return // it was never answered
			}
			_ = r.Body.Close()
			refused <- r.StatusCode
		}()
	}
	answered := 0
	for answered < len(uploads)-8 {
		if status := <-refused; status != 429 {
			t.Fatalf("answered %d", status)
		}
		if n := h.value(heldBytes); n > 1<<20 {
			t.Fatalf("%g bytes are held for one seat", n)
		}
		answered++
	}
	h.until("bytes to be held", func() bool { return h.value(heldBytes) >= 300_000 })
	if r := h.send(h.key, "GET", "/api/v1/rooms/r", nil); r.status != 200 {
		t.Errorf("the backend meanwhile: %d", r.status)
	}
	h.add("r", object{"display_name": "B"})
	for _, u := range uploads {
		_ = u.Close()
	}
	h.wants(0, heldBytes)
}

// TestOneTenantsUploadsLeaveRoomForOthers: a tenant holds a quarter of what there is, and all of them no more than that.
func TestOneTenantsUploadsLeaveRoomForOthers(t *testing.T) {
	t.Parallel()
	const all = gateway.LeastBodyMemory
	h := openWith(t, "", func(h *house) { h.bodies = all })
	begin := func(key string) upload {
		u := h.begin(t, key, "POST", seats+"/bulk", "Content-Length: 1000000", strings.Repeat(" ", 900_000))
		return u
	}
	first := begin(h.key)
	h.until("the first upload", func() bool { return h.value(heldBytes) >= 900_000 })
	if status, last := begin(h.key).status(); status != 429 || !last {
		t.Errorf("a second upload of the tenant: %d, the last of its connection: %v", status, last)
	}
	var keys []string
	for range 4 {
		_, key := h.newTenant("")
		keys = append(keys, key)
	}
	for i, key := range keys[:3] {
		begin(key)
		h.until("an upload of another tenant", func() bool { return h.value(heldBytes) >= float64(i+2)*900_000 })
	}
	if status, _ := begin(keys[3]).status(); status != 503 {
		t.Errorf("an upload when there is no more room: %d", status)
	}
	if n := h.value(heldBytes); n > all {
		t.Errorf("%g bytes are held, of %d", n, all)
	}
	// The operator is never refused, and there is room again when an upload ends.
	if r := h.send(operatorKey, "PATCH", h.config(), object{"burst": 900}); r.status != 200 {
		t.Errorf("the operator: %d %s", r.status, r.raw)
	}
	_ = first.Close()
	h.until("the first upload to end", func() bool { return h.value(heldBytes) < 3_200_000 })
	begin(keys[3])
	h.until("room for another", func() bool { return h.value(heldBytes) >= 3_600_000 })
}
