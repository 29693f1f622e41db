package observability

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// Recent keeps the last warnings and errors that were logged, for a person to look at.
type Recent struct {
	mu    sync.Mutex
	lines []RecentLine // a ring; guarded by mu
	next  int          // where the next line goes; guarded by mu
}

// RecentLine is one line of the log.
type RecentLine struct {
	At      time.Time
	Level   slog.Level
	Message string
	Attrs   []RecentAttr
}

// RecentAttr is one name and value of a line.
type RecentAttr struct{ Name, Value string }

// NewRecent keeps the last n lines.
func NewRecent(n int) *Recent { return &Recent{lines: make([]RecentLine, n)} }

// Lines are those kept, the newest first.
func (r *Recent) Lines() []RecentLine {
	r.mu.Lock()
	defer r.mu.Unlock()
	var lines []RecentLine
	for i := range r.lines {
		if line := r.lines[(r.next+i)%len(r.lines)]; !line.At.IsZero() {
			lines = append(lines, line)
		}
	}
	slices.Reverse(lines)
	return lines
}

func (r *Recent) keep(line RecentLine) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines[r.next] = line
	r.next = (r.next + 1) % len(r.lines)
}

// Handler is next with the lines kept on their way.
func (r *Recent) Handler(next slog.Handler) slog.Handler {
	return recentHandler{Handler: next, recent: r}
}

type recentHandler struct {
	slog.Handler
	recent *Recent
	group  string
	attrs  []RecentAttr
}

// Enabled is part of slog.Handler: warnings are kept whatever the level of the log is.
func (h recentHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn || h.Handler.Enabled(ctx, level)
}

// Handle is part of slog.Handler.
func (h recentHandler) Handle(ctx context.Context, record slog.Record) error {
	if record.Level >= slog.LevelWarn {
		line := RecentLine{At: record.Time, Level: record.Level, Message: record.Message, Attrs: slices.Clone(h.attrs)}
		record.Attrs(func(a slog.Attr) bool {
			line.Attrs = append(line.Attrs, h.attr(a))
			return true
		})
		h.recent.keep(line)
	}
	if !h.Handler.Enabled(ctx, record.Level) {
		return nil
	}
	return h.Handler.Handle(ctx, record)
}

func (h recentHandler) attr(a slog.Attr) RecentAttr {
	return RecentAttr{Name: h.group + a.Key, Value: fmt.Sprint(a.Value.Resolve())}
}

// WithAttrs is part of slog.Handler.
func (h recentHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	h.Handler = h.Handler.WithAttrs(attrs)
	h.attrs = slices.Clone(h.attrs)
	for _, a := range attrs {
		h.attrs = append(h.attrs, h.attr(a))
	}
	return h
}

// WithGroup is part of slog.Handler.
func (h recentHandler) WithGroup(name string) slog.Handler {
	h.Handler = h.Handler.WithGroup(name)
	h.group += name + "."
	return h
}
