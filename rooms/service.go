package rooms

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"usher"
	"usher/store"
	"usher/tenant"
)

// Service brings rooms' records to the rules and their decisions to the log.
type Service struct {
	log *store.Store
	now func() time.Time
}

// New makes a Service on the log.
func New(log *store.Store, now func() time.Time) *Service { return &Service{log: log, now: now} }

// Definitions are the tables of this package.
func Definitions() []store.Definition { return []store.Definition{Rooms, Names, Bans} }

// NewRoom is the request to create a room.
type NewRoom struct {
	Name             string         `json:"name"`
	ScheduledStartAt usher.Time     `json:"scheduled_start_at"`
	ScheduledEndAt   usher.Time     `json:"scheduled_end_at"`
	Config           Config         `json:"config"`
	Metadata         jsontext.Value `json:"metadata"`
}

// Validate cleans the request and lists what is wrong with it.
func (n *NewRoom) Validate() (problems []usher.FieldError) { return n.validate(true) }

// validate is Validate; named says that the name is new. A room that was named by its id keeps that name.
func (n *NewRoom) validate(named bool) (problems []usher.FieldError) {
	if named {
		name, problem := CleanName(n.Name)
		if problem != "" {
			problems = append(problems, usher.FieldError{Field: "name", Message: problem})
		}
		n.Name = name
	}
	if n.Config.MaxParticipants < 0 || n.Config.MaxParticipants > maxParticipantsBound {
		problems = append(problems, errMaxParticipants())
	}
	if end := n.ScheduledEndAt; !end.IsZero() && !end.After(n.ScheduledStartAt.Time) {
		problems = append(problems, usher.FieldError{Field: "scheduled_end_at", Message: "must be after scheduled_start_at"})
	}
	if problem := CheckMetadata(&n.Metadata); problem != "" {
		problems = append(problems, usher.FieldError{Field: "metadata", Message: problem})
	}
	return problems
}

const (
	maxParticipantsBound = 10_000
	maxMetadataBytes     = 4 << 10
)

// CheckMetadata takes the white space out of the metadata of a room or a participant, and says what is wrong with it: it
// must be a JSON object of at most 4 KiB, and no number in it may be one that most readers of JSON cannot hold (RFC 8259,
// section 6): whoever lists a room must be able to read all of it.
func CheckMetadata(m *jsontext.Value) (problem string) {
	if len(*m) == 0 {
		return ""
	}
	compact := m.Clone() // what was sent may be looked at again
	switch err := compact.Compact(); {
	case err != nil || m.Kind() != '{':
		return "must be a JSON object"
	case len(compact) > maxMetadataBytes:
		return "must be at most 4 KiB of JSON"
	case !finite(compact):
		return "must not have a number that is greater than any double"
	}
	*m = compact
	return ""
}

// finite says whether every number of the JSON is one that a double holds, more or less exactly.
func finite(v jsontext.Value) bool {
	d := jsontext.NewDecoder(bytes.NewReader(v))
	for {
		token, err := d.ReadToken()
		if err != nil {
			return errors.Is(err, io.EOF)
		}
		if token.Kind() != '0' {
			continue
		}
		if _, err := strconv.ParseFloat(token.String(), 64); err != nil {
			return false
		}
	}
}

// Created is a room that was made.
type Created struct {
	Room     Room
	Replayed bool // by an earlier request under the same Idempotency-Key; Room is as it is now
}

// outcome is what an Idempotency-Key remembers of a room that was made.
type outcome struct {
	RoomID ID `json:"room_id"`
}

// Create makes a room.
func (s *Service) Create(ctx context.Context, t tenant.ID, n NewRoom, attempt tenant.Attempt) (Created, error) {
	return store.Commit(ctx, s.log, store.Change[Created]{
		Aggregates: func(*store.Snapshot) []store.Key { return append(attempt.Aggregates(t), creationKeys(t)...) },
		Decide: func(tx *store.Tx) (Created, error) {
			now := s.now()
			memory, err := tenant.Recall[outcome](tx, t, attempt, now)
			if err != nil {
				return Created{}, err
			}
			if memory.Finished {
				room, err := Find(tx, t, RefTo(memory.Outcome.RoomID))
				return Created{Room: room, Replayed: true}, err
			}
			room, err := create(tx, t, n, now)
			if err != nil {
				return Created{}, err
			}
			room.Bytes.Repeats, err = tenant.Remember(tx, t, attempt, string(room.ID), outcome{RoomID: room.ID}, true, now)
			if err != nil {
				return Created{}, err
			}
			room, err = Keep(tx, t, room, true, tenant.Adding)
			return Created{Room: room}, err
		},
	})
}

