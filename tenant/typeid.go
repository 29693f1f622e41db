package tenant

import (
	"encoding/binary"
	"strings"
)

// TypeIDs (github.com/jetify-com/typeid, specification 0.3.0): a prefix, an underscore, and the 128 bits of a UUID as 26
// digits of Crockford's base32 in lower case, the first of which is 7 at most. They are read and written with every
// request and every seat, so it is done here without an allocation more than the text itself; a test holds it against
// go.jetify.com/typeid.

const (
	typeIDDigits = "0123456789abcdefghjkmnpqrstvwxyz"
	typeIDLength = 26 // of the digits
)

// typeIDValues is the value of each digit, and 0xff for what is none.
var typeIDValues = func() (values [256]byte) {
	for i := range values {
		values[i] = 0xff
	}
	for i := range typeIDDigits {
		values[typeIDDigits[i]] = byte(i)
	}
	return values
}()

// FormatTypeID writes the UUID as a TypeID of the prefix.
func FormatTypeID(prefix string, u UUID) string {
	high, low := binary.BigEndian.Uint64(u[:8]), binary.BigEndian.Uint64(u[8:])
	var digits [typeIDLength]byte
	for i := typeIDLength - 1; i >= 0; i-- {
		digits[i] = typeIDDigits[low&31]
		low = low>>5 | high<<59
		high >>= 5
	}
	var ordinary [64]byte
	return string(append(append(append(ordinary[:0], prefix...), '_'), digits[:]...))
}

// ParseTypeID reads a TypeID of the prefix in its one canonical form, and says whether s is one.
func ParseTypeID(prefix, s string) (u UUID, ok bool) {
	digits, ok := strings.CutPrefix(s, prefix)
	if !ok || len(digits) != 1+typeIDLength || digits[0] != '_' || digits[1] > '7' {
		return UUID{}, false
	}
	var high, low uint64
	for i := 1; i < len(digits); i++ {
		value := typeIDValues[digits[i]]
		if value == 0xff {
			return UUID{}, false
		}
		high = high<<5 | low>>59
		low = low<<5 | uint64(value)
	}
	binary.BigEndian.PutUint64(u[:8], high)
	binary.BigEndian.PutUint64(u[8:], low)
	return u, true
}
