package rooms

import (
	"time"

	"usher"
	"usher/tenant"
)

// confirmWithin is how long the elected participant has to confirm by starting the recording; after that the next join
// elects again.
const confirmWithin = 30 * time.Second

// Rule names the setting that wants a room recorded.
type Rule string

// The rules, the stronger first: force_recording elects whoever comes first, auto_start_recording the first host.
const (
	RuleForce Rule = "force_recording"
	RuleAuto  Rule = "auto_start_recording"
	RuleNone  Rule = "none"
)

// Decision says whether a participant shall start the recording, by which rule, and from what that follows.
type Decision struct {
	Elected         bool   `json:"elected"`
	Rule            Rule   `json:"rule"`
	Reason          string `json:"reason"`
	SettingsVersion int64  `json:"settings_version"`
	Inputs          Inputs `json:"inputs"`
}

// The reasons of a Decision.
const (
	reasonElected  = "elected"
	reasonNoRule   = "no_rule"
	reasonDisabled = "recording_disabled"
	reasonRunning  = "recording_running"
	reasonTaken    = "already_elected"
	reasonNotHost  = "not_host"
	reasonNoSeat   = "not_seated"
)

// Inputs are the values that a Decision was made from, as they were before the join.
type Inputs struct {
	ForceRecording     bool            `json:"force_recording"`
	AutoStartRecording bool            `json:"auto_start_recording"`
	RecordingEnabled   bool            `json:"recording_enabled"`
	Role               string          `json:"role"`
	ActiveParticipants int             `json:"active_participants"`
	RecordingStatus    RecordingStatus `json:"recording_status"`
	Elected            SeatID          `json:"elected_participant_id,omitzero"`
}

// AppendJSON appends the decision as it is answered.
func (d Decision) AppendJSON(b []byte) []byte {
	o := usher.JSONInto(b)
	o.Bool("elected", d.Elected)
	o.String("rule", string(d.Rule))
	o.String("reason", d.Reason)
	o.Int("settings_version", d.SettingsVersion)
	o.Within("inputs", d.Inputs.appendJSON)
	return o.End()
}

func (i Inputs) appendJSON(b []byte) []byte {
	o := usher.JSONInto(b)
	o.Bool("force_recording", i.ForceRecording)
	o.Bool("auto_start_recording", i.AutoStartRecording)
	o.Bool("recording_enabled", i.RecordingEnabled)
	o.String("role", i.Role)
	o.Int("active_participants", int64(i.ActiveParticipants))
	o.String("recording_status", string(i.RecordingStatus))
	o.StringIfAny("elected_participant_id", string(i.Elected))
	return o.End()
}

// elect decides whether the seat's participant shall start the recording. Exactly one does for each recording: while one
// is elected or a recording runs nobody is; the elected one's leaving, or 30 s without its confirmation, opens the
// election to the next join.
func elect(room Room, s tenant.Settings, seat Seat, now time.Time) (Room, Decision) {
	d := Decision{Rule: ruleOf(s), SettingsVersion: s.Version, Inputs: inputs(room, s, seat.Role)}
	confirming := room.Recording.Status == Elected && now.Before(room.Recording.ElectedAt.Add(confirmWithin))
	switch {
	case d.Rule == RuleNone:
		d.Reason = reasonNoRule
	case d.Rule == RuleAuto && !d.Inputs.RecordingEnabled:
		d.Reason = reasonDisabled
	case room.Recording.Status == Running:
		d.Reason = reasonRunning
	case confirming && room.Recording.Elected == seat.ID:
		d.Elected, d.Reason = true, reasonElected
	case confirming:
		d.Reason = reasonTaken
	case d.Rule == RuleAuto && seat.Role != tenant.RoleHost:
		d.Reason = reasonNotHost
	default:
		d.Elected, d.Reason = true, reasonElected
		room.Recording = Recording{Status: Elected, Elected: seat.ID, ElectedAt: usher.At(now)}
	}
	return room, d
}

// Now is the decision as it is told again later: nobody is told to start a recording that is no longer for it to start.
func (d Decision) Now(room Room, seat SeatID) Decision {
	switch r := room.Recording; {
	case !d.Elected, r.Status == Elected && r.Elected == seat:
	case r.Status == Running:
		d.Elected, d.Reason = false, reasonRunning
	default:
		d.Elected, d.Reason = false, reasonTaken
	}
	return d
}

func ruleOf(s tenant.Settings) Rule {
	switch {
	case s.ForceRecording:
		return RuleForce
	case s.AutoStartRecording:
		return RuleAuto
	default:
		return RuleNone
	}
}

func inputs(room Room, s tenant.Settings, role string) Inputs {
	return Inputs{
		ForceRecording: s.ForceRecording, AutoStartRecording: s.AutoStartRecording,
		RecordingEnabled: room.Config.RecordingEnabled == nil || *room.Config.RecordingEnabled,
		Role:             role, ActiveParticipants: room.ParticipantCount,
		RecordingStatus: room.Recording.Status, Elected: room.Recording.Elected,
	}
}

func notSeated(room Room, s tenant.Settings) Decision {
	return Decision{Rule: ruleOf(s), Reason: reasonNoSeat, SettingsVersion: s.Version, Inputs: inputs(room, s, "")}
}

// StartRecording notes that the room is being recorded; it is the confirmation that the elected one owes. Starting what
// runs changes nothing.
func StartRecording(room Room, now time.Time) (Room, *usher.Error) {
	switch {
	case room.Status == Ended:
		return room, errEnded()
	case room.Recording.Status == Running:
		return room, nil
	}
	room.Recording.Status, room.Recording.StartedAt = Running, usher.At(now)
	return room, nil
}

// StopRecording notes that the room is no longer recorded. Stopping what does not run changes nothing.
func StopRecording(room Room) (Room, *usher.Error) {
	switch {
	case room.Status == Ended:
		return room, errEnded()
	case room.Recording.Status == Running:
		room.Recording = Recording{Status: Idle}
	}
	return room, nil
}
