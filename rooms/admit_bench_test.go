package rooms

import (
	"fmt"
	"testing"

	"usher/tenant"
)

// joining is a room of 50, and joins that it can take.
func joining(t testing.TB, joins int, policy tenant.DuplicatePolicy) func() {
	s, err := tenant.Resolve(tenant.Overrides{}, tenant.Baseline{})
	if err != nil {
		t.Fatal(err)
	}
	s.DuplicateParticipantPolicy, s.MaxParticipantsPerRoom = policy, 10_000
	h := &hall{room: Room{ID: newID(noon), Name: "CS101", Status: Active}}
	users := func(from, n int) (all []Join) {
		for i := range n {
			all = append(all, Join{ExternalUserID: fmt.Sprint("user-", from+i), Random: uint64(i)})
		}
		return all
	}
	h.admit(s, users(0, 50), noon)
	asked := users(40, joins) // the first ten are there already
	return func() {
		if _, verdicts := Admit(h.room, s, h.seated, asked, noon); len(verdicts) != joins {
			t.Fatalf("%d verdicts", len(verdicts))
		}
	}
}

// BenchmarkAdmit is the decision on so many joins together: go test ./rooms -run '^$' -bench Admit -benchmem.
func BenchmarkAdmit(b *testing.B) {
	for _, n := range []int{1, 100} {
		for _, policy := range []tenant.DuplicatePolicy{tenant.DuplicateAllow, tenant.DuplicateReplace} {
			b.Run(fmt.Sprint(n, "/", policy), func(b *testing.B) {
				decide := joining(b, n, policy)
				b.ReportAllocs()
				for b.Loop() {
					decide()
				}
			})
		}
	}
}
