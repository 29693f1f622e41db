package gateway_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"usher/store"
	"usher/store/porttest"
)

// TestARoomsNameIsOneRooms: of two rooms that are given one name at once, on two replicas, one gets it.
func TestARoomsNameIsOneRooms(t *testing.T) {
	t.Parallel()
	h := open(t, `{"max_concurrent_rooms":100000,"burst":100000,"requests_per_second":100000}`)
	replicas := []*house{h, h.second()}
	for i := range 60 {
		name := fmt.Sprintf("contested %d", i)
		var rooms [2]string
		for j := range rooms {
			rooms[j] = h.must(201, "POST", "/api/v1/rooms", object{"name": fmt.Sprintf("r %d %d", i, j)})["id"].(string)
		}
		var got [2]reply
		together(2, func(j int) {
			if i%2 == 1 && j == 1 { // a rename against a creation
				got[j] = replicas[j].send(h.key, "POST", "/api/v1/rooms", object{"name": name})
				return
			}
			got[j] = replicas[j].send(h.key, "PATCH", "/api/v1/rooms/"+rooms[j], object{"name": name})
		})
		won := 0
		for _, r := range got {
			switch {
			case r.status == 200 || r.status == 201:
				won++
			case r.status != 409 || r.body["code"] != "room_name_taken":
				t.Errorf("%d %s", r.status, r.raw)
			}
		}
		live := h.must(200, "GET", "/api/v1/rooms?name="+url.QueryEscape(name), nil)["rooms"].([]any)
		if won != 1 || len(live) != 1 {
			t.Errorf("round %d: %d have won, %d rooms have the name", i, won, len(live))
		}
	}
}

// TestNothingIsWrittenByWhatWasTakenBack: what one replica has acknowledged as taken away, or given back, is so for what
// another one writes, also where that one has not heard of it yet.
func TestNothingIsWrittenByWhatWasTakenBack(t *testing.T) {
	t.Parallel()
	h := open(t, `{"max_concurrent_rooms":100000,"burst":100000,"requests_per_second":100000}`)
	there := h.second()
	add := func(key string, body object) reply { return there.send(key, "POST", seats, body) }
	h.add("r", object{"display_name": "first"})
	moderators := "/api/v1/rooms/moderated"
	for i := range 40 {
		made := h.must(201, "POST", "/api/v1/tenants/"+h.tenant+"/keys", object{"name": "k", "scopes": []string{"participants:write"}})
		id, key := made["key"].(object)["id"].(string), made["api_key"].(string)
		if r := add(key, object{"display_name": "A"}); r.status != 201 && r.status != 401 { // it may not have heard of the key yet
			t.Fatalf("before: %d %s", r.status, r.raw)
		}
		h.must(204, "DELETE", "/api/v1/tenants/"+h.tenant+"/keys/"+id, nil)
		if r := add(key, object{"display_name": "B"}); r.status != 401 {
			t.Errorf("by a revoked key: %d", r.status)
		}

		user := object{"display_name": "U", "external_user_id": fmt.Sprint("u", i)}
		banned := h.add("r", user)
		h.must(204, "DELETE", seats+"/"+idOf(banned)+"?ban_seconds=3600", nil)
		if r := add(h.key, user); r.status != 403 {
			t.Errorf("of a banned user: %d", r.status)
		}
		h.must(204, "DELETE", "/api/v1/rooms/r/bans?external_user_id="+user["external_user_id"].(string), nil)
		if r := add(h.key, user); r.status != 201 {
			t.Errorf("after the ban was lifted: %d %s", r.status, r.raw)
		}

		host := h.must(201, "POST", moderators+"/participants", object{"display_name": "H", "role": "host"})
		victim := h.must(201, "POST", moderators+"/participants", object{"display_name": "V"})
		h.must(204, "DELETE", moderators+"/participants/"+idOf(host), nil)
		if r := there.send(host["auth_token"].(string), "DELETE", moderators+"/participants/"+idOf(victim), nil); r.status == 204 {
			t.Error("a host who was removed has removed somebody")
		}

		tenant, theirs := h.newTenant("")
		if r := there.send(theirs, "POST", seats, object{"display_name": "A"}); r.status != 201 && r.status != 401 {
			t.Fatalf("before: %d %s", r.status, r.raw)
		}
		h.send(operatorKey, "POST", "/api/v1/tenants/"+tenant+"/suspend", nil)
		if r := there.send(theirs, "POST", seats, object{"display_name": "B"}); r.status == 201 {
			t.Error("for a suspended tenant")
		}
	}
}

