package rooms

import (
	"net/url"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"usher"
	"usher/store"
	"usher/tenant"
)

// Status is where a room is in its life.
type Status string

// A room is scheduled until its first join when it was created for later, active from then on, and ended once.
const (
	Scheduled Status = "scheduled"
	Active    Status = "active"
	Ended     Status = "ended"
)

// Room is one run of a call. Times are set once; a room that has ended never changes again.
type Room struct {
	ID               ID             `json:"id"`
	Name             string         `json:"name"`
	Status           Status         `json:"status"`
	ParticipantCount int            `json:"participant_count"` // of the active ones
	Locked           bool           `json:"locked"`            // only roles with the grant moderate are let in
	Config           Config         `json:"config"`
	Metadata         jsontext.Value `json:"metadata,omitzero"`
	ScheduledStartAt usher.Time     `json:"scheduled_start_at,omitzero"`
	ScheduledEndAt   usher.Time     `json:"scheduled_end_at,omitzero"`
	CreatedAt        usher.Time     `json:"created_at"`
	EndedAt          usher.Time     `json:"ended_at,omitzero"`
	Recording        Recording      `json:"recording"`

	// Kept in the record and not answered:
	Bytes      Bytes      `json:"-"`
	LastSeat   SeatID     `json:"-"` // the newest seat ever given
	EmptySince usher.Time `json:"-"` // when the last one left, or the room was made; zero while somebody is in it
}

// ETag is a strong tag of the room as it is answered.
func (r Room) ETag() string { return usher.ETag(r.AppendJSON(nil)) }

// AppendJSON appends the room as it is answered.
func (r *Room) AppendJSON(b []byte) []byte {
	o := r.open(b)
	return o.End()
}

// open writes the members that are answered.
func (r *Room) open(b []byte) usher.JSONObject {
	o := usher.JSONInto(b)
	o.String("id", string(r.ID))
	o.String("name", r.Name)
	o.String("status", string(r.Status))
	o.Int("participant_count", int64(r.ParticipantCount))
	o.Bool("locked", r.Locked)
	o.Within("config", r.Config.appendJSON)
	if len(r.Metadata) > 0 {
		o.Value("metadata", r.Metadata)
	}
	o.TimeIfAny("scheduled_start_at", r.ScheduledStartAt)
	o.TimeIfAny("scheduled_end_at", r.ScheduledEndAt)
	o.Time("created_at", r.CreatedAt)
	o.TimeIfAny("ended_at", r.EndedAt)
	o.Within("recording", r.Recording.appendJSON)
	return o
}

// Config is what a room decides for itself within the tenant's settings.
type Config struct {
	// MaxParticipants lowers the tenant's max_participants_per_room; 0 leaves it as it is.
	MaxParticipants int `json:"max_participants,omitzero"`
	// RecordingEnabled false keeps auto_start_recording from electing; force_recording overrides it. Nil means true.
	RecordingEnabled *bool `json:"recording_enabled,omitzero"`
}

func (c Config) appendJSON(b []byte) []byte {
	o := usher.JSONInto(b)
	if c.MaxParticipants != 0 {
		o.Int("max_participants", int64(c.MaxParticipants))
	}
	if c.RecordingEnabled != nil {
		o.Bool("recording_enabled", *c.RecordingEnabled)
	}
	return o.End()
}

// RecordingStatus is where a room's recording is.
type RecordingStatus string

// Idle: nobody records. Elected: one participant was told to start and has not confirmed. Running: confirmed.
const (
	Idle    RecordingStatus = "idle"
	Elected RecordingStatus = "elected"
	Running RecordingStatus = "recording"
)

// Recording is the state of a room's recording.
type Recording struct {
	Status    RecordingStatus `json:"status"`
	Elected   SeatID          `json:"elected_participant_id,omitzero"`
	ElectedAt usher.Time      `json:"elected_at,omitzero"`
	StartedAt usher.Time      `json:"started_at,omitzero"`
}

func (r Recording) appendJSON(b []byte) []byte {
	o := usher.JSONInto(b)
	o.String("status", string(r.Status))
	o.StringIfAny("elected_participant_id", string(r.Elected))
	o.TimeIfAny("elected_at", r.ElectedAt)
	o.TimeIfAny("started_at", r.StartedAt)
	return o.End()
}

// capacity is how many may be active at once.
func (r Room) capacity(s tenant.Settings) int {
	if r.Config.MaxParticipants > 0 {
		return min(r.Config.MaxParticipants, s.MaxParticipantsPerRoom)
	}
	return s.MaxParticipantsPerRoom
}

// startsLater says whether the room is scheduled for a time yet to come.
func (r Room) startsLater(now time.Time) bool {
	return r.Status == Scheduled && now.Before(r.ScheduledStartAt.Time)
}

// record is a room as the log holds it.
type record struct {
	Room
	LastSeat   SeatID     `json:"last_seat,omitzero"`
	EmptySince usher.Time `json:"empty_since,omitzero"`
	Bytes      Bytes      `json:"bytes,omitzero"`
}

// Rooms is the table of rooms: {tenant}/{room}.
var Rooms = store.Table[Room]{
	Name:      "rooms",
	Aggregate: true,
	Size:      func(r Room) int { return roomMost + 2*len(r.Name) + len(r.Metadata) },
	By:        byName,
	Decode: func(_ string, value []byte) (Room, error) {
		var r record
		err := json.Unmarshal(value, &r)
		r.Room.LastSeat, r.Room.EmptySince, r.Room.Bytes = r.LastSeat, r.EmptySince, r.Bytes
		return r.Room, err
	},
	Encode: func(r Room) ([]byte, error) {
		o := r.open(make([]byte, 0, roomBytes))
		o.StringIfAny("last_seat", string(r.LastSeat))
		o.TimeIfAny("empty_since", r.EmptySince)
		if r.Bytes != (Bytes{}) {
			o.Within("bytes", r.Bytes.appendJSON)
		}
		return o.End(), nil
	},
}

const (
	// roomBytes is room for an ordinary room's record without growing.
	roomBytes = 640
	// roomMost is more than a room's record takes at any time of its life, beside its name and metadata.
	roomMost = 1024
)

// GuardedByRoom is the Guard of records that lie under their room's path: a decision that reads them is compared on the
// room.
var GuardedByRoom = store.Guard{Table: "rooms", Segments: 2}

// Naming is the record of a name: the newest room that has it.
type Naming struct {
	RoomID ID `json:"room_id"`
}

// Names is the table of names: {tenant}/{name, URL-escaped}.
var Names = store.Table[Naming]{Name: "room-names", Decode: decodeJSON[Naming], Encode: encodeJSON[Naming]}

// The tables of the package participants, whose records lie under the path of their room.
const (
	SeatsTable    = "participants"
	PresenceTable = "presence"
)

func decodeJSON[T any](_ string, value []byte) (t T, err error) {
	err = json.Unmarshal(value, &t)
	return t, err
}

func encodeJSON[T any](t T) ([]byte, error) { return json.Marshal(t) }

// Path is where the room lies, below rooms/ and, for its seats, below participants/.
func Path(t tenant.ID, id ID) string { return string(t) + "/" + string(id) }

// byName is where the room lies among those of its name: {tenant}/{name, URL-escaped}/{room}.
func byName(path string, r Room) string {
	t, id, ok := strings.Cut(path, "/")
	if !ok {
		return ""
	}
	return namePath(tenant.ID(t), r.Name) + "/" + id
}

func namePath(t tenant.ID, name string) string { return string(t) + "/" + url.PathEscape(name) }
