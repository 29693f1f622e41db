package faults

import (
	"bytes"
	"net"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2/hpack"
)

// link is the way to one address. What comes from one sender goes over one wire, which the bench can spoil.
type link struct {
	listener net.Listener
	to       string
	senders  []*member // who else sends over it; none: a gateway's link is its own

	mu    sync.Mutex
	wires map[string]*wire // by sender; guarded by mu
}

func newLink(t testing.TB, to string, senders ...*member) *link {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &link{listener: listener, to: to, senders: senders, wires: make(map[string]*wire)}
	t.Cleanup(func() { _ = listener.Close() })
	go func() { // ends with the listener
		for {
			from, err := listener.Accept()
			if err != nil {
				return
			}
			go l.carry(from)
		}
	}()
	return l
}

func (l *link) url() string { return "http://" + l.listener.Addr().String() }

// wire is what comes from the sender; "" is the only one of a gateway's link.
func (l *link) wire(sender string) *wire {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.wires[sender]
	if w == nil {
		w = &wire{changed: make(chan struct{}), conns: make(map[*connection]bool)}
		l.wires[sender] = w
	}
	return w
}

// fault is what is wrong with a wire. The zero fault is none.
type fault struct {
	cut   bool          // connections are broken, and none can be made
	held  bool          // nothing is delivered, and connections stay open
	watch bool          // held concerns only connections that watch
	delay time.Duration // of whatever is delivered
}

// wire carries connections, as well as its fault lets it.
type wire struct {
	mu      sync.Mutex
	fault   fault                // guarded by mu
	changed chan struct{}        // closed when fault is another; guarded by mu
	conns   map[*connection]bool // guarded by mu
}

func (w *wire) spoil(f fault) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fault = f
	close(w.changed)
	w.changed = make(chan struct{})
	if f.cut {
		for c := range w.conns {
			c.close()
		}
	}
}

func (w *wire) mend() { w.spoil(fault{}) }

// connection is one TCP connection in the bench's hands.
type connection struct {
	from, to net.Conn
	closed   chan struct{}
	once     sync.Once

	mu       sync.Mutex
	watches  bool // guarded by mu
	requests bool // guarded by mu: it is not only for watching
}

func (c *connection) close() {
	c.once.Do(func() {
		close(c.closed)
		_ = c.from.Close()
		_ = c.to.Close()
	})
}

// The paths of etcd's methods as HTTP/2 writes them, once for each connection.
var (
	watchPath = hpack.AppendHuffmanString(nil, "/etcdserverpb.Watch/Watch")
	kvPaths   = [][]byte{hpack.AppendHuffmanString(nil, "/etcdserverpb.KV/Range"), hpack.AppendHuffmanString(nil, "/etcdserverpb.KV/Txn")}
)

// look finds out from what the client sends what the connection is for.
func (c *connection) look(sent []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watches = c.watches || bytes.Contains(sent, watchPath)
	for _, path := range kvPaths {
		c.requests = c.requests || bytes.Contains(sent, path)
	}
}

func (c *connection) onlyWatches() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.watches && !c.requests
}

// carry takes bytes both ways until either side ends.
func (l *link) carry(from net.Conn) {
	first := make([]byte, 64<<10)
	n, err := from.Read(first)
	if err != nil {
		_ = from.Close()
		return
	}
	w := l.wire(dialer(from, l.senders))
	to, err := net.Dial("tcp", l.to)
	if err != nil {
		_ = from.Close()
		return
	}
	c := &connection{from: from, to: to, closed: make(chan struct{})}
	defer c.close()
	w.mu.Lock()
	w.conns[c] = true
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		delete(w.conns, c)
		w.mu.Unlock()
	}()
	c.look(first[:n])
	go func() { // ends with the connection
		defer c.close()
		w.pump(c, to, from, nil)
	}()
	if w.pass(c) {
		if _, err := to.Write(first[:n]); err == nil {
			w.pump(c, from, to, c.look)
		}
	}
}

func (w *wire) pump(c *connection, from, to net.Conn, look func([]byte)) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			if look != nil {
				look(buffer[:n])
			}
			if !w.pass(c) {
				return
			}
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// pass waits until something may be delivered over the connection, and says whether it still can be.
func (w *wire) pass(c *connection) bool {
	for {
		w.mu.Lock()
		f, changed := w.fault, w.changed
		w.mu.Unlock()
		switch {
		case f.cut:
			return false
		case f.held && (!f.watch || c.onlyWatches()):
			select {
			case <-changed:
			case <-c.closed:
				return false
			}
			continue
		case f.delay > 0:
			select {
			case <-time.After(f.delay):
			case <-c.closed:
				return false
			}
		}
		return true
	}
}
