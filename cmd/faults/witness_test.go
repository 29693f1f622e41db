package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// witness follows the log by itself, over no link, and holds every revision of it against what must always be so.
type witness struct {
	client  *clientv3.Client
	broken  *problems
	schools map[string]*school // by id; set before anything is written for them

	mu       sync.Mutex
	revision int64                             // guarded by mu, as is all that follows
	keys     map[string]int64                  // what the log has: key → its revision
	rooms    map[string]map[string]*roomRecord // by tenant and id
	seats    map[string]map[string]*seatRecord // by tenant/room and id
	counts   map[string]int                    // of live rooms, by tenant
	byTag    map[string][]*seatRecord          // every seat that ever was, by its display name
	elected  map[string]bool                   // participants who were told to record, ever
	settings map[int]bool                      // values that the registry's setting ever had
	suspects []suspect                         // elections that are right only if somebody has left in the same revision
	names    map[string]map[string]string      // the room that each name leads to, by tenant and name
	taken    *takenAway
	stored   *stored

	stop      context.CancelFunc
	following sync.WaitGroup
}

type suspect struct {
	revision   int64
	room, seat string
}

type roomRecord struct {
	ID               string `json:"id"`
	Name             string `json:"name"`
	Status           string `json:"status"`
	ParticipantCount int    `json:"participant_count"`
	Recording        struct {
		Status    string    `json:"status"`
		Elected   string    `json:"elected_participant_id"`
		ElectedAt time.Time `json:"elected_at"`
	} `json:"recording"`

	modified int64 // revision
}

type seatRecord struct {
	ID             string `json:"id"`
	RoomID         string `json:"room_id"`
	DisplayName    string `json:"display_name"`
	ExternalUserID string `json:"external_user_id"`
	LeftAt         string `json:"left_at"`
	LeaveReason    string `json:"leave_reason"`

	created int64 // revision
}

func newWitness(client *clientv3.Client, broken *problems) *witness {
	return &witness{client: client, broken: broken, schools: make(map[string]*school), byTag: make(map[string][]*seatRecord),
		elected: make(map[string]bool), settings: make(map[int]bool), taken: newTakenAway()}
}

