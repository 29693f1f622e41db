package gateway_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestRandomCallsAnswerAsTheModel drives random calls through two gateways, as a tenant's backend and as participants,
// and compares every answer, and every list, with a model that knows no etcd, no batch and no replica.
func TestRandomCallsAnswerAsTheModel(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	gateways := []*house{h, h.second()}
	rapid.Check(t, func(t *rapid.T) {
		m := &model{t: t, gateways: gateways, rooms: make(map[string]*modelRoom), keys: make(map[string]*modelSeat)}
		m.policy = rapid.SampledFrom([]string{"allow", "reject", "replace", "return_existing"}).Draw(t, "policy")
		m.early = rapid.IntRange(0, 3).Draw(t, "early") > 0
		_, m.key = h.newTenant(fmt.Sprintf(`{"duplicate_participant_policy":%q,"max_participants_per_room":3,"max_concurrent_rooms":2,`+
			`"allow_early_join":%t,"force_recording":true,"first_participant_is_host":true,"empty_room_timeout_minutes":1}`, m.policy, m.early))
		m.revision = h.send(m.key, "GET", "/api/v1/rooms", nil).header.Get("Usher-Revision")
		t.Repeat(map[string]func(*rapid.T){
			"add": m.add, "add again": m.add, "bulk": m.bulk, "remove": m.remove, "leave": m.leave, "refresh": m.refresh,
			"create": m.create, "end": m.end, "lock": m.lock, "lift": m.lift, "record": m.record, "wait": m.wait, "sweep": m.sweep,
			"": m.check,
		})
	})
}

type model struct {
	t        *rapid.T
	gateways []*house
	key      string
	revision string // the newest that any answer has shown

	policy string
	early  bool
	rooms  map[string]*modelRoom // by name: the newest of it
	keys   map[string]*modelSeat // by Idempotency-Key
}

type modelRoom struct {
	name, id, status string
	locked           bool
	seats            []*modelSeat
	bans             map[string]time.Time
	empty            time.Time // since when nobody is in it
	recording        string
	elected          *modelSeat
	electedAt        time.Time
}

type modelSeat struct {
	room                *modelRoom
	id, user, role, why string // why it left; "" while it is in
	token               string
	request             modelRequest // that made it, for Idempotency-Keys
}

type modelRequest struct{ room, user, role string }

func (m *model) now() time.Time { return m.gateways[0].clock.now() }

// call is a request through either gateway that sees all that was answered before.
func (m *model) call(credential, method, path string, body any, headers ...string) reply {
	gateway := m.gateways[rapid.IntRange(0, 1).Draw(m.t, "gateway")]
	r := gateway.send(credential, method, path, body, append(headers, "Usher-Min-Revision", m.revision)...)
	m.revision = r.header.Get("Usher-Revision")
	return r
}

// want compares an answer with what the model says: a status, and the code of a refusal.
func (m *model) want(r reply, status int, code string) bool {
	if got, _ := r.body["code"].(string); r.status != status || (status >= 400 && got != code) {
		m.t.Fatalf("got %d %s, the model says %d %s", r.status, r.raw, status, code)
	}
	return status < 400
}

func (r *modelRoom) active() (in []*modelSeat) {
	for _, s := range r.seats {
		if s.why == "" {
			in = append(in, s)
		}
	}
	return in
}

func (r *modelRoom) depart(s *modelSeat, why string, now time.Time) {
	s.why = why
	if len(r.active()) == 0 {
		r.empty = now
	}
	if r.recording == "elected" && r.elected == s {
		r.recording, r.elected = "idle", nil
	}
}

func (m *model) live() (n int) {
	for _, r := range m.rooms {
		if r.status != "ended" {
			n++
		}
	}
	return n
}

func (m *model) room(t *rapid.T) string {
	return rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "room")
}

func (m *model) user(t *rapid.T) string {
	return rapid.SampledFrom([]string{"", "ann", "bob"}).Draw(t, "user")
}

// decision is what the model says of one join.
type decision struct {
	status  int
	code    string
	seat    *modelSeat // nil for a new one
	role    string
	elected bool
}

// enter finds or makes the room of a join.
func (m *model) enter(name string) (room *modelRoom, created bool, refused *decision) {
	room = m.rooms[name]
	switch {
	case room != nil && room.status != "ended":
		return room, false, nil
	case !m.early:
		return nil, false, &decision{status: 404, code: "room_not_found"}
	case m.live() >= 2:
		return nil, false, &decision{status: 409, code: "room_limit_reached"}
	}
	return &modelRoom{name: name, status: "active", bans: make(map[string]time.Time), recording: "idle", empty: m.now()}, true, nil
}

