package gateway_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"usher/gateway"
	"usher/gateway/openapitest"
	"usher/tenant"
)

// marker is in everything that another tenant has. Nobody sends it, so where it appears, something has leaked.
const marker = "MARKED-AS-ANOTHERS"

// besieged is a gateway with two tenants: one that hostile requests come from, and one that they must not touch.
type besieged struct {
	house  *house
	victim map[string]string // ids of the other tenant, which an attacker may have learnt
	before map[string]string // what the other tenant's own calls answered

	attacker map[string]string // ids and credentials of the attacker
}

func besiege(t testing.TB) *besieged {
	t.Helper()
	b := &besieged{house: open(t, `{"requests_per_second":100000,"burst":100000}`), before: make(map[string]string)}
	h := b.house
	room := h.must(201, "POST", "/api/v1/rooms", object{"name": marker + " room", "metadata": object{"a": marker}})
	added := h.add(url.PathEscape(marker+" room"), object{"display_name": marker, "external_user_id": marker, "metadata": object{"a": marker}})
	key, _ := h.newKey(object{"name": marker, "scopes": []string{"rooms:read"}})
	h.must(200, "POST", "/api/v1/rooms/"+url.PathEscape(marker+" room")+"/participants/bulk-remove", object{"external_user_ids": []string{marker + "-2"}, "ban_seconds": 3600})
	b.victim = map[string]string{"tenant": h.tenant, "room": room["id"].(string), "pid": idOf(added), "key_id": key}
	for _, path := range b.victimPaths() {
		b.before[path] = h.send(h.key, "GET", path, nil).raw
		if !strings.Contains(b.before[path], marker) {
			t.Fatalf("nothing is marked in %s: %s", path, b.before[path])
		}
	}
	b.arm()
	return b
}

func (b *besieged) victimPaths() []string {
	room := "/api/v1/rooms/" + b.victim["room"]
	return []string{"/api/v1/rooms", room, room + "/participants", room + "/bans", "/api/v1/tenants/" + b.victim["tenant"] + "/keys"}
}

// arm makes a new tenant for the attacker, with all that its own backend would have.
func (b *besieged) arm() {
	h := *b.house
	h.tenant, h.key = h.newTenant(`{"requests_per_second":100000,"burst":100000}`)
	added := h.add("theirs", object{"display_name": "A", "external_user_id": "user", "role": "host"})
	b.attacker = map[string]string{
		"tenant": h.tenant, "key": h.key, "room": added["room"].(object)["id"].(string), "pid": idOf(added),
		"auth": added["auth_token"].(string), "refresh": added["refresh_token"].(string), "access": added["access_token"].(string),
	}
}

// words are the values that an attacker knows: its own, and ids of the other tenant.
func (b *besieged) words(name string) []string {
	a, v := b.attacker, b.victim
	switch name {
	case "id", "room_id", "room", "name":
		return []string{"theirs", a["room"], a["tenant"], v["room"], v["tenant"], "new room"}
	case "pid", "participant_id", "participant_ids":
		return []string{a["pid"], v["pid"]}
	case "key_id":
		return []string{v["key_id"]}
	case "Usher-Tenant":
		return []string{v["tenant"], a["tenant"]}
	case "external_user_id", "external_user_ids":
		return []string{"user", "other"}
	case "token":
		return []string{a["access"], a["auth"], a["refresh"]}
	case "version", "compare":
		return []string{"1", "2", "0"}
	case "Usher-Min-Revision":
		return []string{"1"}
	}
	return nil
}

func (b *besieged) credential(draw openapitest.Draw) (header, value string) {
	a := b.attacker
	switch draw(12) {
	default:
		return "X-API-Key", a["key"]
	case 6:
		return "Authorization", "Bearer " + a["key"]
	case 7:
		return "Authorization", "Bearer " + a["auth"]
	case 8:
		return "Authorization", "Bearer " + a["refresh"]
	case 9:
		return "Authorization", "Bearer " + a["access"]
	case 10:
		return "Authorization", "Bearer " + openapitest.Hostile[draw(len(openapitest.Hostile))]
	case 11:
		return "X-Nothing", "x"
	}
}

