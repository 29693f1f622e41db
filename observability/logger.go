// Package observability builds what the others tell of themselves with: the logger, the registry of metrics and the
// tracer. Each is built once, in cmd, and handed down; the package imports none of the others, and which metrics there are
// stands beside the code that they are about.
package observability

import (
	"fmt"
	"io"
	"log/slog"
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

// NewLogger makes a logger that writes to w from the level on, which may be changed while it is in use. Warnings and
// errors are kept in recent too, unless it is nil.
func NewLogger(w io.Writer, format LogFormat, level slog.Leveler, recent *Recent) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	var handler slog.Handler = slog.NewTextHandler(w, options)
	if format == LogJSON {
		handler = slog.NewJSONHandler(w, options)
	}
	if recent != nil {
		handler = recent.Handler(handler)
	}
	return slog.New(handler)
}