// join decides and changes the room.
func (m *model) join(room *modelRoom, user, role string, now time.Time) decision {
	in := room.active()
	if role == "" {
		role = "participant"
		if len(in) == 0 {
			role = "host"
		}
	}
	if user != "" && now.Before(room.bans[user]) {
		return decision{status: 403, code: "participant_banned"}
	}
	replaced := false
	if user != "" && m.policy != "allow" {
		if i := slices.IndexFunc(in, func(s *modelSeat) bool { return s.user == user }); i >= 0 {
			switch m.policy {
			case "reject":
				return decision{status: 409, code: "participant_duplicate"}
			case "return_existing":
				return decision{status: 201, seat: in[i], role: in[i].role, elected: m.elect(room, in[i], now)}
			}
			room.depart(in[i], "replaced", now)
			replaced = true
		}
	}
	if !replaced && room.locked && role != "host" {
		return decision{status: 409, code: "room_locked"}
	}
	if !replaced && len(in) >= 3 {
		return decision{status: 409, code: "room_full"}
	}
	seat := &modelSeat{room: room, user: user, role: role}
	d := decision{status: 201, role: role, elected: m.elect(room, seat, now)}
	room.seats = append(room.seats, seat)
	d.seat = seat
	return d
}

func (m *model) elect(room *modelRoom, seat *modelSeat, now time.Time) bool {
	confirming := room.recording == "elected" && now.Before(room.electedAt.Add(30*time.Second))
	switch {
	case room.recording == "recording":
		return false
	case confirming:
		return room.elected == seat
	}
	room.recording, room.elected, room.electedAt = "elected", seat, now.Truncate(time.Millisecond)
	return true
}

func (m *model) add(t *rapid.T) {
	m.t = t
	request := modelRequest{m.room(t), m.user(t), rapid.SampledFrom([]string{"", "", "host", "viewer", "king"}).Draw(t, "role")}
	key := rapid.SampledFrom([]string{"", "", "", "k1", "k2"}).Draw(t, "key")
	if past := m.keys[key]; past != nil && rapid.IntRange(0, 3).Draw(t, "repeat") > 0 {
		request = past.request
	}
	name, user, role := request.room, request.user, request.role
	body := object{"display_name": "N"}
	if user != "" {
		body["external_user_id"] = user
	}
	if role != "" {
		body["role"] = role
	}
	var headers []string
	if key != "" {
		headers = []string{"Idempotency-Key", key}
	}
	r := m.call(m.key, "POST", "/api/v1/rooms/"+name+"/participants", body, headers...)
	if past := m.keys[key]; past != nil {
		m.replayed(r, past, request)
		return
	}
	room, created, refused := m.enter(name)
	switch {
	case refused != nil:
		m.want(r, refused.status, refused.code)
		return
	case role == "king":
		m.want(r, 400, "invalid_request")
		return
	}
	d := m.join(room, user, role, m.now())
	if !m.want(r, d.status, d.code) {
		return
	}
	m.seated(r.body, room, d)
	if r.body["room_created"] != created {
		t.Fatalf("created: %s", r.raw)
	}
	m.rooms[name] = room
	room.id = r.body["room"].(object)["id"].(string)
	if count := r.body["room"].(object)["participant_count"]; count != float64(len(room.active())) {
		t.Fatalf("it counts %v, the model %d", count, len(room.active()))
	}
	if key != "" {
		copied := *d.seat // the seat may be another's in name only: what counts is who it is
		copied.request = request
		m.keys[key] = &copied
	}
}

// seated compares a seat that was given.
func (m *model) seated(body object, room *modelRoom, d decision) {
	id := body["participant_id"].(string)
	if d.seat.id == "" {
		d.seat.id = id
	}
	d.seat.room, d.seat.token = room, body["auth_token"].(string)
	if d.seat.id != id || body["role"] != d.role || body["should_start_recording"] != d.elected {
		m.t.Fatalf("got %v, the model says %+v of %s", body, d, d.seat.id)
	}
}

