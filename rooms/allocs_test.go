//go:build !race

package rooms

import (
	"testing"

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
