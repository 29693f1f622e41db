package token

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jws"
)

// MaxTokenBytes is the longest token that is signed or accepted. The longest names that Usher allows fit in well; servers
// commonly refuse header lines that are longer.
const MaxTokenBytes = 8 << 10

// claimsBytes is room for the claims of an ordinary seat without growing.
const claimsBytes = 768

// Signer signs tokens with one key. It is made once per key and kept: what does not change from token to token is ready
// in it. The key is kept raw, since a jwk.Key is turned into a raw one for every signature, which doubles its cost.
// Safe for concurrent use.
type Signer struct {
	redacted
	kid            string
	secret         func() crypto.Signer
	jws            jws.Signer
	headers        map[Audience]string // base64url of the protected header, and the dot behind it
	signatureBytes int                 // as base64url
}

// NewSigner makes a Signer for a key.
func NewSigner(key *SigningKey) (*Signer, error) {
	signer, err := jws.NewSigner(jwa.SignatureAlgorithm(key.Algorithm()))
	if err != nil {
		return nil, fmt.Errorf("signer for key %s: %w", key.KID(), err)
	}
	s := &Signer{
		kid:            key.KID(),
		secret:         key.secret,
		jws:            signer,
		headers:        make(map[Audience]string, 3),
		signatureBytes: base64.RawURLEncoding.EncodedLen(64), // Ed25519 and P-256 alike
	}
	if private, ok := key.secret().(*rsa.PrivateKey); ok {
		s.signatureBytes = base64.RawURLEncoding.EncodedLen(private.Size())
	}
	for _, aud := range []Audience{AudienceMedia, AudienceAPI, AudienceRefresh, AudienceService} {
		header, err := json.Marshal(struct {
			Algorithm Algorithm `json:"alg"`
			KID       string    `json:"kid"`
			Type      string    `json:"typ"`
		}{key.Algorithm(), key.KID(), aud.typ()})
		if err != nil {
			return nil, fmt.Errorf("signer for key %s: header: %w", key.KID(), err)
		}
		s.headers[aud] = base64.RawURLEncoding.EncodeToString(header) + "."
	}
	return s, nil
}

// KID names the key that signs.
func (s *Signer) KID() string { return s.kid }

// Sign makes one token. A claim set without an ID gets a random one; one that Verify would refuse is an error.
func (s *Signer) Sign(c Claims) (string, error) {
	if c.ID == "" {
		c.ID = newID()
	}
	if err := c.check(); err != nil {
		return "", fmt.Errorf("sign: claims: token %w", err)
	}
	claims := c.appendOwn(c.appendShared(make([]byte, 0, claimsBytes)))
	token, err := s.appendSigned(nil, c.Audience, claims)
	if err != nil {
		return "", err
	}
	return string(token), nil
}

// SeatTokens are the three tokens of one seat.
type SeatTokens struct {
	redacted
	Media            string    // access_token
	API              string    // auth_token
	Refresh          string    // refresh_token
	AccessExpiresAt  time.Time // of Media and API
	RefreshExpiresAt time.Time
}

// SignSeat makes the three tokens of a seat. They agree in all that seat says and differ in aud, exp and jti, which are
// not taken from it: media and api tokens live for accessTTL from seat.IssuedAt, the refresh token for refreshTTL, each
// has a random ID. Without a NotBefore it is IssuedAt.
func (s *Signer) SignSeat(seat Claims, accessTTL, refreshTTL time.Duration) (SeatTokens, error) {
	if accessTTL < time.Second || refreshTTL < time.Second {
		return SeatTokens{}, fmt.Errorf("sign seat: tokens that live for %v and %v: want a second at least", accessTTL, refreshTTL)
	}
	if seat.NotBefore.IsZero() {
		seat.NotBefore = seat.IssuedAt
	}
	access := seat.IssuedAt.Add(accessTTL).Truncate(time.Second).UTC()
	refresh := seat.IssuedAt.Add(refreshTTL).Truncate(time.Second).UTC()

	claims := seat.appendShared(make([]byte, 0, claimsBytes))
	shared := len(claims)
	var token []byte
	var compact [3]string
	for i, own := range [...]struct {
		audience  Audience
		expiresAt time.Time
	}{{AudienceMedia, access}, {AudienceAPI, access}, {AudienceRefresh, refresh}} {
		seat.Audience, seat.ExpiresAt, seat.ID = own.audience, own.expiresAt, newID()
		if err := seat.check(); err != nil {
			return SeatTokens{}, fmt.Errorf("sign seat: claims: token %w", err)
		}
		claims = seat.appendOwn(claims[:shared])
		var err error
		if token, err = s.appendSigned(token[:0], own.audience, claims); err != nil {
			return SeatTokens{}, err
		}
		compact[i] = string(token)
	}
	return SeatTokens{
		Media: compact[0], API: compact[1], Refresh: compact[2],
		AccessExpiresAt: access, RefreshExpiresAt: refresh,
	}, nil
}

// newID is a jti of 128 random bits: no two tokens of this world share one. A read of crypto/rand costs a hundredth of a
// signature, so there is no buffer in front of it.
func newID() string {
	var random [16]byte
	_, _ = rand.Read(random[:]) // never fails (since Go 1.24 the program dies instead)
	return base64.RawURLEncoding.EncodeToString(random[:])
}

// appendSigned appends the compact JWS (RFC 7515, section 7.1) of encoded claims.
func (s *Signer) appendSigned(dst []byte, aud Audience, claims []byte) ([]byte, error) {
	header := s.headers[aud]
	size := len(header) + base64.RawURLEncoding.EncodedLen(len(claims)) + 1 + s.signatureBytes
	if size > MaxTokenBytes {
		return nil, fmt.Errorf("sign: token would be of %d bytes: want %d at most", size, MaxTokenBytes)
	}
	dst = slices.Grow(dst, size)
	start := len(dst)
	dst = append(dst, header...)
	dst = base64.RawURLEncoding.AppendEncode(dst, claims)
	signature, err := s.jws.Sign(dst[start:], s.secret())
	if err != nil {
		return nil, fmt.Errorf("sign with key %s: %w", s.kid, err)
	}
	dst = append(dst, '.')
	return base64.RawURLEncoding.AppendEncode(dst, signature), nil
}