func (m *model) replayed(r reply, past *modelSeat, request modelRequest) {
	at := slices.IndexFunc(past.room.seats, func(s *modelSeat) bool { return s.id == past.id })
	switch {
	case past.request != request:
		m.want(r, 422, "idempotency_mismatch")
	case past.room.seats[at].why != "":
		m.want(r, 409, "participant_left")
	default:
		if m.want(r, 201, "") && (r.body["participant_id"] != past.id || r.header.Get("Idempotent-Replayed") != "true") {
			m.t.Fatalf("another participant than %s: %s", past.id, r.raw)
		}
	}
}

func (m *model) bulk(t *rapid.T) {
	m.t = t
	name := m.room(t)
	users := rapid.SliceOfN(rapid.SampledFrom([]string{"", "ann", "bob", "cyd"}), 1, 4).Draw(t, "users")
	items := make([]object, len(users))
	for i, user := range users {
		items[i] = object{"display_name": "N"}
		if user != "" {
			items[i]["external_user_id"] = user
		}
	}
	r := m.call(m.key, "POST", "/api/v1/rooms/"+name+"/participants/bulk", object{"participants": items})
	room, created, refused := m.enter(name)
	if refused != nil {
		m.want(r, refused.status, refused.code)
		return
	}
	m.want(r, 200, "")
	now := m.now()
	for i, item := range r.body["results"].([]any) {
		d := m.join(room, users[i], "", now)
		if d.status != http.StatusCreated {
			if item.(object)["code"] != d.code {
				t.Fatalf("item %d: %v, the model says %s", i, item, d.code)
			}
			continue
		}
		m.seated(item.(object), room, d)
	}
	if created {
		room.id = m.call(m.key, "GET", "/api/v1/rooms/"+name, nil).body["id"].(string)
		m.rooms[name] = room
	}
}

// some picks a seat, in its room or gone.
func (m *model) some(t *rapid.T) *modelSeat {
	m.t = t
	room := m.rooms[m.room(t)]
	if room == nil || len(room.seats) == 0 {
		t.Skip("there is nobody")
	}
	return rapid.SampledFrom(room.seats).Draw(t, "seat")
}

func (s *modelSeat) path() string { return "/api/v1/rooms/" + s.room.id + "/participants/" + s.id }

func (m *model) remove(t *rapid.T) {
	s := m.some(t)
	query, ban := "", rapid.Bool().Draw(t, "ban")
	if ban {
		query = "?ban_seconds=60"
	}
	credential, allowed := m.key, true
	if other := rapid.SampledFrom(s.room.seats).Draw(t, "by"); rapid.Bool().Draw(t, "by a participant") && other.why == "" {
		credential, allowed = other.token, other.role == "host"
	}
	r := m.call(credential, "DELETE", s.path()+query, nil)
	switch {
	case !allowed:
		m.want(r, 403, "forbidden")
	case ban && s.user == "":
		m.want(r, 400, "invalid_request")
	default:
		m.want(r, 204, "")
		if until := m.now().Add(time.Minute).Truncate(time.Millisecond); ban && s.room.status != "ended" && until.After(s.room.bans[s.user]) {
			s.room.bans[s.user] = until
		}
		if s.why == "" {
			s.room.depart(s, "removed", m.now())
		}
	}
}

// dead is what a participant's token is answered, for calls about its own seat, when it is not in the room any more.
func (s *modelSeat) dead() (status int, code string) {
	if s.why == "removed" {
		return 401, "participant_removed"
	}
	return 409, "participant_left"
}

func (m *model) leave(t *rapid.T) {
	s := m.some(t)
	r := m.call(s.token, "POST", s.path()+"/leave", nil)
	if s.why == "removed" {
		m.want(r, 401, "participant_removed")
		return
	}
	m.want(r, 204, "")
	if s.why == "" {
		s.room.depart(s, "left", m.now())
	}
}

func (m *model) refresh(t *rapid.T) {
	s := m.some(t)
	r := m.call(s.token, "POST", s.path()+"/token", nil)
	switch {
	case s.why != "":
		status, code := s.dead()
		m.want(r, status, code)
	case s.user != "" && m.now().Before(s.room.bans[s.user]):
		m.want(r, 403, "participant_banned")
	default:
		m.want(r, 200, "")
		s.token = r.body["auth_token"].(string)
	}
}

