// Package observability builds what the others log with: once, in cmd, to be handed down. It imports none of them.
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

// NewLogger makes a logger that writes to w from the level on, which may be changed while it is in use.
func NewLogger(w io.Writer, format LogFormat, level slog.Leveler) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	if format == LogJSON {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
