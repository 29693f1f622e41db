package gateway

import (
	"testing"
	"unicode/utf8"

	"usher"
	"usher/participants"
)

// FuzzUnmarshal: whatever a body holds, the decoder gives a request or a refusal that names no internals, never a panic.
func FuzzUnmarshal(f *testing.F) {
	for _, seed := range []string{`{"display_name":"A"}`, `{"metadata":{"a":[1,2]}}`, `{"display_name":1}`, `{"x":1}`, `{`, ``, "\xff", `{"display_name":"\ud800"}`, `null`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var request participants.NewParticipant
		if err := unmarshal(body, &request); err != nil {
			if e := usher.AsError(err); e.Code != usher.CodeInvalidRequest || e.Detail == "" || !utf8.ValidString(e.Detail) {
				t.Fatalf("%q is refused as %v", body, err)
			}
			return
		}
		if len(request.Validate()) == 0 && !utf8.ValidString(request.DisplayName+request.ExternalUserID) {
			t.Fatalf("%q gave %q", body, request.DisplayName)
		}
	})
}
