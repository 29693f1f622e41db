package rooms

import (
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
)

// The table of RFC 7396, appendix A, as far as both are objects.
func TestMetadataIsMergedAsTheRFCSays(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ target, patch, want string }{
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`{"e":null}`, `{"a":1}`, `{"a":1,"e":null}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
		{``, `{"a":[null,{"b":null}]}`, `{"a":[null,{"b":null}]}`},
		{`{"n":12345678901234567890.10}`, `{"m":1e400}`, `{"m":1e400,"n":12345678901234567890.10}`},
	} {
		got, err := mergePatch(jsontext.Value(c.target), jsontext.Value(c.patch))
		if err != nil || string(got) != c.want {
			t.Errorf("%s on %s: %s %v, want %s", c.patch, c.target, got, err, c.want)
		}
	}
}

func FuzzMergePatch(f *testing.F) {
	f.Add(`{"a":{"b":1}}`, `{"a":{"b":null,"c":[{"d":null}]}}`)
	f.Add(`{}`, `{"":{"":1e5}}`)
	f.Fuzz(func(t *testing.T, target, patch string) {
		if jsontext.Value(target).Kind() != '{' || jsontext.Value(patch).Kind() != '{' || !jsontext.Value(target).IsValid() || !jsontext.Value(patch).IsValid() {
			return
		}
		once, err := mergePatch(jsontext.Value(target), jsontext.Value(patch))
		if err != nil {
			t.Fatal(err)
		}
		twice, err := mergePatch(once, jsontext.Value(patch))
		if diff := cmp.Diff(string(once), string(twice)); err != nil || diff != "" {
			t.Fatalf("%v: %s", err, diff)
		}
	})
}
