package tenant

import (
	"crypto/rand"
	"net/url"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"usher"
	"usher/store"
)

// Attempt is one request under an Idempotency-Key. The zero Attempt is a request without one: nothing is remembered.
type Attempt struct {
	key         string
	fingerprint string // of everything that must be the same in a repeat
	owner       string // tells this attempt from its repeats
}

// NewAttempt makes an Attempt.
func NewAttempt(key, fingerprint string) Attempt {
	return Attempt{key: key, fingerprint: fingerprint, owner: rand.Text()}
}

const (
	// RepeatLifetime is for how long a key is remembered at least (product §4); the sweep then takes it away.
	RepeatLifetime = 24 * time.Hour
	// inFlight is for how long an unfinished attempt keeps its repeats away. A request lives for less, so one that has
	// not moved for so long was cut off, and its repeat goes on from where it was.
	inFlight = 30 * time.Second
)

// remembered is what a key has done.
type remembered struct {
	Room        string         `json:"room,omitzero"` // the id of the one that the request was about
	Fingerprint string         `json:"fingerprint"`
	At          usher.Time     `json:"at"`
	Owner       string         `json:"owner,omitzero"` // of an unfinished one
	Outcome     jsontext.Value `json:"outcome"`
}

// Idempotencies is the table of keys: {tenant}/{key, URL-escaped}. A record is written by the very change that it
// protects, and compared by it: of two that bear the same key one is committed, and the other is decided again and then
// finds what the first has done. So a request of one transaction is never seen in flight, on any replica.
var Idempotencies = store.Table[remembered]{
	Name: "idempotency", Aggregate: true,
	Decode: func(_ string, value []byte) (r remembered, err error) {
		err = json.Unmarshal(value, &r)
		return r, err
	},
	Encode: func(r remembered) ([]byte, error) { return json.Marshal(r) },
}

func (a Attempt) path(t ID) string { return string(t) + "/" + url.PathEscape(a.key) }

// Aggregates are what a change under the key is compared on.
func (a Attempt) Aggregates(t ID) []store.Key {
	if a.key == "" {
		return nil
	}
	return []store.Key{Idempotencies.Key(a.path(t))}
}

// Memory is what is known of a key. Outcome is that of the whole request when Finished, and otherwise, when Known, of
// the part that was done before it was cut off.
type Memory[O any] struct {
	Known    bool
	Finished bool
	Outcome  O
}

// Recall looks up what the key has done. It refuses a key that was used with another request, and one whose request is
// being worked on.
func Recall[O any](tx *store.Tx, t ID, a Attempt, now time.Time) (m Memory[O], err error) {
	row, ok := Idempotencies.Get(tx, a.path(t))
	if a.key == "" || !ok {
		return m, nil
	}
	r := row.Value
	switch {
	case r.Fingerprint != a.fingerprint:
		return m, usher.Errorf(usher.CodeIdempotencyMismatch, "This Idempotency-Key was used with another request; use a new one.")
	case r.Owner != "" && r.Owner != a.owner && now.Before(r.At.Add(inFlight)):
		return m, &usher.Error{Code: usher.CodeIdempotencyInFlight, RetryAfter: r.At.Add(inFlight).Sub(now),
			Detail: "A request with this Idempotency-Key is being worked on. Repeat it later."}
	}
	m.Known, m.Finished = true, r.Owner == ""
	if err := json.Unmarshal(r.Outcome, &m.Outcome); err != nil {
		return m, usher.Internal(err, "read what an Idempotency-Key has done")
	}
	return m, nil
}

// Remember notes the outcome, so far or, when finished, of all, and says by how many bytes what is kept has grown. The
// room is that which the request is about.
func Remember[O any](tx *store.Tx, t ID, a Attempt, room string, outcome O, finished bool, now time.Time) (grown int64, err error) {
	if a.key == "" {
		return 0, nil
	}
	encoded, err := json.Marshal(outcome)
	if err != nil {
		return 0, usher.Internal(err, "write what an Idempotency-Key has done")
	}
	r := remembered{Room: room, Fingerprint: a.fingerprint, At: usher.At(now), Owner: a.owner, Outcome: encoded}
	if finished {
		r.Owner = ""
	}
	before := tx.Growth()
	Idempotencies.Put(tx, a.path(t), r)
	return tx.Growth() - before, nil
}

// Repeat is what is kept of a request under an Idempotency-Key, as the sweep sees it.
type Repeat struct {
	Path string
	Room string // the id of the room that it was about
}

// OverdueRepeats are those of the tenant that were last written before the moment.
func OverdueRepeats(r store.Reader, t ID, before time.Time) (due []Repeat) {
	for row := range Idempotencies.Scan(r, string(t)+"/", "") {
		if row.Value.At.Before(before) {
			due = append(due, Repeat{Path: row.Path, Room: row.Value.Room})
		}
	}
	return due
}

// Overdue says whether the repeat may be taken away still, and is about the room: a request that was cut off may have gone
// on meanwhile.
func (p Repeat) Overdue(tx *store.Tx, before time.Time) bool {
	row, ok := Idempotencies.Get(tx, p.Path)
	return ok && row.Value.At.Before(before) && row.Value.Room == p.Room
}
