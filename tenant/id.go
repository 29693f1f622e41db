package tenant

import (
	"crypto/rand"
	"encoding/binary"
	"time"
)

// ID names a tenant: a TypeID, "tenant_" and 26 characters.
type ID string

// KeyID names an API key: a TypeID, "key_" and 26 characters.
type KeyID string

const (
	idPrefix    = "tenant"
	keyIDPrefix = "key"
)

// NewID makes the id of a tenant created now.
func NewID(now time.Time) ID { return ID(FormatTypeID(idPrefix, NewUUID(now))) }

// ParseID reads a tenant's id and says whether it is one.
func ParseID(s string) (ID, bool) {
	_, ok := ParseTypeID(idPrefix, s)
	return ID(s), ok
}

func newKeyID(now time.Time) KeyID { return KeyID(FormatTypeID(keyIDPrefix, NewUUID(now))) }

// UUID is the 128 bits behind a TypeID.
type UUID [16]byte

// NewUUID makes a random UUIDv7 (RFC 9562, section 5.7) of the time, to a quarter of a microsecond (section 6.2, method
// 3): what one replica makes is in the order of its making.
func NewUUID(now time.Time) UUID {
	var random [8]byte
	_, _ = rand.Read(random[:]) // crypto/rand.Read never fails (its documentation)
	fraction := now.Nanosecond() % int(time.Millisecond) * 4096 / int(time.Millisecond)
	return UUIDv7(now.UnixMilli(), uint16(fraction), binary.BigEndian.Uint64(random[:]))
}

// UUIDv7 lays out a UUIDv7: 48 bits of milliseconds, 12 bits of a, 62 bits of b. Ids order by time, then a, then b.
func UUIDv7(unixMilli int64, a uint16, b uint64) UUID {
	var u UUID
	binary.BigEndian.PutUint64(u[:8], uint64(unixMilli)<<16|0x7000|uint64(a&0x0fff))
	binary.BigEndian.PutUint64(u[8:], b&(1<<62-1)|1<<63)
	return u
}

// Fields gives back what UUIDv7 was made of.
func (u UUID) Fields() (unixMilli int64, a uint16, b uint64) {
	high := binary.BigEndian.Uint64(u[:8])
	return int64(high >> 16), uint16(high & 0x0fff), binary.BigEndian.Uint64(u[8:]) & (1<<62 - 1)
}
