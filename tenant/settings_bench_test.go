package tenant

import (
	"fmt"
	"strings"
	"testing"

	"usher"
)

// The cost that the bounds of a patch leave: in the largest that the schema is asked about, every role and grant is faulty;
// in the largest that it is not, there are more members than any sound one has.
func BenchmarkCostlyPatch(b *testing.B) {
	fill := func(first, next string, most int) string {
		var patch strings.Builder
		patch.WriteString(first)
		for n := 1; n < most && patch.Len() < maxPatchBytes-64; n++ {
			fmt.Fprintf(&patch, next, n)
		}
		return patch.String()
	}
	grants := "[" + strings.Repeat(`"x",`, maxPatchGrants-1) + `"x"]`
	for name, patch := range map[string]string{
		"judged":  fill(`{"roles":{"0":`+grants, `,"%03x":`+grants, maxPatchRoles) + "}}",
		"counted": fill(`{"roles":{"0":1`, `,"%03x":1`, maxPatchBytes) + "}}",
		"deep":    `{"roles":` + strings.Repeat(`{"a":`, 5000) + "1" + strings.Repeat("}", 5001),
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, _, err := (Overrides{}).Patch([]byte(patch), Baseline{}); !usher.HasCode(err, usher.CodeInvalidRequest) {
					b.Fatal(err)
				}
			}
		})
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
