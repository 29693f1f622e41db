package gateway

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
)

// net/http sends an answer that does not fit into its buffer of 4 KiB in two system calls: what the buffer holds, the head
// and the beginning of the body, and then the rest. A system call is the dearest part of a list. A Listener's connections
// can hold back what is written until all is there, so that such an answer is one.

// Listener is a net.Listener for a Gateway. Its server's ConnContext must be the one of this package.
type Listener struct{ net.Listener }

// Accept waits for a connection.
func (l Listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &oneWay{Conn: conn}, nil
}

// ConnContext lets the answers to the requests of a connection be sent in one system call. It is for http.Server.
func ConnContext(ctx context.Context, conn net.Conn) context.Context {
	if secured, ok := conn.(*tls.Conn); ok {
		conn = secured.NetConn()
	}
	if known, ok := conn.(*oneWay); ok {
		return context.WithValue(ctx, oneWayKey{}, known)
	}
	return ctx
}

type oneWayKey struct{}

// oneWay is a connection that can gather what is written. Only the one who answers may have it do so: HTTP/1 answers one
// request after the other.
type oneWay struct {
	net.Conn
	held *[]byte // what is held back; nil: nothing is to be
}

// Bounds of what is gathered, in bytes: below, net/http sends it in one call by itself; beyond, the copy costs more than
// the call.
const leastGathered, mostGathered = 3 << 10, 128 << 10

var gathered = sync.Pool{New: func() any { return new([]byte) }}

// Write sends, or holds back.
func (c *oneWay) Write(b []byte) (int, error) {
	if c.held == nil {
		return c.Conn.Write(b)
	}
	*c.held = append(*c.held, b...)
	return len(b), nil
}

// together sends all that write writes in one call.
func (c *oneWay) together(write func() (int, error)) (n int, err error) {
	c.held = gathered.Get().(*[]byte)
	n, err = write()
	held := c.held
	c.held = nil
	if err == nil && len(*held) > 0 {
		_, err = c.Conn.Write(*held)
	}
	*held = (*held)[:0]
	gathered.Put(held)
	return n, err
}
