package participants

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"usher"
	"usher/rooms"
	"usher/store"
	"usher/tenant"
)

// Added is a seat taken, and all that its participant needs.
type Added struct {
	Participant Participant
	Encoded     []byte     // the participant as JSON
	Room        rooms.Room // as it is after this joining
	RoomCreated bool       // by this joining
	Replayed    bool       // by an earlier request under the same Idempotency-Key
	Tenant      tenant.Tenant
	Tokens      tenant.Tokens
	Decision    rooms.Decision // about recording
}

// Add seats a participant in the room, which it creates where the tenant allows early joins. It answers when the seat is
// in the log and this replica shows it.
func (s *Service) Add(ctx context.Context, t tenant.ID, ref rooms.Ref, n NewParticipant, attempt tenant.Attempt) (Added, error) {
	a, err := s.seat(ctx, t, ref, batch{requests: []NewParticipant{n}, attempt: attempt}, func(a *admission) error {
		if refused := a.seats[0].refused; refused != nil {
			return refused
		}
		return nil
	})
	if err != nil {
		return Added{}, err
	}
	seat := a.seats[0]
	return Added{
		Participant: seat.participant, Encoded: seat.encoded, Room: a.room, RoomCreated: a.created, Replayed: a.replayed, Tenant: a.tenant,
		Tokens: seat.tokens, Decision: seat.decision,
	}, nil
}

// admission is what was decided about requests for seats in one room.
type admission struct {
	tenant  tenant.Tenant
	room    rooms.Room
	drafted bool // there was no such room before, and nobody has kept it yet
	created bool
	seats   []seat // one for each request

	replayed bool // all of it was decided before
	from     int  // the place of the first seat among all requests of the batch
}

// batch is requests for seats in one room, in the order in which they are decided. Those before next are done.
type batch struct {
	requests []NewParticipant
	next     int
	step     int // how many to decide at once; 0 for all
	attempt  tenant.Attempt
}

// end is behind the last one of this step: in a step there are no more bytes than fit with others into a transaction, but
// where all of the batch is one step.
func (b batch) end() int {
	if b.step == 0 {
		return len(b.requests)
	}
	end, bytes := b.next, 0
	for end < min(b.next+b.step, len(b.requests)) {
		if bytes += b.requests[end].bytes(); bytes > stepBytes && end > b.next {
			break
		}
		end++
	}
	return end
}

// stepBytes is how many bytes of participants one step of a bulk writes: a hundred ordinary ones, and few enough that those
// who wait for the step hardly notice. With the largest, at 96 KiB, another tenant's adds took twice as long (G16 of the
// benchmark).
const stepBytes = 40 << 10

// bytes is about what the participant's record takes in the log.
func (n *NewParticipant) bytes() int {
	const others = 280 // ids, role, time and the names of the members
	return others + len(n.DisplayName) + len(n.ExternalUserID) + len(n.Metadata)
}

type seat struct {
	refused     *usher.Error
	participant Participant
	encoded     []byte // the participant as JSON
	decision    rooms.Decision
	existing    bool          // the user had it before
	tokens      tenant.Tokens // signed while the commit is in flight
}

// seat takes the next step of the batch through the log as one change. acceptable looks at what was decided, and its
// error refuses all of it.
func (s *Service) seat(ctx context.Context, t tenant.ID, ref rooms.Ref, b batch, acceptable func(*admission) error) (*admission, error) {
	var signing error
	a, err := store.Commit(ctx, s.log, store.Change[*admission]{
		Aggregates: func(snapshot *store.Snapshot) []store.Key {
			return append(rooms.EnterAggregates(snapshot, t, ref), b.attempt.Aggregates(t)...)
		},
		Decide: func(tx *store.Tx) (*admission, error) {
			a, err := s.admitOnce(tx, t, ref, b)
			if err != nil {
				return nil, err
			}
			return a, acceptable(a)
		},
		Meanwhile: func(a *admission) { signing = s.signAll(a) },
	})
	if err == nil {
		s.heardAgain(a)
		err = signing
	}
	s.note(a, b.end()-b.next, err)
	return a, err
}

// admitOnce is admit under the batch's Idempotency-Key. What was decided before, all or a part of it, is not decided
// again.
func (s *Service) admitOnce(tx *store.Tx, t tenant.ID, ref rooms.Ref, b batch) (*admission, error) {
	owner, err := tenant.Find(tx, t)
	if err != nil {
		return nil, err
	}
	now := s.now()
	memory, err := tenant.Recall[outcome](tx, t, b.attempt, now)
	if err != nil {
		return nil, err
	}
	if past := memory.Outcome; memory.Finished || len(past.Seats) > b.next {
		a, err := s.replay(tx, owner, past)
		if err == nil {
			a.replayed = memory.Finished
		}
		return a, err
	}
	a, before, err := s.admit(tx, owner, ref, b.requests[b.next:b.end()], now)
	if err != nil {
		return nil, err
	}
	a.from, a.created = b.next, a.drafted && a.seated()
	repeats, err := tenant.Remember(tx, t, b.attempt, string(a.room.ID), memory.Outcome.with(a), b.end() == len(b.requests), now)
	if err != nil {
		return nil, err
	}
	touched := repeats != 0 || a.room.Recording != before.Recording
	if a.seated() || (touched && !a.drafted && before.Status != rooms.Ended) {
		a.room.Bytes.Repeats += repeats
		a.room, err = rooms.Keep(tx, t, a.room, a.drafted, tenant.Adding)
		return a, err
	}
	return a, tenant.Settle(tx, t, repeats, tenant.Adding) // there is no room that could have the bytes
}

