package tenant

import (
	"fmt"
	"strings"
	"testing"

	"usher"
)

// The cost that maxPatchBytes bounds: every byte goes into roles that are faulty twice.
func BenchmarkCostlyPatch(b *testing.B) {
	var patch strings.Builder
	patch.WriteString(`{"roles":{"0":1`)
	for n := 0; patch.Len() < maxPatchBytes-len(`,"fff":1}}`); n++ {
		fmt.Fprintf(&patch, `,"%03x":1`, n)
	}
	patch.WriteString("}}")
	for b.Loop() {
		if _, _, err := (Overrides{}).Patch([]byte(patch.String()), Baseline{}); !usher.HasCode(err, usher.CodeInvalidRequest) {
			b.Fatal(err)
		}
	}
}

func BenchmarkResolve(b *testing.B) {
	o, _, err := Overrides{}.Patch([]byte(`{"burst":5,"roles":{"guest":["subscribe"]}}`), Baseline{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Resolve(o, Baseline{}); err != nil {
			b.Fatal(err)
		}
	}
}
