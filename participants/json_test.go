package participants

import (
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"pgregory.net/rapid"

	"usher"
	"usher/rooms"
)

func TestWhatIsAppendedIsWhatTheTagsSay(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-z"\\é<]{0,8}`))
		plain := rapid.StringMatching(`[a-z0-9_]{0,30}`)
		p := Participant{
			ID: ID(plain.Draw(t, "id")), RoomID: rooms.ID(plain.Draw(t, "room")), DisplayName: text.Draw(t, "name"),
			ExternalUserID: text.Draw(t, "user"), Role: text.Draw(t, "role"), JoinedAt: usher.At(time.UnixMilli(rapid.Int64Range(0, 1<<42).Draw(t, "joined"))),
		}
		if rapid.Bool().Draw(t, "has metadata") {
			p.Metadata = jsontext.Value(`{"a":[1,"b"]}`)
		}
		if rapid.Bool().Draw(t, "has left") {
			p = p.left(LeaveReason(text.Draw(t, "reason")), usher.At(time.UnixMilli(1)))
		}
		want, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		r := recordOf(p)
		if string(r.JSON) != string(want) {
			t.Fatalf("appended %s\nthe tags say %s", r.JSON, want)
		}
		read, err := Participants.Decode("", r.JSON)
		if err != nil || read.ExternalUserID() != p.ExternalUserID || r.ExternalUserID() != p.ExternalUserID || read.Left != r.Left {
			t.Fatalf("read again it is %+v, %v", read, err)
		}
	})
}

// FuzzReadRecord: the quick reader and the general one agree on what is a participant, and on what it says.
func FuzzReadRecord(f *testing.F) {
	for _, seed := range []string{
		`{"id":"p_1","room_id":"room_1","display_name":"A","external_user_id":"u","role":"r","metadata":{"a":["}"]},"joined_at":"2026-11-23T15:09:28.339Z","left_at":"2026-11-23T15:09:28.339Z","leave_reason":"left"}`,
		`{"id":"p_1","room_id":"room_1","display_name":"é\\"","external_user_id":"\\u00e9","role":"r","joined_at":"2026-11-23T15:09:28.339Z"}`,
		`{"role":"r","external_user_id":"u","new":1}`, `{"id":1}`, `{"metadata":{}`, `[]`, ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		var p Participant
		want := json.Unmarshal(value, &p)
		r, err := readRecord(value)
		if (err == nil) != (want == nil) {
			t.Fatalf("%v, and the general reader says %v", err, want)
		}
		if err == nil && (r.Left != !p.LeftAt.IsZero() || r.ExternalUserID() != p.ExternalUserID) {
			t.Fatalf("%q, %v, and the general reader says %q, %v", r.ExternalUserID(), r.Left, p.ExternalUserID, !p.LeftAt.IsZero())
		}
	})
}
