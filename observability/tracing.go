package observability

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.37.0"
	"go.opentelemetry.io/otel/trace"
)

// TracingOptions say where traces go. Headers, timeouts and certificates are read from OpenTelemetry's own variables
// (OTEL_EXPORTER_OTLP_HEADERS and so on).
type TracingOptions struct {
	Endpoint string  // URL of a collector; "" for no traces
	Protocol string  // grpc or http
	Ratio    float64 // of the traces that begin here; what a trusted caller has begun follows the caller
	Build    Build
}

// Tracing gives spans to those who ask for a Tracer and sends them to a collector.
type Tracing struct {
	provider *sdktrace.TracerProvider
}

// NewTracing begins to export, and is nil when there is nowhere to export to. A collector that does not answer costs
// spans, never a request.
func NewTracing(ctx context.Context, o TracingOptions) (*Tracing, error) {
	if o.Endpoint == "" {
		return nil, nil
	}
	var client otlptrace.Client
	switch o.Protocol {
	case "grpc":
		client = otlptracegrpc.NewClient(otlptracegrpc.WithEndpointURL(o.Endpoint))
	case "http":
		client = otlptracehttp.NewClient(otlptracehttp.WithEndpointURL(o.Endpoint))
	default:
		return nil, fmt.Errorf("the OTLP protocol must be grpc or http, not %q", o.Protocol)
	}
	exporter, err := otlptrace.New(ctx, client)
	if err != nil {
		return nil, fmt.Errorf("export traces to %s: %w", o.Endpoint, err)
	}
	return newTracing(exporter, o)
}

func newTracing(exporter sdktrace.SpanExporter, o TracingOptions) (*Tracing, error) {
	described, err := resource.Merge(resource.Default(), resource.NewSchemaless(
		semconv.ServiceName("usher"), semconv.ServiceVersion(o.Build.Version)))
	if err != nil {
		return nil, fmt.Errorf("describe this process for traces: %w", err)
	}
	return &Tracing{provider: sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter), sdktrace.WithResource(described),
		sdktrace.WithSampler(sdktrace.ParentBased(linked{sdktrace.TraceIDRatioBased(o.Ratio)})),
	)}, nil
}

// linked samples a call of another server that begins with a link to a trace that is sampled: a transaction that carries a
// traced request. One that belongs to no request (a lease kept alive, an election) is no trace worth having. A request is
// sampled by our own ratio, whatever it links to: that is the trace of a stranger.
type linked struct{ sdktrace.Sampler }

func (s linked) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	if p.Kind != trace.SpanKindClient {
		return s.Sampler.ShouldSample(p)
	}
	for _, link := range p.Links {
		if link.SpanContext.IsSampled() {
			return sdktrace.AlwaysSample().ShouldSample(p)
		}
	}
	return sdktrace.NeverSample().ShouldSample(p)
}

// Provider makes tracers, for libraries that want to make their own.
func (t *Tracing) Provider() trace.TracerProvider { return t.provider }

// Tracer makes Usher's own spans; nil when there is no tracing.
func (t *Tracing) Tracer() trace.Tracer {
	if t == nil {
		return nil
	}
	return t.provider.Tracer("usher")
}

// Propagator reads and writes the headers traceparent and tracestate (W3C Trace Context).
func Propagator() propagation.TextMapPropagator { return propagation.TraceContext{} }

const flushTimeout = 5 * time.Second

// Close sends what is left and stops.
func (t *Tracing) Close() error {
	if t == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		return fmt.Errorf("send the last spans: %w", err)
	}
	return nil
}
