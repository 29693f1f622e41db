package tenant

import (
	"fmt"
	"maps"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"usher/tenant/token"
)

// Settings is a tenant's config document, resolved: what the tenant has set, and the default of everything else. What
// each setting means, its bounds and its default stand in settings.schema.json; the fields are in that file's order.
//
// Settings are a value that is shared by every request of a tenant: nothing that is reachable from one may be changed
// once it is resolved. So they need no lock.
type Settings struct {
	AllowEarlyJoin             bool              `json:"allow_early_join"`
	FirstParticipantIsHost     bool              `json:"first_participant_is_host"`
	ForceRecording             bool              `json:"force_recording"`
	AutoStartRecording         bool              `json:"auto_start_recording"`
	DuplicateParticipantPolicy DuplicatePolicy   `json:"duplicate_participant_policy"`
	DefaultRole                string            `json:"default_role"`
	Roles                      map[string]Grants `json:"roles"`
	MaxParticipantsPerRoom     int               `json:"max_participants_per_room"`
	MaxConcurrentRooms         int               `json:"max_concurrent_rooms"`
	MaxStoredBytes             int               `json:"max_stored_bytes"`
	EmptyRoomTimeoutMinutes    int               `json:"empty_room_timeout_minutes"`
	RoomRetentionHours         int               `json:"room_retention_hours"`
	PresenceTimeoutSeconds     int               `json:"presence_timeout_seconds"`
	AuditRetentionDays         int               `json:"audit_retention_days"`
	AccessTokenTTLSeconds      int               `json:"access_token_ttl_seconds"`
	RefreshTokenTTLSeconds     int               `json:"refresh_token_ttl_seconds"`
	SigningAlgorithm           token.Algorithm   `json:"signing_algorithm"`
	SigningKeyRotationDays     int               `json:"signing_key_rotation_days"`
	RequestsPerSecond          int               `json:"requests_per_second"`
	Burst                      int               `json:"burst"`
	AllowedOrigins             []string          `json:"allowed_origins"`

	// Version numbers the change that led to these settings. It is no part of the document: whoever resolves the
	// settings of a record sets it, and decisions that follow from the settings name it.
	Version int64 `json:"-"`
}

// DuplicatePolicy says what happens when an active participant with the same external_user_id is already in the room.
type DuplicatePolicy string

// The duplicate policies.
const (
	DuplicateAllow          DuplicatePolicy = "allow"           // seat the user twice
	DuplicateReject         DuplicatePolicy = "reject"          // refuse the newcomer
	DuplicateReplace        DuplicatePolicy = "replace"         // end the old seat in the same write
	DuplicateReturnExisting DuplicatePolicy = "return_existing" // answer with the old seat and fresh tokens
)

// Defaults are the settings of a tenant that has set nothing.
func Defaults() Settings {
	s, err := Resolve(Overrides{}, Baseline{})
	if err != nil {
		panic("tenant: the schema's defaults are no settings: " + err.Error()) // a fault of the build that every test finds
	}
	return s
}

// Resolve puts the overrides on top of the operator's defaults, these on top of the schema's, and holds all below the
// operator's ceilings.
//
// Overrides were judged when they were written, by the rules of that day, and are not judged again: a bound that a
// later release draws closer, or a key that a newer replica wrote during an upgrade, must not take the tenant out of
// service. A key that this release does not know is ignored; only a value that does not fit its field is an error.
func Resolve(o Overrides, b Baseline) (Settings, error) {
	members := maps.Clone(settingsSchema().defaults)
	for _, layer := range []Overrides{b.Defaults, o} {
		set, err := layer.members()
		if err != nil {
			return Settings{}, err
		}
		maps.Copy(members, set)
	}
	b.hold(members)
	document, err := json.Marshal(members)
	if err != nil {
		return Settings{}, fmt.Errorf("join overrides and defaults: %w", err)
	}
	var s Settings
	if err := json.Unmarshal(document, &s); err != nil {
		return Settings{}, fmt.Errorf("read settings: %w", err)
	}
	return s, nil
}

// Document is the whole config document as JSON. Equal settings have equal bytes, so an ETag can be made of them:
// keys are in the schema's order, roles are sorted by name, and what is empty is [] or {}, never null.
func (s Settings) Document() ([]byte, error) { return json.Marshal(s, json.Deterministic(true)) }

// clientSettings are the settings that a participant's client acts on. Limits of the API, lifetimes, keys and origins
// are the tenant's own business and stay out: what is added here is shown to everybody who joins.
type clientSettings struct {
	AllowEarlyJoin         bool              `json:"allow_early_join"`
	FirstParticipantIsHost bool              `json:"first_participant_is_host"`
	ForceRecording         bool              `json:"force_recording"`
	AutoStartRecording     bool              `json:"auto_start_recording"`
	DefaultRole            string            `json:"default_role"`
	Roles                  map[string]Grants `json:"roles"`
	MaxParticipantsPerRoom int               `json:"max_participants_per_room"`
	PresenceTimeoutSeconds int               `json:"presence_timeout_seconds"`
}

// ClientDocument is the part of the document that a participant's client is given, as JSON: the tenant_config of an
// answer to a join. Its bytes are as stable as those of Document.
func (s Settings) ClientDocument() ([]byte, error) {
	return json.Marshal(clientSettings{
		AllowEarlyJoin:         s.AllowEarlyJoin,
		FirstParticipantIsHost: s.FirstParticipantIsHost,
		ForceRecording:         s.ForceRecording,
		AutoStartRecording:     s.AutoStartRecording,
		DefaultRole:            s.DefaultRole,
		Roles:                  s.Roles,
		MaxParticipantsPerRoom: s.MaxParticipantsPerRoom,
		PresenceTimeoutSeconds: s.PresenceTimeoutSeconds,
	}, json.Deterministic(true))
}

// Overrides are the settings that a tenant has set itself: a sparse config document. A record stores these and not the
// resolved settings, so that a default may change for every tenant that never chose otherwise.
//
// The zero value sets nothing. A value cannot be changed, only replaced by what Patch returns, and two that set the
// same are equal with ==.
type Overrides struct {
	canonical string // a JSON object in the form of RFC 8785 (sorted keys, no spaces, 3 for 3.0); "" instead of {}
}

// newOverrides takes any JSON object.
func newOverrides(object jsontext.Value) (Overrides, error) {
	object = object.Clone()
	if err := object.Canonicalize(); err != nil {
		return Overrides{}, err
	}
	switch {
	case object.Kind() != '{':
		return Overrides{}, fmt.Errorf("settings are a JSON object, not %s", object)
	case string(object) == "{}":
		return Overrides{}, nil
	}
	return Overrides{string(object)}, nil
}

// Equal says whether both set the same.
func (o Overrides) Equal(other Overrides) bool { return o == other }

// String is the overrides as canonical JSON.
func (o Overrides) String() string {
	if o.canonical == "" {
		return "{}"
	}
	return o.canonical
}

// MarshalJSON is the overrides as canonical JSON.
func (o Overrides) MarshalJSON() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalJSON reads what MarshalJSON wrote. It does not judge it: see Resolve.
func (o *Overrides) UnmarshalJSON(b []byte) (err error) {
	*o, err = newOverrides(b)
	return err
}

// members are the overrides by key; the map is the caller's.
func (o Overrides) members() (members map[string]jsontext.Value, err error) {
	if err := json.Unmarshal([]byte(o.String()), &members); err != nil {
		return nil, fmt.Errorf("read overrides: %w", err)
	}
	return members, nil
}
