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

// front are both ports. They answer from the first moment on, so that who asks a process that waits for etcd is told so.
type front struct {
	api      *door
	board    *operations.Operations
	servers  []*http.Server
	serving  *errgroup.Group
	stop     context.CancelFunc
	told     bool          // why it could not be served
	delay    time.Duration // between the farewell and the end of new connections
	patience time.Duration // for what is in flight then
}

// openFront serves until drain, or close. The context that it gives ends when a port fails, or the one that is given does.
func openFront(ctx context.Context, o options, logger *slog.Logger, api, ops port, board *operations.Operations) (*front, context.Context) {
	ctx, stop := context.WithCancel(ctx)
	f := &front{api: &door{}, board: board, stop: stop, delay: o.DrainDelay, patience: o.DrainTimeout}
	f.api.open(api.handler)
	api.handler, ops.handler = f.api, board
	api.connections, ops.connections = o.MaxConnections, opsConnections
	api.answerWait, ops.answerWait = o.AnswerTimeout, profileWait
	f.serving, ctx = errgroup.WithContext(ctx)
	f.serving.Go(func() error {
		board.Sample(ctx)
		return nil
	})
	for _, p := range []port{api, ops} {
		server := newServer(p, o, logger)
		f.servers = append(f.servers, server)
		f.serving.Go(func() error { return serve(server, p) })
	}
	return f, ctx
}

// drain waits for the context's end. Then the process is not ready, and its answers ask callers to connect anew, elsewhere;
// after the delay it takes no new connections, and what is in flight is answered.
func (f *front) drain(ctx context.Context) error {
	<-ctx.Done()
	f.board.Drain()
	f.api.farewell.Store(true)
	time.Sleep(f.delay)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.patience)
	defer cancel()
	var ended []error
	for _, s := range f.servers { // the operations port last
		ended = append(ended, s.Shutdown(ctx))
	}
	f.told = true
	return errors.Join(append(ended, f.serving.Wait())...)
}

// close ends at once what has not ended, and gives why it could not be served, unless that was told already.
func (f *front) close() error {
	f.stop()
	for _, s := range f.servers {
		_ = s.Close() // its listener is closed with it
	}
	err := f.serving.Wait()
	if f.told {
		return nil
	}
	f.told = true
	return err
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

// door has one handler after the other. Once the farewell is said it asks callers not to come back on the same connection:
// a connection that is closed while a caller begins to send on it loses a request.
type door struct {
	handler  atomic.Pointer[http.Handler]
	farewell atomic.Bool
}

func (d *door) open(h http.Handler) { d.handler.Store(&h) }

// ServeHTTP answers.
func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if d.farewell.Load() {
		w.Header().Set("Connection", "close")
	}
	(*d.handler.Load()).ServeHTTP(w, r)
}
