package tenant

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"usher"
)

func mustPatch(t *testing.T, o Overrides, patch string) (Overrides, Settings) {
	t.Helper()
	patched, settings, err := o.Patch([]byte(patch), Baseline{})
	if err != nil {
		t.Fatalf("%s on %s is refused: %v", patch, o, err)
	}
	return patched, settings
}

// mustRefuse holds that the patch is refused for exactly these fields ("field message"), and that nothing of it is applied.
func mustRefuse(t *testing.T, o Overrides, patch string, want ...string) {
	t.Helper()
	after, settings, err := o.Patch([]byte(patch), Baseline{})
	refusal, ok := errors.AsType[*usher.Error](err)
	if !ok || refusal.Code != usher.CodeInvalidRequest {
		t.Fatalf("%.200s on %s: error is %v, want %s for %v", patch, o, err, usher.CodeInvalidRequest, want)
	}
	var got []string
	for _, f := range refusal.Fields {
		got = append(got, f.String())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%.200s on %s: want (-) and got (+):\n%s", patch, o, diff)
	}
	if after != o || settings.DefaultRole != "" {
		t.Errorf("%.200s on %s is refused, but gives %s and %+v", patch, o, after, settings)
	}
}

func TestNumbersAreBounded(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		key      string
		min, max int
		with     string // what else must be patched for the bound alone to decide
	}{
		{"max_participants_per_room", 1, 10000, ``},
		{"max_concurrent_rooms", 1, 100000, ``},
		{"max_stored_bytes", 4 << 20, 1 << 40, ``},
		{"empty_room_timeout_minutes", 1, 10080, ``},
		{"room_retention_hours", 1, 8760, ``},
		{"presence_timeout_seconds", 0, 86400, ``},
		{"audit_retention_days", 1, 3650, ``},
		{"signing_key_rotation_days", 0, 3650, ``},
		{"access_token_ttl_seconds", 60, 86400, ``},
		{"refresh_token_ttl_seconds", 60, 2592000, `,"access_token_ttl_seconds":60`},
		{"requests_per_second", 1, 100000, ``},
		{"burst", 1, 100000, ``},
	} {
		t.Run(test.key, func(t *testing.T) {
			t.Parallel()
			patch := func(value any) string { return fmt.Sprintf(`{"%s":%v%s}`, test.key, value, test.with) }
			mustPatch(t, Overrides{}, patch(test.min))
			mustPatch(t, Overrides{}, patch(test.max))
			atLeast, atMost := fmt.Sprintf("%s must be at least %d", test.key, test.min), fmt.Sprintf("%s must be at most %d", test.key, test.max)
			mustRefuse(t, Overrides{}, patch(test.min-1), atLeast)
			mustRefuse(t, Overrides{}, patch(-1), atLeast)
			mustRefuse(t, Overrides{}, patch(test.max+1), atMost)
			mustRefuse(t, Overrides{}, patch("1e999999999"), atMost)
			mustRefuse(t, Overrides{}, patch("123456789012345678901234567890"), atMost)
			for _, wrong := range []string{`"1"`, `1.5`, `true`, `[1]`, `{"a":1}`, `{}`} {
				mustRefuse(t, Overrides{}, patch(wrong), test.key+" must be a whole number")
			}
		})
	}
}

func TestWholeNumbersAreKeptAsSuch(t *testing.T) {
	t.Parallel()
	for _, number := range []string{"300", "300.0", "3e2", "0.3E+3"} {
		o, s := mustPatch(t, Overrides{}, `{"burst":`+number+`}`)
		if o.String() != `{"burst":300}` || s.Burst != 300 {
			t.Errorf("%s is kept as %s, resolved as %d", number, o, s.Burst)
		}
	}
}

