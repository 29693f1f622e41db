package participants

import (
	"bytes"
	"testing"
)

// FuzzPresence: whatever lies in the log where it says who was heard of, it is refused or read, and written the same.
func FuzzPresence(f *testing.F) {
	for _, seed := range []string{`{"p_01j00000000000000000000000":1767693630000}`, `{"p_01j00000000000000000000000":"2026-01-06T10:00:30.000Z"}`, `{"a":-9223372036854775808}`,
		`{"a":1e3}`, `{"a":1,"b":"2026-01-06T10:00:30.000Z"}`, `{"":"0000-00-00T00:00:00Z"}`, `null`, `{}`, `{"a":1}`, ``, "{\"\xff\":null}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		heard, err := Presence.Decode("a/b", value)
		if err != nil {
			return
		}
		once, err := Presence.Encode(heard)
		if err != nil {
			t.Fatalf("%q was read and cannot be written: %v", value, err)
		}
		again, err := Presence.Decode("a/b", once)
		if err != nil {
			t.Fatalf("%q was written as %s, which cannot be read: %v", value, once, err)
		}
		if twice, err := Presence.Encode(again); err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("%q was written as %s and then as %s (%v)", value, once, twice, err)
		}
	})
}
