package rooms

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"usher"
	"usher/store"
	"usher/tenant"
)

// Update is a JSON Merge Patch (RFC 7396) on what a room's owner decides.
type Update struct {
	Name             Field[string]       `json:"name"`
	ScheduledStartAt Field[usher.Time]   `json:"scheduled_start_at"`
	ScheduledEndAt   Field[usher.Time]   `json:"scheduled_end_at"`
	Config           Field[ConfigUpdate] `json:"config"`
	Metadata         jsontext.Value      `json:"metadata"` // a merge patch itself
}

// ConfigUpdate is the part of an Update that concerns Config.
type ConfigUpdate struct {
	MaxParticipants  Field[int]  `json:"max_participants"`
	RecordingEnabled Field[bool] `json:"recording_enabled"`
}

// Field is one member of a merge patch: absent, null, or a value.
type Field[T any] struct {
	Given bool
	Value *T // nil for null
}

// UnmarshalJSONFrom notes that the member is there.
func (f *Field[T]) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	f.Given, f.Value = true, nil
	return json.UnmarshalDecode(d, &f.Value)
}

// on is the old value with the member on it: unchanged when absent, zero when null.
func (f Field[T]) on(old T) T {
	switch {
	case !f.Given:
		return old
	case f.Value == nil:
		var none T
		return none
	}
	return *f.Value
}

// maxMetadataPatch is how long a merge patch of metadata may be: enough to take out all that there is, and to put as
// much in.
const maxMetadataPatch = 4 * maxMetadataBytes

// Validate cleans the patch and lists what is wrong with it whatever it is applied to.
func (u *Update) Validate() (problems []usher.FieldError) {
	if u.Name.Given {
		name, problem := CleanName(u.Name.on(""))
		if problem != "" {
			problems = append(problems, usher.FieldError{Field: "name", Message: problem})
		}
		u.Name.Value = &name
	}
	if c := u.Config.Value; c != nil {
		if n := c.MaxParticipants.Value; n != nil && *n < 1 {
			problems = append(problems, errMaxParticipants())
		}
	}
	if len(u.Metadata) > 0 && u.Metadata.Kind() != '{' && u.Metadata.Kind() != 'n' {
		problems = append(problems, usher.FieldError{Field: "metadata", Message: "must be a JSON object or null"})
	}
	if len(u.Metadata) > maxMetadataPatch {
		problems = append(problems, usher.FieldError{Field: "metadata", Message: fmt.Sprintf("must be a merge patch of at most %d KiB", maxMetadataPatch>>10)})
	}
	return problems
}

func errMaxParticipants() usher.FieldError {
	return usher.FieldError{Field: "config.max_participants", Message: "must be between 1 and 10000"}
}

// prepared is an Update whose metadata was worked out before it is decided, and what it was worked out from: what that
// costs depends on what a caller sends.
type prepared struct {
	Update
	from, metadata jsontext.Value
	problem        string // what is wrong with the metadata
}

// prepare works out what becomes of the metadata.
func (u Update) prepare(metadata jsontext.Value) (p prepared, err error) {
	p = prepared{Update: u, from: metadata, metadata: metadata}
	switch {
	case len(u.Metadata) == 0:
		return p, nil
	case u.Metadata.Kind() == 'n':
		p.metadata = nil
		return p, nil
	}
	if p.metadata, err = mergePatch(metadata, u.Metadata); err == nil {
		p.problem = CheckMetadata(&p.metadata)
	}
	return p, err
}

// restsOn says whether the metadata is what the patch was worked out from.
func (p prepared) restsOn(metadata jsontext.Value) bool {
	return len(p.Metadata) == 0 || bytes.Equal(p.from, metadata)
}