func TestFaultyValuesAreNamed(t *testing.T) {
	t.Parallel()
	const roleName = "must be a role name: 1 to 32 of a-z, 0-9, _ and -, beginning with a letter"
	const grants = "must be one of publish, subscribe, moderate, record"
	for _, test := range []struct {
		patch string
		want  []string
	}{
		{`{"allow_early_join":1}`, []string{"allow_early_join must be true or false"}},
		{`{"first_participant_is_host":"true"}`, []string{"first_participant_is_host must be true or false"}},
		{`{"force_recording":[]}`, []string{"force_recording must be true or false"}},
		{`{"auto_start_recording":0}`, []string{"auto_start_recording must be true or false"}},
		{`{"duplicate_participant_policy":"kick"}`, []string{"duplicate_participant_policy must be one of allow, reject, replace, return_existing"}},
		{`{"duplicate_participant_policy":false}`, []string{"duplicate_participant_policy must be a string"}},
		{`{"signing_algorithm":"none"}`, []string{"signing_algorithm must be one of EdDSA, ES256, RS256"}},
		{`{"signing_algorithm":1}`, []string{"signing_algorithm must be a string"}},
		{`{"default_role":7}`, []string{"default_role must be a string"}},
		{`{"default_role":"Big Boss"}`, []string{"default_role " + roleName}},
		{`{"default_role":"` + strings.Repeat("a", 33) + `"}`, []string{"default_role " + roleName}},
		{`{"roles":["host"]}`, []string{"roles must be an object"}},
		{`{"roles":{"Host":[]}}`, []string{"roles.Host " + roleName}},
		{`{"roles":{"":[],"9":[]}}`, []string{"roles. " + roleName, "roles.9 " + roleName}},
		{`{"roles":{"host":"publish"}}`, []string{"roles.host must be a list"}},
		{`{"roles":{"host":{"grants":["publish"]}}}`, []string{"roles.host must be a list"}},
		{`{"roles":{"host":["publish","record","fly"]}}`, []string{"roles.host.2 " + grants}},
		{`{"roles":{"host":["publish",null,{"a":1}]}}`, []string{"roles.host.1 " + grants, "roles.host.2 " + grants}},
		{`{"roles":{"host":["publish","record","publish","record"]}}`, []string{"roles.host.2 repeats an earlier entry", "roles.host.3 repeats an earlier entry"}},
		{`{"roles":{"A b":["publish"],"host":["fly"]}}`, []string{"roles.A b " + roleName, "roles.host.0 " + grants}},
		{`{"allowed_origins":"*"}`, []string{"allowed_origins must be a list"}},
		{`{"allowed_origins":[[1],{"a":[1]},[1],{"a":[1]}]}`, []string{
			"allowed_origins.0 must be a string", "allowed_origins.1 must be a string",
			"allowed_origins.2 must be a string", "allowed_origins.2 repeats an earlier entry",
			"allowed_origins.3 must be a string", "allowed_origins.3 repeats an earlier entry"}},
		{`{"max_participants":5}`, []string{"max_participants is not a setting"}},
		{`{"max_participants":null}`, []string{"max_participants is not a setting"}},
		{`{"Burst":5}`, []string{"Burst is not a setting"}},
		{`{"version":5,"roles":{"host":null}, "auto_start_recording":true}`, []string{
			"auto_start_recording needs a role named host in roles", "version is not a setting"}},
		{`{"burst":0,"max_participants_per_room":10001,"allow_early_join":"no","nope":{},"roles":{"x":[1]},"default_role":"ghost","refresh_token_ttl_seconds":60}`, []string{
			"allow_early_join must be true or false",
			"burst must be at least 1",
			"max_participants_per_room must be at most 10000",
			"nope is not a setting",
			"refresh_token_ttl_seconds must be at least access_token_ttl_seconds (3600)",
			"roles.x.0 " + grants}}, // and nothing of default_role, as roles are not known
	} {
		mustRefuse(t, Overrides{}, test.patch, test.want...)
		own, _ := mustPatch(t, Overrides{}, `{"burst":9,"roles":{"b":["record"]}}`)
		mustRefuse(t, own, test.patch, test.want...)
	}
}

func TestListsAreBounded(t *testing.T) {
	t.Parallel()
	origins := func(n int) string {
		list := make([]string, n)
		for i := range list {
			list[i] = fmt.Sprintf(`"https://a%d.example"`, i)
		}
		return `{"allowed_origins":[` + strings.Join(list, ",") + `]}`
	}
	roles := func(n int) string { // on top of the default three
		list := make([]string, n)
		for i := range list {
			list[i] = fmt.Sprintf(`"r%d":[]`, i)
		}
		return `{"roles":{` + strings.Join(list, ",") + `}}`
	}
	mustPatch(t, Overrides{}, origins(64))
	mustRefuse(t, Overrides{}, origins(65), "allowed_origins must have at most 64")
	mustPatch(t, Overrides{}, roles(29))
	mustRefuse(t, Overrides{}, roles(30), "roles must have at most 32")
	mustRefuse(t, Overrides{}, `{"roles":{"host":null,"participant":null,"viewer":null}}`, "roles must have at least 1")
	mustPatch(t, Overrides{}, `{"roles":{"host":null,"participant":null,"viewer":null,"a":[]},"default_role":"a"}`)
	mustPatch(t, Overrides{}, `{"roles":{"`+strings.Repeat("a", 32)+`":[]}}`)
}

