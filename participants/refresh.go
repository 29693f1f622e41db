package participants

import (
	"usher/rooms"
	"usher/tenant"
)

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
	p, err := row.Value.participant()
	if err != nil {
		return tenant.Tokens{}, err
	}
	if until := rooms.BannedUntil(snapshot, t, room.ID, p.ExternalUserID); s.now().Before(until.Time) {
		return tenant.Tokens{}, rooms.ErrBanned(until)
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
