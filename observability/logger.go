// Package observability builds what the others tell of themselves with: the logger, the registry of metrics and the
// tracer. Each is built once, in cmd, and handed down; the package imports none of the others, and which metrics there are
// stands beside the code that they are about.
package observability

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"go.uber.org/zap/zapcore"
)

// LogFormat is how log lines are written.
type LogFormat string

// Text is for people, JSON for machines.
const (
	LogText LogFormat = "text"
	LogJSON LogFormat = "json"
)

// ParseLogFormat reads a log format's name.
func ParseLogFormat(s string) (LogFormat, error) {
	switch f := LogFormat(s); f {
	case LogText, LogJSON:
		return f, nil
	}
	return "", fmt.Errorf("the log format must be %s or %s, not %q", LogText, LogJSON, s)
}

// ParseLogLevel reads the name of a level.
func ParseLogLevel(s string) (slog.Level, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(s)); err != nil {
		return level, fmt.Errorf("the log level must be debug, info, warn or error, not %q", s)
	}
	return level, nil
}

// Buffered gathers lines and writes them together, a tenth of a second later at most: a write of its own for each line is
// a third of what a line costs. Lines from warnings on are written at once, with all before them.
type Buffered struct{ to zapcore.BufferedWriteSyncer }

const (
	bufferedBytes = 64 << 10
	bufferedFor   = 100 * time.Millisecond
)

// NewBuffered writes to w. It must be closed, or the last lines are lost.
func NewBuffered(w io.Writer) *Buffered {
	onlyWrites := struct{ io.Writer }{w} // a terminal or a pipe cannot be synced
	return &Buffered{to: zapcore.BufferedWriteSyncer{WS: zapcore.AddSync(onlyWrites), Size: bufferedBytes, FlushInterval: bufferedFor}}
}

// Write takes a line.
func (b *Buffered) Write(line []byte) (int, error) { return b.to.Write(line) }

// Flush writes what is there.
func (b *Buffered) Flush() { _ = b.to.Sync() } // nobody could be told

// Close flushes, and stops.
func (b *Buffered) Close() error { return b.to.Stop() }

// flushing is a handler that flushes after lines that somebody may wait for.
type flushing struct {
	slog.Handler
	buffer *Buffered
}

// Handle is part of slog.Handler.
func (h flushing) Handle(ctx context.Context, record slog.Record) error {
	err := h.Handler.Handle(ctx, record)
	if record.Level >= slog.LevelWarn {
		h.buffer.Flush()
	}
	return err
}

// WithAttrs is part of slog.Handler.
func (h flushing) WithAttrs(attrs []slog.Attr) slog.Handler {
	h.Handler = h.Handler.WithAttrs(attrs)
	return h
}

// WithGroup is part of slog.Handler.
func (h flushing) WithGroup(name string) slog.Handler {
	h.Handler = h.Handler.WithGroup(name)
	return h
}

// NewLogger makes a logger that writes to w from the level on, which may be changed while it is in use. Warnings and
// errors are kept in recent too, unless it is nil.
func NewLogger(w io.Writer, format LogFormat, level slog.Leveler, recent *Recent) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	var handler slog.Handler = slog.NewTextHandler(w, options)
	if format == LogJSON {
		handler = slog.NewJSONHandler(w, options)
	}
	if buffer, ok := w.(*Buffered); ok {
		handler = flushing{handler, buffer}
	}
	if recent != nil {
		handler = recent.Handler(handler)
	}
	return slog.New(handler)
}
