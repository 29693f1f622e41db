package observability

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

func TestTheLevelChangesAtRunTime(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	level := new(slog.LevelVar)
	log := NewLogger(&out, LogJSON, level, nil)
	log.Debug("one")
	level.Set(slog.LevelDebug)
	log.Debug("two")
	if strings.Contains(out.String(), "one") || !strings.Contains(out.String(), `"msg":"two"`) {
		t.Error(out.String())
	}
}

func TestLinesAreGatheredUntilSomebodyMayWaitForOne(t *testing.T) {
	t.Parallel()
	var out locked
	buffer := NewBuffered(&out)
	log := NewLogger(buffer, LogText, slog.LevelInfo, NewRecent(2))
	log.Info("first")
	log.With("a", 1).WithGroup("g").Warn("second")
	if text := out.String(); !strings.Contains(text, "first") || !strings.Contains(text, "second") {
		t.Errorf("a warning waits: %q", text)
	}
	log.Info("third")
	if err := buffer.Close(); err != nil || !strings.Contains(out.String(), "third") {
		t.Errorf("the last line is lost: %v %q", err, out.String())
	}
}

// locked is a buffer that is written from another goroutine.
type locked struct {
	mu  sync.Mutex
	out bytes.Buffer
}

func (l *locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.Write(b)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.String()
}

func TestRecentKeepsTheLastWarningsAndErrors(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	recent := NewRecent(2)
	log := NewLogger(&out, LogText, slog.LevelError, recent).With("host", "a").WithGroup("g")
	log.Info("not this")
	log.Warn("first")
	log.Warn("second", "n", 2)
	log.Error("third")
	lines := recent.Lines()
	if len(lines) != 2 || lines[0].Message != "third" || lines[1].Message != "second" {
		t.Fatalf("%+v", lines)
	}
	if a := lines[1].Attrs; len(a) != 2 || a[0] != (RecentAttr{"host", "a"}) || a[1] != (RecentAttr{"g.n", "2"}) {
		t.Errorf("%+v", a)
	}
	if strings.Contains(out.String(), "second") || !strings.Contains(out.String(), "third") {
		t.Error("the level of the log itself was not kept to:", out.String())
	}
}

func TestNamesOfFormatsAndLevels(t *testing.T) {
	t.Parallel()
	if _, err := ParseLogFormat("xml"); err == nil {
		t.Error("xml is no format")
	}
	if _, err := ParseLogLevel("loud"); err == nil {
		t.Error("loud is no level")
	}
	if level, err := ParseLogLevel("warn"); err != nil || level != slog.LevelWarn {
		t.Error(level, err)
	}
}

// TestWhatIsSampled: a caller's decision is followed, a transaction follows what it carries, and a call of another server
// that belongs to nobody is left out.
func TestWhatIsSampled(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		ratio   float64
		parent  trace.TraceFlags
		hasOne  bool
		links   []trace.Link
		kind    trace.SpanKind
		sampled bool
	}{
		"a request, all are sampled":         {ratio: 1, kind: trace.SpanKindServer, sampled: true},
		"a request, none is sampled":         {ratio: 0, kind: trace.SpanKindServer},
		"its caller samples":                 {ratio: 0, hasOne: true, parent: trace.FlagsSampled, kind: trace.SpanKindServer, sampled: true},
		"its caller does not":                {ratio: 1, hasOne: true, kind: trace.SpanKindServer},
		"a stranger who samples":             {ratio: 0, links: []trace.Link{{SpanContext: spanContext(trace.FlagsSampled)}}, kind: trace.SpanKindServer},
		"a stranger who does not":            {ratio: 1, links: []trace.Link{{SpanContext: spanContext(0)}}, kind: trace.SpanKindServer, sampled: true},
		"a transaction of a traced request":  {ratio: 0, links: []trace.Link{{SpanContext: spanContext(trace.FlagsSampled)}}, kind: trace.SpanKindClient, sampled: true},
		"a transaction of an untraced one":   {ratio: 1, links: []trace.Link{{SpanContext: spanContext(0)}}, kind: trace.SpanKindClient},
		"a lease kept alive, for no request": {ratio: 1, kind: trace.SpanKindClient},
	} {
		exporter := tracetest.NewInMemoryExporter()
		tracing, err := newTracing(exporter, TracingOptions{Ratio: c.ratio})
		if err != nil {
			t.Fatal(err)
		}
		ctx := context.Background()
		if c.hasOne {
			ctx = trace.ContextWithRemoteSpanContext(ctx, spanContext(c.parent))
		}
		_, span := tracing.Tracer().Start(ctx, name, trace.WithSpanKind(c.kind), trace.WithLinks(c.links...))
		if span.SpanContext().IsSampled() != c.sampled {
			t.Errorf("%s: sampled is %v", name, !c.sampled)
		}
		span.End()
		if err := tracing.Close(); err != nil {
			t.Error(err)
		}
	}
}

func spanContext(flags trace.TraceFlags) trace.SpanContext {
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{7}, SpanID: trace.SpanID{7}, TraceFlags: flags})
}

func TestNoCollectorNoTraces(t *testing.T) {
	t.Parallel()
	tracing, err := NewTracing(context.Background(), TracingOptions{})
	if err != nil || tracing != nil || tracing.Tracer() != nil || tracing.Close() != nil {
		t.Error(tracing, err)
	}
	if _, err := NewTracing(context.Background(), TracingOptions{Endpoint: "http://127.0.0.1:1", Protocol: "smoke"}); err == nil {
		t.Error("smoke is no protocol")
	}
}