// TestARepeatIsNoWayAroundABan: who was banned since gets no tokens by repeating the request that has seated it.
func TestARepeatIsNoWayAroundABan(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	body := object{"display_name": "A", "external_user_id": "a"}
	seat := h.under("k", "POST", seats, body)
	h.must(200, "POST", "/api/v1/rooms/r/participants/bulk-remove", object{"external_user_ids": []string{"other"}, "ban_seconds": 60})
	if again := h.under("k", "POST", seats, body); again.status != 201 {
		t.Fatalf("before: %d %s", again.status, again.raw)
	}
	// A ban by the user's id alone, while the seat stays: the policy of a moderator that only wants the tokens to end.
	twin := h.add("r", body)
	h.must(204, "DELETE", seats+"/"+idOf(twin)+"?ban_seconds=3600", nil)
	h.refused(h.key, 403, "participant_banned", "POST", seats+"/"+idOf(seat.body)+"/token", nil)
	if again := h.under("k", "POST", seats, body); again.status != 403 || again.body["code"] != "participant_banned" {
		t.Errorf("a repeat: %d %s", again.status, again.raw)
	}
	bulk := object{"participants": []object{{"display_name": "B", "external_user_id": "b"}, {"display_name": "C"}}}
	first := h.under("bulk", "POST", seats+"/bulk", bulk)
	b := first.body["results"].([]any)[0].(object)["participant_id"].(string)
	h.add("r", object{"display_name": "B", "external_user_id": "b"})
	h.must(204, "DELETE", seats+"/"+b+"?ban_seconds=3600", nil)
	results := h.under("bulk", "POST", seats+"/bulk", bulk).body["results"].([]any)
	if results[0].(object)["access_token"] != nil || results[1].(object)["success"] != true {
		t.Errorf("a repeated bulk: %v", results)
	}
}

// probe is a gateway whose decisions a test can watch, on an etcd that it can write to.
type probe struct {
	*house
	etcd *clientv3.Client
	mu   sync.Mutex
	told func(reads []store.Key) // guarded by mu; nil: nobody
}

