package participants

import (
	"crypto/rand"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"usher"
	"usher/rooms"
	"usher/store"
	"usher/tenant"
	"usher/tenant/token"
)

// Service seats participants. It is safe for concurrent use.
type Service struct {
	log     *store.Store
	tenants *tenant.Service
	now     func() time.Time
	joins   *prometheus.CounterVec // by outcome

	replica  string // names this process among those that hear heartbeats; see Watermarks
	presence presence
	lists    lists
}

// New makes a Service on the log. registry is where the metrics go; nil for nowhere.
func New(log *store.Store, tenants *tenant.Service, now func() time.Time, registry prometheus.Registerer) *Service {
	return &Service{log: log, tenants: tenants, now: now, joins: newJoins(registry), replica: rand.Text(), lists: newLists()}
}

// tokenSeat is the participant as its tokens name it.
func tokenSeat(room rooms.Room, p Participant) tenant.Seat {
	return tenant.Seat{
		Participant: string(p.ID), RoomID: string(room.ID), RoomName: room.Name,
		Name: p.DisplayName, ExternalUserID: p.ExternalUserID, Role: p.Role,
	}
}

// Identity is who a participant's token speaks for.
type Identity struct {
	Tenant      tenant.Tenant
	Room        rooms.ID
	Participant ID
	Role        string
	Grants      tenant.Grants // of the role, by the tenant's settings as they are now
}

// Holds refuses when the participant is not active any more, or its role has lost the grant.
func (i Identity) Holds(r store.Reader, grant tenant.Grant) error {
	owner, err := tenant.Find(r, i.Tenant.ID)
	switch {
	case err != nil:
		return err
	case owner.Status == tenant.StatusSuspended:
		return tenant.ErrSuspended()
	case !owner.Settings.Roles[i.Role].Has(grant):
		return usher.Errorf(usher.CodeForbidden, "A participant's token of this role may not do this.")
	}
	room, err := rooms.Find(r, owner.ID, rooms.RefTo(i.Room))
	if err != nil {
		return err
	}
	row, err := find(r, owner.ID, room.ID, i.Participant)
	switch {
	case err != nil:
		return err
	case room.Status == rooms.Ended:
		return nil // what it calls says so
	case row.Value.Left:
		return usher.Errorf(usher.CodeParticipantRemoved, "The participant was removed from the room.")
	}
	return nil
}

// Authenticate finds out whom a token speaks for. It must be one of the audiences', genuine, and its participant still
// active. A removed participant's token is refused with a code of its own.
func (s *Service) Authenticate(compact string, audiences ...token.Audience) (Identity, error) {
	who, reason, err := s.identify(compact, audiences)
	if err == nil && reason != "" {
		return Identity{}, usher.Errorf(usher.CodeInvalidToken, "The token's participant is no longer in the room (%s).", reason)
	}
	return who, err
}

// AuthenticateGone is Authenticate for what a participant does with its own seat: one that has left without being
// removed is let pass, and told so by what it calls.
func (s *Service) AuthenticateGone(compact string, audiences ...token.Audience) (Identity, error) {
	who, _, err := s.identify(compact, audiences)
	return who, err
}

// identify says whose the token is and, when its participant is not active any more, why; removed is an error.
func (s *Service) identify(compact string, audiences []token.Audience) (Identity, LeaveReason, error) {
	claims, owner, err := s.tenants.VerifyToken(compact, audiences...)
	if err != nil {
		return Identity{}, "", err
	}
	who := Identity{
		Tenant: owner, Room: rooms.ID(claims.RoomID), Participant: ID(claims.Subject),
		Role: claims.Role, Grants: owner.Settings.Roles[claims.Role],
	}
	snapshot := s.log.Snapshot()
	row, ok := Participants.Get(snapshot, path(owner.ID, who.Room, who.Participant))
	room, err := rooms.Find(snapshot, owner.ID, rooms.RefTo(who.Room))
	switch {
	case !ok || err != nil:
		return Identity{}, "", usher.Errorf(usher.CodeInvalidToken, "The token's room or participant is gone.")
	case row.Value.Left:
		return s.leftAs(who, row.Value)
	case room.Status == rooms.Ended:
		return who, RoomEnded, nil
	}
	return who, "", nil
}

func (s *Service) leftAs(who Identity, record Record) (Identity, LeaveReason, error) {
	p, err := record.participant()
	if err != nil {
		return Identity{}, "", err
	}
	if p.LeaveReason == Removed {
		return Identity{}, "", usher.Errorf(usher.CodeParticipantRemoved, "The participant was removed from the room.")
	}
	return who, p.LeaveReason, nil
}