func (m *model) create(t *rapid.T) {
	m.t = t
	name := m.room(t)
	r := m.call(m.key, "POST", "/api/v1/rooms", object{"name": name})
	switch room := m.rooms[name]; {
	case room != nil && room.status != "ended":
		m.want(r, 409, "room_name_taken")
	case m.live() >= 2:
		m.want(r, 409, "room_limit_reached")
	default:
		m.want(r, 201, "")
		m.rooms[name] = &modelRoom{name: name, id: r.body["id"].(string), status: "active", bans: make(map[string]time.Time), recording: "idle", empty: m.now()}
	}
}

// existing is a room's path, when there is one of the name; otherwise the call must be told so.
func (m *model) existing(t *rapid.T, method, suffix string) (*modelRoom, reply) {
	m.t = t
	name := m.room(t)
	r := m.call(m.key, method, "/api/v1/rooms/"+name+suffix, nil)
	if m.rooms[name] == nil {
		m.want(r, 404, "room_not_found")
	}
	return m.rooms[name], r
}

func (r *modelRoom) end() {
	if r.status == "ended" {
		return
	}
	r.status, r.recording, r.elected = "ended", "idle", nil
	for _, s := range r.active() {
		s.why = "room_ended"
	}
}

func (m *model) end(t *rapid.T) {
	if room, r := m.existing(t, "POST", "/end"); room != nil {
		m.want(r, 200, "")
		room.end()
	}
}

func (m *model) lock(t *rapid.T) {
	locked := rapid.Bool().Draw(t, "locked")
	room, r := m.existing(t, "POST", map[bool]string{true: "/lock", false: "/unlock"}[locked])
	switch {
	case room == nil:
	case room.status == "ended":
		m.want(r, 409, "room_ended")
	default:
		m.want(r, 200, "")
		room.locked = locked
	}
}

func (m *model) lift(t *rapid.T) {
	user := rapid.SampledFrom([]string{"ann", "bob"}).Draw(t, "user")
	if room, r := m.existing(t, "DELETE", "/bans?external_user_id="+user); room != nil {
		m.want(r, 204, "")
		delete(room.bans, user)
	}
}

func (m *model) record(t *rapid.T) {
	start := rapid.Bool().Draw(t, "start")
	room, r := m.existing(t, "POST", map[bool]string{true: "/recordings/start", false: "/recordings/stop"}[start])
	switch {
	case room == nil:
	case room.status == "ended":
		m.want(r, 409, "room_ended")
	default:
		m.want(r, 200, "")
		if start {
			room.recording = "recording"
		} else if room.recording == "recording" {
			room.recording, room.elected = "idle", nil
		}
	}
}

func (m *model) wait(t *rapid.T) {
	m.gateways[0].clock.advance(time.Duration(rapid.SampledFrom([]int{13, 31, 61}).Draw(t, "seconds")) * time.Second)
}

func (m *model) sweep(t *rapid.T) {
	m.t = t
	gateway := m.gateways[rapid.IntRange(0, 1).Draw(t, "sweeper")]
	gateway.send(m.key, "GET", "/api/v1/rooms", nil, "Usher-Min-Revision", m.revision) // so that it knows what the other wrote
	gateway.sweep()
	m.revision = gateway.send(m.key, "GET", "/api/v1/rooms", nil).header.Get("Usher-Revision") // so that the other knows in turn
	for _, room := range m.rooms {
		if room.status != "ended" && len(room.active()) == 0 && !m.now().Before(room.empty.Add(time.Minute)) {
			room.end()
		}
	}
}

// check compares every room and every list.
func (m *model) check(t *rapid.T) {
	m.t = t
	for _, name := range []string{"a", "b", "c"} {
		room := m.rooms[name]
		if room == nil {
			continue
		}
		got := m.call(m.key, "GET", "/api/v1/rooms/"+room.id, nil).body
		recording := got["recording"].(object)["status"]
		if got["status"] != room.status || got["locked"] != room.locked || recording != room.recording || got["participant_count"] != float64(len(room.active())) {
			t.Fatalf("%s is %v, the model says %+v", name, got, room)
		}
		list := m.call(m.key, "GET", "/api/v1/rooms/"+room.id+"/participants", nil).body["participants"].([]any)
		if len(list) != len(room.seats) {
			t.Fatalf("%s lists %v, the model %d", name, list, len(room.seats))
		}
		for i, seat := range room.seats {
			p := list[i].(object)
			if why, _ := p["leave_reason"].(string); p["id"] != seat.id || p["role"] != seat.role || why != seat.why {
				t.Fatalf("%s: place %d has %v, the model says %+v", name, i, p, seat)
			}
		}
	}
}
