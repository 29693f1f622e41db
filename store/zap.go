package store

import (
	"context"
	"log/slog"

	"go.uber.org/zap/zapcore"
)

// zapToSlog lets etcd, which logs by zap, speak through the product's logger.
type zapToSlog struct {
	logger *slog.Logger
	level  zapcore.Level // the least that passes

	// expected says of a line that it tells of nothing wrong, whatever its level; nil: none is
	expected func(zapcore.Entry, []zapcore.Field) bool
}

var _ zapcore.Core = zapToSlog{}

func (z zapToSlog) Enabled(level zapcore.Level) bool { return level >= z.level }

func (z zapToSlog) With(fields []zapcore.Field) zapcore.Core {
	z.logger = z.logger.With(attributes(fields)...)
	return z
}

func (z zapToSlog) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if z.Enabled(entry.Level) {
		return checked.AddCore(entry, z)
	}
	return checked
}

func (z zapToSlog) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	level := slog.LevelInfo
	switch {
	case entry.Level >= zapcore.ErrorLevel:
		level = slog.LevelError
	case entry.Level == zapcore.WarnLevel:
		level = slog.LevelWarn
	case entry.Level == zapcore.DebugLevel:
		level = slog.LevelDebug
	}
	if z.expected != nil && z.expected(entry, fields) {
		level = slog.LevelDebug
	}
	z.logger.Log(context.Background(), level, "etcd: "+entry.Message, attributes(fields)...)
	return nil
}

func (zapToSlog) Sync() error { return nil }

func attributes(fields []zapcore.Field) []any {
	encoder := zapcore.NewMapObjectEncoder()
	for _, f := range fields {
		f.AddTo(encoder)
	}
	attrs := make([]any, 0, len(encoder.Fields))
	for name, value := range encoder.Fields {
		attrs = append(attrs, slog.Any(name, value))
	}
	return attrs
}
