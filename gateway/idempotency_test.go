package gateway_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func (h *house) under(key, method, path string, body any) reply {
	h.t.Helper()
	return h.send(h.key, method, path, body, "Idempotency-Key", key)
}

func TestARepeatIsTheSameParticipant(t *testing.T) {
	t.Parallel()
	h := open(t, `{"force_recording":true}`)
	other := h.second()
	body := object{"display_name": "A", "metadata": object{"n": 1}}
	first := h.under("k-1", "POST", seats, body)
	if first.status != 201 || first.header.Get("Idempotent-Replayed") != "" {
		t.Fatalf("first: %d %v", first.status, first.header)
	}
	h.clock.advance(time.Second)
	for _, gateway := range []*house{h, other} {
		again := gateway.under("k-1", "POST", seats, body)
		if again.status != 201 || again.header.Get("Idempotent-Replayed") != "true" || idOf(again.body) != idOf(first.body) {
			t.Fatalf("again: %d %v %s", again.status, again.header, again.raw)
		}
		if again.body["room_created"] != true || again.body["should_start_recording"] != true || again.body["auth_token"] == first.body["auth_token"] {
			t.Errorf("again: %s", again.raw)
		}
		if r := gateway.send(again.body["auth_token"].(string), "GET", seats, nil); r.status != 200 {
			t.Errorf("its token: %d %s", r.status, r.raw)
		}
	}
	for _, wrong := range []reply{
		h.under("k-1", "POST", seats, object{"display_name": "B"}),
		other.under("k-1", "POST", "/api/v1/rooms/s/participants", body),
		h.under("k-1", "POST", seats+"/bulk", object{"participants": []object{body}}),
		h.under("k-1", "POST", "/api/v1/rooms", object{"name": "x"}),
	} {
		if wrong.status != 422 || wrong.body["code"] != "idempotency_mismatch" {
			t.Errorf("another request: %d %s", wrong.status, wrong.raw)
		}
	}
	_, otherKey := h.newTenant("")
	if r := h.send(otherKey, "POST", seats, body, "Idempotency-Key", "k-1"); r.status != 201 || r.header.Get("Idempotent-Replayed") != "" {
		t.Errorf("another tenant's key: %d %s", r.status, r.raw)
	}
	for _, bad := range []string{strings.Repeat("é", 256), "a\tb"} {
		if r := h.under(bad, "POST", seats, body); r.status != 400 {
			t.Errorf("%.20q: %d", bad, r.status)
		}
	}
	if in := h.list("r", ""); len(in) != 1 {
		t.Errorf("%d are in the room", len(in))
	}
}

func TestAKeyIsForgottenAfterADay(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	first := h.under("k", "POST", seats, object{"display_name": "A"})
	h.clock.advance(23*time.Hour + 59*time.Minute)
	if again := h.under("k", "POST", seats, object{"display_name": "A"}); idOf(again.body) != idOf(first.body) {
		t.Errorf("within the day: %s", again.raw)
	}
	h.clock.advance(2 * time.Minute)
	h.sweep()
	if r := h.under("k", "POST", seats, object{"display_name": "B"}); r.status != 201 || idOf(r.body) == idOf(first.body) {
		t.Errorf("after it: %d %s", r.status, r.raw)
	}
}

// TestWhoWasSentAwayGetsNoTokens: an access token would let it into a media server.
func TestWhoWasSentAwayGetsNoTokens(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	one := h.under("one", "POST", seats, object{"display_name": "A"})
	two := h.under("two", "POST", seats+"/bulk?atomic=true", object{"participants": []object{{"display_name": "B"}, {"display_name": "C"}}})
	bob := idOf(two.body["results"].([]any)[0].(object))
	h.must(204, "DELETE", seats+"/"+idOf(one.body), nil)
	h.must(204, "DELETE", seats+"/"+bob, nil)
	h.refused(h.key, 409, "participant_left", "POST", seats, object{"display_name": "A"}, "Idempotency-Key", "one")
	again := h.under("two", "POST", seats+"/bulk?atomic=true", object{"participants": []object{{"display_name": "B"}, {"display_name": "C"}}})
	results := again.body["results"].([]any)
	if b := results[0].(object); b["code"] != "participant_left" || b["access_token"] != nil {
		t.Errorf("B: %v", b)
	}
	if c := results[1].(object); c["success"] != true || c["access_token"] == "" {
		t.Errorf("C: %v", c)
	}
}