// on is the room with the patch on it. While nobody has joined yet, its status follows its schedule.
func (p prepared) on(room Room, s tenant.Settings, now time.Time) (Room, *usher.Error) {
	if room.Status == Ended {
		return room, errEnded()
	}
	draft := NewRoom{
		Name:             p.Name.on(room.Name),
		ScheduledStartAt: p.ScheduledStartAt.on(room.ScheduledStartAt),
		ScheduledEndAt:   p.ScheduledEndAt.on(room.ScheduledEndAt),
		Config:           p.config(room.Config),
	}
	problems := draft.validate(false)
	if p.problem != "" {
		problems = append(problems, usher.FieldError{Field: "metadata", Message: p.problem})
	}
	if len(problems) > 0 {
		return room, usher.Invalid(problems...)
	}
	if draft.Config.MaxParticipants != room.Config.MaxParticipants {
		if refused := draft.Config.within(s); refused != nil {
			return room, refused
		}
	}
	room.Name, room.Config = draft.Name, draft.Config
	if len(p.Metadata) > 0 {
		room.Metadata = p.metadata
	}
	room.ScheduledStartAt, room.ScheduledEndAt = draft.ScheduledStartAt, draft.ScheduledEndAt
	if room.LastSeat == "" {
		room.Status = room.waiting(now)
	}
	return room, nil
}

func (u Update) config(c Config) Config {
	switch {
	case !u.Config.Given:
		return c
	case u.Config.Value == nil:
		return Config{}
	}
	c.MaxParticipants = u.Config.Value.MaxParticipants.on(c.MaxParticipants)
	if enabled := u.Config.Value.RecordingEnabled; enabled.Given {
		c.RecordingEnabled = enabled.Value
	}
	return c
}

// errMoved is the refusal of a decision whose preparation rests on metadata that is no longer so. No caller sees it.
var errMoved = store.ErrMoved

// maxPreparations is how often a patch is worked out before it is given up.
const maxPreparations = 16

// Update changes the room. ifMatch, when not empty, is the If-Match header that its ETag must satisfy.
func (s *Service) Update(ctx context.Context, t tenant.ID, ref Ref, u Update, ifMatch string) (Room, error) {
	for range maxPreparations {
		room, err := s.tryUpdate(ctx, t, ref, u, ifMatch)
		if !errors.Is(err, errMoved) {
			return room, err
		}
	}
	return Room{}, &usher.Error{Code: usher.CodeUnavailable, RetryAfter: time.Second, Err: errMoved,
		Detail: "The write was not done: others change the room's metadata all the time. Try again."}
}

// tryUpdate works the patch out on the room as it is and has it decided, which refuses with errMoved if the room's metadata
// has changed meanwhile.
func (s *Service) tryUpdate(ctx context.Context, t tenant.ID, ref Ref, u Update, ifMatch string) (Room, error) {
	seen, _ := find(s.log.Snapshot(), t, ref) // the decision finds out if there is none
	p, err := u.prepare(seen.Metadata)
	if err != nil {
		return Room{}, usher.Internal(err, "patch the metadata of %s", seen.ID)
	}
	return s.change(ctx, t, ref, tenant.Adding, func(tx *store.Tx, room Room) (Room, error) {
		if !usher.IfMatch(ifMatch, room.ETag()) {
			return room, usher.Errorf(usher.CodePreconditionFailed, "The room has changed: read it again and repeat the change.")
		}
		owner, err := tenant.Find(tx, t)
		if err != nil {
			return room, err
		}
		if !p.restsOn(room.Metadata) {
			return room, errMoved
		}
		after, refused := p.on(room, owner.Settings, s.now())
		if refused != nil {
			return room, refused
		}
		return after, rename(tx, t, room, after)
	})
}

// rename moves the record of the name.
func rename(tx *store.Tx, t tenant.ID, before, after Room) error {
	if after.Name == before.Name {
		return nil
	}
	if other, ok := find(tx, t, Ref{Name: after.Name}); ok && other.Status != Ended {
		return errNameTaken(other.ID)
	}
	dropName(tx, t, before)
	Names.Put(tx, namePath(t, after.Name), Naming{RoomID: after.ID})
	return nil
}

// dropName takes the room's name away from it, unless a newer room has it.
func dropName(tx *store.Tx, t tenant.ID, room Room) {
	name := namePath(t, room.Name)
	if naming, ok := Names.Get(tx, name); ok && naming.Value.RoomID == room.ID {
		Names.Delete(tx, name)
	}
}
