package token

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jws"
)

// PublicKey verifies what one signing key signed. The zero value verifies nothing. Two values of one key need not be ==;
// compare their KIDs.
type PublicKey struct {
	kid   string
	alg   Algorithm
	jwk   string
	check *publicCheck
}

// publicCheck is the raw key, as an interface value since jwx wants one, and the jwx verifier for its algorithm.
type publicCheck struct {
	raw      crypto.PublicKey
	verifier jws.Verifier
}

// newPublicKey takes an ed25519.PublicKey, *ecdsa.PublicKey or *rsa.PublicKey. The JWK is made anew from the raw key, so
// nothing that was not meant to be published rides along.
func newPublicKey(raw crypto.PublicKey) (PublicKey, error) {
	alg, err := algorithmOf(raw)
	if err != nil {
		return PublicKey{}, err
	}
	kid, err := thumbprint(raw)
	if err != nil {
		return PublicKey{}, err
	}
	encoded, err := encodeJWK(raw, kid, alg)
	if err != nil {
		return PublicKey{}, err
	}
	verifier, err := jws.NewVerifier(jwa.SignatureAlgorithm(alg))
	if err != nil {
		return PublicKey{}, err
	}
	return PublicKey{kid: kid, alg: alg, jwk: string(encoded), check: &publicCheck{raw, verifier}}, nil
}

// algorithmOf is the one algorithm that goes with a key, and refuses keys that are unsound: crypto/ed25519 panics on a
// key of the wrong length, RFC 7518, section 3.3 sets the least size of RSA keys, and a point off the curve is no key.
func algorithmOf(raw crypto.PublicKey) (Algorithm, error) {
	switch raw := raw.(type) {
	case ed25519.PublicKey:
		if len(raw) != ed25519.PublicKeySize {
			return "", fmt.Errorf("Ed25519 public key of %d bytes: want %d", len(raw), ed25519.PublicKeySize)
		}
		return EdDSA, nil
	case *ecdsa.PublicKey:
		if raw.Curve != elliptic.P256() {
			return "", errors.New("EC public key is not on the curve P-256")
		}
		if _, err := raw.ECDH(); err != nil {
			return "", fmt.Errorf("EC public key: %w", err)
		}
		return ES256, nil
	case *rsa.PublicKey:
		if raw.N.BitLen() < rsaBits || raw.E < 3 || raw.E%2 == 0 {
			return "", fmt.Errorf("RSA public key of %d bits and exponent %d: want %d bits at least", raw.N.BitLen(), raw.E, rsaBits)
		}
		return RS256, nil
	}
	return "", fmt.Errorf("not a public signing key but %T", raw)
}

// ParsePublicKey reads a JWK that PublicKey.JWK made. It refuses a private key, and one whose kid or alg is not the
// key's own.
func ParsePublicKey(encoded []byte) (PublicKey, error) {
	raw, kid, alg, err := decodeJWK(encoded)
	if err != nil {
		return PublicKey{}, fmt.Errorf("parse public key: %w", err)
	}
	key, err := newPublicKey(raw)
	if err != nil {
		return PublicKey{}, fmt.Errorf("parse public key: %w", err)
	}
	if err := key.isNamed(kid, alg); err != nil {
		return PublicKey{}, fmt.Errorf("parse public key: %w", err)
	}
	return key, nil
}

func (k PublicKey) isNamed(kid, alg string) error {
	if kid != k.kid || alg != string(k.alg) {
		return fmt.Errorf("JWK says kid %q and alg %q, the key itself is %s and %s", kid, alg, k.kid, k.alg)
	}
	return nil
}

// KID names the key: the SHA-256 JWK thumbprint (RFC 7638) in base64url. It follows from the key, so two keys never
// share one, and a kid leads to one algorithm.
func (k PublicKey) KID() string { return k.kid }

// Algorithm is the only one that tokens of this key may have.
func (k PublicKey) Algorithm() Algorithm { return k.alg }

// JWK is the key as a JWK with kid, alg and use; the same bytes every time.
func (k PublicKey) JWK() jsontext.Value { return jsontext.Value(k.jwk) }

// verifies says whether signature is the key's over payload.
func (k PublicKey) verifies(payload, signature []byte) bool {
	return k.check != nil && k.check.verifier.Verify(payload, signature, k.check.raw) == nil
}

// JWKS is a JWK Set (RFC 7517, section 5) of the keys, in the order given.
func JWKS(keys ...PublicKey) []byte {
	var b bytes.Buffer
	b.WriteString(`{"keys":[`)
	for i, key := range keys {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(key.jwk)
	}
	b.WriteString(`]}`)
	return b.Bytes()
}

func thumbprint(raw crypto.PublicKey) (string, error) {
	key, err := jwk.FromRaw(raw)
	if err != nil {
		return "", err
	}
	digest, err := key.Thumbprint(crypto.SHA256)
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(digest), nil
}

// encodeJWK encodes a private or public key; jwx sorts the members by name.
func encodeJWK(raw any, kid string, alg Algorithm) ([]byte, error) {
	key, err := jwk.FromRaw(raw)
	if err != nil {
		return nil, err
	}
	err = errors.Join(
		key.Set(jwk.KeyIDKey, kid),
		key.Set(jwk.AlgorithmKey, jwa.SignatureAlgorithm(alg)),
		key.Set(jwk.KeyUsageKey, jwk.ForSignature))
	if err != nil {
		return nil, err
	}
	return json.Marshal(key)
}

// decodeJWK gives the raw key, private or public, and what the JWK says of it.
func decodeJWK(encoded []byte) (raw any, kid, alg string, err error) {
	key, err := jwk.ParseKey(encoded)
	if err != nil {
		return nil, "", "", fmt.Errorf("JWK: %w", err)
	}
	if err := key.Raw(&raw); err != nil {
		return nil, "", "", fmt.Errorf("JWK: %w", err)
	}
	return raw, key.KeyID(), key.Algorithm().String(), nil
}
