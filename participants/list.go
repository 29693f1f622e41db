package participants

import (
	"bytes"
	"slices"

	"usher"
	"usher/rooms"
	"usher/store"
	"usher/tenant"
)

// Query selects participants for a list.
type Query struct {
	Active bool  // only those in the room now
	After  ID    // only those who joined after this one; "" from the first
	Pin    int64 // the revision at which the list was begun; 0 begins one
	Limit  int
}

// Page is a part of a list.
type Page struct {
	Last ID    // the last of the participants
	More bool  // there are more after the last
	Pin  int64 // the revision that all pages of this list show

	participants [][]byte // each as JSON
	joined       []byte   // the same as an array of JSON, where it is kept
}

// AppendJSON appends the participants as an array.
func (p *Page) AppendJSON(b []byte) []byte {
	if p.joined != nil {
		return append(b, p.joined...)
	}
	b = append(slices.Grow(b, p.size()), '[')
	for i, encoded := range p.participants {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, encoded...)
	}
	return append(b, ']')
}

// size is the length of the array, or one more.
func (p *Page) size() int {
	size := len("[]")
	for _, encoded := range p.participants {
		size += len(encoded) + len(",")
	}
	return size
}

// List gives a room's participants in the order of joining, as they were at the revision at which the list was begun.
//
// No old state is kept for it. Ids grow with the commits of a room and a participant changes only once, by leaving; so
// what was true at the pin follows from the newest state: who was created later was not there, and who left later was
// still active. The index must have reached the pin.
func (s *Service) List(t tenant.ID, ref rooms.Ref, q Query) (Page, error) {
	snapshot := s.log.Snapshot()
	if q.Pin == 0 {
		q.Pin = snapshot.Revision()
	}
	room, err := rooms.Find(snapshot, t, ref)
	if err != nil {
		return Page{}, err
	}
	prefix := path(t, room.ID, "")
	first, partial := q.After == "" && q.Pin == snapshot.Revision(), q.Active && room.ParticipantCount > q.Limit
	if first && !partial {
		return s.lists.page(snapshot, prefix, room.Status == rooms.Ended, q, func() (Page, error) { return list(snapshot, t, room, prefix, q) })
	}
	return list(snapshot, t, room, prefix, q)
}

// list reads the page from the index.
func list(snapshot *store.Snapshot, t tenant.ID, room rooms.Room, prefix string, q Query) (Page, error) {
	ending := endingOf(snapshot, t, room, q.Pin)
	page := Page{participants: make([][]byte, 0, min(q.Limit, room.ParticipantCount)), Pin: q.Pin}
	rows := Participants.Scan(snapshot, prefix, after(t, room.ID, q))
	switch {
	case q.Active && ending != nil:
		return page, nil
	case q.Active && q.After == "" && q.Pin == snapshot.Revision(): // and so nobody has left since
		rows = Participants.ScanLive(snapshot, prefix)
	}
	for row := range rows {
		if row.Created > q.Pin {
			break // and so are all that follow
		}
		encoded, active, err := asOf(row, q.Pin, ending)
		if err != nil {
			return Page{}, err
		}
		if q.Active && !active {
			continue
		}
		if len(page.participants) == q.Limit {
			page.More = true
			break
		}
		page.participants = append(page.participants, encoded)
		page.Last = ID(row.Path[len(prefix):])
	}
	return page, nil
}

// after is the path behind which the list goes on; "" for its beginning.
func after(t tenant.ID, room rooms.ID, q Query) string {
	if q.After == "" {
		return ""
	}
	return path(t, room, q.After)
}

// Get finds a participant, as JSON.
func (s *Service) Get(t tenant.ID, ref rooms.Ref, id ID) ([]byte, error) {
	snapshot := s.log.Snapshot()
	room, err := rooms.Find(snapshot, t, ref)
	if err != nil {
		return nil, err
	}
	row, err := find(snapshot, t, room.ID, id)
	if err != nil {
		return nil, err
	}
	pin := snapshot.Revision()
	encoded, _, err := asOf(row, pin, endingOf(snapshot, t, room, pin))
	return encoded, err
}

// CountJoinedBefore counts the tenant's active participants who joined before the moment; all of them, when it is zero.
func (s *Service) CountJoinedBefore(t tenant.ID, moment usher.Time) (n int) {
	snapshot := s.log.Snapshot()
	for row := range rooms.Rooms.Scan(snapshot, string(t)+"/", "") {
		switch room := row.Value; {
		case room.Status == rooms.Ended:
		case moment.IsZero():
			n += room.ParticipantCount
		default:
			n += countJoinedBefore(snapshot, path(t, room.ID, ""), moment)
		}
	}
	return n
}

func countJoinedBefore(snapshot *store.Snapshot, prefix string, moment usher.Time) (n int) {
	for row := range Participants.ScanLive(snapshot, prefix) {
		if p, err := row.Value.participant(); err == nil && p.JoinedAt.Before(moment.Time) {
			n++
		}
	}
	return n
}

// endingOf is how a participant of the room reads on whom the room has ended by the pin: the end of its JSON. It is nil
// for a room that had not. An ended room is never written again, so its last revision is that of its end.
func endingOf(snapshot *store.Snapshot, t tenant.ID, room rooms.Room, pin int64) []byte {
	if room.Status != rooms.Ended {
		return nil
	}
	row, ok := rooms.Rooms.Get(snapshot, rooms.Path(t, room.ID))
	if !ok || row.Modified > pin {
		return nil
	}
	ending := append([]byte(`,"left_at":"`), must(room.EndedAt.MarshalText())...)
	return append(ending, `","leave_reason":"room_ended"}`...)
}

// must is for the marshalling of a time, which cannot fail.
func must(b []byte, _ error) []byte { return b }

// asOf is the participant's JSON as it was at the pin, and whether it was active then.
func asOf(row *store.Row[Record], pin int64, ending []byte) (encoded []byte, active bool, err error) {
	switch {
	case row.Value.Left && row.Modified > pin:
		p, err := row.Value.participant()
		if err != nil {
			return nil, false, err
		}
		return recordOf(p.left("", usher.Time{})).JSON, true, nil
	case row.Value.Left:
		return row.Value.JSON, false, nil
	case ending != nil:
		return append(bytes.TrimSuffix(bytes.Clone(row.Value.JSON), []byte("}")), ending...), false, nil
	}
	return row.Value.JSON, true, nil
}
