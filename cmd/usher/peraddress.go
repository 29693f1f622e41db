package main

import (
	"net"
	"net/netip"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"usher/gateway"
)

// perAddress is a listener that lets one address have only so many connections: the others find room. What is too much is
// closed at once. Proxies that are trusted bring the connections of many.
type perAddress struct {
	net.Listener
	most    int
	exempt  gateway.Proxies
	refused prometheus.Counter

	mu   sync.Mutex
	open map[netip.Prefix]int // guarded by mu; of the sites that have any
}

func refusedConnections(registry prometheus.Registerer) prometheus.Counter {
	return promauto.With(registry).NewCounter(prometheus.CounterOpts{
		Name: "usher_http_connections_refused_total", Help: "Connections that were closed because their address had as many as it may (--max-connections-per-address).",
	})
}

// Accept waits for a connection of an address that may have one more.
func (l *perAddress) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from, err := netip.ParseAddrPort(conn.RemoteAddr().String())
		if counts := err == nil && !l.exempt.Contain(from.Addr().Unmap()); !counts {
			return conn, nil
		}
		site := gateway.Site(from.Addr())
		if l.enter(site) {
			return &counted{Conn: conn, leave: sync.OnceFunc(func() { l.leave(site) })}, nil
		}
		l.refused.Inc()
		_ = conn.Close()
	}
}

func (l *perAddress) enter(site netip.Prefix) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[site] >= l.most {
		return false
	}
	if l.open == nil {
		l.open = make(map[netip.Prefix]int)
	}
	l.open[site]++
	return true
}

func (l *perAddress) leave(site netip.Prefix) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[site]--; l.open[site] == 0 {
		delete(l.open, site)
	}
}

// counted is a connection that is counted until it is closed.
type counted struct {
	net.Conn
	leave func()
}

// Close is part of net.Conn.
func (c *counted) Close() error {
	c.leave()
	return c.Conn.Close()
}