// attack sends the request and judges the answer: no error of ours, no word of another tenant, nothing that the document
// does not have.
func (b *besieged) attack(t testing.TB, s openapitest.Sample, header, value string) {
	t.Helper()
	request, err := http.NewRequest(s.Method, b.house.url+"/", bytes.NewReader(s.Body))
	if err != nil {
		return // no request at all
	}
	target, err := url.Parse(b.house.url + s.Path)
	if err != nil {
		return
	}
	target.RawQuery = s.Query
	request.URL = target
	if s.Body == nil {
		request.Body, request.ContentLength = nil, 0
	}
	request.Header.Set(header, value)
	for _, h := range s.Header {
		request.Header.Add(h[0], h[1])
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		return // net/http would not send it
	}
	if response.StatusCode == http.StatusBadRequest && response.Header.Get("X-Request-ID") == "" {
		_ = response.Body.Close()
		return // net/http did not take it for a request
	}
	openapitest.New(t).CheckAnswer(request, response)
	body, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	what := fmt.Sprintf("%s %s?%s %q as %s %.60s %.300q: %d %s", s.Method, s.Path, s.Query, s.Header, header, value, s.Body, response.StatusCode, body)
	if honest := response.StatusCode == http.StatusServiceUnavailable && response.Header.Get("Retry-After") != ""; response.StatusCode >= 500 && !honest {
		t.Errorf("an error of ours: %s", what)
	}
	if answer := string(body) + fmt.Sprint(response.Header); strings.Contains(answer, marker) {
		t.Errorf("another tenant's word: %s", what)
	}
	if response.StatusCode == http.StatusUnauthorized || response.StatusCode == http.StatusTooManyRequests || s.Method == http.MethodPatch || s.Method == http.MethodDelete {
		if b.house.send(b.attacker["key"], "GET", "/api/v1/rooms/theirs/participants", nil).status != http.StatusOK {
			b.arm() // it has disarmed itself
		}
	}
}

// unharmed makes sure that nothing of the other tenant has changed.
func (b *besieged) unharmed(t testing.TB) {
	t.Helper()
	for _, path := range b.victimPaths() {
		if now := b.house.send(b.house.key, "GET", path, nil).raw; now != b.before[path] && !strings.HasSuffix(path, "/keys") {
			t.Errorf("%s was\n%s\nand is\n%s", path, b.before[path], now)
		}
	}
}

// drawn makes choices of bytes.
func drawn(choices []byte) openapitest.Draw {
	return func(n int) int {
		if len(choices) == 0 || n <= 1 {
			return 0
		}
		next := int(choices[0])
		choices = choices[1:]
		return next % n
	}
}

// FuzzRequests sends requests that the API's document suggests, more or less, to a real gateway on a real log. What a
// server runs differs from time to time, so it is useless to make what it found smaller:
//
//	go test ./gateway -run '^$' -fuzz '^FuzzRequests$' -fuzztime 5m -fuzzminimizetime 1x
func FuzzRequests(f *testing.F) {
	b := besiege(f)
	for i := range 60 {
		seed := make([]byte, 40)
		for j := range seed {
			seed[j] = byte(i*7 + j*j*(i%5+1))
		}
		seed[0] = byte(i)
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, choices []byte) {
		b.house.t, b.house.client = t, &http.Client{Transport: openapitest.Transport(t, http.DefaultTransport)}
		draw := drawn(choices)
		for range 4 { // what one does may be what another trips over
			header, value := b.credential(draw)
			b.attack(t, openapitest.New(t).Sample(draw, b.words), header, value)
		}
		b.unharmed(t)
	})
}

// slowly is a reader of nothing that takes its time over it.
type slowly time.Duration

func (s slowly) Read([]byte) (int, error) {
	<-time.After(time.Duration(s))
	return 0, io.EOF
}

// TestTheTimeOfARequestBeginsWhenItIsThere: who takes long to send is not told that the log was slow.
func TestTheTimeOfARequestBeginsWhenItIsThere(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	const most = 2 * time.Second
	g := gateway.New(gateway.Options{
		Log: h.sweeper.Log, Tenants: h.sweeper.Tenants, Rooms: h.sweeper.Rooms, Participants: h.sweeper.Participants,
		OperatorKey: tenant.OperatorKey(operatorKey), Logger: quiet(), RequestTimeout: most, Now: h.clock.now, Metrics: prometheus.NewRegistry(),
	})
	body := io.MultiReader(slowly(most+100*time.Millisecond), strings.NewReader(`{"display_name":"A"}`))
	request := httptest.NewRequest(http.MethodPost, "/api/v1/rooms/CS101/participants", body)
	request.Header.Set("X-API-Key", h.key)
	request.Header.Set("Content-Type", "application/json")
	answer := httptest.NewRecorder()
	g.ServeHTTP(answer, request)
	if answer.Code != http.StatusCreated {
		t.Errorf("answered %d %s", answer.Code, answer.Body)
	}
}