func TestOrigins(t *testing.T) {
	t.Parallel()
	const form = "must be an origin in lower case: https://host or https://host:port, or http:// with localhost, 127.0.0.1 or [::1]"
	for origin, want := range map[string]string{
		"https://app.example.com":                     "",
		"https://localhost":                           "",
		"https://xn--bcher-kva.example:8443":          "",
		"https://192.0.2.1:1":                         "",
		"https://[2001:db8::1]":                       "",
		"https://[2001:db8::443]":                     "",
		"https://[2001:db8::1]:65535":                 "",
		"http://localhost":                            "",
		"http://localhost:3000":                       "",
		"http://127.0.0.1:443":                        "",
		"http://[::1]:8080":                           "",
		"https://a.example:80":                        "",
		"*":                                           form,
		"null":                                        form,
		"":                                            form,
		"https://":                                    form,
		"https://*.example.com":                       form,
		"https://app.example.com/":                    form,
		"https://app.example.com/path":                form,
		"https://app.example.com?x":                   form,
		"https://user@app.example.com":                form,
		"https://App.example.com":                     form,
		"https://app.example.com:":                    form,
		"https://app.example.com:0":                   form,
		"https://-a.example":                          form,
		"https://a..example":                          form,
		"https://a.example\n":                         form,
		"http://app.example.com":                      form,
		"http://localhost.evil.example":               form,
		"http://localhost@evil.example":               form,
		"HTTPS://app.example.com":                     form,
		"wss://app.example.com":                       form,
		"app.example.com":                             form,
		"https://app.example.com:443":                 "must leave out :443, as browsers do",
		"http://localhost:80":                         "must leave out :80, as browsers do",
		"https://app.example.com:65536":               "must have a port of at most 65535",
		"https://" + strings.Repeat("a", 247):         "",
		"https://" + strings.Repeat("a", 248):         "must be at most 255 characters",
		"https://" + strings.Repeat("a.", 100) + "b":  "",
		"https://[::1]:443":                           "must leave out :443, as browsers do",
		"https://a.example https://b.example":         form,
		"https://b\u00fccher.example":                 form,
		"https://a.example\u0000":                     form,
		"https://a.example:8443:8443":                 form,
		"https://[::1":                                form,
		"http://[::2]":                                form,
		"https://a.example.":                          form,
		"https://" + strings.Repeat("a-", 20) + "a.b": "",
	} {
		patch := fmt.Sprintf(`{"allowed_origins":["https://first.example",%s]}`, quoteJSON(origin))
		if want == "" {
			if _, s := mustPatch(t, Overrides{}, patch); len(s.AllowedOrigins) != 2 || s.AllowedOrigins[1] != origin {
				t.Errorf("%s is kept as %v", origin, s.AllowedOrigins)
			}
			continue
		}
		mustRefuse(t, Overrides{}, patch, "allowed_origins.1 "+want)
	}
}

func TestRulesBetweenSettings(t *testing.T) {
	t.Parallel()
	noHost, _ := mustPatch(t, Overrides{}, `{"roles":{"host":null}}`)
	recording, _ := mustPatch(t, Overrides{}, `{"auto_start_recording":true}`)
	longAccess, _ := mustPatch(t, Overrides{}, `{"access_token_ttl_seconds":7200}`)
	for _, test := range []struct {
		on    Overrides
		patch string
		want  []string // none: accepted
	}{
		{Overrides{}, `{"default_role":"viewer"}`, nil},
		{Overrides{}, `{"default_role":"guest"}`, []string{"default_role must be one of roles: host, participant, viewer"}},
		{Overrides{}, `{"default_role":"guest","roles":{"guest":["subscribe"]}}`, nil},
		{Overrides{}, `{"roles":{"participant":null}}`, []string{"default_role must be one of roles: host, viewer"}},
		{noHost, `{"first_participant_is_host":true}`, []string{"first_participant_is_host needs a role named host in roles"}},
		{noHost, `{"first_participant_is_host":true,"roles":null}`, nil},
		{noHost, `{"force_recording":true}`, nil},
		{recording, `{"roles":{"host":null}}`, []string{"auto_start_recording needs a role named host in roles"}},
		{recording, `{"roles":{"host":null},"auto_start_recording":null}`, nil},
		{Overrides{}, `{"access_token_ttl_seconds":86400}`, nil},
		{Overrides{}, `{"refresh_token_ttl_seconds":3600}`, nil},
		{Overrides{}, `{"refresh_token_ttl_seconds":3599}`, []string{"refresh_token_ttl_seconds must be at least access_token_ttl_seconds (3600)"}},
		{longAccess, `{"refresh_token_ttl_seconds":3600}`, []string{"refresh_token_ttl_seconds must be at least access_token_ttl_seconds (7200)"}},
		{longAccess, `{"refresh_token_ttl_seconds":3600,"access_token_ttl_seconds":null}`, nil},
		{Overrides{}, `{"burst":1}`, nil},
		{Overrides{}, `{"requests_per_second":100000}`, nil},
	} {
		if test.want == nil {
			mustPatch(t, test.on, test.patch)
		} else {
			mustRefuse(t, test.on, test.patch, test.want...)
		}
	}
}

