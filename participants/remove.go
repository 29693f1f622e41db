package participants

import (
	"context"
	"slices"
	"time"

	"usher"
	"usher/rooms"
	"usher/store"
	"usher/tenant"
)

// Remove takes a participant out of its room; one already gone stays so. When it returns, the participant is not active
// on this replica and, once they have applied the revision, on the others, and its tokens are refused. A ban, when not 0,
// also keeps its user out for so long.
func (s *Service) Remove(ctx context.Context, t tenant.ID, ref rooms.Ref, id ID, ban time.Duration) error {
	results, err := s.takeOut(ctx, t, ref, []Target{{Participant: id}}, Removed, ban)
	return orItem(results, err)
}

// Leave is a participant's own going.
func (s *Service) Leave(ctx context.Context, t tenant.ID, ref rooms.Ref, id ID) error {
	results, err := s.takeOut(ctx, t, ref, []Target{{Participant: id}}, Left, 0)
	return orItem(results, err)
}

// orItem is the error of a call about one participant.
func orItem(results []TakenOut, err error) error {
	if err == nil && results[0].Refused != nil {
		return results[0].Refused
	}
	return err
}

// Target names who shall be taken out of a room: a participant, or all the seats of a user.
type Target struct {
	Participant    ID
	ExternalUserID string // when Participant is empty
}

// TakenOut is what became of a Target.
type TakenOut struct {
	Target
	Refused      *usher.Error
	Participants []ID // that are not in the room any more, those that had left before included
}

// MaxBulkRemove is how many targets one bulk removal may have.
const MaxBulkRemove = 1000

// removalStep is how many targets one transaction takes: each may write a seat and a ban. A user's further seats may
// make it too large; then fewer are taken at once.
const removalStep = 48

// RemoveMany takes participants out of the room and answers for each. What concerns the room as a whole is the error. If
// the log fails after some transactions, the rest are refused with its error.
func (s *Service) RemoveMany(ctx context.Context, t tenant.ID, ref rooms.Ref, targets []Target, ban time.Duration) ([]TakenOut, error) {
	results := make([]TakenOut, 0, len(targets))
	for step := removalStep; len(results) < len(targets); {
		next := targets[len(results):min(len(results)+step, len(targets))]
		done, err := s.takeOut(ctx, t, ref, next, Removed, ban)
		switch {
		case usher.HasCode(err, usher.CodeBulkTooLarge) && step > 1:
			step /= 2
		case err != nil && len(results) == 0:
			return nil, err
		case err != nil:
			for _, target := range targets[len(results):] {
				results = append(results, TakenOut{Target: target, Refused: usher.AsError(err)})
			}
		default:
			results = append(results, done...)
		}
	}
	return results, nil
}

func (s *Service) takeOut(ctx context.Context, t tenant.ID, ref rooms.Ref, targets []Target, reason LeaveReason, ban time.Duration) ([]TakenOut, error) {
	return store.Commit(ctx, s.log, store.Change[[]TakenOut]{
		Aggregates: func(snapshot *store.Snapshot) []store.Key { return rooms.Aggregates(snapshot, t, ref) },
		Decide: func(tx *store.Tx) ([]TakenOut, error) {
			room, err := rooms.Find(tx, t, ref)
			if err != nil {
				return nil, err
			}
			d := departure{tx: tx, tenant: t, room: room, reason: reason, ban: ban, now: s.now()}
			results := make([]TakenOut, len(targets))
			for i, target := range targets {
				results[i] = d.target(target)
			}
			return results, d.settle()
		},
	})
}

// departure takes participants out of a room, within one transaction.
type departure struct {
	tx     *store.Tx
	tenant tenant.ID
	room   rooms.Room
	reason LeaveReason
	ban    time.Duration
	now    time.Time

	gone   []ID // who were active
	banned bool
	err    error
}

// target takes out who is meant.
func (d *departure) target(target Target) TakenOut {
	result := TakenOut{Target: target}
	if target.Participant != "" {
		user, err := d.participant(target.Participant)
		if err != nil {
			result.Refused = err
			return result
		}
		result.Participants = []ID{target.Participant}
		d.banUser(user)
		return result
	}
	for _, seat := range seatedIn(d.tx, d.tenant, d.room.ID)(target.ExternalUserID) {
		if _, err := d.participant(seat.ID); err != nil {
			result.Refused = err
			return result
		}
		result.Participants = append(result.Participants, seat.ID)
	}
	if len(result.Participants) == 0 && d.ban == 0 {
		result.Refused = errNoParticipant()
	}
	d.banUser(target.ExternalUserID)
	return result
}

// participant takes one out and says whose seat it was.
func (d *departure) participant(id ID) (user string, refused *usher.Error) {
	row, err := find(d.tx, d.tenant, d.room.ID, id)
	if err != nil {
		return "", usher.AsError(err)
	}
	user = row.Value.ExternalUserID()
	if user == "" && d.ban > 0 {
		return "", usher.Invalid(usher.FieldError{Field: "ban_seconds",
			Message: "is for participants with an external_user_id, and this one has none; it was not removed"})
	}
	if row.Value.Left || d.room.Status == rooms.Ended || slices.Contains(d.gone, id) {
		return user, nil
	}
	if err := leave(d.tx, d.tenant, d.room.ID, id, d.reason, d.now); err != nil {
		d.err = err
	}
	d.gone = append(d.gone, id)
	return user, nil
}

// banUser keeps the user out. Nobody enters an ended room anyway, and its record stays as its end has left it.
func (d *departure) banUser(user string) {
	if d.ban > 0 && d.room.Status != rooms.Ended {
		rooms.PutBan(d.tx, d.tenant, d.room.ID, user, d.ban, d.now)
		d.banned = true
	}
}

// settle writes the room, whose record moves with everything that happens in it: a join that was decided before a ban
// must not be committed after it.
func (d *departure) settle() error {
	if d.err != nil || len(d.gone) == 0 && !d.banned {
		return d.err
	}
	purpose := tenant.Removing
	if d.banned {
		purpose = tenant.Banning
	}
	_, err := rooms.Keep(d.tx, d.tenant, rooms.Leave(d.room, d.gone, d.now), false, purpose)
	return err
}
