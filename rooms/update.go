package rooms

import (
	"context"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
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

// Validate lists what is wrong with the patch whatever it is applied to.
func (u *Update) Validate() (problems []usher.FieldError) {
	if c := u.Config.Value; c != nil {
		if n := c.MaxParticipants.Value; n != nil && *n < 1 {
			problems = append(problems, errMaxParticipants())
		}
	}
	if len(u.Metadata) > 0 && u.Metadata.Kind() != '{' && u.Metadata.Kind() != 'n' {
		problems = append(problems, usher.FieldError{Field: "metadata", Message: "must be a JSON object or null"})
	}
	return problems
}

func errMaxParticipants() usher.FieldError {
	return usher.FieldError{Field: "config.max_participants", Message: "must be between 1 and 10000"}
}

// on is the room with the patch on it. While nobody has joined yet, its status follows its schedule.
func (u Update) on(room Room, s tenant.Settings, now time.Time) (Room, *usher.Error) {
	if room.Status == Ended {
		return room, errEnded()
	}
	draft := NewRoom{
		Name:             u.Name.on(room.Name),
		ScheduledStartAt: u.ScheduledStartAt.on(room.ScheduledStartAt),
		ScheduledEndAt:   u.ScheduledEndAt.on(room.ScheduledEndAt),
		Config:           u.config(room.Config),
	}
	var err error
	if draft.Metadata, err = u.metadata(room.Metadata); err != nil {
		return room, usher.Internal(err, "patch the metadata of %s", room.ID)
	}
	if problems := draft.validate(u.Name.Given); len(problems) > 0 {
		return room, usher.Invalid(problems...)
	}
	if draft.Config.MaxParticipants != room.Config.MaxParticipants {
		if refused := draft.Config.within(s); refused != nil {
			return room, refused
		}
	}
	room.Name, room.Config, room.Metadata = draft.Name, draft.Config, draft.Metadata
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

func (u Update) metadata(old jsontext.Value) (jsontext.Value, error) {
	switch {
	case len(u.Metadata) == 0:
		return old, nil
	case u.Metadata.Kind() == 'n':
		return nil, nil
	case len(old) == 0:
		old = jsontext.Value("{}")
	}
	return jsonpatch.MergePatch(old, u.Metadata)
}

// Update changes the room. ifMatch, when not empty, is the If-Match header that its ETag must satisfy.
func (s *Service) Update(ctx context.Context, t tenant.ID, ref Ref, u Update, ifMatch string) (Room, error) {
	return s.change(ctx, t, ref, tenant.Adding, func(tx *store.Tx, room Room) (Room, error) {
		if !usher.IfMatch(ifMatch, room.ETag()) {
			return room, usher.Errorf(usher.CodePreconditionFailed, "The room has changed: read it again and repeat the change.")
		}
		owner, err := tenant.Find(tx, t)
		if err != nil {
			return room, err
		}
		after, refused := u.on(room, owner.Settings, s.now())
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