// seated says whether somebody has a new seat.
func (a *admission) seated() bool {
	return slices.ContainsFunc(a.seats, func(s seat) bool { return s.refused == nil && !s.existing })
}

// admit decides the requests in the transaction and writes the seats that follow. before is the room as it was, or as it
// was drafted: nobody has kept a draft yet.
func (s *Service) admit(tx *store.Tx, owner tenant.Tenant, ref rooms.Ref, requests []NewParticipant, now time.Time) (a *admission, before rooms.Room, err error) {
	t := owner.ID
	before, drafted, err := rooms.Enter(tx, t, ref, owner.Settings, now)
	if err != nil {
		return nil, before, err
	}
	joins := make([]rooms.Join, len(requests))
	for i, n := range requests {
		joins[i] = rooms.Join{ExternalUserID: n.ExternalUserID, Role: n.Role, Random: rand.Uint64(),
			BannedUntil: rooms.BannedUntil(tx, t, before.ID, n.ExternalUserID)}
	}
	room, verdicts := rooms.Admit(before, owner.Settings, seatedIn(tx, t, before.ID), joins, now)
	a = &admission{tenant: owner, room: room, drafted: drafted, seats: make([]seat, len(requests))}
	for i, v := range verdicts {
		if v.Refused != nil {
			a.seats[i] = seat{refused: v.Refused, decision: v.Decision}
			continue
		}
		if a.seats[i], err = keep(tx, t, room, requests[i], v, now); err != nil {
			return nil, before, err
		}
	}
	return a, before, nil
}

// keep writes what the verdict on an admitted join says about seats: the new one, and those it replaces.
func keep(tx *store.Tx, t tenant.ID, room rooms.Room, n NewParticipant, v rooms.Verdict, now time.Time) (seat, error) {
	given := seat{decision: v.Decision, existing: v.Existing}
	for _, id := range v.Replaced {
		if err := leave(tx, t, room.ID, id, Replaced, now); err != nil {
			return given, err
		}
	}
	if v.Existing {
		row, err := find(tx, t, room.ID, v.Seat.ID)
		if err == nil {
			given.encoded = row.Value.JSON
			given.participant, err = entitled(tx, t, room, row, now)
		}
		return given, err
	}
	given.participant = Participant{
		ID: v.Seat.ID, RoomID: room.ID, DisplayName: n.DisplayName, ExternalUserID: n.ExternalUserID,
		Role: v.Seat.Role, Metadata: n.Metadata, JoinedAt: v.JoinedAt,
	}
	record := recordOf(given.participant)
	Participants.Create(tx, path(t, room.ID, v.Seat.ID), record)
	given.encoded = record.JSON
	return given, nil
}

// leave writes that the participant has left.
func leave(tx *store.Tx, t tenant.ID, room rooms.ID, id ID, reason LeaveReason, now time.Time) error {
	row, err := find(tx, t, room, id)
	if err != nil {
		return err
	}
	p, err := row.Value.participant()
	if err != nil {
		return err
	}
	Participants.Put(tx, path(t, room, id), recordOf(p.left(reason, usher.At(now))))
	return nil
}

// seatedIn answers which active seats a user has in the room, for rooms.Admit. The room's users are gathered once for
// all decisions that share the snapshot, from those who are active: whoever has left costs nothing. The index keeps no
// second order of participants for it, since that would double what a participant costs in memory, and most tenants never
// ask (policy allow).
func seatedIn(tx *store.Tx, t tenant.ID, room rooms.ID) func(user string) []rooms.Seat {
	prefix := path(t, room, "")
	return func(user string) []rooms.Seat {
		users := tx.Memo(prefix, func(snapshot *store.Snapshot) any { return usersIn(snapshot, prefix) }).(map[string][]string)
		paths := slices.Clone(users[user])
		for row := range Participants.Pending(tx, prefix) {
			if row.Value.ExternalUserID() == user && !slices.Contains(paths, row.Path) {
				paths = append(paths, row.Path)
			}
		}
		slices.Sort(paths)
		var seats []rooms.Seat
		for _, p := range paths {
			if row, ok := Participants.Get(tx, p); ok && !row.Value.Left {
				if participant, err := row.Value.participant(); err == nil {
					seats = append(seats, rooms.Seat{ID: participant.ID, Role: participant.Role})
				}
			}
		}
		return seats
	}
}

// usersIn lists the paths of the active participants of each user.
func usersIn(snapshot *store.Snapshot, prefix string) map[string][]string {
	users := make(map[string][]string)
	for row := range Participants.ScanLive(snapshot, prefix) {
		if user := row.Value.ExternalUserID(); user != "" {
			users[user] = append(users[user], row.Path)
		}
	}
	return users
}

// signAll makes the tokens of all who were seated.
func (s *Service) signAll(a *admission) error {
	seated := make([]tenant.Seat, 0, len(a.seats))
	for i := range a.seats {
		if a.seats[i].refused == nil {
			seated = append(seated, tokenSeat(a.room, a.seats[i].participant))
		}
	}
	if len(seated) == 0 {
		return nil
	}
	signer, err := s.tenants.SeatSigner(s.log.Snapshot(), a.tenant)
	if err != nil {
		return err
	}
	tokens, err := signer.Sign(seated...)
	if err != nil {
		return err
	}
	for i := range a.seats {
		if a.seats[i].refused == nil {
			a.seats[i].tokens, tokens = tokens[0], tokens[1:]
		}
	}
	return nil
}
