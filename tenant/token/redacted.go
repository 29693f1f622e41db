package token

import (
	"fmt"
	"io"
	"log/slog"
)

const redactedText = "[redacted]"

// redacted is embedded by types that hold a secret. However such a value is printed, logged or encoded, it comes out
// as "[redacted]".
//
// fmt does not ask an unexported field of somebody else's struct for its methods, it walks into it, through pointers too
// when the verb does not suit. Keys are therefore kept as what a function returns: of a function fmt prints the address.
type redacted struct{}

func (redacted) String() string               { return redactedText }
func (redacted) GoString() string             { return redactedText }
func (redacted) Format(f fmt.State, _ rune)   { _, _ = io.WriteString(f, redactedText) }
func (redacted) LogValue() slog.Value         { return slog.StringValue(redactedText) }
func (redacted) MarshalJSON() ([]byte, error) { return []byte(`"` + redactedText + `"`), nil }
func (redacted) MarshalText() ([]byte, error) { return []byte(redactedText), nil }
