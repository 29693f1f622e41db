package gateway_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"usher/gateway"
	"usher/gateway/openapitest"
)

// counting is a listener that counts what its connections write.
type counting struct {
	net.Listener
	writes atomic.Int64
}

func (l *counting) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	return countingConn{conn, &l.writes}, err
}

type countingConn struct {
	net.Conn
	writes *atomic.Int64
}

func (c countingConn) Write(b []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(b)
}

func TestALongAnswerIsSentInOneSystemCall(t *testing.T) {
	t.Parallel()
	h := open(t, `{"max_participants_per_room":1000,"burst":5000}`)
	for _, c := range []struct {
		seated, most int // writes
		secure       bool
	}{{1, 1, false}, {100, 1, false}, {100, 1, true}, {900, 3, false}} {
		t.Run(fmt.Sprint(c.seated, c.secure), func(t *testing.T) {
			t.Parallel()
			room := fmt.Sprint("room-", c.seated, c.secure)
			items := make([]object, c.seated)
			for i := range items {
				items[i] = object{"display_name": "A"}
			}
			h.must(200, "POST", "/api/v1/rooms/"+room+"/participants/bulk", object{"participants": items})
			server := httptest.NewUnstartedServer(h.handler)
			counted := &counting{Listener: server.Listener}
			server.Listener, server.Config.ConnContext = gateway.Listener{Listener: counted}, gateway.ConnContext
			if c.secure {
				server.StartTLS()
			} else {
				server.Start()
			}
			defer server.Close()
			plain := *h
			plain.url, plain.client = server.URL, &http.Client{Transport: openapitest.Transport(t, server.Client().Transport)}
			path := "/api/v1/rooms/" + room + "/participants"
			plain.must(200, "GET", path+"?page_size=1", nil) // the handshake, and its tickets
			before := counted.writes.Load()
			listed := plain.must(200, "GET", path, nil)
			if got := len(listed["participants"].([]any)); got != c.seated {
				t.Fatalf("listed %d, want %d", got, c.seated)
			}
			if writes := counted.writes.Load() - before; writes > int64(c.most) {
				t.Errorf("sent in %d system calls, want %d at most", writes, c.most)
			}
		})
	}
}
