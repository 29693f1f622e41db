//go:build !race

package rooms

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"pgregory.net/rapid"

	"usher/tenant"
)

// What is allocated grows with each step of the decision that is done twice. The race detector adds its own.
func TestADecisionAllocatesLittle(t *testing.T) {
	for _, c := range []struct {
		joins int
		most  float64
	}{{1, 3}, {100, 220}} {
		if n := testing.AllocsPerRun(100, joining(t, c.joins, tenant.DuplicateAllow)); n > c.most {
			t.Errorf("deciding %d joins allocates %v times, want %v at most", c.joins, n, c.most)
		}
	}
}

// TestMergingTakesNoMoreThanItsLength: of an object that is wide, and of one that is deep, eight times as much makes eight
// times the work, which is counted in allocations.
func TestMergingTakesNoMoreThanItsLength(t *testing.T) {
	wide := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `,"%d":{}`, i)
		}
		return "{" + b.String()[1:] + "}"
	}
	deep := func(n int) string { return strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) }
	for name, make := range map[string]func(int) string{"wide": wide, "deep": deep} {
		cost := func(n int) float64 {
			document := jsontext.Value(make(n))
			return testing.AllocsPerRun(3, func() {
				if _, err := mergePatch(document, document); err != nil {
					t.Fatal(err)
				}
			})
		}
		if few, many := cost(1000), cost(8000); many > 10*few {
			t.Errorf("%s: %v allocations for 1000 members, %v for 8000", name, few, many)
		}
	}
}

// TestADecisionAboutMetadataReadsNone: whatever the patch, what is done in the writer costs the same.
func TestADecisionAboutMetadataReadsNone(t *testing.T) {
	decision := func(patch string) float64 {
		var u Update
		if err := json.Unmarshal([]byte(`{"metadata":`+patch+`}`), &u); err != nil {
			t.Fatal(err)
		}
		room := Room{ID: "room_1", Name: "r", Status: Active, Metadata: jsontext.Value(`{"a":1}`)}
		p, err := u.prepare(room.Metadata)
		if err != nil {
			t.Fatal(err)
		}
		return testing.AllocsPerRun(10, func() {
			if !p.restsOn(room.Metadata) {
				t.Fatal("moved")
			}
			_, _ = p.on(room, tenant.Defaults(), time.Now())
		})
	}
	small := decision(`{"b":2}`)
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 500).Draw(t, "members")
		members := make(map[string]any, n)
		for i := range n {
			members[fmt.Sprint("m", i)] = rapid.SampledFrom([]any{nil, 1, "x", map[string]any{}, []any{1}}).Draw(t, "value")
		}
		patch, err := json.Marshal(members, json.Deterministic(true))
		if err != nil {
			t.Fatal(err)
		}
		if cost := decision(string(patch)); cost > small+10 { // a refusal is an error of its own
			t.Fatalf("%d members: %v allocations, and %v for one", n, cost, small)
		}
	})
}