func openProbe(t *testing.T, config string) *probe {
	t.Helper()
	p := &probe{}
	address := "http://" + porttest.Free(t)
	log, err := store.Embed(context.Background(), store.EmbedOptions{Dir: t.TempDir(), ListenClient: address, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	if p.etcd, err = clientv3.New(clientv3.Config{Endpoints: []string{address}, DialTimeout: 10 * time.Second}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.etcd.Close() })
	p.house = openWith(t, config, func(h *house) {
		h.log = log
		h.decided = func(reads []store.Key) {
			p.mu.Lock()
			defer p.mu.Unlock()
			if p.told != nil {
				p.told(reads)
			}
		}
	})
	return p
}

func (p *probe) tell(f func(reads []store.Key)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.told = f
}

// guards are the tables whose records are guarded by another one, which whoever writes them writes too.
var guards = map[string]struct {
	table    string
	segments int
}{"participants": {"rooms", 2}, "bans": {"rooms", 2}, "api-key-ids": {"accounts", 1}, "signing-keys": {"accounts", 1}}

func guardOf(key store.Key) store.Key {
	if g, ok := guards[key.Table]; ok {
		return store.Key{Table: g.table, Path: strings.Join(strings.Split(key.Path, "/")[:g.segments], "/")}
	}
	return key
}

// guardOf is what another replica would write too if it wrote the record. The name of a room that goes on is given to
// another one only when this one is written.
func (p *probe) guardOf(key store.Key) store.Key {
	if key.Table != "room-names" {
		return guardOf(key)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	got, err := p.etcd.Get(ctx, p.prefix+key.String())
	var naming struct {
		RoomID string `json:"room_id"`
	}
	if err == nil && len(got.Kvs) == 1 {
		err = json.Unmarshal(got.Kvs[0].Value, &naming)
	}
	if err != nil {
		p.t.Error(err)
	}
	if naming.RoomID == "" {
		return key
	}
	owner, _, _ := strings.Cut(key.Path, "/")
	return store.Key{Table: "rooms", Path: owner + "/" + naming.RoomID}
}

// touch writes the record as it is, or what guards it, as another replica could have, and says whether there is one.
func (p *probe) touch(key store.Key) (there bool) {
	p.t.Helper()
	key = p.guardOf(key)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	at := p.prefix + key.String()
	got, err := p.etcd.Get(ctx, at)
	if err == nil && len(got.Kvs) == 1 {
		there = true
		_, err = p.etcd.Put(ctx, at, string(got.Kvs[0].Value))
	}
	if err != nil {
		p.t.Error(err)
	}
	return there
}

// TestEveryDecisionLosesToAConcurrentChange: every route that changes something is made to decide on records that another
// replica writes before the decision is committed. It has to decide again, each time, whichever record it was.
func TestEveryDecisionLosesToAConcurrentChange(t *testing.T) {
	t.Parallel()
	p := openProbe(t, `{"duplicate_participant_policy":"reject","force_recording":true,"burst":100000,"requests_per_second":100000}`)
	tenant := "/api/v1/tenants/" + p.tenant
	n := 0
	fresh := func(what string) string { n++; return fmt.Sprintf("%s-%d", what, n) }
	room := func() string {
		return p.must(201, "POST", "/api/v1/rooms", object{"name": fresh("room")})["id"].(string)
	}
	seated := func(role string) (room string, seat object) {
		room = fresh("seats")
		return room, p.must(201, "POST", "/api/v1/rooms/"+room+"/participants", object{"display_name": "A", "external_user_id": "u", "role": role})
	}
	key := func() (id, secret string) {
		made := p.must(201, "POST", tenant+"/keys", object{"name": "k", "scopes": []string{"rooms:read"}})
		return made["key"].(object)["id"].(string), made["api_key"].(string)
	}
	type request struct {
		credential, method, path string
		body                     any
		headers                  []string
	}
	for name, make := range map[string]func() request{
		"add": func() request {
			return request{p.key, "POST", "/api/v1/rooms/" + room() + "/participants", object{"display_name": "A", "external_user_id": "u"}, nil}
		},
		"early join under a key": func() request {
			return request{p.key, "POST", "/api/v1/rooms/" + fresh("new") + "/participants", object{"display_name": "A"}, []string{"Idempotency-Key", fresh("k")}}
		},
		"bulk": func() request {
			return request{p.key, "POST", "/api/v1/rooms/" + room() + "/participants/bulk", object{"participants": []object{{"display_name": "A", "external_user_id": "u"}, {"display_name": "B"}}}, nil}
		},
		"create a room": func() request {
			return request{p.key, "POST", "/api/v1/rooms", object{"name": fresh("made")}, []string{"Idempotency-Key", fresh("k")}}
		},
		"rename a room": func() request {
			return request{p.key, "PATCH", "/api/v1/rooms/" + room(), object{"name": fresh("renamed"), "metadata": object{"a": 1}}, nil}
		},
		"remove and ban by a moderator": func() request {
			r, host := seated("host")
			seat := p.must(201, "POST", "/api/v1/rooms/"+r+"/participants", object{"display_name": "B", "external_user_id": "v"})
			return request{host["auth_token"].(string), "DELETE", "/api/v1/rooms/" + r + "/participants/" + idOf(seat) + "?ban_seconds=60", nil, nil}
		},
		"leave": func() request {
			r, seat := seated("host")
			return request{seat["auth_token"].(string), "POST", "/api/v1/rooms/" + r + "/participants/" + idOf(seat) + "/leave", nil, nil}
		},
		"bulk-remove": func() request {
			r, _ := seated("host")
			return request{p.key, "POST", "/api/v1/rooms/" + r + "/participants/bulk-remove", object{"external_user_ids": []string{"u"}, "ban_seconds": 60}, nil}
		},
		"lift a ban": func() request {
			r, seat := seated("host")
			p.must(204, "DELETE", "/api/v1/rooms/"+r+"/participants/"+idOf(seat)+"?ban_seconds=60", nil)
			return request{p.key, "DELETE", "/api/v1/rooms/" + r + "/bans?external_user_id=u", nil, nil}
		},
		"end": func() request {
			r, _ := seated("host")
			return request{p.key, "POST", "/api/v1/rooms/" + r + "/end", nil, nil}
		},
		"lock": func() request { return request{p.key, "POST", "/api/v1/rooms/" + room() + "/lock", nil, nil} },
		"start recording": func() request {
			return request{p.key, "POST", "/api/v1/rooms/" + room() + "/recordings/start", nil, nil}
		},
		"rename a tenant": func() request { return request{p.key, "PATCH", tenant, object{"name": fresh("tenant")}, nil} },
		"settings": func() request {
			n++
			return request{p.key, "PATCH", tenant + "/config", object{"empty_room_timeout_minutes": 1 + n%100}, nil}
		},
		"rollback": func() request { return request{p.key, "POST", tenant + "/config/rollback", object{"version": 1}, nil} },
		"create a key": func() request {
			return request{p.key, "POST", tenant + "/keys", object{"name": "k", "scopes": []string{"rooms:read"}}, nil}
		},
		"revoke a key": func() request { id, _ := key(); return request{p.key, "DELETE", tenant + "/keys/" + id, nil, nil} },
		"rotate a key": func() request {
			id, _ := key()
			return request{p.key, "POST", tenant + "/keys/" + id + "/rotate", object{"grace_seconds": 0}, nil}
		},
		"rotate the signing key": func() request {
			return request{operatorKey, "POST", tenant + "/signing-keys/rotate", object{"immediately": true}, nil}
		},
		"defaults": func() request {
			n++
			return request{operatorKey, "PUT", "/api/v1/defaults", object{"defaults": object{"empty_room_timeout_minutes": 1 + n%100}}, nil}
		},
		"suspend": func() request {
			other, _ := p.newTenant("")
			return request{operatorKey, "POST", "/api/v1/tenants/" + other + "/suspend", nil, nil}
		},
	} {
		// What it reads when nothing comes between.
		var reads []store.Key
		r := make()
		p.tell(func(read []store.Key) { reads = append(reads, read...) })
		got := p.send(r.credential, r.method, r.path, r.body, r.headers...)
		p.tell(nil)
		if got.status >= 300 || len(reads) == 0 {
			t.Errorf("%s: %d %s, %d reads", name, got.status, got.raw, len(reads))
			continue
		}
		for i := range slices.Compact(reads) {
			r := make()
			decided, touched, there := 0, store.Key{}, false
			p.tell(func(read []store.Key) {
				if decided++; decided == 1 && i < len(read) {
					touched = read[i]
					there = p.touch(touched)
				}
			})
			got := p.send(r.credential, r.method, r.path, r.body, r.headers...)
			p.tell(nil)
			if got.status >= 300 {
				t.Errorf("%s, with %s written meanwhile: %d %s", name, touched, got.status, got.raw)
			}
			if there && decided < 2 {
				t.Errorf("%s did not notice that %s was written meanwhile", name, touched)
			}
		}
	}
}

// TestWhoeverWritesARecordWritesItsGuard: a decision that reads a seat is compared on its room, so nobody may write a seat
// without its room, nor a key without its tenant's account.
func TestWhoeverWritesARecordWritesItsGuard(t *testing.T) {
	t.Parallel()
	p := openProbe(t, `{"duplicate_participant_policy":"replace","presence_timeout_seconds":10}`)
	user := object{"display_name": "A", "external_user_id": "a"}
	p.add("r", user)
	seat := p.add("r", user)
	p.must(200, "POST", seats+"/bulk", object{"participants": []object{{"display_name": "B", "external_user_id": "b"}, {"display_name": "C"}}})
	p.must(204, "DELETE", seats+"/"+idOf(seat)+"?ban_seconds=60", nil)
	p.must(204, "DELETE", "/api/v1/rooms/r/bans", nil)
	p.must(200, "POST", "/api/v1/rooms/r/participants/bulk-remove", object{"external_user_ids": []string{"b"}, "ban_seconds": 60})
	left := p.add("r", object{"display_name": "D"})
	p.must(204, "POST", seats+"/"+idOf(left)+"/leave", nil)
	p.clock.advance(time.Minute)
	p.sweep()
	tenant := "/api/v1/tenants/" + p.tenant
	made := p.must(201, "POST", tenant+"/keys", object{"name": "k", "scopes": []string{"rooms:read"}})["key"].(object)["id"].(string)
	rotated := p.must(201, "POST", tenant+"/keys/"+made+"/rotate", object{"grace_seconds": 60})["key"].(object)["id"].(string)
	p.must(204, "DELETE", tenant+"/keys/"+rotated, nil)
	p.must(201, "POST", tenant+"/signing-keys/rotate", object{"immediately": true})
	p.clock.advance(48 * time.Hour)
	p.sweep()
	written := make(map[int64]map[store.Key]bool) // by revision
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	last, err := p.etcd.Get(ctx, p.prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		t.Fatal(err)
	}
	guarded := 0
	for response := range p.etcd.Watch(ctx, p.prefix, clientv3.WithPrefix(), clientv3.WithRev(1), clientv3.WithProgressNotify()) {
		for _, event := range response.Events {
			table, path, _ := strings.Cut(strings.TrimPrefix(string(event.Kv.Key), p.prefix), "/")
			if written[event.Kv.ModRevision] == nil {
				written[event.Kv.ModRevision] = make(map[store.Key]bool)
			}
			written[event.Kv.ModRevision][store.Key{Table: table, Path: path}] = true
		}
		if response.Header.Revision >= last.Header.Revision && len(response.Events) > 0 && response.Events[len(response.Events)-1].Kv.ModRevision >= last.Header.Revision {
			break
		}
	}
	for revision, keys := range written {
		for key := range keys {
			guard := guardOf(key)
			if guard == key {
				continue
			}
			guarded++
			if !keys[guard] {
				t.Errorf("revision %d writes %s and not %s", revision, key, guard)
			}
		}
	}
	if guarded < 15 {
		t.Errorf("only %d guarded records were written", guarded)
	}
}
