package tenant

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"usher"
)

func quoteJSON(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// rfc7396 is section 2 of that RFC, word for word: the model that Patch is held to.
func rfc7396(target, patch any) any {
	changes, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	merged := make(map[string]any)
	if object, ok := target.(map[string]any); ok {
		for name, value := range object {
			merged[name] = value
		}
	}
	for name, value := range changes {
		if value == nil {
			delete(merged, name)
		} else {
			merged[name] = rfc7396(merged[name], value)
		}
	}
	return merged
}

// failer is what *testing.T and *rapid.T have in common here.
type failer interface {
	Helper()
	Fatalf(string, ...any)
}

func decodeObject(t failer, document []byte) (value map[string]any) {
	t.Helper()
	if err := json.Unmarshal(document, &value); err != nil {
		t.Fatalf("%s: %v", document, err)
	}
	return value
}

func documentOf(t failer, s Settings) []byte {
	t.Helper()
	document, err := s.Document()
	if err != nil {
		t.Fatalf("%+v: %v", s, err)
	}
	return document
}

// checkPatch holds what is true of every patch, and gives the overrides after it.
func checkPatch(t failer, o Overrides, patch []byte) Overrides {
	t.Helper()
	before := o.String()
	given := string(patch)
	after, settings, err := o.Patch(patch, Baseline{})
	if o.String() != before || string(patch) != given {
		t.Fatalf("a patch has written to what it was given: %s, %s", o, patch)
	}
	if err != nil {
		refusal, ok := errors.AsType[*usher.Error](err)
		if !ok || (refusal.Code != usher.CodeInvalidRequest && refusal.Code != usher.CodeBodyTooLarge) || refusal.Detail == "" {
			t.Fatalf("%s on %s: %v", patch, o, err)
		}
		if after != o {
			t.Fatalf("%s on %s is refused, but gives %s", patch, o, after)
		}
		return o
	}
	resolved, err := Resolve(after, Baseline{})
	if diff := cmp.Diff(resolved, settings); err != nil || diff != "" {
		t.Fatalf("%s on %s: Resolve (-) and Patch (+) differ: %v\n%s", patch, o, err, diff)
	}
	mustObeySchema(t, documentOf(t, settings))
	mustObeySchema(t, []byte(after.String()))
	if twice, _, err := after.Patch(patch, Baseline{}); err != nil || twice != after {
		t.Fatalf("%s on %s gives %s, and again %s, %v", patch, o, after, twice, err)
	}
	mustMerge(t, o, patch, settings)
	return after
}

// mustMerge holds that the document reads as RFC 7396 has it, where keys set to null read as the default.
func mustMerge(t failer, o Overrides, patch []byte, got Settings) {
	t.Helper()
	before, err := Resolve(o, Baseline{})
	if err != nil {
		t.Fatalf("%s: %v", o, err)
	}
	want, ok := rfc7396(decodeObject(t, documentOf(t, before)), any(decodeObject(t, patch))).(map[string]any)
	if !ok {
		t.Fatalf("%s is accepted", patch)
	}
	defaults := decodeObject(t, documentOf(t, Defaults()))
	for key := range defaults {
		if _, ok := want[key]; !ok {
			want[key] = defaults[key]
		}
	}
	if diff := cmp.Diff(want, decodeObject(t, documentOf(t, got))); diff != "" {
		t.Fatalf("%s on %s: RFC 7396 (-) and the document (+) differ:\n%s", patch, o, diff)
	}
}

// anyPatch draws patches that are about settings, most of them sound, so that both ways are walked.
func anyPatch() *rapid.Generator[[]byte] {
	number := rapid.SampledFrom([]any{0, 1, 59, 60, 100, 3600, 3600.0, 7.5, 10000, 86400, 1e21, -1})
	flag := rapid.SampledFrom([]any{true, true, false, false, "true"})
	role := rapid.SampledFrom([]string{"host", "participant", "viewer", "guest", "a-1", "Bad", ""})
	grant := rapid.SampledFrom([]any{"publish", "subscribe", "moderate", "record"})
	origin := rapid.SampledFrom([]any{"https://a.example", "https://b.example:8443", "http://localhost:3000", "https://a.example:443", "*", 1})
	grants := rapid.Custom(func(t *rapid.T) any {
		if rapid.IntRange(0, 4).Draw(t, "removed") == 0 {
			return nil
		}
		return rapid.OneOf(
			rapid.Just[any](map[string]any{"grants": []any{"publish"}}),
			rapid.Map(rapid.SliceOfNDistinct(grant, 0, 4, rapid.ID[any]), func(s []any) any { return s }),
			rapid.Map(rapid.SliceOfNDistinct(grant, 0, 4, rapid.ID[any]), func(s []any) any { return s }),
			rapid.Map(rapid.SliceOfN(grant, 0, 4), func(s []any) any { return s }),
		).Draw(t, "grants")
	})
	roles := rapid.Map(rapid.MapOfN(role, grants, 0, 3), func(m map[string]any) any { return m })
	values := map[string]*rapid.Generator[any]{
		"default_role":                 rapid.Map(role, func(s string) any { return s }),
		"roles":                        rapid.OneOf(roles, roles, roles, rapid.Just[any]("host")),
		"duplicate_participant_policy": rapid.SampledFrom([]any{"allow", "reject", "replace", "return_existing", "kick"}),
		"signing_algorithm":            rapid.SampledFrom([]any{"EdDSA", "ES256", "RS256", "HS256"}),
		"allowed_origins":              rapid.Map(rapid.SliceOfN(origin, 0, 3), func(s []any) any { return s }),
		"unknown":                      number,
	}
	for _, key := range []string{"allow_early_join", "first_participant_is_host", "force_recording", "auto_start_recording"} {
		values[key] = flag
	}
	for _, key := range []string{"max_participants_per_room", "max_concurrent_rooms", "empty_room_timeout_minutes", "room_retention_hours",
		"presence_timeout_seconds", "audit_retention_days", "signing_key_rotation_days", "access_token_ttl_seconds", "refresh_token_ttl_seconds", "requests_per_second", "burst"} {
		values[key] = number
	}
	keys := rapid.SampledFrom(sortedKeys(values))
	return rapid.Custom(func(t *rapid.T) []byte {
		patch := make(map[string]any)
		for _, key := range rapid.SliceOfN(keys, 0, 3).Draw(t, "keys") {
			patch[key] = nil
			if rapid.IntRange(0, 4).Draw(t, "reset") > 0 {
				patch[key] = values[key].Draw(t, key)
			}
		}
		b, err := json.Marshal(patch, json.Deterministic(true))
		if err != nil {
			panic(err)
		}
		return b
	})
}

func TestEveryPatchKeepsTheLaws(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var o Overrides
		for _, patch := range rapid.SliceOfN(anyPatch(), 1, 8).Draw(t, "patches") {
			o = checkPatch(t, o, patch)
		}
	})
}

