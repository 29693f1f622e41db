package rooms

import (
	"testing"

	"usher/store/storetest"
)

// FuzzRecords: whatever lies in the log, a record of this package is refused or read, never a panic; and what was read is
// written as something that reads the same.
func FuzzRecords(f *testing.F) {
	for _, seed := range []string{
		`{"id":"room_01j00000000000000000000000","name":"a","status":"active","participant_count":1,"metadata":{"a":1},"created_at":"2026-01-06T10:00:00.000Z","last_seat":"p_1","recording":{"state":"active"}}`,
		`{"external_user_id":"u","banned_at":"2026-01-06T10:00:00.000Z","expires_at":"2026-01-06T10:00:00.000Z"}`, `{"room_id":"room_1"}`,
		`null`, `[]`, `{"metadata":"x"}`, "\xff", ``, `{"created_at":"0000-00-00T00:00:00Z"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		storetest.Settles(t, Rooms, value)
		storetest.Settles(t, Bans, value)
		storetest.Settles(t, Names, value)

	})
}
