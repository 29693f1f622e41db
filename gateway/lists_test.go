package gateway_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"
)

// listed asks twice more than is needed, so that the list is one that is kept, and again page by page, which is not.
func (h *house) listed(room, query, revision string) (kept, read []string) {
	h.t.Helper()
	ask := func(query string) (ids []string, token string) {
		r := h.send(h.key, "GET", "/api/v1/rooms/"+room+"/participants?"+query, nil, "Usher-Min-Revision", revision)
		if r.status != http.StatusOK {
			h.t.Fatalf("list: %d %s", r.status, r.raw)
		}
		for _, p := range r.body["participants"].([]any) {
			text, err := json.Marshal(p)
			if err != nil {
				h.t.Fatal(err)
			}
			ids = append(ids, string(text))
		}
		token, _ = r.body["next_page_token"].(string)
		return ids, token
	}
	for range 3 {
		kept, _ = ask(query)
	}
	for token := "-"; token != ""; {
		var page []string
		part := query + "&page_size=2"
		if token != "-" {
			part += "&page_token=" + token
		}
		page, token = ask(part)
		read = append(read, page...)
	}
	return kept, read
}

// TestAKeptListIsTheRoomsList changes a room through one replica and another, and lists it on both.
func TestAKeptListIsTheRoomsList(t *testing.T) {
	t.Parallel()
	one := open(t, `{"max_participants_per_room":1000,"requests_per_second":100000,"burst":100000}`)
	houses := []*house{one, one.second()}
	random := rand.New(rand.NewPCG(7, 7))
	const room = "/api/v1/rooms/r/participants"
	const steps = 40
	var seats []string
	for step := range steps {
		var r reply
		at := houses[random.IntN(2)]
		switch n := random.IntN(10); {
		case step == steps-1:
			r = at.send(one.key, "POST", "/api/v1/rooms/r/end", nil)
		case n < 6 || len(seats) == 0:
			r = at.send(one.key, "POST", room, object{"display_name": fmt.Sprint("user ", step)})
			seats = append(seats, r.body["participant_id"].(string))
		case n < 9:
			r = at.send(one.key, "DELETE", room+"/"+seats[random.IntN(len(seats))], nil)
		default:
			r = at.send(one.key, "POST", "/api/v1/rooms/another/participants", object{"display_name": "A"})
		}
		if r.status >= 300 {
			t.Fatalf("step %d: %d %s", step, r.status, r.raw)
		}
		for _, h := range houses {
			for _, query := range []string{"active=true", "active=false"} {
				kept, read := h.listed("r", query, r.header.Get("Usher-Revision"))
				if !slices.Equal(kept, read) {
					t.Fatalf("step %d, %s:\nkept %v\nread %v", step, query, kept, read)
				}
				if query == "active=false" && len(kept) != len(seats) {
					t.Fatalf("step %d: %d of %d", step, len(kept), len(seats))
				}
			}
		}
	}
}

// TestWhoWasSeatedIsInTheList: whatever others list meanwhile, a list after an add has it.
func TestWhoWasSeatedIsInTheList(t *testing.T) {
	t.Parallel()
	h := open(t, `{"max_participants_per_room":1000,"requests_per_second":100000,"burst":100000}`)
	together(8, func(i int) {
		for n := range 25 {
			id := h.add("r", object{"display_name": fmt.Sprint(i, " ", n)})["participant_id"]
			for range 3 {
				all := h.list("r", "?active=true")
				if !slices.ContainsFunc(all, func(p any) bool { return p.(object)["id"] == id }) {
					t.Errorf("%v is not among %d", id, len(all))
				}
			}
		}
	})
}
