package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"strings"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"

	"usher/gateway"
	"usher/gateway/operations"
	"usher/observability"
)

// observed is what the process is watched by.
type observed struct {
	logger  *slog.Logger
	lines   *observability.Buffered // of the logger
	level   *slog.LevelVar
	recent  *observability.Recent
	metrics *observability.Metrics
	tracing *observability.Tracing // nil without a collector
	build   observability.Build
}

// recentLines is how many warnings and errors the status page shows.
const recentLines = 50

// observe makes the logger, the registry of metrics and the tracer.
func observe(ctx context.Context, o options) (*observed, error) {
	format, err := observability.ParseLogFormat(o.LogFormat)
	if err != nil {
		return nil, err
	}
	level, err := observability.ParseLogLevel(o.LogLevel)
	if err != nil {
		return nil, err
	}
	s := &observed{level: new(slog.LevelVar), recent: observability.NewRecent(recentLines), build: observability.ReadBuild(stamped)}
	s.level.Set(level)
	s.lines = observability.NewBuffered(os.Stderr)
	s.logger = observability.NewLogger(s.lines, format, s.level, s.recent)
	s.metrics = observability.NewMetrics(s.build)
	s.tracing, err = observability.NewTracing(ctx, observability.TracingOptions{
		Endpoint: o.OTLPEndpoint, Protocol: o.OTLPProtocol, Ratio: o.TraceRatio, Build: s.build,
	})
	return s, err
}

// close sends what is left to be told.
func (s *observed) close() error { return errors.Join(s.tracing.Close(), s.lines.Close()) }

// traced has every request begin a span, or go on with that of a trusted proxy, where there is somebody to send them to. A
// stranger's begins a trace of ours, with a link to the one that it names.
func (s *observed) traced(g http.Handler, trusted gateway.Proxies) http.Handler {
	if s.tracing == nil {
		return g
	}
	return otelhttp.NewHandler(g, "HTTP", otelhttp.WithTracerProvider(s.tracing.Provider()),
		otelhttp.WithPropagators(observability.Propagator()), otelhttp.WithPublicEndpointFn(func(r *http.Request) bool { return !trusted.Sent(r) }),
		otelhttp.WithMeterProvider(noop.NewMeterProvider()))
}

// provider traces requests into etcd; nil without a collector.
func (s *observed) provider() trace.TracerProvider {
	if s == nil || s.tracing == nil {
		return nil
	}
	return s.tracing.Provider()
}

// notices are the recent warnings and errors as the status page shows them.
func (s *observed) notices() (lines []operations.Line) {
	for _, line := range s.recent.Lines() {
		var text strings.Builder
		text.WriteString(line.Message)
		for _, a := range line.Attrs {
			text.WriteString(" " + a.Name + "=" + a.Value)
		}
		lines = append(lines, operations.Line{At: line.At, Bad: line.Level >= slog.LevelError, Text: text.String()})
	}
	return lines
}
