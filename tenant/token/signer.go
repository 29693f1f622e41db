package token

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
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
// in it. Safe for concurrent use.
type Signer struct {
	redacted
	kid            string
	key            rawSigner
	headers        map[Audience]string // base64url of the protected header, and the dot behind it
	signatureBytes int
}

// rawSigner signs messages with one private key.
type rawSigner interface {
	// sign appends the messages' signatures, one behind the other, all of the same length.
	sign(dst []byte, messages [][]byte) ([]byte, error)
}

// NewSigner makes a Signer for a key.
func NewSigner(key *SigningKey) (*Signer, error) {
	s := &Signer{kid: key.KID(), headers: make(map[Audience]string, 4), signatureBytes: 64} // Ed25519 and P-256 alike
	var err error
	switch private := key.secret().(type) {
	case ed25519.PrivateKey:
		s.key, err = newEdSigner(private)
	case *rsa.PrivateKey:
		s.signatureBytes = private.Size()
		s.key, err = newJWSSigner(key)
	default:
		s.key, err = newJWSSigner(key)
	}
	if err != nil {
		return nil, fmt.Errorf("signer for key %s: %w", key.KID(), err)
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

// jwsSigner signs with the keys that have no faster way. The key is kept raw, since a jwk.Key is turned into a raw one for
// every signature, which doubles its cost.
type jwsSigner struct {
	redacted
	secret func() crypto.Signer
	jws    jws.Signer
}

func newJWSSigner(key *SigningKey) (jwsSigner, error) {
	signer, err := jws.NewSigner(jwa.SignatureAlgorithm(key.Algorithm()))
	return jwsSigner{secret: key.secret, jws: signer}, err
}

// sign is part of rawSigner.
func (s jwsSigner) sign(dst []byte, messages [][]byte) ([]byte, error) {
	for _, message := range messages {
		signature, err := s.jws.Sign(message, s.secret())
		if err != nil {
			return nil, err
		}
		dst = append(dst, signature...)
	}
	return dst, nil
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
	d := beginDrafts()
	defer d.done()
	d.claims = c.appendOwn(c.appendShared(d.claims))
	if err := d.add(s, c.Audience); err != nil {
		return "", err
	}
	if err := d.sign(s); err != nil {
		return "", err
	}
	return string(d.text), nil
}

// SeatTokens are the three tokens of one seat.
type SeatTokens struct {
	redacted
	Media            string        // access_token
	API              string        // auth_token
	Refresh          string        // refresh_token
	ExpiresIn        time.Duration // how long Media and API live
	AccessExpiresAt  time.Time     // of Media and API
	RefreshExpiresAt time.Time
}

// SignSeat makes the three tokens of a seat: see SignSeats.
func (s *Signer) SignSeat(seat Claims, accessTTL, refreshTTL time.Duration) (SeatTokens, error) {
	made, err := s.SignSeats([]Claims{seat}, accessTTL, refreshTTL)
	if err != nil {
		return SeatTokens{}, err
	}
	return made[0], nil
}

// SignSeats makes the three tokens of each seat, in their order. The tokens of a seat agree in all that the seat says and
// differ in aud, exp and jti, which are not taken from it: media and api tokens live for accessTTL from its IssuedAt, the
// refresh token for refreshTTL, each has a random ID. Without a NotBefore it is IssuedAt. Many seats at once cost less than
// one after the other.
func (s *Signer) SignSeats(seats []Claims, accessTTL, refreshTTL time.Duration) ([]SeatTokens, error) {
	if accessTTL < time.Second || refreshTTL < time.Second {
		return nil, fmt.Errorf("sign seats: tokens that live for %v and %v: want a second at least", accessTTL, refreshTTL)
	}
	made := make([]SeatTokens, 0, len(seats))
	for few := range slices.Chunk(seats, seatsAtOnce) {
		var err error
		if made, err = s.appendSeats(made, few, accessTTL, refreshTTL); err != nil {
			return nil, err
		}
	}
	return made, nil
}

// seatsAtOnce bounds what is in memory at once. More would save little: the inversion that Ed25519 signatures share is a
// hundredth of their cost by then.
const seatsAtOnce = 32

func (s *Signer) appendSeats(made []SeatTokens, seats []Claims, accessTTL, refreshTTL time.Duration) ([]SeatTokens, error) {
	d := beginDrafts()
	defer d.done()
	first := len(made)
	for _, seat := range seats {
		if seat.NotBefore.IsZero() {
			seat.NotBefore = seat.IssuedAt
		}
		access := seat.IssuedAt.Add(accessTTL).Truncate(time.Second).UTC()
		refresh := seat.IssuedAt.Add(refreshTTL).Truncate(time.Second).UTC()
		made = append(made, SeatTokens{ExpiresIn: accessTTL, AccessExpiresAt: access, RefreshExpiresAt: refresh})
		d.claims = seat.appendShared(d.claims[:0])
		shared := len(d.claims)
		for _, own := range [...]struct {
			audience  Audience
			expiresAt time.Time
		}{{AudienceMedia, access}, {AudienceAPI, access}, {AudienceRefresh, refresh}} {
			seat.Audience, seat.ExpiresAt, seat.ID = own.audience, own.expiresAt, newID()
			if err := seat.check(); err != nil {
				return nil, fmt.Errorf("sign seats: claims: token %w", err)
			}
			d.claims = seat.appendOwn(d.claims[:shared])
			if err := d.add(s, own.audience); err != nil {
				return nil, err
			}
		}
	}
	if err := d.sign(s); err != nil {
		return nil, err
	}
	for i := range seats {
		three := d.tokens[3*i:][:3]
		begin := three[0].begin
		text := string(d.text[begin:three[2].end]) // one for the three, which live as long as each other
		of := &made[first+i]
		of.Media, of.API, of.Refresh = text[:three[0].end-begin], text[three[1].begin-begin:three[1].end-begin], text[three[2].begin-begin:]
	}
	return made, nil
}

// newID is a jti of 128 random bits: no two tokens of this world share one. A read of crypto/rand costs a hundredth of a
// signature, so there is no buffer in front of it.
func newID() string {
	var random [16]byte
	_, _ = rand.Read(random[:]) // never fails (since Go 1.24 the program dies instead)
	return base64.RawURLEncoding.EncodeToString(random[:])
}

// drafts are tokens on their way to be signed together. They are kept for the next who signs.
type drafts struct {
	claims     []byte   // of the next to be added, as JSON
	text       []byte   // compact JWSs (RFC 7515, section 7.1), one behind the other, with room for their signatures
	tokens     []draft  // where they are
	messages   [][]byte // what is signed of each
	signatures []byte
}

type draft struct{ begin, dot, end int }

var keptDrafts = sync.Pool{New: func() any { return &drafts{claims: make([]byte, 0, claimsBytes)} }}

func beginDrafts() *drafts {
	d := keptDrafts.Get().(*drafts)
	d.claims, d.text, d.tokens, d.messages, d.signatures = d.claims[:0], d.text[:0], d.tokens[:0], d.messages[:0], d.signatures[:0]
	return d
}

func (d *drafts) done() { keptDrafts.Put(d) }

// add drafts a token of the claims.
func (d *drafts) add(s *Signer, aud Audience) error {
	header := s.headers[aud]
	token := draft{begin: len(d.text)}
	token.dot = token.begin + len(header) + base64.RawURLEncoding.EncodedLen(len(d.claims))
	token.end = token.dot + 1 + base64.RawURLEncoding.EncodedLen(s.signatureBytes)
	if size := token.end - token.begin; size > MaxTokenBytes {
		return fmt.Errorf("sign: token would be of %d bytes: want %d at most", size, MaxTokenBytes)
	}
	d.text = append(slices.Grow(d.text, token.end-token.begin), header...)
	d.text = append(base64.RawURLEncoding.AppendEncode(d.text, d.claims), '.')[:token.end]
	d.tokens = append(d.tokens, token)
	return nil
}

// sign completes the drafts.
func (d *drafts) sign(s *Signer) (err error) {
	for _, token := range d.tokens {
		d.messages = append(d.messages, d.text[token.begin:token.dot])
	}
	if d.signatures, err = s.key.sign(d.signatures, d.messages); err != nil {
		return fmt.Errorf("sign with key %s: %w", s.kid, err)
	}
	for i, token := range d.tokens {
		base64.RawURLEncoding.Encode(d.text[token.dot+1:token.end], d.signatures[i*s.signatureBytes:][:s.signatureBytes])
	}
	return nil
}
