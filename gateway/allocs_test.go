//go:build !race

package gateway_test

import "testing"

// TestRequestsAllocateLittle bounds what a request allocates beyond net/http, so that work that creeps into the path of
// every request is seen where it is done. Adds are left out: etcd's share of theirs is not ours to bound.
func TestRequestsAllocateLittle(t *testing.T) {
	all := exchanges(t)
	for name, most := range map[string]float64{"Get": 34, "List": 48, "Refresh": 68} {
		if n := testing.AllocsPerRun(500, all[name]); n > most {
			t.Errorf("%s allocates %v times, want %v at most", name, n, most)
		}
	}
}
