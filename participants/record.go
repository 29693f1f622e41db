package participants

import (
	"bytes"
	"fmt"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"usher"
	"usher/rooms"
	"usher/store"
)

// Record is a participant as the index holds it: its JSON, and where in it the little is that is asked for without reading
// it. There may be millions, so it is small.
type Record struct {
	JSON []byte
	user span
	Left bool
}

// span is a part of a record's JSON: the text of external_user_id without its quotes, as it is escaped there.
type span struct{ from, to uint16 }

// maxRecord is more than a participant can have, in bytes, and all that a span can point into.
const maxRecord = 1<<16 - 1

// ExternalUserID is whose seat it is; "" for nobody in particular.
func (r *Record) ExternalUserID() string {
	text := r.JSON[r.user.from:r.user.to]
	if bytes.IndexByte(text, '\\') < 0 {
		return string(text)
	}
	plain, _ := jsontext.AppendUnquote(nil, r.JSON[r.user.from-1:r.user.to+1]) // what was quoted can be unquoted
	return string(plain)
}

// participant reads the record.
func (r *Record) participant() (Participant, error) {
	var p Participant
	if err := json.Unmarshal(r.JSON, &p); err != nil {
		return p, usher.Internal(err, "read a participant")
	}
	return p, nil
}

// Participants is the table of participants: {tenant}/{room}/{participant}.
var Participants = store.Table[Record]{
	Name:      rooms.SeatsTable,
	Bucket:    2, // a room's
	GuardedBy: rooms.GuardedByRoom,
	Live:      func(r Record) bool { return !r.Left },
	Size: func(r Record) int {
		if r.Left {
			return len(r.JSON) + heardBytes
		}
		return len(r.JSON) + heardBytes + leftBytes
	},
	Decode: func(_ string, value []byte) (Record, error) { return readRecord(value) },
	Encode: func(r Record) ([]byte, error) { return r.JSON, nil },
}

// What a seat sets aside for what comes, in bytes: that it was heard of (Presence), and that it has left, so that to leave
// adds nothing.
const (
	heardBytes = 64
	leftBytes  = len(`,"left_at":"2026-01-06T10:00:00.000Z","leave_reason":"disconnected"`) + 8
)

func recordOf(p Participant) Record {
	var ordinary [participantBytes]byte // the index keeps a copy of just the length, for as long as the room lives
	encoded, user := p.appendJSON(ordinary[:0])
	return Record{JSON: bytes.Clone(encoded), user: user, Left: !p.LeftAt.IsZero()}
}

// participantBytes is room for an ordinary participant without growing.
const participantBytes = 512

// appendJSON appends the participant, and says where its external_user_id is.
func (p *Participant) appendJSON(b []byte) (encoded []byte, user span) {
	begin := len(b)
	o := usher.JSONInto(b)
	o.Plain("id", string(p.ID))
	o.Plain("room_id", string(p.RoomID))
	o.String("display_name", p.DisplayName)
	if p.ExternalUserID != "" {
		user.from = uint16(o.Len() - begin + len(`,"external_user_id":"`))
		o.String("external_user_id", p.ExternalUserID)
		user.to = uint16(o.Len() - begin - len(`"`))
	}
	o.String("role", p.Role)
	if len(p.Metadata) > 0 {
		o.Value("metadata", p.Metadata)
	}
	o.Time("joined_at", p.JoinedAt)
	o.TimeIfAny("left_at", p.LeftAt)
	o.StringIfAny("leave_reason", string(p.LeaveReason))
	return o.End(), user
}

// readRecord reads a value of the log. The form in which appendJSON writes is read without reflection, which is most of
// the time of a first load.
func readRecord(value []byte) (Record, error) {
	s := scanner{value: value}
	if r, ok := s.record(); ok {
		return r, nil
	}
	var p Participant
	if err := json.Unmarshal(value, &p); err != nil {
		return Record{}, err
	}
	if len(value) > maxRecord {
		return Record{}, fmt.Errorf("a participant of %d bytes", len(value))
	}
	r := Record{JSON: value, Left: !p.LeftAt.IsZero()}
	if p.ExternalUserID == "" {
		return r, nil
	}
	quoted, err := jsontext.AppendQuote(nil, p.ExternalUserID)
	if err != nil {
		return Record{}, err
	}
	member := append([]byte(`"external_user_id":`), quoted...)
	at := bytes.Index(value, member)
	if at < 0 { // written by others, in another form
		return recordOf(p), nil
	}
	r.user.to = uint16(at + len(member) - 1)
	r.user.from = r.user.to - uint16(len(quoted)-2)
	return r, nil
}

// scanner reads a record that appendJSON has written. Whatever is in another form, or escaped, it leaves to others.
type scanner struct {
	value []byte
	at    int
	bad   bool
}

func (s *scanner) record() (r Record, ok bool) {
	s.word(`{"id":`)
	s.text()
	s.word(`,"room_id":`)
	s.text()
	s.word(`,"display_name":`)
	s.text()
	if s.maybe(`,"external_user_id":`) {
		r.user = s.text()
	}
	s.word(`,"role":`)
	s.text()
	if s.maybe(`,"metadata":`) {
		s.object()
	}
	s.word(`,"joined_at":`)
	s.time()
	if s.maybe(`,"left_at":`) {
		r.Left = !s.time().IsZero()
	}
	if s.maybe(`,"leave_reason":`) {
		s.text()
	}
	s.word(`}`)
	r.JSON = s.value
	return r, !s.bad && s.at == len(s.value) && len(s.value) <= maxRecord
}

// maybe goes on behind the word, if it comes next.
func (s *scanner) maybe(word string) bool {
	if s.bad || !bytes.HasPrefix(s.value[s.at:], []byte(word)) {
		return false
	}
	s.at += len(word)
	return true
}

func (s *scanner) word(word string) { s.bad = s.bad || !s.maybe(word) }

// text goes on behind a string that has nothing escaped.
func (s *scanner) text() (inside span) {
	s.word(`"`)
	if s.bad {
		return span{}
	}
	from, ascii := s.at, true
	for ; s.at < len(s.value) && s.value[s.at] != '"'; s.at++ {
		c := s.value[s.at]
		s.bad = s.bad || c < ' ' || c == '\\'
		ascii = ascii && c < utf8.RuneSelf
	}
	s.bad = s.bad || (!ascii && !utf8.Valid(s.value[from:s.at]))
	inside = span{uint16(from), uint16(s.at)}
	s.word(`"`)
	return inside
}

func (s *scanner) time() (t usher.Time) {
	from := s.at
	s.text()
	s.bad = s.bad || t.UnmarshalJSON(s.value[from:s.at]) != nil
	return t
}

// object goes on behind a JSON object, which ends where the last joined_at begins: only an object within it may have one.
func (s *scanner) object() {
	if s.bad {
		return
	}
	length := bytes.LastIndex(s.value[s.at:], []byte(`,"joined_at":`))
	if length < 0 {
		s.bad = true
		return
	}
	object := jsontext.Value(s.value[s.at : s.at+length])
	s.at += length
	s.bad = object.Kind() != '{' || !object.IsValid()
}
