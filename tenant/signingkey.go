package tenant

import (
	"errors"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"usher"
	"usher/store"
	"usher/tenant/token"
)

// SigningKey is a key that a tenant's tokens are signed with, as the log holds it: the public half in the clear, the
// private one sealed.
type SigningKey struct {
	KID       string          `json:"kid"`
	Algorithm token.Algorithm `json:"alg"`
	CreatedAt usher.Time      `json:"created_at"`
	JWK       jsontext.Value  `json:"jwk"`
	Sealed    string          `json:"sealed"`

	Public token.PublicKey `json:"-"` // read from JWK
}

// SigningKeys is the table of signing keys: {tenant}/{kid}.
var SigningKeys = store.Table[SigningKey]{
	Name: "signing-keys",
	Decode: func(path string, value []byte) (SigningKey, error) {
		k, err := decodeJSON[SigningKey](path, value)
		if err != nil {
			return k, err
		}
		k.Public, err = token.ParsePublicKey(k.JWK)
		return k, err
	},
	Encode: encodeJSON[SigningKey],
}

func signingKeyPath(t ID, kid string) string { return string(t) + "/" + kid }

// newSigningKey makes a key and seals it.
func (s *Service) newSigningKey(alg token.Algorithm) (SigningKey, error) {
	key, err := token.GenerateKey(alg)
	if err != nil {
		return SigningKey{}, usher.Internal(err, "make a signing key")
	}
	sealed, err := key.Seal(s.masterKeys)
	if err != nil {
		return SigningKey{}, usher.Internal(err, "seal a signing key")
	}
	return SigningKey{
		KID: key.KID(), Algorithm: alg, CreatedAt: usher.At(s.now()), JWK: jsontext.Value(key.Public().JWK()), Sealed: sealed,
		Public: key.Public(),
	}, nil
}

// signer is ready to sign with the tenant's current key. A key is opened once in the life of the process.
func (s *Service) signer(r store.Reader, t Tenant) (*token.Signer, error) {
	if signer, ok := s.signers.Load(t.KID); ok {
		return signer.(*token.Signer), nil
	}
	row, ok := SigningKeys.Get(r, signingKeyPath(t.ID, t.KID))
	if !ok {
		return nil, usher.Internal(fmt.Errorf("no key %s", t.KID), "sign for %s", t.ID)
	}
	key, err := token.OpenSigningKey(row.Value.Sealed, s.masterKeys)
	if err != nil {
		return nil, usher.Internal(err, "open signing key %s of %s", t.KID, t.ID)
	}
	signer, err := token.NewSigner(key)
	if err != nil {
		return nil, usher.Internal(err, "sign for %s", t.ID)
	}
	kept, _ := s.signers.LoadOrStore(t.KID, signer)
	return kept.(*token.Signer), nil
}

// JWKS is the tenant's public keys as a JWK Set.
func (s *Service) JWKS(id ID) ([]byte, error) {
	snapshot := s.log.Snapshot()
	if _, err := Find(snapshot, id); err != nil {
		return nil, err
	}
	var keys []token.PublicKey
	for row := range SigningKeys.Scan(snapshot, string(id)+"/", "") {
		keys = append(keys, row.Value.Public)
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
		if alg := string(row.Value.Algorithm); !slices.Contains(algorithms, alg) {
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