func TestPatchIsAMergePatch(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, on, patch, want string }{
		{"nothing", `{}`, `{}`, `{}`},
		{"set", `{}`, `{"burst":5}`, `{"burst":5}`},
		{"set to the default", `{}`, `{"burst":1000}`, `{"burst":1000}`},
		{"set again", `{"burst":5}`, `{"burst":6}`, `{"burst":6}`},
		{"set another", `{"burst":5}`, `{"allow_early_join":false}`, `{"allow_early_join":false,"burst":5}`},
		{"null resets", `{"allow_early_join":false,"burst":5}`, `{"burst":null}`, `{"allow_early_join":false}`},
		{"null resets the last", `{"burst":5}`, `{"burst":null}`, `{}`},
		{"null of what is not set", `{}`, `{"burst":null,"roles":null}`, `{}`},
		{"a list is replaced", `{"allowed_origins":["https://a.b"]}`, `{"allowed_origins":["https://c.d"]}`, `{"allowed_origins":["https://c.d"]}`},
		{"a list is emptied", `{"allowed_origins":["https://a.b"]}`, `{"allowed_origins":[]}`, `{"allowed_origins":[]}`},
		{"spaces, order and escapes do not matter", `{}`, " { \"burst\" : 5,\n\"allow_\\u0065arly_join\":true } ", `{"allow_early_join":true,"burst":5}`},
	} {
		o, _ := mustPatch(t, Overrides{}, test.on)
		if got, _ := mustPatch(t, o, test.patch); got.String() != test.want {
			t.Errorf("%s: %s on %s gives %s, want %s", test.name, test.patch, test.on, got, test.want)
		}
	}
}

func TestRolesAreMergedAsTheyAreRead(t *testing.T) {
	t.Parallel()
	const host, participant = `"host":["publish","subscribe","moderate","record"]`, `"participant":["publish","subscribe"]`
	for _, test := range []struct{ name, on, patch, want string }{
		{"add to the defaults", `{}`, `{"roles":{"guest":["subscribe"]}}`, `{"guest":["subscribe"],` + host + `,` + participant + `,"viewer":["subscribe"]}`},
		{"remove a default", `{}`, `{"roles":{"viewer":null}}`, `{` + host + `,` + participant + `}`},
		{"remove what is not there", `{}`, `{"roles":{"viewer":null,"Ghost !":null}}`, `{` + host + `,` + participant + `}`},
		{"grants are replaced", `{}`, `{"roles":{"viewer":[]}}`, `{` + host + `,` + participant + `,"viewer":[]}`},
		{"add to one's own", `{"roles":{"viewer":null}}`, `{"roles":{"a":[]}}`, `{"a":[],` + host + `,` + participant + `}`},
		{"grants keep their order", `{"roles":{"viewer":null}}`, `{"roles":{"host":["record","publish"]}}`, `{"host":["record","publish"],` + participant + `}`},
	} {
		o, _ := mustPatch(t, Overrides{}, test.on)
		got, _ := mustPatch(t, o, test.patch)
		if want := `{"roles":` + test.want + `}`; got.String() != want {
			t.Errorf("%s: %s on %s gives\n%s, want\n%s", test.name, test.patch, test.on, got, want)
		}
		if back, _ := mustPatch(t, got, `{"roles":null}`); back != (Overrides{}) {
			t.Errorf("%s: null leaves %s", test.name, back)
		}
	}
}

