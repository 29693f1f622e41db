package gateway_test

import (
	"fmt"
	"strings"
	"testing"
)

// TestBulksOfTheLargestLeaveOthersAlone: 24 rooms of one tenant are filled at once with as much as a bulk may have, and another
// tenant's single adds are all taken.
func TestBulksOfTheLargestLeaveOthersAlone(t *testing.T) {
	t.Parallel()
	h := open(t, `{"burst":100000,"requests_per_second":100000}`)
	_, neighbour := h.newTenant("")
	bulk := make([]object, 96)
	for i := range bulk {
		bulk[i] = object{"display_name": "A", "metadata": object{"x": strings.Repeat("m", 4000)}}
	}
	together(25, func(i int) {
		if i == 24 {
			for n := range 40 {
				r := h.send(neighbour, "POST", fmt.Sprintf("/api/v1/rooms/room-%d/participants", n), object{"display_name": "B"})
				if r.status != 201 {
					t.Errorf("the neighbour's add %d: %d %s", n, r.status, r.raw)
				}
			}
			return
		}
		r := h.send(h.key, "POST", fmt.Sprintf("/api/v1/rooms/room-%d/participants/bulk", i), object{"participants": bulk})
		if r.status != 200 {
			t.Errorf("a bulk: %d %.300s", r.status, r.raw)
			return
		}
		for _, result := range r.body["results"].([]any) {
			if result.(object)["success"] != true {
				t.Errorf("an item of a bulk: %v", result)
				return
			}
		}
	})
}
