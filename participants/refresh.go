package participants

import (
	"time"

	"usher"
	"usher/rooms"
	"usher/store"
	"usher/tenant"
)

// entitled gives the participant whose record it is, if it may have tokens now: it is in the room, and its user is not
// banned. Every way to the tokens of a seat that was taken before leads through here.
func entitled(r store.Reader, t tenant.ID, room rooms.Room, row *store.Row[Record], now time.Time) (Participant, error) {
	if row.Value.Left || room.Status == rooms.Ended {
		return Participant{}, errLeft()
	}
	p, err := row.Value.participant()
	if err != nil {
		return Participant{}, err
	}
	if until := rooms.BannedUntil(r, t, room.ID, p.ExternalUserID); now.Before(until.Time) {
		return Participant{}, rooms.ErrBanned(until)
	}
	return p, nil
}

func errLeft() error {
	return usher.Errorf(usher.CodeParticipantLeft, "The participant is no longer in the room; add it again.")
}

// Refresh signs new tokens for an active participant. It writes nothing, so it works while the log does not.
func (s *Service) Refresh(t tenant.ID, ref rooms.Ref, id ID) (tenant.Tokens, error) {
	snapshot := s.log.Snapshot()
	owner, err := tenant.Find(snapshot, t)
	if err != nil {
		return tenant.Tokens{}, err
	}
	room, row, err := findActive(snapshot, t, ref, id)
	if err != nil {
		return tenant.Tokens{}, err
	}
	p, err := entitled(snapshot, t, room, row, s.now())
	if err != nil {
		return tenant.Tokens{}, err
	}
	signer, err := s.tenants.SeatSigner(snapshot, owner)
	if err != nil {
		return tenant.Tokens{}, err
	}
	tokens, err := signer.Sign(tokenSeat(room, p))
	if err != nil {
		return tenant.Tokens{}, err
	}
	return tokens[0], nil
}
