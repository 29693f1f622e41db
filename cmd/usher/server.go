package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/net/netutil"
	"golang.org/x/sync/errgroup"

	"usher/gateway"
	"usher/gateway/operations"
)

const (
	pingWait       = 15 * time.Second // of an HTTP/2 connection that is silent, and then for its answer
	profileWait    = 5 * time.Minute  // the operations port answers for as long as a profile is asked to take
	maxHeaderBytes = 32 << 10
	opsConnections = 256
)

// port is an address that is served.
type port struct {
	listener    net.Listener
	tls         *tls.Config // nil: plain HTTP
	handler     http.Handler
	answerWait  time.Duration
	connections int              // at once; those beyond wait to be taken
	open        prometheus.Gauge // nil: not told
}

// serveBoth serves until the context ends. Then it is not ready, and its answers ask callers to connect anew, elsewhere;
// after the delay it takes no new connections, and what is in flight is answered.
func serveBoth(ctx context.Context, o options, logger *slog.Logger, api, ops port, board *operations.Operations, ready func() error) error {
	farewell := &farewell{Handler: api.handler}
	api.handler = farewell
	api.connections, ops.connections = o.MaxConnections, opsConnections
	api.answerWait, ops.answerWait = o.AnswerTimeout, profileWait
	servers := []*http.Server{newServer(api, o, logger), newServer(ops, o, logger)}
	running, ctx := errgroup.WithContext(ctx)
	running.Go(func() error {
		board.Sample(ctx)
		return nil
	})
	for i, p := range []port{api, ops} {
		running.Go(func() error { return serve(servers[i], p) })
	}
	running.Go(func() error {
		<-ctx.Done()
		board.Drain()
		farewell.said.Store(true)
		time.Sleep(o.DrainDelay)
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), o.DrainTimeout)
		defer cancel()
		return errors.Join(servers[0].Shutdown(drain), servers[1].Shutdown(drain))
	})
	running.Go(ready)
	return running.Wait()
}

// serve takes connections until the server is shut down.
func serve(s *http.Server, p port) (err error) {
	listener := gateway.Listener{Listener: netutil.LimitListener(p.listener, p.connections)}
	if p.tls != nil {
		err = s.ServeTLS(listener, "", "")
	} else {
		err = s.Serve(listener)
	}
	if !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", p.listener.Addr(), err)
	}
	return nil
}

// newServer gives callers so long for each thing: they hold a connection until then, so none may take for ever.
func newServer(p port, o options, logger *slog.Logger) *http.Server {
	return &http.Server{
		Handler: p.handler, TLSConfig: p.tls, ConnContext: gateway.ConnContext, MaxHeaderBytes: maxHeaderBytes,
		ReadHeaderTimeout: o.HeaderTimeout, ReadTimeout: o.BodyTimeout, WriteTimeout: p.answerWait, IdleTimeout: o.IdleTimeout,
		HTTP2:    &http.HTTP2Config{SendPingTimeout: pingWait, PingTimeout: pingWait, WriteByteTimeout: o.BodyTimeout},
		ErrorLog: log.New(serverLog{logger}, "", 0),
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch {
			case p.open == nil:
			case state == http.StateNew:
				p.open.Inc()
			case state == http.StateClosed || state == http.StateHijacked:
				p.open.Dec()
			}
		},
	}
}

// serverLog takes what net/http has to say. What any stranger can cause as often as it likes is said at the level debug.
type serverLog struct{ logger *slog.Logger }

// Write logs a line.
func (l serverLog) Write(line []byte) (int, error) {
	text, level := strings.TrimSpace(string(line)), slog.LevelWarn
	if strings.HasPrefix(text, "http: TLS handshake error") || strings.HasPrefix(text, "http2:") {
		level = slog.LevelDebug
	}
	l.logger.Log(context.Background(), level, text)
	return len(line), nil
}

// farewell asks callers, once it is said, not to come back on the same connection: a connection that is closed while a
// caller begins to send on it loses a request.
type farewell struct {
	http.Handler
	said atomic.Bool
}

// ServeHTTP answers.
func (f *farewell) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if f.said.Load() {
		w.Header().Set("Connection", "close")
	}
	f.Handler.ServeHTTP(w, r)
}
