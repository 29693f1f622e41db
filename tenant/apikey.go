package tenant

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"log/slog"
	"math/big"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"usher"
	"usher/store"
)

// Scope is something that an API key may do.
type Scope string

// The scopes.
const (
	ParticipantsWrite Scope = "participants:write"
	ParticipantsRead  Scope = "participants:read"
	RoomsWrite        Scope = "rooms:write"
	RoomsRead         Scope = "rooms:read"
	TenantRead        Scope = "tenant:read"
	TenantWrite       Scope = "tenant:write"
)

// AllScopes is what a tenant's first key may do.
func AllScopes() []Scope {
	return []Scope{ParticipantsWrite, ParticipantsRead, RoomsWrite, RoomsRead, TenantRead, TenantWrite}
}

// Secret is a credential in the clear. It does not print: only Reveal gives it away.
type Secret struct{ text string }

const redacted = "[redacted]"

// Reveal gives the secret itself, to be shown to its owner once.
func (s Secret) Reveal() string { return s.text }

// String, GoString, LogValue and MarshalText keep the secret out of logs, errors and documents.
func (Secret) String() string { return redacted }

// GoString answers %#v.
func (Secret) GoString() string { return redacted }

// Format answers every other verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue answers slog.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText answers JSON.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// hash is the only form in which a secret is stored. Keys carry 190 random bits, so they need no slow hash.
func (s Secret) hash() [sha256.Size]byte {
	var ordinary [64]byte // what a key fits into
	return sha256.Sum256(append(ordinary[:0], s.text...))
}

// Secrets look like {prefix}{32 characters of base 62}_{6 of checksum}. The checksum (CRC-32, IEEE) tells a mistyped or
// truncated key from an unknown one without a look-up, and scanners for leaked keys from any other word.
const (
	apiKeyPrefix      = "usk_"
	operatorKeyPrefix = "uso_"
	secretLength      = 32
	checksumLength    = 6
	base62            = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
)

func newSecret(prefix string) Secret {
	random := make([]byte, secretLength)
	for i := range random {
		n, err := rand.Int(rand.Reader, big.NewInt(int64(len(base62))))
		if err != nil { // crypto/rand.Reader never fails (its documentation)
			panic("tenant: " + err.Error())
		}
		random[i] = base62[n.Int64()]
	}
	body := prefix + string(random)
	sum := checksum(body)
	return Secret{body + "_" + string(sum[:])}
}

// NewOperatorKey makes a key for the operator.
func NewOperatorKey() Secret { return newSecret(operatorKeyPrefix) }

// OperatorKey takes the operator's own choice of a key.
func OperatorKey(text string) Secret { return Secret{text} }

func checksum(body string) (text [checksumLength]byte) {
	var ordinary [64]byte // what a key's body fits into
	rest := crc32.ChecksumIEEE(append(ordinary[:0], body...))
	for i := len(text) - 1; i >= 0; i-- {
		text[i] = base62[rest%uint32(len(base62))]
		rest /= uint32(len(base62))
	}
	return text
}

func isBase62(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return true
}

// ParseAPIKey takes what a caller sent as an API key, and says whether it can be one at all.
func ParseAPIKey(s string) (Secret, bool) {
	const length = len(apiKeyPrefix) + secretLength + 1 + checksumLength
	if len(s) != length || !strings.HasPrefix(s, apiKeyPrefix) {
		return Secret{}, false
	}
	body, sum := s[:length-checksumLength-1], s[length-checksumLength:]
	if s[len(body)] != '_' || !isBase62(body[len(apiKeyPrefix):]) {
		return Secret{}, false
	}
	want := checksum(body)
	return Secret{s}, sum == string(want[:])
}

// IsAPIKey says whether a bearer credential means to be an API key.
func IsAPIKey(s string) bool { return strings.HasPrefix(s, apiKeyPrefix) }

// APIKey is what is known of a key, without the key.
type APIKey struct {
	ID        KeyID      `json:"id"`
	TenantID  ID         `json:"tenant_id"`
	Name      string     `json:"name"`
	Scopes    []Scope    `json:"scopes"`
	CreatedAt usher.Time `json:"created_at"`
	ExpiresAt usher.Time `json:"expires_at,omitzero"` // zero: never
	CIDRs     []string   `json:"cidrs,omitempty"`     // where it may be used from; none: anywhere
	Main      bool       `json:"main,omitzero"`       // the tenant's first key, or what it was rotated to
	Makers    []KeyID    `json:"makers,omitempty"`    // the keys that it dies with: its maker last, before it that one's, and so on
}

// Has says whether the key may do what the scope names.
func (k APIKey) Has(s Scope) bool { return slices.Contains(k.Scopes, s) }

// APIKeys is the table of API keys: {sha256 of the key, in hex}.
var APIKeys = store.Table[APIKey]{Name: "api-keys", Decode: decodeJSON[APIKey], Encode: encodeJSON[APIKey]}

func decodeJSON[T any](_ string, value []byte) (t T, err error) {
	err = json.Unmarshal(value, &t)
	return t, err
}

func encodeJSON[T any](t T) ([]byte, error) { return json.Marshal(t) }

func keyPath(s Secret) string {
	sum := s.hash()
	var text [2 * sha256.Size]byte
	hex.Encode(text[:], sum[:])
	return string(text[:])
}

// Authenticate finds whose API key a secret is, used from the address. An unknown key and an expired one read the same.
func (s *Service) Authenticate(secret Secret, from func() netip.Addr) (APIKey, Tenant, Standing, error) {
	now, standing := s.now(), Standing{path: keyPath(secret)}
	key, owner, err := authenticate(s.log.Snapshot(), standing.path, now)
	if err == nil && !key.allows(from) {
		err = errNotFromHere(from())
	}
	if err == nil {
		s.used.note(key, now)
	}
	return key, owner, standing, err
}

func errNotFromHere(from netip.Addr) error {
	return usher.Errorf(usher.CodeForbidden, "The API key may not be used from %s.", from)
}

// expired says whether the key's time is over.
func (k APIKey) expired(now time.Time) bool {
	return !k.ExpiresAt.IsZero() && !now.Before(k.ExpiresAt.Time)
}

// authenticate looks at the key whose record lies at the path.
func authenticate(r store.Reader, path string, now time.Time) (APIKey, Tenant, error) {
	row, ok := APIKeys.Get(r, path)
	if !ok || row.Value.expired(now) || row.Value.orphaned(r) {
		return APIKey{}, Tenant{}, errKeyGone()
	}
	owner, err := Find(r, row.Value.TenantID)
	if err != nil {
		return APIKey{}, Tenant{}, errKeyGone()
	}
	if owner.Status == StatusSuspended {
		return APIKey{}, Tenant{}, ErrSuspended()
	}
	return row.Value, owner, nil
}
