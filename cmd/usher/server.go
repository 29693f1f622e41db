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

	"golang.org/x/net/netutil"
	"golang.org/x/sync/errgroup"

	"usher/gateway"
	"usher/gateway/operations"
)

// What a caller may take its time for. Each has a whole connection to itself until then, so none may take long.
const (
	headerWait = 10 * time.Second // and for a TLS handshake
	bodyWait   = 30 * time.Second // from the first byte of the header to the last of the body
	answerWait = time.Minute      // from the end of the header to the last byte of the answer
	idleWait   = 2 * time.Minute  // between two requests
	pingWait   = 15 * time.Second // of an HTTP/2 connection that is silent, and then for its answer

	profileWait = 5 * time.Minute // answerWait of the operations port: a profile takes as long as it is asked to

	maxHeaderBytes = 32 << 10
	opsConnections = 256
)

// port is an address that is served.
type port struct {
	listener    net.Listener
	tls         *tls.Config // nil: plain HTTP
	handler     http.Handler
	answerWait  time.Duration
	connections int // at once; those beyond wait to be taken
}

// serveBoth serves until the context ends. Then it is not ready, and its answers ask callers to connect anew, elsewhere;
// after the delay it takes no new connections, and what is in flight is answered.
func serveBoth(ctx context.Context, o options, logger *slog.Logger, api, ops port, board *operations.Operations, ready func() error) error {
	farewell := &farewell{Handler: api.handler}
	api.handler = farewell
	api.connections, ops.connections = o.MaxConnections, opsConnections
	api.answerWait, ops.answerWait = answerWait, profileWait
	servers := []*http.Server{newServer(api, logger), newServer(ops, logger)}
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

func newServer(p port, logger *slog.Logger) *http.Server {
	return &http.Server{
		Handler: p.handler, TLSConfig: p.tls, ConnContext: gateway.ConnContext,
		ReadHeaderTimeout: headerWait, ReadTimeout: bodyWait, WriteTimeout: p.answerWait, IdleTimeout: idleWait, MaxHeaderBytes: maxHeaderBytes,
		HTTP2:    &http.HTTP2Config{SendPingTimeout: pingWait, PingTimeout: pingWait, WriteByteTimeout: bodyWait},
		ErrorLog: log.New(serverLog{logger}, "", 0),
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