// Where any JSON at all goes in, and nearly all of it must be refused in good order.
func TestNoValueOfASettingPanics(t *testing.T) {
	t.Parallel()
	leaf := rapid.OneOf(
		rapid.Just[any](nil),
		rapid.Map(rapid.Bool(), func(b bool) any { return b }),
		rapid.Map(rapid.Float64(), func(f float64) any { return f }),
		rapid.Map(rapid.String(), func(s string) any { return s }),
	)
	value := rapid.OneOf(leaf,
		rapid.Map(rapid.SliceOfN(leaf, 0, 30), func(s []any) any { return s }),
		rapid.Map(rapid.MapOfN(rapid.String(), rapid.OneOf(leaf, rapid.Map(rapid.SliceOfN(leaf, 0, 3), func(s []any) any { return s })), 0, 3),
			func(m map[string]any) any { return m }))
	key := rapid.OneOf(rapid.SampledFrom(sortedKeys(settingsSchema().defaults)), rapid.String())
	rapid.Check(t, func(t *rapid.T) {
		patch, err := json.Marshal(rapid.MapOfN(key, value, 1, 4).Draw(t, "patch"), json.Deterministic(true))
		if err != nil {
			t.Skip("no JSON")
		}
		checkPatch(t, Overrides{}, patch)
	})
}

// Settings are read by many requests while others are patched; run with -race.
func TestOverridesAndSettingsAreSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	o, s := mustPatch(t, Overrides{}, `{"burst":3,"roles":{"guest":[]}}`)
	want := string(documentOf(t, s))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 20 {
				_, _, _ = o.Patch(fmt.Appendf(nil, `{"burst":%d,"roles":{"host":null,"a%d":["record"]}}`, i+1, i), Baseline{})
				resolved, err := Resolve(o, Baseline{})
				if err != nil || !reflect.DeepEqual(resolved, s) {
					t.Errorf("resolved to %+v, %v", resolved, err)
				}
			}
		})
	}
	wg.Wait()
	if got := string(documentOf(t, s)); got != want {
		t.Errorf("%s has become %s", want, got)
	}
}

// FuzzPatch holds the laws of every patch for any bytes, on overrides that any bytes have led to.
func FuzzPatch(f *testing.F) {
	for _, seed := range []struct{ first, second string }{
		{`{}`, `{"burst":5}`},
		{`{"burst":5,"roles":{"guest":["subscribe"]}}`, `{"burst":null,"roles":{"viewer":null}}`},
		{`{"roles":null}`, `{"roles":{"host":["publish","publish"],"B":[1]},"default_role":"guest"}`},
		{`{"allowed_origins":["https://a.example","http://[::1]:3000"]}`, `{"allowed_origins":["https://a.example:443",{"a":null}]}`},
		{`{"access_token_ttl_seconds":6e1}`, `{"refresh_token_ttl_seconds":60.0,"requests_per_second":1e999,"burst":-0}`},
		{"{\"\xff\":1}", `{"burst":1,"burst":2}`},
		{`[]`, `null`},
	} {
		f.Add([]byte(seed.first), []byte(seed.second))
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		checkPatch(t, checkPatch(t, Overrides{}, first), second)
	})
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
