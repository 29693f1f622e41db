package participants

import (
	"hash/fnv"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"usher"
	"usher/rooms"
	"usher/store"
)

// Heard is when participants were last heard of, in milliseconds since 1970. A participant that is not in it was not heard
// of since it joined.
type Heard map[ID]int64

// Presence is the table of what was heard: {tenant}/{room}/{chunk}, see chunkOf.
var Presence = store.Table[Heard]{Name: rooms.PresenceTable, Aggregate: true, Decode: readHeard, Encode: writeHeard}

const (
	wholeRoom     = "all" // the chunk of a room that has only one
	wholeRoomMost = 256   // how many active participants such a room has at most
	roomChunks    = 16    // of a room that has more: for 10 000 participants 28 KB each
)

// chunkOf is the chunk in which a participant is written, in a room of so many active ones: "all" up to 256, and in a
// larger room one of "00" to "15", the id's FNV-1a hash of 32 bits modulo 16. So no record grows with its room beyond
// 32 KB, and a write is a part of the room. Whoever reads takes the newest of all the room's records.
func chunkOf(id ID, active int) string {
	if active <= wholeRoomMost {
		return wholeRoom
	}
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(id)) // cannot fail
	n := strconv.FormatUint(uint64(hash.Sum32()%roomChunks), 10)
	if len(n) < 2 {
		n = "0" + n
	}
	return n
}

func chunkPath(room, chunk string) string { return room + "/" + chunk }

// readHeard reads a record, also one of RFC 3339 times, as it was before there were chunks; that one lies at its room's path.
func readHeard(_ string, value []byte) (Heard, error) {
	var heard Heard
	err := json.Unmarshal(value, &heard)
	if err == nil {
		return heard, nil
	}
	var times map[ID]usher.Time
	if json.Unmarshal(value, &times) != nil {
		return nil, err
	}
	heard = make(Heard, len(times))
	for id, at := range times {
		heard[id] = at.UnixMilli()
	}
	return heard, nil
}

// writeHeard is json.Marshal with sorted members, in a fifth of its time: the writer does it, for all tenants.
func writeHeard(h Heard) (b []byte, err error) {
	const member = len(`"p_01j00000000000000000000000":1767693600000,`)
	b = append(make([]byte, 0, len("{}")+len(h)*member), '{')
	for i, id := range slices.Sorted(maps.Keys(h)) {
		if i > 0 {
			b = append(b, ',')
		}
		if b, err = jsontext.AppendQuote(b, string(id)); err != nil {
			return nil, err
		}
		b = strconv.AppendInt(append(b, ':'), h[id], 10)
	}
	return append(b, '}'), nil
}

// add keeps the later of what was heard twice, but for those who are gone.
func (h Heard) add(more Heard, gone map[ID]struct{}) {
	for id, at := range more {
		if _, left := gone[id]; left {
			continue
		}
		if known, ok := h[id]; !ok || at > known {
			h[id] = at
		}
	}
}

// heardIn is all that is written of the room, whatever the number of its chunks was.
//
// In a decision it is read unguarded: whoever decides names the records in which a beat could be written meanwhile.
func heardIn(r store.Reader, room string) (all []Heard) {
	for row := range Presence.Scan(r, room, "") {
		all = append(all, row.Value)
	}
	return all
}

// last is when the participant was last heard of by any of the records; zero when it was not.
func last(all []Heard, id ID) (at time.Time) {
	for _, heard := range all {
		if milli, ok := heard[id]; ok {
			at = later(at, time.UnixMilli(milli))
		}
	}
	return at
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// chunk is what was heard of a room and belongs into one record.
type chunk struct {
	room, name string
	heard      Heard
	gone       map[ID]struct{} // who is in the room's records and has left: what follows from many seats is found before Commit
}

// chunksOf divides what was heard in the room into its records. There are none for a room that is over, and what was heard
// of those who have left is dropped: nobody asks for it.
func chunksOf(snapshot *store.Snapshot, room string, heard Heard) (all []chunk) {
	row, ok := rooms.Rooms.Get(snapshot, room)
	if !ok || row.Value.Status == rooms.Ended {
		return nil
	}
	byName := make(map[string]Heard)
	for id, at := range heard {
		if left(snapshot, room, id) {
			continue
		}
		name := chunkOf(id, row.Value.ParticipantCount)
		if byName[name] == nil {
			byName[name] = make(Heard)
		}
		byName[name][id] = at
	}
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		c := chunk{room: room, name: name, heard: byName[name], gone: make(map[ID]struct{})}
		for _, record := range c.records(snapshot) {
			for id := range record.Value {
				if left(snapshot, room, id) {
					c.gone[id] = struct{}{}
				}
			}
		}
		all = append(all, c)
	}
	return all
}

// left says whether the participant is no longer in the room; it does not come back, a user who does has another seat.
func left(snapshot *store.Snapshot, room string, id ID) bool {
	row, ok := Participants.Get(snapshot, chunkPath(room, string(id)))
	return !ok || row.Value.Left
}

// records are those that a write of the chunk takes in: its own and, when the room has only one, those of its larger days.
func (c chunk) records(r store.Reader) (all []*store.Row[Heard]) {
	if c.name == wholeRoom {
		return slices.Collect(Presence.Scan(r, c.room, ""))
	}
	if row, ok := Presence.Get(r, chunkPath(c.room, c.name)); ok {
		all = append(all, row)
	}
	return all
}

// aggregates are the records that a write of the chunk may change.
func (c chunk) aggregates(snapshot *store.Snapshot) []store.Key {
	own := chunkPath(c.room, c.name)
	keys := []store.Key{Presence.Key(own)}
	for _, record := range c.records(snapshot) {
		if record.Path != own {
			keys = append(keys, Presence.Key(record.Path))
		}
	}
	return keys
}

// write merges what was heard into the record, prunes those who have left, and takes away the records that it takes in.
func (c chunk) write(tx *store.Tx) {
	// What it changes is compared (aggregates). Who has left since is only kept for longer than needed: to be compared on the
	// room would be to wait for every join.
	seen := tx.Unguarded()
	if row, ok := rooms.Rooms.Get(seen, c.room); !ok || row.Value.Status == rooms.Ended {
		return
	}
	own, merged := chunkPath(c.room, c.name), maps.Clone(c.heard)
	for _, record := range c.records(seen) {
		merged.add(record.Value, c.gone)
		if record.Path != own {
			Presence.Delete(tx, record.Path)
		}
	}
	Presence.Put(tx, own, merged)
}
