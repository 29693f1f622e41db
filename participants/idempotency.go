package participants

import (
	"usher"
	"usher/rooms"
	"usher/store"
	"usher/tenant"
)

// outcome is what an Idempotency-Key remembers of requests for seats: enough to answer a repeat, and no token.
type outcome struct {
	RoomID  rooms.ID      `json:"room_id"`
	Created bool          `json:"room_created"`
	Seats   []seatOutcome `json:"seats"` // one for each request, as far as they were decided
}

type seatOutcome struct {
	Participant ID             `json:"participant_id,omitzero"`
	Decision    rooms.Decision `json:"recording_decision,omitzero"`
	Refused     *refusal       `json:"refused,omitzero"`
}

type refusal struct {
	Code   usher.Code         `json:"code"`
	Detail string             `json:"detail"`
	Fields []usher.FieldError `json:"fields,omitempty"`
}

// with is the outcome after one more admission.
func (o outcome) with(a *admission) outcome {
	after := outcome{RoomID: a.room.ID, Created: o.Created || a.created, Seats: make([]seatOutcome, 0, len(o.Seats)+len(a.seats))}
	after.Seats = append(after.Seats, o.Seats...)
	for _, seat := range a.seats {
		one := seatOutcome{Participant: seat.participant.ID}
		if seat.decision.Elected || len(a.seats) == 1 {
			one.Decision = seat.decision // of the others nothing is answered but that they are not elected
		}
		if e := seat.refused; e != nil {
			one.Refused = &refusal{Code: e.Code, Detail: e.Message(), Fields: e.Fields}
		}
		after.Seats = append(after.Seats, one)
	}
	return after
}

// replay is what a repeat is answered: the same participants as they are now, with new tokens. One that has left gets
// none: an access token would open a media server to somebody who was sent away.
func (s *Service) replay(tx *store.Tx, t tenant.Tenant, o outcome) (*admission, error) {
	room, err := rooms.Find(tx, t.ID, rooms.RefTo(o.RoomID))
	if err != nil {
		return nil, err
	}
	a := &admission{tenant: t, room: room, created: o.Created, replayed: true, seats: make([]seat, len(o.Seats))}
	for i, past := range o.Seats {
		if a.seats[i], err = s.replaySeat(tx, t.ID, room, past); err != nil {
			return nil, err
		}
	}
	return a, nil
}

func (s *Service) replaySeat(tx *store.Tx, t tenant.ID, room rooms.Room, past seatOutcome) (seat, error) {
	if r := past.Refused; r != nil {
		return seat{decision: past.Decision, refused: &usher.Error{Code: r.Code, Detail: r.Detail, Fields: r.Fields}}, nil
	}
	given := seat{decision: past.Decision.Now(room, past.Participant)}
	row, err := find(tx, t, room.ID, past.Participant)
	if err == nil {
		given.encoded = row.Value.JSON
		given.participant, err = entitled(tx, t, room, row, s.now())
	}
	switch refused := usher.AsError(err); {
	case err == nil:
	case refused.Code == usher.CodeParticipantNotFound || refused.Code == usher.CodeParticipantLeft:
		given.refused = usher.Errorf(usher.CodeParticipantLeft,
			"The participant that this Idempotency-Key has added is no longer in the room; add it again under a new key.")
	case refused.Code == usher.CodeParticipantBanned:
		given.refused = refused
	default:
		return given, err
	}
	return given, nil
}
