package rooms

import (
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"pgregory.net/rapid"

	"usher"
)

func anyTime(t *rapid.T, label string) usher.Time {
	if rapid.Bool().Draw(t, label+" is zero") {
		return usher.Time{}
	}
	return usher.At(time.UnixMilli(rapid.Int64Range(0, 1<<42).Draw(t, label)))
}

func anyRoom(t *rapid.T) Room {
	text := rapid.String()
	r := Room{
		ID: ID(text.Draw(t, "id")), Name: text.Draw(t, "name"), Status: Status(text.Draw(t, "status")),
		ParticipantCount: rapid.Int().Draw(t, "count"), Locked: rapid.Bool().Draw(t, "locked"),
		Config:           Config{MaxParticipants: rapid.IntRange(0, 3).Draw(t, "most")},
		ScheduledStartAt: anyTime(t, "start"), ScheduledEndAt: anyTime(t, "end"), CreatedAt: anyTime(t, "created"), EndedAt: anyTime(t, "ended"),
		Recording: Recording{Status: RecordingStatus(text.Draw(t, "recording")), Elected: SeatID(text.Draw(t, "elected")),
			ElectedAt: anyTime(t, "elected at"), StartedAt: anyTime(t, "started")},
		LastSeat: SeatID(text.Draw(t, "last seat")), EmptySince: anyTime(t, "empty since"),
		Bytes: Bytes{Stored: rapid.Int64().Draw(t, "stored"), Aside: rapid.Int64().Draw(t, "aside"), Repeats: rapid.Int64().Draw(t, "repeats")},
	}
	if rapid.Bool().Draw(t, "has a config") {
		enabled := rapid.Bool().Draw(t, "enabled")
		r.Config.RecordingEnabled = &enabled
	}
	if rapid.Bool().Draw(t, "has metadata") {
		r.Metadata = jsontext.Value(`{"a":[1,"b"]}`)
	}
	return r
}

// sameJSON compares what was appended with what the struct tags say.
func sameJSON(t *rapid.T, appended []byte, value any) {
	want, err := json.Marshal(value, json.Deterministic(true), jsontext.AllowInvalidUTF8(true))
	if err != nil {
		t.Fatal(err)
	}
	if string(appended) != string(want) {
		t.Fatalf("appended %s\nthe tags say %s", appended, want)
	}
}

func TestWhatIsAppendedIsWhatTheTagsSay(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := anyRoom(t)
		sameJSON(t, r.AppendJSON(nil), r)
		encoded, err := Rooms.Encode(r)
		if err != nil {
			t.Fatal(err)
		}
		sameJSON(t, encoded, record{Room: r, LastSeat: r.LastSeat, EmptySince: r.EmptySince, Bytes: r.Bytes})
		d := Decision{
			Elected: rapid.Bool().Draw(t, "is elected"), Rule: Rule(rapid.String().Draw(t, "rule")), Reason: rapid.String().Draw(t, "reason"),
			SettingsVersion: rapid.Int64().Draw(t, "version"),
			Inputs: Inputs{ForceRecording: true, Role: rapid.String().Draw(t, "role"), ActiveParticipants: rapid.Int().Draw(t, "active"),
				RecordingStatus: r.Recording.Status, Elected: r.Recording.Elected},
		}
		sameJSON(t, d.AppendJSON(nil), d)
	})
}
