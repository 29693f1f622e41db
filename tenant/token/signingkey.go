package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
)

// Algorithm is a JWS algorithm that Usher signs with, by its name in RFC 7518 and RFC 8037.
type Algorithm string

// The algorithms. A key has exactly one, for life (RFC 8725, section 3.1).
const (
	EdDSA Algorithm = "EdDSA" // Ed25519: the default, and the cheapest to sign with
	ES256 Algorithm = "ES256" // ECDSA on P-256
	RS256 Algorithm = "RS256" // RSASSA-PKCS1-v1_5, for verifiers that know nothing else
)

// rsaBits is what RFC 7518, section 3.3 asks for at least. A 3072-bit signature costs three times as much (a 2048-bit one
// already costs fifty times Ed25519's, and each seat takes three); the keys rotate, and NIST SP 800-131A accepts 2048 bits
// through 2030. Who needs more strength has it for less with EdDSA or ES256.
const rsaBits = 2048

// keyContentType is the cty of a sealed key (RFC 7517, section 7).
const keyContentType = "jwk+json"

// ParseAlgorithm accepts exactly the names EdDSA, ES256 and RS256.
func ParseAlgorithm(name string) (Algorithm, error) {
	switch alg := Algorithm(name); alg {
	case EdDSA, ES256, RS256:
		return alg, nil
	}
	return "", fmt.Errorf("signing algorithm %q is not one of EdDSA, ES256, RS256", name)
}

// SigningKey is a private key of one tenant. Safe for concurrent use.
type SigningKey struct {
	redacted
	public PublicKey

	// secret gives an ed25519.PrivateKey, *ecdsa.PrivateKey or *rsa.PrivateKey. It is a function for the reason that
	// redacted names, and gives an interface value since jwx wants one: made once, it is not allocated per signature.
	secret func() crypto.Signer
}

// GenerateKey makes a new random key.
func GenerateKey(alg Algorithm) (*SigningKey, error) {
	var raw crypto.Signer
	var err error
	switch alg {
	case EdDSA:
		_, raw, err = ed25519.GenerateKey(rand.Reader)
	case ES256:
		raw, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case RS256:
		raw, err = rsa.GenerateKey(rand.Reader, rsaBits)
	default:
		_, err = ParseAlgorithm(string(alg))
	}
	if err != nil {
		return nil, fmt.Errorf("generate signing key: %w", err)
	}
	return newSigningKey(raw)
}

func newSigningKey(raw crypto.Signer) (*SigningKey, error) {
	public, err := newPublicKey(raw.Public())
	if err != nil {
		return nil, fmt.Errorf("signing key: %w", err)
	}
	return &SigningKey{public: public, secret: func() crypto.Signer { return raw }}, nil
}

// Public is the half that anybody may have.
func (k *SigningKey) Public() PublicKey { return k.public }

// KID names the key: see PublicKey.KID.
func (k *SigningKey) KID() string { return k.public.kid }

// Algorithm is what the key signs with.
func (k *SigningKey) Algorithm() Algorithm { return k.public.alg }

// Seal gives the private key as a JWK in a JWE, ready to be stored.
func (k *SigningKey) Seal(keys *MasterKeys) (string, error) {
	private, err := encodeJWK(k.secret(), k.public.kid, k.public.alg)
	if err != nil {
		return "", fmt.Errorf("seal signing key %s: %w", k.public.kid, err)
	}
	sealed, err := keys.seal(private, keyContentType)
	if err != nil {
		return "", fmt.Errorf("seal signing key %s: %w", k.public.kid, err)
	}
	return sealed, nil
}

// OpenSigningKey opens what SigningKey.Seal made. When the master key it needs is not loaded the error is an
// *UnknownMasterKeyError.
func OpenSigningKey(sealed string, keys *MasterKeys) (*SigningKey, error) {
	header, err := parseSealedHeader(sealed)
	if err != nil {
		return nil, fmt.Errorf("open signing key: %w", err)
	}
	if header.ContentType != keyContentType {
		return nil, fmt.Errorf("open signing key: cty is %q: want %s", header.ContentType, keyContentType)
	}
	encoded, err := keys.open(sealed, header)
	if err != nil {
		return nil, fmt.Errorf("open signing key: %w", err)
	}
	private, kid, alg, err := decodeJWK(encoded)
	if err != nil {
		return nil, fmt.Errorf("open signing key: %w", err)
	}
	raw, err := checkPrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("open signing key: %w", err)
	}
	key, err := newSigningKey(raw)
	if err != nil {
		return nil, fmt.Errorf("open %w", err)
	}
	if err := key.public.isNamed(kid, alg); err != nil {
		return nil, fmt.Errorf("open signing key: %w", err)
	}
	return key, nil
}

// checkPrivateKey makes sure that the private half belongs to the public one; a key of which that is not so would sign
// tokens that its own JWK refuses.
func checkPrivateKey(private any) (crypto.Signer, error) {
	switch raw := private.(type) {
	case ed25519.PrivateKey:
		return raw, nil // jwx has checked it
	case *ecdsa.PrivateKey:
		derived, err := raw.ECDH()
		if err != nil {
			return nil, err
		}
		stated, err := raw.PublicKey.ECDH()
		if err != nil {
			return nil, err
		}
		if !derived.PublicKey().Equal(stated) {
			return nil, errors.New("private and public key do not belong together")
		}
		return raw, nil
	case *rsa.PrivateKey:
		raw.Precompute() // jwx leaves it out, and without it every signature is several times dearer
		return raw, raw.Validate()
	}
	return nil, fmt.Errorf("not a private signing key but %T", private)
}