func create(tx *store.Tx, t tenant.ID, n NewRoom, now time.Time) (Room, error) {
	if live, ok := find(tx, t, Ref{Name: n.Name}); ok && live.Status != Ended {
		return Room{}, errNameTaken(live.ID)
	}
	return open(tx, t, Draft{
		ID: newID(now), Name: n.Name, ScheduledStartAt: n.ScheduledStartAt, ScheduledEndAt: n.ScheduledEndAt,
		Config: n.Config, Metadata: n.Metadata,
	}, now)
}

func errNameTaken(by ID) error {
	return usher.Errorf(usher.CodeRoomNameTaken, "A room of this name has not ended.").With("room_id", by)
}

// open lets Open decide with the tenant's settings and count as the transaction sees them.
func open(tx *store.Tx, t tenant.ID, d Draft, now time.Time) (Room, error) {
	owner, err := tenant.Find(tx, t)
	if err != nil {
		return Room{}, err
	}
	room, refused := Open(d, owner.Settings, tenant.AccountOf(tx, t).Rooms, now)
	if refused != nil {
		return Room{}, refused
	}
	return room, nil
}

// Enter finds the room that a join refers to or, where the tenant allows early joins, drafts it. A drafted room is not
// written: Keep it once somebody has been admitted.
func Enter(tx *store.Tx, t tenant.ID, ref Ref, s tenant.Settings, now time.Time) (room Room, drafted bool, err error) {
	room, ok := find(tx, t, ref)
	if ok && (room.Status != Ended || ref.ID != "") {
		return room, false, nil
	}
	if !s.AllowEarlyJoin {
		return Room{}, false, errNoRoom()
	}
	draft := Draft{ID: ref.ID, Name: ref.Name}
	if draft.ID == "" {
		draft.ID = newID(now)
	}
	room, err = open(tx, t, draft, now)
	return room, true, err
}

// EnterAggregates are the records that Enter and Keep may write: the room, or where it is missing what guards its creation.
func EnterAggregates(snapshot *store.Snapshot, t tenant.ID, ref Ref) []store.Key {
	room, ok := find(snapshot, t, ref)
	switch {
	case ok && (room.Status != Ended || ref.ID != ""):
		return []store.Key{Rooms.Key(Path(t, room.ID))}
	case ref.ID != "":
		return append(creationKeys(t), Rooms.Key(Path(t, ref.ID)))
	default:
		return creationKeys(t)
	}
}

// creationKeys guard the making of a room: the tenant's account, for its limits, and the tenant itself, so
// that no room is made of one that was deleted meanwhile.
func creationKeys(t tenant.ID) []store.Key {
	return []store.Key{tenant.Accounts.Key(string(t)), tenant.Aggregate(t)}
}

// Get finds a room.
func (s *Service) Get(t tenant.ID, ref Ref) (Room, error) { return Find(s.log.Snapshot(), t, ref) }

// Find is Get on a given state.
func Find(r store.Reader, t tenant.ID, ref Ref) (Room, error) {
	room, ok := find(r, t, ref)
	if !ok {
		return Room{}, errNoRoom()
	}
	return room, nil
}

// errNoRoom says nothing of what was asked for, so that another tenant's room and a room that never was read the same.
func errNoRoom() error {
	return usher.Errorf(usher.CodeRoomNotFound, "There is no room of this id or name.")
}

func find(r store.Reader, t tenant.ID, ref Ref) (Room, bool) {
	id := ref.ID
	if id == "" {
		return findByName(r, t, ref.Name)
	}
	row, ok := Rooms.Get(r, Path(t, id))
	if !ok {
		return Room{}, false
	}
	return row.Value, true
}

// findByName finds the newest room of the name. A decision about one that goes on is compared on the room alone: whoever
// gives the name to another one has to take it away from this one, and writes it.
func findByName(r store.Reader, t tenant.ID, name string) (Room, bool) {
	names, at := r, namePath(t, name)
	tx, decides := r.(*store.Tx)
	if decides {
		names = tx.Unguarded()
	}
	if naming, ok := Names.Get(names, at); ok {
		if row, ok := Rooms.Get(r, Path(t, naming.Value.RoomID)); ok {
			if decides && (row.Value.Status == Ended || row.Value.Name != name) {
				_, _ = Names.Get(tx, at) // compared too
			}
			return row.Value, true
		}
	}
	if decides {
		_, _ = Names.Get(tx, at)
	}
	return Room{}, false
}