func TestTenRepeatsAtOnceMakeOne(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	other := h.second()
	for _, c := range []struct {
		path string
		body object
		id   func(object) any
	}{
		{seats, object{"display_name": "A"}, func(o object) any { return o["participant_id"] }},
		{"/api/v1/rooms/bulk/participants/bulk", object{"participants": []object{{"display_name": "A"}, {}}}, func(o object) any { return o["results"].([]any)[0].(object)["participant_id"] }},
		{"/api/v1/rooms", object{"name": "new"}, func(o object) any { return o["id"] }},
	} {
		var replayed atomic.Int32
		ids := make([]any, 10)
		together(10, func(i int) {
			r := []*house{h, other}[i%2].under("key of "+c.path, "POST", c.path, c.body)
			if r.status > 201 {
				t.Errorf("%s: %d %s", c.path, r.status, r.raw)
				return
			}
			if r.header.Get("Idempotent-Replayed") == "true" {
				replayed.Add(1)
			}
			ids[i] = c.id(r.body)
		})
		for _, id := range ids {
			if id != ids[0] || id == nil {
				t.Errorf("%s made %v", c.path, ids)
				break
			}
		}
		if replayed.Load() != 9 {
			t.Errorf("%s: %d replays", c.path, replayed.Load())
		}
	}
	if n := len(h.list("r", "")); n != 1 {
		t.Errorf("%d were added", n)
	}
}

// TestABulkThatWasCutOffGoesOn cuts a bulk of many transactions off in the middle, as a dying gateway would.
func TestABulkThatWasCutOffGoesOn(t *testing.T) {
	t.Parallel()
	const many = 300
	h := openWithOps(t, `{"max_participants_per_room":1000}`, 29) // one participant a transaction
	other := h.second()
	h.add("r", object{"display_name": "first"})
	items := make([]object, many)
	for i := range items {
		items[i] = object{"display_name": fmt.Sprint(i), "external_user_id": fmt.Sprint("u", i)}
	}
	items[7] = object{}
	path, body := seats+"/bulk", object{"participants": items}
	h.cutOff(path, body, func() bool { return len(h.list("r", "")) > 10 })
	r := other.refused(h.key, 409, "idempotency_in_flight", "POST", path, body, "Idempotency-Key", "bulk")
	if r.header.Get("Retry-After") == "" {
		t.Error("it is not said when to repeat")
	}
	if n := len(other.list("r", "")); n < 11 || n > many-10 {
		t.Fatalf("%d were added before the end", n)
	}
	h.clock.advance(31 * time.Second)
	for i, gateway := range []*house{other, h} {
		r := gateway.under("bulk", "POST", path, body)
		if r.status != 200 || (r.header.Get("Idempotent-Replayed") == "true") != (i == 1) {
			t.Fatalf("repeat: %d %v %.300s", r.status, r.header, r.raw)
		}
		for n, result := range r.body["results"].([]any) {
			if result.(object)["success"] == (n == 7) {
				t.Fatalf("item %d: %v", n, result)
			}
		}
		seen := make(map[any]bool)
		for _, p := range gateway.list("r", "") {
			seen[p.(object)["external_user_id"]] = true
		}
		if n := len(gateway.list("r", "")); n != many || len(seen) != many { // the first one, and all but the invalid one
			t.Fatalf("%d participants, %d users", n, len(seen))
		}
	}
}

// cutOff sends a request under the key "bulk" and drops the connection once enough holds.
func (h *house) cutOff(path string, body any, enough func() bool) {
	h.t.Helper()
	encoded, err := json.Marshal(body)
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url+path, strings.NewReader(string(encoded)))
	if err != nil {
		h.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-API-Key", h.key)
	request.Header.Set("Idempotency-Key", "bulk")
	done := make(chan error, 1)
	go func() {
		response, err := http.DefaultTransport.RoundTrip(request)
		if err == nil {
			_ = response.Body.Close()
		}
		done <- err
	}()
	for !enough() {
		continue
	}
	cancel()
	if err := <-done; err == nil {
		h.t.Fatal("the bulk was done before it was cut off")
	}
}
