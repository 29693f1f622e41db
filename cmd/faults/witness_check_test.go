package faults

import (
	"fmt"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// logged is one event of a made-up log. Events of one revision stand together.
type logged struct {
	revision   int64
	key, value string // below the prefix; no value: the key is deleted
}

// told has a witness hear a log, and gives what it finds wrong.
func told(log []logged) []string {
	var broken problems
	w := newWitness(nil, &broken)
	w.load(0, nil)
	created := make(map[string]int64)
	var events []*clientv3.Event
	for _, l := range log {
		e := &clientv3.Event{Type: mvccpb.PUT, Kv: &mvccpb.KeyValue{Key: []byte(prefix + l.key), Value: []byte(l.value), ModRevision: l.revision}}
		if l.value == "" {
			e.Type = mvccpb.DELETE
			delete(created, l.key)
		} else if created[l.key] == 0 {
			created[l.key] = l.revision
		}
		e.Kv.CreateRevision = created[l.key]
		events = append(events, e)
	}
	w.hear(events)
	return broken.take()
}

// TestTheWitnessKnowsRightFromWrong: a check that cannot fail finds nothing. Each story begins with the tenant.
func TestTheWitnessKnowsRightFromWrong(t *testing.T) {
	t.Parallel()
	const tenant = "tenant_1"
	tenantIs := func(revision int64, status string, bound int) logged {
		return logged{revision, "tenants/" + tenant, fmt.Sprintf(`{"id":"tenant_1","status":%q,"config":{"max_stored_bytes":%d}}`, status, bound)}
	}
	room := func(revision int64, id, name, status string) logged {
		return logged{revision, "rooms/" + tenant + "/" + id, fmt.Sprintf(`{"id":%q,"name":%q,"status":%q}`, id, name, status)}
	}
	leads := func(revision int64, name, id string) logged {
		return logged{revision, "room-names/" + tenant + "/" + name, fmt.Sprintf(`{"room_id":%q}`, id)}
	}
	nameless := func(revision int64, name string) logged {
		return logged{revision: revision, key: "room-names/" + tenant + "/" + name}
	}
	key := logged{2, "api-keys/5ca1ab1e", `{"id":"key_1","tenant_id":"tenant_1"}`}
	revoked := func(revision int64) logged { return logged{revision: revision, key: key.key} }
	seat := func(revision int64, id, tag string) logged {
		return logged{revision, "participants/" + tenant + "/room_1/" + id, fmt.Sprintf(`{"id":%q,"room_id":"room_1","display_name":%q}`, id, tag)}
	}
	of := func(revision int64, bytes int) logged { // a record that counts so many bytes
		const path = "rooms/" + tenant + "/room_1"
		value := `{"id":"room_1","name":"room_1","notes":""}`
		return logged{revision, path, strings.Replace(value, `""`, `"`+strings.Repeat("n", bytes-len(prefix+path)-len(value))+`"`, 1)}
	}
	begun := tenantIs(1, "active", 0)
	bytesOf := func(l logged) int { return len(prefix+l.key) + len(l.value) }
	kept := bytesOf(tenantIs(1, "active", 1000))
	for name, c := range map[string]struct {
		log   []logged
		wrong string // a part of what is found
	}{
		"a room is renamed, and another one made with its old name": {log: []logged{
			room(2, "room_1", "alpha", "active"), leads(2, "alpha", "room_1"),
			leads(3, "beta", "room_1"), nameless(3, "alpha"), room(3, "room_1", "beta", "active"),
			room(4, "room_2", "alpha", "active"), leads(4, "alpha", "room_2"),
		}},
		"a room is called by its id": {log: []logged{room(2, "room_1", "room_1", "active")}},
		"an ended room had the name": {log: []logged{
			room(2, "room_1", "alpha", "active"), leads(2, "alpha", "room_1"), room(3, "room_1", "alpha", "ended"),
			room(4, "room_2", "alpha", "active"), leads(4, "alpha", "room_2"),
		}},
		"a name with spaces": {log: []logged{room(2, "room_1", "a b", "active"), leads(2, "a%20b", "room_1")}},
		"two rooms are renamed to one name": {log: []logged{
			room(2, "room_1", "x", "active"), leads(2, "x", "room_1"), room(3, "room_2", "y", "active"), leads(3, "y", "room_2"),
			room(4, "room_1", "alpha", "active"), leads(4, "alpha", "room_1"), room(5, "room_2", "alpha", "active"), leads(5, "alpha", "room_2"),
		}, wrong: "both called"},
		"a name leads to another room": {log: []logged{
			room(2, "room_1", "x", "active"), leads(2, "x", "room_1"), leads(3, "x", "room_2"),
		}, wrong: "leads to"},
		"a name leads nowhere": {log: []logged{
			room(2, "room_1", "x", "active"), leads(2, "x", "room_1"), nameless(3, "x"),
		}, wrong: "leads to"},

		"a key is used, and revoked":           {log: []logged{key, seat(3, "p_1", "by key_1 1"), revoked(4)}},
		"a key is used as it is revoked":       {log: []logged{key, revoked(3), seat(3, "p_1", "by key_1 1")}},
		"another key is used":                  {log: []logged{key, revoked(3), seat(4, "p_1", "by key_2 1")}},
		"a seat changes after the revocation":  {log: []logged{key, seat(3, "p_1", "by key_1 1"), revoked(4), seat(5, "p_1", "by key_1 1")}},
		"a key is used after it was revoked":   {log: []logged{key, revoked(3), seat(4, "p_1", "by key_1 1")}, wrong: "which was revoked in revision 3"},
		"a tenant is suspended and resumed":    {log: []logged{seat(2, "p_1", "a"), tenantIs(3, "suspended", 0), tenantIs(4, "active", 0), seat(5, "p_2", "b")}},
		"a tenant is suspended as it adds":     {log: []logged{seat(3, "p_1", "a"), tenantIs(3, "suspended", 0)}},
		"a suspended tenant is written, again": {log: []logged{tenantIs(3, "suspended", 0), tenantIs(5, "suspended", 1), seat(5, "p_1", "a")}, wrong: "since revision 3"},
		"a suspended tenant adds":              {log: []logged{tenantIs(3, "suspended", 0), seat(4, "p_1", "a")}, wrong: "which is suspended since revision 3"},

		"as much as may be stored":    {log: []logged{tenantIs(2, "active", 1000), of(3, 1000-kept)}},
		"a byte more":                 {log: []logged{tenantIs(2, "active", 1000), of(3, 1000-kept+1)}, wrong: "1001 bytes are stored"},
		"more, for a moment":          {log: []logged{tenantIs(2, "active", 1000), of(3, 1000), of(4, 100)}, wrong: "revision 3: "},
		"a record grows too large":    {log: []logged{tenantIs(2, "active", 1000), of(3, 500), of(4, 1000)}, wrong: "revision 4: "},
		"what is gone counts no more": {log: []logged{tenantIs(2, "active", 1000), of(3, 900), {revision: 4, key: "rooms/" + tenant + "/room_1"}, of(5, 900)}},
		"keys count for nobody":       {log: []logged{tenantIs(2, "active", 1000), {2, key.key, `{"id":"key_1","name":"` + strings.Repeat("n", 1000) + `"}`}}},
	} {
		broken := told(append([]logged{begun}, c.log...))
		switch {
		case c.wrong == "" && len(broken) > 0:
			t.Errorf("%s: %q", name, broken)
		case c.wrong != "" && (len(broken) == 0 || !strings.Contains(strings.Join(broken, "\n"), c.wrong)):
			t.Errorf("%s: %q, want %q", name, broken, c.wrong)
		}
	}
}

// TestARefusalForWantOfRoomIsKnown: a tenant that is full may be refused for that, or by a log that cannot be written.
func TestARefusalForWantOfRoomIsKnown(t *testing.T) {
	t.Parallel()
	for code, wrong := range map[string]bool{quotaExceeded: false, "unavailable": false, "room_ended": false, "body_too_large": true, "rate_limited": true, "invalid_request": true} {
		if problem := misrefused(code); (problem != "") != wrong {
			t.Errorf("%s: %q", code, problem)
		}
	}
	for _, c := range []struct {
		status int
		code   string
		wrong  bool
	}{{403, quotaExceeded, false}, {409, quotaExceeded, true}, {503, "unavailable", false}, {413, "body_too_large", true}} {
		w := &workload{}
		(&hoarder{}).judge(w, &call{gateway: &gateway{}, status: c.status, code: c.code})
		if broken := w.broken.take(); (len(broken) > 0) != c.wrong {
			t.Errorf("%d %s: %q", c.status, c.code, broken)
		}
	}
	w := &workload{}
	(&hoarder{}).removes(w, &call{gateway: &gateway{}, status: 403, code: quotaExceeded})
	if len(w.broken.take()) == 0 {
		t.Error("a full tenant need not be able to remove")
	}
}
