package participants

import (
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"usher"
	"usher/rooms"
	"usher/store"
	"usher/tenant"
)

// ID names a participant: a TypeID, "p_" and 26 characters. It is the id of its seat.
type ID = rooms.SeatID

// ParseID reads a participant's id and says whether s is one.
func ParseID(s string) (ID, bool) { return rooms.ParseSeatID(s) }

// LeaveReason says why a participant is no longer in its room.
type LeaveReason string

// The reasons.
const (
	Left      LeaveReason = "left"       // by itself
	Removed   LeaveReason = "removed"    // somebody with the right to do so took it out
	Replaced  LeaveReason = "replaced"   // the same user took another seat, by the policy replace
	RoomEnded LeaveReason = "room_ended" // the room ended under it
	TimedOut  LeaveReason = "timeout"    // it was not heard of for the tenant's presence_timeout_seconds
)

// Participant is somebody's seat in a room. It belongs to exactly one room, and changes once: when it leaves.
type Participant struct {
	ID             ID             `json:"id"`
	RoomID         rooms.ID       `json:"room_id"`
	DisplayName    string         `json:"display_name"`
	ExternalUserID string         `json:"external_user_id,omitzero"`
	Role           string         `json:"role"`
	Metadata       jsontext.Value `json:"metadata,omitzero"`
	JoinedAt       usher.Time     `json:"joined_at"`
	LeftAt         usher.Time     `json:"left_at,omitzero"`
	LeaveReason    LeaveReason    `json:"leave_reason,omitzero"`
}

// left is the participant after it has left.
func (p Participant) left(reason LeaveReason, at usher.Time) Participant {
	p.LeftAt, p.LeaveReason = at, reason
	return p
}

// Definitions are the tables of this package.
func Definitions() []store.Definition {
	return []store.Definition{Participants, Presence, Watermarks}
}

// path is where a participant lies; an empty id gives the prefix of all in the room.
func path(t tenant.ID, room rooms.ID, id ID) string { return rooms.Path(t, room) + "/" + string(id) }

// find looks a participant up inside its room, and nowhere else.
func find(r store.Reader, t tenant.ID, room rooms.ID, id ID) (*store.Row[Record], error) {
	row, ok := Participants.Get(r, path(t, room, id))
	if !ok {
		return nil, errNoParticipant()
	}
	return row, nil
}

// findActive looks up a participant that is in its room now.
func findActive(r store.Reader, t tenant.ID, ref rooms.Ref, id ID) (room rooms.Room, row *store.Row[Record], err error) {
	if room, err = rooms.Find(r, t, ref); err != nil {
		return room, nil, err
	}
	if row, err = find(r, t, room.ID, id); err != nil {
		return room, nil, err
	}
	if row.Value.Left || room.Status == rooms.Ended {
		return room, nil, errLeft()
	}
	return room, row, nil
}

func errNoParticipant() *usher.Error {
	return usher.Errorf(usher.CodeParticipantNotFound, "There is no such participant in this room.")
}

// NewParticipant is the request for a seat.
type NewParticipant struct {
	DisplayName    string         `json:"display_name"`
	ExternalUserID string         `json:"external_user_id"`
	Role           string         `json:"role"`
	Metadata       jsontext.Value `json:"metadata"`
}

// Bounds of what a caller may send, in characters.
const (
	maxDisplayName    = 200
	maxExternalUserID = 255
	maxRole           = 32
)

// CheckExternalUserID says what is wrong with a user's id, if anything is.
func CheckExternalUserID(s string) (problem string) { return usher.CheckText(s, maxExternalUserID) }

// Validate cleans the request and lists what is wrong with it. Whether the role is one of the tenant's is decided later,
// with the settings.
func (n *NewParticipant) Validate() (problems []usher.FieldError) {
	note := func(field, problem string) {
		if problem != "" {
			problems = append(problems, usher.FieldError{Field: field, Message: problem})
		}
	}
	n.DisplayName = strings.TrimSpace(n.DisplayName)
	note("display_name", usher.CheckText(n.DisplayName, maxDisplayName))
	if n.ExternalUserID != "" {
		note("external_user_id", CheckExternalUserID(n.ExternalUserID))
	}
	if n.Role != "" {
		note("role", usher.CheckText(n.Role, maxRole))
	}
	note("metadata", rooms.CheckMetadata(&n.Metadata))
	return problems
}
