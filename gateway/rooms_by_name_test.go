package gateway_test

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"testing"
)

// TestRoomsByNameAreThoseOfTheListWithTheName creates, renames, ends and deletes rooms, and each time holds the list by
// name, page by page and on both replicas, against those of the list of all that have the name.
func TestRoomsByNameAreThoseOfTheListWithTheName(t *testing.T) {
	t.Parallel()
	one := open(t, `{"max_concurrent_rooms":1000}`)
	houses := []*house{one, one.second()}
	random := rand.New(rand.NewPCG(1, 8))
	names := []string{"a", "a b", "a/b", "é%2F", "a%20b"}
	var revision string
	do := func(method, path string, body any) reply {
		r := houses[random.IntN(2)].send(one.key, method, path, body, "Usher-Min-Revision", "0")
		if r.status >= 300 && r.status != 409 && r.status != 404 {
			t.Fatalf("%s %s: %d %s", method, path, r.status, r.raw)
		}
		if seen := r.header.Get("Usher-Revision"); r.status < 300 && seen != "" {
			revision = seen
		}
		return r
	}
	pick := func() string { return names[random.IntN(len(names))] }
	var ids []string
	for step := range 60 {
		switch n := random.IntN(10); {
		case n < 5 || len(ids) == 0:
			if r := do("POST", "/api/v1/rooms", object{"name": pick()}); r.status == 201 {
				ids = append(ids, r.body["id"].(string))
			}
		case n < 7:
			do("PATCH", "/api/v1/rooms/"+ids[random.IntN(len(ids))], object{"name": pick()})
		case n < 9:
			do("POST", "/api/v1/rooms/"+ids[random.IntN(len(ids))]+"/end", nil)
		default:
			do("DELETE", "/api/v1/rooms/"+ids[random.IntN(len(ids))], nil)
		}
		if step%4 != 0 {
			continue
		}
		for _, h := range houses {
			all := h.roomPages("", 200, revision)
			for _, name := range names {
				var want []string
				for _, room := range all {
					if room["name"] == name {
						want = append(want, room["id"].(string))
					}
				}
				var got []string
				for _, room := range h.roomPages("name="+url.QueryEscape(name), 1, revision) {
					got = append(got, room["id"].(string))
				}
				if !slices.Equal(got, want) {
					t.Fatalf("step %d, %q: %v, want %v", step, name, got, want)
				}
			}
		}
	}
}

// roomPages is the whole list of rooms, read in pages of the size.
func (h *house) roomPages(query string, size int, revision string) (all []object) {
	h.t.Helper()
	for token := "-"; token != ""; {
		path := fmt.Sprintf("/api/v1/rooms?%s&page_size=%d", query, size)
		if token != "-" {
			path += "&page_token=" + token
		}
		r := h.send(h.key, "GET", path, nil, "Usher-Min-Revision", revision)
		if r.status != 200 {
			h.t.Fatalf("GET %s: %d %s", path, r.status, r.raw)
		}
		for _, room := range r.body["rooms"].([]any) {
			all = append(all, room.(object))
		}
		token, _ = r.body["next_page_token"].(string)
	}
	return all
}

// TestPagesByNameArePinned: what is created behind the first page is in none of them, and what is renamed meanwhile is
// where it is now.
func TestPagesByNameArePinned(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	var ids []string
	for range 3 {
		id := h.must(201, "POST", "/api/v1/rooms", object{"name": "n"})["id"].(string)
		h.must(200, "POST", "/api/v1/rooms/"+id+"/end", nil)
		ids = append(ids, id)
	}
	slices.Sort(ids)
	page := h.must(200, "GET", "/api/v1/rooms?name=n&page_size=1", nil)
	h.must(201, "POST", "/api/v1/rooms", object{"name": "n"})
	rest := h.must(200, "GET", "/api/v1/rooms?name=n&page_size=10&page_token="+page["next_page_token"].(string), nil)
	if got := len(rest["rooms"].([]any)); got != 2 || rest["next_page_token"] != nil {
		t.Errorf("behind the first of %v there are %d: %v", ids, got, rest)
	}
	live := h.must(200, "GET", "/api/v1/rooms?name=n&status=active", nil)["rooms"].([]any)
	if len(live) != 1 {
		t.Fatalf("active: %v", live)
	}
	h.must(200, "PATCH", "/api/v1/rooms/"+live[0].(object)["id"].(string), object{"name": "m"})
	if n, m := h.roomPages("name=n", 10, "0"), h.roomPages("name=m", 10, "0"); len(n) != 3 || len(m) != 1 {
		t.Errorf("after the rename: %v, %v", n, m)
	}
}
