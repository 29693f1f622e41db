package rooms

import (
	"bytes"
	"testing"

	"usher/store"
)

// FuzzRecords: whatever lies in the log, a record of this package is refused or read, never a panic; and what was read is
// written as something that reads the same.
func FuzzRecords(f *testing.F) {
	for _, seed := range []string{
		`{"id":"room_01j00000000000000000000000","name":"a","status":"active","participant_count":1,"metadata":{"a":1},"created_at":"2026-01-06T10:00:00.000Z","last_seat":"p_1","recording":{"state":"active"}}`,
		`{"external_user_id":"u","banned_at":"2026-01-06T10:00:00.000Z","expires_at":"2026-01-06T10:00:00.000Z"}`, `{"room_id":"room_1"}`, `{"live":3}`,
		`null`, `[]`, `{"live":1e99}`, `{"live":-1}`, `{"metadata":"x"}`, "\xff", ``, `{"created_at":"0000-00-00T00:00:00Z"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		settles(t, Rooms, value)
		settles(t, Bans, value)
		settles(t, Names, value)
		settles(t, Counts, value)
	})
}

func settles[R any](t *testing.T, table store.Table[R], value []byte) {
	t.Helper()
	r, err := table.Decode("a/b", value)
	if err != nil {
		return
	}
	once, err := table.Encode(r)
	if err != nil {
		t.Fatalf("%s: %q was read and cannot be written: %v", table.Name, value, err)
	}
	again, err := table.Decode("a/b", once)
	if err != nil {
		t.Fatalf("%s: %q was written as %s, which cannot be read: %v", table.Name, value, once, err)
	}
	if twice, err := table.Encode(again); err != nil || !bytes.Equal(once, twice) {
		t.Fatalf("%s: %q was written as %s and then as %s (%v)", table.Name, value, once, twice, err)
	}
}
