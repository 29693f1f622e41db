package rooms

import (
	"strings"
	"time"

	"github.com/gofrs/uuid/v5"

	"usher"
	"usher/tenant"
)

// ID names a room: a TypeID, "room_" and 26 characters.
type ID string

// SeatID names a seat in a room, and so its participant: a TypeID, "p_" and 26 characters.
type SeatID string

const (
	idPrefix     = "room"
	seatIDPrefix = "p"
)

// ParseID reads a room's TypeID and says whether s is one.
func ParseID(s string) (ID, bool) {
	_, ok := tenant.ParseTypeID(idPrefix, s)
	return ID(s), ok
}

// ParseSeatID reads a seat's TypeID and says whether s is one.
func ParseSeatID(s string) (SeatID, bool) {
	_, ok := tenant.ParseTypeID(seatIDPrefix, s)
	return SeatID(s), ok
}

func newID(now time.Time) ID { return ID(tenant.FormatTypeID(idPrefix, tenant.NewUUID(now))) }

// nextSeat makes a seat's id that is greater than the room's last one, whatever the replicas' clocks say: the order of
// ids is the order of joining, so a list needs no sorting. It is a UUIDv7 whose 12 bits below the millisecond count the
// seats of that millisecond (RFC 9562, section 6.2, method 1).
func nextSeat(last SeatID, now time.Time, random uint64) SeatID {
	milli, count := now.UnixMilli(), uint16(0)
	if u, ok := tenant.ParseTypeID(seatIDPrefix, string(last)); ok {
		lastMilli, lastCount, _ := u.Fields()
		switch {
		case milli > lastMilli:
		case lastCount == 0xfff:
			milli = lastMilli + 1
		default:
			milli, count = lastMilli, lastCount+1
		}
	}
	return SeatID(tenant.FormatTypeID(seatIDPrefix, tenant.UUIDv7(milli, count, random)))
}

// Ref is how a request names a room: by id or by name, never both.
type Ref struct {
	ID   ID
	Name string
}

// RefTo is the reference to the room of the id.
func RefTo(id ID) Ref { return Ref{ID: id} }

// ParseRef reads a path's room: a TypeID, the bare UUID form of the same id, or a name.
func ParseRef(s string) (Ref, *usher.Error) {
	if id, ok := parseAnyID(s); ok {
		return Ref{ID: id}, nil
	}
	name, problem := cleanName(s)
	if problem != "" {
		return Ref{}, usher.Invalid(usher.FieldError{Field: "id", Message: problem})
	}
	return Ref{Name: name}, nil
}

// parseAnyID reads the two forms of an id. A UUID counts in its usual form of 36 characters only, in either case.
func parseAnyID(s string) (ID, bool) {
	if id, ok := ParseID(s); ok {
		return id, true
	}
	if len(s) != 36 {
		return "", false
	}
	u, err := uuid.FromString(s)
	if err != nil {
		return "", false
	}
	return ID(tenant.FormatTypeID(idPrefix, tenant.UUID(u))), true
}

const maxNameLength = 200 // characters

// cleanName trims a room's name and says what is wrong with it, if anything is.
func cleanName(s string) (name, problem string) {
	name = strings.TrimSpace(s)
	if name == "." || name == ".." { // clients take these out of a path, and then mean another one (RFC 3986, section 5.2.4)
		return name, "must not be . or .."
	}
	return name, usher.CheckText(name, maxNameLength)
}

// CleanName is cleanName for a room to be created: a name that reads as an id is refused, so that a reference is never
// ambiguous.
func CleanName(s string) (name, problem string) {
	name, problem = cleanName(s)
	if _, ok := parseAnyID(name); ok && problem == "" {
		return "", "must not be a UUID or a room id"
	}
	return name, problem
}
