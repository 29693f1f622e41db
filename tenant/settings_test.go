package tenant

import (
	"bytes"
	stdjson "encoding/json"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"usher/tenant/token"
)

// The table of product.md, section 3.
func TestDefaultsAreThoseOfTheProduct(t *testing.T) {
	t.Parallel()
	want := Settings{
		AllowEarlyJoin:             true,
		DuplicateParticipantPolicy: DuplicateAllow,
		DefaultRole:                "participant",
		Roles: map[string]Grants{
			"host":        {GrantPublish, GrantSubscribe, GrantModerate, GrantRecord},
			"participant": {GrantPublish, GrantSubscribe},
			"viewer":      {GrantSubscribe},
		},
		MaxParticipantsPerRoom:  100,
		MaxConcurrentRooms:      1000,
		MaxStoredBytes:          64 << 20,
		EmptyRoomTimeoutMinutes: 30,
		RoomRetentionHours:      72,
		AuditRetentionDays:      90,
		AccessTokenTTLSeconds:   3600,
		RefreshTokenTTLSeconds:  86400,
		SigningAlgorithm:        token.EdDSA,
		RequestsPerSecond:       500,
		Burst:                   1000,
		AllowedOrigins:          []string{},
	}
	if diff := cmp.Diff(want, Defaults()); diff != "" {
		t.Error(diff)
	}
}

const defaultDocument = `{"allow_early_join":true,"first_participant_is_host":false,"force_recording":false,` +
	`"auto_start_recording":false,"duplicate_participant_policy":"allow","default_role":"participant",` +
	`"roles":{"host":["publish","subscribe","moderate","record"],"participant":["publish","subscribe"],"viewer":["subscribe"]},` +
	`"max_participants_per_room":100,"max_concurrent_rooms":1000,"max_stored_bytes":67108864,"empty_room_timeout_minutes":30,"room_retention_hours":72,"presence_timeout_seconds":0,"audit_retention_days":90,` +
	`"access_token_ttl_seconds":3600,"refresh_token_ttl_seconds":86400,"signing_algorithm":"EdDSA","signing_key_rotation_days":0,` +
	`"requests_per_second":500,"burst":1000,"allowed_origins":[]}`

func TestDocumentIsCompleteAndStable(t *testing.T) {
	t.Parallel()
	for range 20 { // a map's order differs from call to call
		s := Defaults()
		s.Version = 7
		document, err := s.Document()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(defaultDocument, string(document)); diff != "" {
			t.Fatal(diff)
		}
	}
}

func TestDocumentSaysNothingByNull(t *testing.T) {
	t.Parallel()
	document, err := Settings{Roles: map[string]Grants{"mute": nil}}.Document()
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(document, []byte("null")) {
		t.Errorf("%s has a null", document)
	}
}

func TestClientIsToldWhatItActsOnAndNoMore(t *testing.T) {
	t.Parallel()
	_, s := mustPatch(t, Overrides{}, `{"roles":{"viewer":null,"guest":[]},"allowed_origins":["https://secret.example"]}`)
	document, err := s.ClientDocument()
	if err != nil {
		t.Fatal(err)
	}
	want := `{"allow_early_join":true,"first_participant_is_host":false,"force_recording":false,"auto_start_recording":false,` +
		`"default_role":"participant","roles":{"guest":[],"host":["publish","subscribe","moderate","record"],` +
		`"participant":["publish","subscribe"]},"max_participants_per_room":100,"presence_timeout_seconds":0}`
	if diff := cmp.Diff(want, string(document)); diff != "" {
		t.Error(diff)
	}
}

func TestGrants(t *testing.T) {
	t.Parallel()
	roles := Defaults().Roles
	if !roles["host"].Has(GrantModerate) || roles["viewer"].Has(GrantPublish) || roles["nobody"].Has(GrantSubscribe) {
		t.Errorf("%v", roles)
	}
	if diff := cmp.Diff([]string{"publish", "subscribe"}, roles["participant"].Strings()); diff != "" {
		t.Error(diff)
	}
}

func TestDefaultsAreNotShared(t *testing.T) {
	t.Parallel()
	Defaults().Roles["host"][0] = "overwritten"
	delete(Defaults().Roles, "viewer")
	if diff := cmp.Diff([]string{"publish", "subscribe", "moderate", "record"}, Defaults().Roles["host"].Strings()); diff != "" {
		t.Error(diff)
	}
}

func TestOverridesSurviveTheLog(t *testing.T) {
	t.Parallel()
	type record struct {
		Config Overrides `json:"config"`
	}
	some, _ := mustPatch(t, Overrides{}, `{"burst":7,"roles":{"a":["record"]},"allowed_origins":["https://b.example"]}`)
	for want, o := range map[string]Overrides{
		`{"config":{}}`: {},
		`{"config":{"allowed_origins":["https://b.example"],"burst":7,"roles":{"a":["record"],` +
			`"host":["publish","subscribe","moderate","record"],"participant":["publish","subscribe"],"viewer":["subscribe"]}}}`: some,
	} {
		written, err := json.Marshal(record{o})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, string(written)); diff != "" {
			t.Error(diff)
		}
		if std, err := stdjson.Marshal(record{o}); err != nil || !bytes.Equal(std, written) {
			t.Errorf("encoding/json writes %s, %v", std, err)
		}
		var read record
		if err := json.Unmarshal(written, &read); err != nil || !read.Config.Equal(o) || read.Config != o {
			t.Errorf("read %v, %v; want %v", read.Config, err, o)
		}
	}
	for _, bad := range []string{`{"config":[]}`, `{"config":null}`, `{"config":"{}"}`} {
		var read record
		if err := json.Unmarshal([]byte(bad), &read); err == nil {
			t.Errorf("read %s as %v", bad, read.Config)
		}
	}
}

// A newer replica may have written a key that this one does not know, and an older one a value that is out of bounds by
// now. The tenant is served all the same, and what is not understood is kept.
func TestTenantIsServedWhateverReleaseWroteItsSettings(t *testing.T) {
	t.Parallel()
	var o Overrides
	if err := json.Unmarshal([]byte(`{"burst":1000000000,"from_the_future":{"a":[1]}}`), &o); err != nil {
		t.Fatal(err)
	}
	s, err := Resolve(o, Baseline{})
	if err != nil || s.Burst != 1000000000 || s.MaxParticipantsPerRoom != 100 {
		t.Fatalf("%+v, %v", s, err)
	}
	o, _ = mustPatch(t, o, `{"force_recording":true}`)
	if want := `{"burst":1000000000,"force_recording":true,"from_the_future":{"a":[1]}}`; o.String() != want {
		t.Errorf("overrides are %s, want %s", o, want)
	}
}

func TestSettingsThatFitNoFieldAreAnError(t *testing.T) {
	t.Parallel()
	for _, document := range []string{`{"burst":"many"}`, `{"burst":1.5}`, `{"roles":[]}`} {
		var o Overrides
		if err := json.Unmarshal([]byte(document), &o); err != nil {
			t.Fatal(err)
		}
		if s, err := Resolve(o, Baseline{}); err == nil {
			t.Errorf("%s resolves to %+v", document, s)
		}
		if _, _, err := o.Patch([]byte(`{"force_recording":true}`), Baseline{}); err == nil || strings.Contains(err.Error(), "invalid_request") {
			t.Errorf("%s: a patch's answer is %v: it blames the caller for what is in the log", document, err)
		}
	}
}