// Defaults are resolved when settings are read: what was not set follows them.
func TestUnsetKeysFollowTheDefaults(t *testing.T) {
	t.Parallel()
	o, s := mustPatch(t, Overrides{}, `{"max_participants_per_room":7}`)
	want := Defaults()
	want.MaxParticipantsPerRoom = 7
	if diff := cmp.Diff(want, s); diff != "" {
		t.Errorf("after a patch of one key:\n%s", diff)
	}
	if o.String() != `{"max_participants_per_room":7}` {
		t.Errorf("what is stored is %s, so the defaults of today were stored with it", o)
	}
}

func TestPatchThatIsNoObjectIsRefused(t *testing.T) {
	t.Parallel()
	for _, patch := range []string{`null`, `[]`, `[{"burst":1}]`, `"burst"`, `7`, `true`} {
		_, _, err := Overrides{}.Patch([]byte(patch), Baseline{})
		refusal, ok := errors.AsType[*usher.Error](err)
		if !ok || refusal.Code != usher.CodeInvalidRequest || refusal.Detail != "The settings patch must be a JSON object." {
			t.Errorf("%s: %v", patch, err)
		}
	}
}

func TestPatchThatIsNoJSONIsRefused(t *testing.T) {
	t.Parallel()
	for patch, want := range map[string]string{
		``:                                  "is not valid JSON: unexpected EOF at byte 0",
		`{"burst":`:                         "is not valid JSON: unexpected EOF at byte 9",
		`{"burst":1}}`:                      "is not valid JSON: invalid character '}' after top-level value at byte 11",
		`{"burst":01}`:                      "is not valid JSON",
		`{'burst':1}`:                       "is not valid JSON",
		`{"burst":1,}`:                      "is not valid JSON",
		`{"burst":NaN}`:                     "is not valid JSON",
		"{\"default_role\":\"\xff\"}":       "is not valid JSON: invalid UTF-8 at byte 17",
		"{\"\xff\":1}":                      "is not valid JSON: invalid UTF-8",
		`{"default_role":"\ud800"}`:         "is not valid JSON: invalid surrogate pair",
		`{"a":` + strings.Repeat("[", 20e3): "is not valid JSON: exceeded max depth",
		"\xef\xbb\xbf{}":                    "is not valid JSON",
	} {
		after, _, err := Overrides{}.Patch([]byte(patch), Baseline{})
		refusal, ok := errors.AsType[*usher.Error](err)
		if !ok || refusal.Code != usher.CodeInvalidRequest || !strings.Contains(refusal.Detail, want) || after != (Overrides{}) {
			t.Errorf("%.50q: %v, want %s", patch, err, want)
		}
	}
	mustRefuse(t, Overrides{}, `{"burst":1,"burst":1}`, "burst is given twice")
	mustRefuse(t, Overrides{}, `{"roles":{"a":[],"\u0061":[]}}`, "roles.a is given twice")
}

func TestPatchIsBounded(t *testing.T) {
	t.Parallel()
	mustPatch(t, Overrides{}, `{}`+strings.Repeat(" ", maxPatchBytes-2))
	if _, _, err := (Overrides{}).Patch([]byte(`{}`+strings.Repeat(" ", maxPatchBytes-1)), Baseline{}); !usher.HasCode(err, usher.CodeBodyTooLarge) {
		t.Errorf("error is %v", err)
	}
}

func TestTheLongestDocumentFitsIntoAPatch(t *testing.T) {
	t.Parallel()
	roles, origins := make([]string, 32), make([]string, 64)
	for i := range roles {
		roles[i] = fmt.Sprintf(`"r%031d":["publish","subscribe","moderate","record"]`, i)
	}
	for i := range origins {
		origins[i] = fmt.Sprintf(`"https://%0247d"`, i)
	}
	own := `"roles":{"host":null,"participant":null,"viewer":null,` + strings.Join(roles, ",") + `},"default_role":"r` + strings.Repeat("0", 31) + `"`
	_, settings := mustPatch(t, Overrides{}, `{`+own+`,"allowed_origins":[`+strings.Join(origins, ",")+`]}`)
	if size := len(documentOf(t, settings)); size > maxPatchBytes*3/4 {
		t.Errorf("it has %d bytes, which leaves little for spaces", size)
	}
}
