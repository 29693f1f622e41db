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
		text := rapid.String()
		p := Participant{
			ID: ID(text.Draw(t, "id")), RoomID: rooms.ID(text.Draw(t, "room")), DisplayName: text.Draw(t, "name"),
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
		if err != nil || read.ExternalUserID != r.ExternalUserID || read.Left != r.Left {
			t.Fatalf("read again it is %+v, %v", read, err)
		}
	})
}
