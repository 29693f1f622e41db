package usher

import (
	"fmt"
	"time"
)

// timeLayout is RFC 3339 in UTC with milliseconds, as every time of ours reads.
const timeLayout = "2006-01-02T15:04:05.000Z"

// Time is a moment as Usher stores and answers it: UTC, to the millisecond.
type Time struct{ time.Time }

// At is the moment t, cut to the millisecond.
func At(t time.Time) Time { return Time{t.UTC().Truncate(time.Millisecond)} }

// AppendText implements encoding.TextAppender.
func (t Time) AppendText(b []byte) ([]byte, error) { return t.UTC().AppendFormat(b, timeLayout), nil }

// MarshalText implements encoding.TextMarshaler.
func (t Time) MarshalText() ([]byte, error) { return t.AppendText(nil) }

// UnmarshalText reads any RFC 3339 time.
func (t *Time) UnmarshalText(text []byte) error {
	parsed, err := time.Parse(time.RFC3339Nano, string(text))
	if err != nil {
		return fmt.Errorf("%q is not an RFC 3339 time", text)
	}
	*t = At(parsed)
	return nil
}

// MarshalJSON and UnmarshalJSON keep the methods of the embedded time.Time from being used instead.
func (t Time) MarshalJSON() ([]byte, error) {
	b, err := t.AppendText([]byte{'"'})
	return append(b, '"'), err
}

// UnmarshalJSON reads any RFC 3339 time.
func (t *Time) UnmarshalJSON(b []byte) error {
	if len(b) < 2 || b[0] != '"' || b[len(b)-1] != '"' {
		return fmt.Errorf("%s is not an RFC 3339 time", b)
	}
	return t.UnmarshalText(b[1 : len(b)-1])
}
