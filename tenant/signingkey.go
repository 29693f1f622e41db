package tenant

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"usher"
	"usher/store"
	"usher/tenant/token"
)

// SigningKey is a key that a tenant's tokens are signed with, as the log holds it: the public half in the clear, the
// private one sealed. Its state follows from its times, so no replica has to be told when one ends and another begins.
type SigningKey struct {
	KID          string          `json:"kid"`
	Algorithm    token.Algorithm `json:"alg"`
	CreatedAt    usher.Time      `json:"created_at"`
	ActiveFrom   usher.Time      `json:"active_from"`            // until then it is only published
	RetiringFrom usher.Time      `json:"retiring_from,omitzero"` // from then on another signs; zero while there is none
	NotAfter     usher.Time      `json:"not_after,omitzero"`     // no token of it is good after that
	JWK          jsontext.Value  `json:"jwk"`
	Sealed       string          `json:"sealed,omitzero"` // "" once it is retired and its private half destroyed

	Public token.PublicKey `json:"-"` // read from JWK

	opened *openedKey // the private half, shared by all copies of the record
}

// openedKey is a private half that is ready to sign, once it was asked for. It goes with its record: when the index lets go
// of that, nothing holds the key any more.
type openedKey struct {
	opening sync.Mutex
	signer  atomic.Pointer[token.Signer] // nil until then
}

// KeyState is where a signing key is in its life.
type KeyState string

// A key is published before it signs, signs, goes on verifying what it has signed, and is then of no more use.
const (
	KeyNext     KeyState = "next"
	KeyActive   KeyState = "active"
	KeyRetiring KeyState = "retiring"
	KeyRetired  KeyState = "retired"
)

// State is the key's state at the time.
func (k *SigningKey) State(now time.Time) KeyState {
	switch {
	case now.Before(k.ActiveFrom.Time):
		return KeyNext
	case k.RetiringFrom.IsZero() || now.Before(k.RetiringFrom.Time):
		return KeyActive
	case now.Before(k.NotAfter.Time):
		return KeyRetiring
	}
	return KeyRetired
}

// SigningKeys is the table of signing keys: {tenant}/{kid}.
var SigningKeys = store.Table[SigningKey]{
	Name: "signing-keys", Aggregate: true, GuardedBy: guardedByAccount,
	Decode: func(path string, value []byte) (SigningKey, error) {
		k, err := decodeJSON[SigningKey](path, value)
		if err != nil {
			return k, err
		}
		k.opened = new(openedKey)
		k.Public, err = token.ParsePublicKey(k.JWK)
		return k, err
	},
	Encode: encodeJSON[SigningKey],
}

func signingKeyPath(t ID, kid string) string { return string(t) + "/" + kid }

// tenantOf is the tenant whose record lies at the path.
func tenantOf(path string) ID {
	t, _, _ := strings.Cut(path, "/")
	return ID(t)
}

// newSigningKey makes a key and seals it.
func (s *Service) newSigningKey(alg token.Algorithm, now, activeFrom time.Time) (SigningKey, error) {
	key, err := token.GenerateKey(alg)
	if err != nil {
		return SigningKey{}, usher.Internal(err, "make a signing key")
	}
	sealed, err := key.Seal(s.masterKeys)
	if err != nil {
		return SigningKey{}, usher.Internal(err, "seal a signing key")
	}
	return SigningKey{
		KID: key.KID(), Algorithm: alg, CreatedAt: usher.At(now), ActiveFrom: usher.At(activeFrom), JWK: key.Public().JWK(),
		Sealed: sealed, Public: key.Public(), opened: new(openedKey),
	}, nil
}

// current is the key that signs now. Where a clock that is behind finds none, it is the one that begins first.
func current(r store.Reader, t ID, now time.Time) (found *SigningKey, ok bool) {
	for row := range SigningKeys.Scan(r, string(t)+"/", "") {
		k := &row.Value
		state := k.State(now)
		if state != KeyActive && (state != KeyNext || ok) {
			continue
		}
		if !ok || found.State(now) == KeyNext || k.ActiveFrom.After(found.ActiveFrom.Time) {
			found, ok = k, true
		}
	}
	return found, ok
}

// signer is ready to sign with the key, which is opened once in the life of its record.
func (s *Service) signer(t ID, k *SigningKey) (*token.Signer, error) {
	if signer := k.opened.signer.Load(); signer != nil {
		return signer, nil
	}
	k.opened.opening.Lock()
	defer k.opened.opening.Unlock()
	if signer := k.opened.signer.Load(); signer != nil {
		return signer, nil
	}
	key, err := token.OpenSigningKey(k.Sealed, s.masterKeys)
	if err != nil {
		return nil, usher.Internal(err, "open signing key %s of %s", k.KID, t)
	}
	signer, err := token.NewSigner(key)
	if err != nil {
		return nil, usher.Internal(err, "sign for %s", t)
	}
	k.opened.signer.Store(signer)
	return signer, nil
}

// JWKS is the tenant's public keys as a JWK Set.
func (s *Service) JWKS(id ID) ([]byte, error) {
	snapshot := s.log.Snapshot()
	if _, err := Find(snapshot, id); err != nil {
		return nil, err
	}
	var keys []token.PublicKey
	for row := range SigningKeys.Scan(snapshot, string(id)+"/", "") {
		if row.Value.State(s.now()) != KeyRetired {
			keys = append(keys, row.Value.Public)
		}
	}
	return token.JWKS(keys...), nil
}

// Algorithms lists what the tenant's tokens are or may soon be signed with, each once.
func (s *Service) Algorithms(id ID) ([]string, error) {
	snapshot := s.log.Snapshot()
	if _, err := Find(snapshot, id); err != nil {
		return nil, err
	}
	var algorithms []string
	for row := range SigningKeys.Scan(snapshot, string(id)+"/", "") {
		if alg := string(row.Value.Algorithm); row.Value.State(s.now()) != KeyRetired && !slices.Contains(algorithms, alg) {
			algorithms = append(algorithms, alg)
		}
	}
	return algorithms, nil
}

// CheckMasterKeys finds out whether the master keys at hand open the signing keys in the log, so that a wrong key file
// is found at the start and not by the first caller. It opens one key for each master key in use.
func (s *Service) CheckMasterKeys() error {
	opened := make(map[string]bool)
	for row := range SigningKeys.Scan(s.log.Snapshot(), "", "") {
		if row.Value.Sealed == "" {
			continue
		}
		by, err := token.SealedBy(row.Value.Sealed)
		if err == nil && opened[by] {
			continue
		}
		if err == nil {
			_, err = token.OpenSigningKey(row.Value.Sealed, s.masterKeys)
		}
		if unknown, ok := errors.AsType[*token.UnknownMasterKeyError](err); ok {
			return unknown
		}
		if err != nil {
			return fmt.Errorf("open signing key %s: %w", row.Path, err)
		}
		opened[by] = true
	}
	return nil
}
