package tenant

import (
	"testing"

	"go.jetify.com/typeid"
	"pgregory.net/rapid"
)

func TestTypeIDsAreThoseOfTheLibrary(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		u := UUID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "uuid"))
		prefix := rapid.SampledFrom([]string{"tenant", "key", "room", "p"}).Draw(t, "prefix")
		want, err := typeid.FromUUIDBytesWithPrefix(prefix, u[:])
		if err != nil {
			t.Fatal(err)
		}
		text := FormatTypeID(prefix, u)
		if text != want.String() {
			t.Fatalf("%x is %s, want %s", u, text, want)
		}
		if back, ok := ParseTypeID(prefix, text); !ok || back != u {
			t.Fatalf("%s is %x, %v; want %x", text, back, ok, u)
		}
	})
}

// FuzzParseTypeID: what is taken for a TypeID is one to the library too, in the form in which it writes it, and the other
// way round.
func FuzzParseTypeID(f *testing.F) {
	for _, seed := range []string{"p_01m84f8xcke00a1y84v4wbjn67", "p_81m84f8xcke00a1y84v4wbjn67", "p_01M84F8XCKE00A1Y84V4WBJN67", "p_", "", "p_01m84f8xcke00a1y84v4wbjn6i"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, ok := ParseTypeID("p", s)
		theirs, err := typeid.FromString(s)
		want := err == nil && theirs.Prefix() == "p" && theirs.String() == s
		if ok != want || ok && u != UUID(theirs.UUIDBytes()) {
			t.Fatalf("%q is %x, %v; the library says %v, %v", s, u, ok, theirs, err)
		}
	})
}
