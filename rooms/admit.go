package rooms

import (
	"maps"
	"slices"
	"strings"
	"time"

	"usher"
	"usher/tenant"
)

// Join asks for one seat.
type Join struct {
	ExternalUserID string // "" is nobody in particular: no duplicates of it
	Role           string // "" asks for none
	Random         uint64 // for the seat's id
	BannedUntil    usher.Time
}

// Seat is a place in a room that somebody has now.
type Seat struct {
	ID   SeatID
	Role string
}

// Verdict is what became of a Join.
type Verdict struct {
	Refused  *usher.Error // why there is no seat; everything else is then zero, but Decision
	Seat     Seat
	JoinedAt usher.Time // zero for a seat that the user had already
	Existing bool       // the seat is the one that the user had already (return_existing)
	Replaced []SeatID   // seats of the same user that end with this one's beginning
	Decision Decision   // about recording; its Elected says whether this participant shall start it
}

// Admit decides joins, one after the other, and gives back the room as it is after the last. seated answers which active
// seats a user has in the room before the first join; Admit keeps account of what it decides itself.
//
// It carries product rules §4 (Add): the role, the schedule, bans, duplicates before locks and capacity, which concern
// newcomers only, strict capacity, the election.
func Admit(room Room, s tenant.Settings, seated func(externalUserID string) []Seat, joins []Join, now time.Time) (Room, []Verdict) {
	var (
		verdicts = make([]Verdict, len(joins))
		decided  = make(map[string][]Seat) // the seats of the users whom this call has touched
	)
	for i, join := range joins {
		var mine []Seat
		if join.ExternalUserID != "" && s.DuplicateParticipantPolicy != tenant.DuplicateAllow {
			var known bool
			if mine, known = decided[join.ExternalUserID]; !known {
				mine = seated(join.ExternalUserID)
			}
		}
		room, verdicts[i] = admit(room, s, mine, join, now)
		if v := verdicts[i]; v.Refused == nil && !v.Existing && join.ExternalUserID != "" {
			if len(v.Replaced) > 0 {
				mine = nil
			}
			decided[join.ExternalUserID] = append(slices.Clip(mine), v.Seat)
		}
	}
	return room, verdicts
}

// admit decides one join; mine are the active seats that the same user has already.
func admit(room Room, s tenant.Settings, mine []Seat, join Join, now time.Time) (Room, Verdict) {
	role, err := roleFor(room, s, join.Role)
	if err == nil {
		err = enterable(room, s, now)
	}
	if err == nil && now.Before(join.BannedUntil.Time) {
		err = ErrBanned(join.BannedUntil)
	}
	if err != nil {
		return room, Verdict{Refused: err, Decision: notSeated(room, s)}
	}
	var replaced []SeatID
	if len(mine) > 0 {
		switch s.DuplicateParticipantPolicy {
		case tenant.DuplicateAllow:
		case tenant.DuplicateReject:
			return room, Verdict{Decision: notSeated(room, s), Refused: usher.Errorf(usher.CodeParticipantDuplicate,
				"A participant with this external_user_id is already in the room.")}
		case tenant.DuplicateReturnExisting:
			return rejoin(room, s, mine[len(mine)-1], now)
		case tenant.DuplicateReplace:
			for _, seat := range mine {
				replaced = append(replaced, seat.ID)
			}
			room = Leave(room, replaced, now)
		}
	}
	// Who replaces a seat takes no additional one, so it is no newcomer, even where the capacity was lowered meanwhile.
	if len(replaced) == 0 {
		if err := roomFor(room, s, role); err != nil {
			return room, Verdict{Refused: err, Decision: notSeated(room, s)}
		}
	}
	seat := Seat{ID: nextSeat(room.LastSeat, now, join.Random), Role: role}
	room, decision := elect(room, s, seat, now)
	room.Status = Active
	room.LastSeat = seat.ID
	room.ParticipantCount++
	room.EmptySince = usher.Time{}
	return room, Verdict{Seat: seat, JoinedAt: usher.At(now), Replaced: replaced, Decision: decision}
}

// rejoin gives a user the seat it has. It counts as a join for the election: whoever was told to start a recording and
// comes back without having confirmed is told again.
func rejoin(room Room, s tenant.Settings, seat Seat, now time.Time) (Room, Verdict) {
	room, decision := elect(room, s, seat, now)
	return room, Verdict{Seat: seat, Existing: true, Decision: decision}
}

// roleFor is the role that a join gets. first_participant_is_host means the first one in a room where nobody is active.
func roleFor(room Room, s tenant.Settings, asked string) (string, *usher.Error) {
	role := asked
	switch {
	case asked != "":
	case s.FirstParticipantIsHost && room.ParticipantCount == 0:
		role = tenant.RoleHost
	default:
		role = s.DefaultRole
	}
	if _, ok := s.Roles[role]; !ok {
		return "", usher.Invalid(usher.FieldError{Field: "role", Message: "is not one of the tenant's roles: " + strings.Join(slices.Sorted(maps.Keys(s.Roles)), ", ")})
	}
	return role, nil
}

// enterable says whether the room takes anybody now.
func enterable(room Room, s tenant.Settings, now time.Time) *usher.Error {
	switch {
	case room.Status == Ended:
		return errEnded()
	case room.startsLater(now) && !s.AllowEarlyJoin:
		return usher.Errorf(usher.CodeRoomNotStarted, "The room starts at %s.", room.ScheduledStartAt.Format(time.RFC3339)).
			With("scheduled_start_at", room.ScheduledStartAt)
	}
	return nil
}

// roomFor says whether the room takes one more participant, of the role.
func roomFor(room Room, s tenant.Settings, role string) *usher.Error {
	if room.Locked && !s.Roles[role].Has(tenant.GrantModerate) {
		return usher.Errorf(usher.CodeRoomLocked, "The room is locked: only a role with the grant %s may enter.", tenant.GrantModerate)
	}
	if capacity := room.capacity(s); room.ParticipantCount >= capacity {
		return usher.Errorf(usher.CodeRoomFull, "The room is full: it admits %d participants at once.", capacity)
	}
	return nil
}