// begin follows the log from what it is now.
func (w *witness) begin(t testing.TB) {
	t.Helper()
	ctx, cancel := within(10 * time.Second)
	defer cancel()
	response, err := w.client.Get(ctx, prefix, clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	w.load(response.Header.Revision, response.Kvs)
	w.mu.Unlock()
	ctx, w.stop = context.WithCancel(context.Background())
	w.following.Go(func() { w.follow(ctx) }) // ends with ctx
}

// load takes what the log holds at a revision. Called under mu.
func (w *witness) load(revision int64, kvs []*mvccpb.KeyValue) {
	w.revision, w.keys = revision, make(map[string]int64)
	w.rooms, w.seats, w.counts = make(map[string]map[string]*roomRecord), make(map[string]map[string]*seatRecord), make(map[string]int)
	w.names, w.stored = make(map[string]map[string]string), newStored()
	for _, kv := range kvs {
		w.put(kv)
	}
	w.taken.fresh = nil // who sat there already was let in before
}

func (w *witness) end() {
	if w.stop != nil {
		w.stop()
		w.following.Wait()
	}
}

func (w *witness) follow(ctx context.Context) {
	for ctx.Err() == nil {
		watching, cancel := context.WithCancel(ctx)
		for response := range w.client.Watch(watching, prefix, clientv3.WithPrefix(), clientv3.WithRev(w.at()+1)) {
			if err := response.Err(); err != nil {
				if response.CompactRevision > 0 {
					w.broken.add("the witness was compacted away: %v", err)
					cancel()
					return
				}
				break
			}
			w.hear(response.Events)
		}
		cancel()
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

func (w *witness) at() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.revision
}

// hear takes events, which come whole revision by whole revision.
func (w *witness) hear(events []*clientv3.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(events) > 0 {
		revision := events[0].Kv.ModRevision
		n := slices.IndexFunc(events, func(e *clientv3.Event) bool { return e.Kv.ModRevision != revision })
		if n < 0 {
			n = len(events)
		}
		touched := make(map[string]string) // tenant/room → tenant
		named := make(map[string]bool)     // tenants
		for _, e := range events[:n] {
			if e.Type == mvccpb.DELETE {
				w.remove(string(e.Kv.Key), revision)
			} else {
				w.put(e.Kv)
			}
			table, path, _ := strings.Cut(strings.TrimPrefix(string(e.Kv.Key), prefix), "/")
			parts := strings.Split(path, "/")
			if table == "rooms" || table == "participants" {
				touched[parts[0]+"/"+parts[1]] = parts[0]
			}
			if table == "rooms" || table == "room-names" {
				named[parts[0]] = true
			}
		}
		for room, tenant := range touched {
			w.look(revision, tenant, room)
		}
		for _, tenant := range slices.Compact(slices.Sorted(maps.Values(touched))) {
			w.lookAll(revision, tenant)
		}
		for tenant := range named {
			w.lookNames(revision, tenant)
		}
		for _, problem := range append(w.taken.look(revision), w.stored.look(revision)...) {
			w.broken.add("%s", problem)
		}
		w.revision, events = revision, events[n:]
	}
}

// put takes what a key holds now. Called under mu.
func (w *witness) put(kv *mvccpb.KeyValue) {
	key := string(kv.Key)
	w.keys[key] = kv.ModRevision
	table, path, _ := strings.Cut(strings.TrimPrefix(key, prefix), "/")
	parts := strings.Split(path, "/")
	read := func(into any) {
		if err := json.Unmarshal(kv.Value, into); err != nil && string(kv.Value) != undecodable {
			w.broken.add("%s does not decode: %v", key, err)
		}
	}
	w.stored.put(table, parts[0], key, len(kv.Value))
	switch table {
	case "tenants":
		var t tenantRecord
		read(&t)
		w.stored.bound(t)
		w.taken.tenant(t, kv.ModRevision)
	case "api-keys":
		var k struct {
			ID string `json:"id"`
		}
		read(&k)
		w.taken.key(key, k.ID)
	case "room-names":
		var n struct {
			RoomID string `json:"room_id"`
		}
		read(&n)
		w.name(parts[0], parts[1], n.RoomID)
	case "tenant-versions": // the tenant itself shows only the last of those that one transaction made
		var t struct {
			Config struct {
				Burst int `json:"burst"`
			} `json:"config"`
		}
		read(&t)
		w.settings[t.Config.Burst] = true
	case "rooms":
		r := &roomRecord{modified: kv.ModRevision}
		read(r)
		if w.rooms[parts[0]] == nil {
			w.rooms[parts[0]] = make(map[string]*roomRecord)
		}
		w.elect(kv.ModRevision, parts[0], w.rooms[parts[0]][parts[1]], r)
		w.rooms[parts[0]][parts[1]] = r
	case "participants":
		s := &seatRecord{}
		read(s)
		room := parts[0] + "/" + parts[1]
		if w.seats[room] == nil {
			w.seats[room] = make(map[string]*seatRecord)
		}
		s.created = kv.CreateRevision
		if kv.CreateRevision == kv.ModRevision {
			w.byTag[s.DisplayName] = append(w.byTag[s.DisplayName], s)
			w.taken.seated(parts[0], s)
		}
		w.seats[room][s.ID] = s
	case "accounts":
		var n struct {
			Live int `json:"rooms"`
		}
		read(&n)
		w.counts[parts[0]] = n.Live
	}
}

// wasElected says whether the log tells that the participant was to record. It does not if the transaction that has
// seated it also took it out again or ended its room: the next calls of the same batch. Called under mu.
func (w *witness) wasElected(tenant, pid, tag string) bool {
	if w.elected[pid] {
		return true
	}
	for _, s := range w.byTag[tag] {
		room := w.rooms[tenant][s.RoomID]
		if s.ID == pid && (s.LeftAt != "" || (room.Status == "ended" && room.modified == s.created)) {
			return true
		}
	}
	return false
}

// remove takes that a key is gone since the revision. Called under mu.
func (w *witness) remove(key string, revision int64) {
	delete(w.keys, key)
	table, path, _ := strings.Cut(strings.TrimPrefix(key, prefix), "/")
	parts := strings.Split(path, "/")
	w.stored.remove(key)
	switch table {
	case "api-keys":
		w.taken.revoke(key, revision)
	case "room-names":
		w.name(parts[0], parts[1], "")
	case "rooms":
		delete(w.rooms[parts[0]], parts[1])
	case "participants":
		delete(w.seats[parts[0]+"/"+parts[1]], parts[2])
	}
}

// elect looks at a change of who is told to record: nobody is, while another one is and can still confirm. The one before
// may leave in the same revision, so whether it has is looked at when the revision is whole. Called under mu.
func (w *witness) elect(revision int64, tenant string, before, now *roomRecord) {
	if now.Recording.Elected == "" {
		return
	}
	w.elected[now.Recording.Elected] = true
	if before == nil || before.Recording.Status != "elected" || before.Recording.Elected == now.Recording.Elected {
		return
	}
	if now.Recording.ElectedAt.Sub(before.Recording.ElectedAt) >= 30*time.Second {
		return
	}
	s := w.seats[tenant+"/"+now.ID][before.Recording.Elected]
	if s != nil && s.LeftAt == "" {
		// Its leaving may be in this revision, and its key come later: participants come after rooms only in a transaction's order.
		w.suspects = append(w.suspects, suspect{revision: revision, room: tenant + "/" + now.ID, seat: s.ID})
	}
}

// look holds a room against what must be so of each. Called under mu.
func (w *witness) look(revision int64, tenant, path string) {
	for _, s := range w.suspects {
		if w.seats[s.room][s.seat].LeftAt == "" {
			w.broken.add("revision %d: in %s another one is told to record while %s still is", s.revision, s.room, s.seat)
		}
	}
	w.suspects = nil
	school := w.schools[tenant]
	_, id, _ := strings.Cut(path, "/")
	room := w.rooms[tenant][id]
	if school == nil {
		return
	}
	if room == nil {
		w.broken.add("revision %d: %s has seats and no record", revision, path)
		return
	}
	if room.Status == "ended" {
		return
	}
	active, of := 0, make(map[string]int)
	for _, s := range w.seats[path] {
		if s.LeftAt == "" {
			active++
			of[s.ExternalUserID]++
		}
	}
	if active != room.ParticipantCount || active > school.capacity {
		w.broken.add("revision %d: %s counts %d, holds %d, and may hold %d", revision, path, room.ParticipantCount, active, school.capacity)
	}
	delete(of, "")
	for user, n := range of {
		if n > 1 && school.policy != "allow" {
			w.broken.add("revision %d: %s has %d seats in %s, whose policy is %s", revision, user, n, path, school.policy)
		}
	}
	if r := room.Recording; r.Status == "elected" {
		if s := w.seats[path][r.Elected]; s == nil || s.LeftAt != "" {
			w.broken.add("revision %d: who is told to record in %s is not there: %v", revision, path, s)
		}
	}
}

// lookAll holds a tenant's rooms against what must be so of all together. Called under mu.
func (w *witness) lookAll(revision int64, tenant string) {
	school := w.schools[tenant]
	if school == nil {
		return
	}
	live := 0
	for _, r := range w.rooms[tenant] {
		if r.Status != "ended" {
			live++
		}
	}
	if live != w.counts[tenant] || live > school.live {
		w.broken.add("revision %d: %s counts %d rooms, has %d, and may have %d", revision, tenant, w.counts[tenant], live, school.live)
	}
}

// caughtUp waits until the witness has seen all that the log has.
func (w *witness) caughtUp() error {
	ctx, cancel := within(20 * time.Second)
	defer cancel()
	response, err := w.client.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		return fmt.Errorf("list the log: %w", err)
	}
	newest := int64(0) // of the records: one of them may be gone by the time that the witness has seen it
	for _, kv := range response.Kvs {
		newest = max(newest, kv.ModRevision)
	}
	if until(20*time.Second, func() bool { return w.at() >= newest }) {
		return nil
	}
	return fmt.Errorf("the witness is at revision %d, and not at %d", w.at(), newest)
}