// Aggregates are what a decision about the room is compared on, also one that there is none: another replica may have made
// it just now. A room that goes on is the one of its name for as long as it does; otherwise the name may be another's.
func Aggregates(snapshot *store.Snapshot, t tenant.ID, ref Ref) []store.Key {
	var keys []store.Key
	room, ok := find(snapshot, t, ref)
	switch {
	case ok:
		keys = append(keys, Rooms.Key(Path(t, room.ID)))
	case ref.ID != "":
		keys = append(keys, Rooms.Key(Path(t, ref.ID)))
	}
	if ref.ID == "" && (!ok || room.Status == Ended) {
		keys = append(keys, Names.Key(namePath(t, ref.Name)))
	}
	return keys
}

// Query selects rooms for a list. Zero fields select all.
type Query struct {
	Status Status
	Name   string
	After  ID    // only rooms with greater ids
	Pin    int64 // leave out rooms created after this revision; 0 for none
	Limit  int
}

// Page is a part of a list of rooms.
type Page struct {
	Rooms []Room
	More  bool  // there are more after the last
	Pin   int64 // the revision that the next pages shall be pinned to
}

// List gives the tenant's rooms in the order of their ids. Pages are pinned: a room created after the first page was
// read is not in the later ones. What a room says of itself is always its newest state.
func (s *Service) List(t tenant.ID, q Query) Page {
	snapshot := s.log.Snapshot()
	page := Page{Rooms: []Room{}, Pin: q.Pin}
	if page.Pin == 0 {
		page.Pin = snapshot.Revision()
	}
	for row := range q.scan(snapshot, t) {
		if row.Created > page.Pin || (q.Status != "" && row.Value.Status != q.Status) {
			continue
		}
		if len(page.Rooms) == q.Limit {
			page.More = true
			break
		}
		page.Rooms = append(page.Rooms, row.Value)
	}
	return page
}

// scan yields the tenant's rooms behind After, in the order of their ids, and only those of the name when there is one: a
// tenant may have very many rooms, and few of one name.
func (q Query) scan(snapshot *store.Snapshot, t tenant.ID) iter.Seq[*store.Row[Room]] {
	prefix, after := string(t)+"/", ""
	if q.Name != "" {
		prefix = namePath(t, q.Name) + "/"
	}
	if q.After != "" {
		after = prefix + string(q.After)
	}
	if q.Name != "" {
		return Rooms.ScanBy(snapshot, prefix, after)
	}
	return Rooms.Scan(snapshot, prefix, after)
}

// change has an existing room changed by decide, for the purpose. It guards the tenant's account too, for a room may end by
// it.
func (s *Service) change(ctx context.Context, t tenant.ID, ref Ref, p tenant.Purpose, decide func(*store.Tx, Room) (Room, error)) (Room, error) {
	return store.Commit(ctx, s.log, store.Change[Room]{
		Aggregates: func(snapshot *store.Snapshot) []store.Key {
			return append(Aggregates(snapshot, t, ref), tenant.Accounts.Key(string(t)))
		},
		What: decide,
		Decide: func(tx *store.Tx) (Room, error) {
			before, err := Find(tx, t, ref)
			if err != nil {
				return Room{}, err
			}
			after, err := decide(tx, before)
			if err != nil || before.Status == Ended {
				return after, err
			}
			return Keep(tx, t, after, false, p)
		},
	})
}

// End ends the room: everybody active leaves, by this one write. Ending an ended room changes nothing.
func (s *Service) End(ctx context.Context, t tenant.ID, ref Ref) (Room, error) {
	return s.change(ctx, t, ref, tenant.Removing, func(_ *store.Tx, room Room) (Room, error) { return End(room, s.now()), nil })
}

// Lock closes the room to newcomers who may not moderate it, or opens it again.
func (s *Service) Lock(ctx context.Context, t tenant.ID, ref Ref, locked bool) (Room, error) {
	return s.change(ctx, t, ref, tenant.Removing, func(_ *store.Tx, room Room) (Room, error) { return orRefused(Lock(room, locked)) })
}

// StartRecording notes that the room is being recorded.
func (s *Service) StartRecording(ctx context.Context, t tenant.ID, ref Ref) (Room, error) {
	return s.change(ctx, t, ref, tenant.Removing, func(_ *store.Tx, room Room) (Room, error) { return orRefused(StartRecording(room, s.now())) })
}

// StopRecording notes that the room is no longer recorded.
func (s *Service) StopRecording(ctx context.Context, t tenant.ID, ref Ref) (Room, error) {
	return s.change(ctx, t, ref, tenant.Removing, func(_ *store.Tx, room Room) (Room, error) { return orRefused(StopRecording(room)) })
}

// orRefused is a decision as change takes it: a refusal that is nil is no error.
func orRefused(room Room, refused *usher.Error) (Room, error) {
	if refused != nil {
		return Room{}, refused
	}
	return room, nil
}
