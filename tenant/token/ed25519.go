package token

import (
	"crypto/ed25519"
	"crypto/sha512"
	"hash"
	"sync"

	"filippo.io/edwards25519"
	"filippo.io/edwards25519/field"
)

// edSigner signs with an Ed25519 key (RFC 8032, section 5.1.6), many messages at once. Its signatures are those of
// crypto/ed25519, byte for byte, as the algorithm has it; only they cost less. To write a point down takes an inversion in
// the field, a quarter of a signature, and the inverses of many elements can be had for one inversion and three
// multiplications each (Montgomery's trick). All arithmetic on secrets takes the same time whatever they are.
type edSigner struct {
	redacted
	secret func() *edSecret // see redacted
}

type edSecret struct {
	scalar edwards25519.Scalar
	prefix [32]byte // of what a nonce is made from
	public [ed25519.PublicKeySize]byte
}

func newEdSigner(key ed25519.PrivateKey) (edSigner, error) {
	var made edSecret
	expanded := sha512.Sum512(key.Seed())
	if _, err := made.scalar.SetBytesWithClamping(expanded[:32]); err != nil {
		return edSigner{}, err
	}
	copy(made.prefix[:], expanded[32:])
	copy(made.public[:], key.Public().(ed25519.PublicKey))
	return edSigner{secret: func() *edSecret { return &made }}, nil
}

// sign is part of rawSigner.
func (s edSigner) sign(dst []byte, messages [][]byte) ([]byte, error) {
	w := edWorks.Get().(*edWork)
	defer edWorks.Put(w)
	defer w.forget()
	return w.sign(dst, s.secret(), messages)
}

// edWork is what signing needs on the way, kept for the next who signs.
type edWork struct {
	hash     hash.Hash
	digest   [sha512.Size]byte
	nonces   []edwards25519.Scalar
	points   []extended      // of the nonces
	products []field.Element // see makeAffine
	lanes    laneWork

	challenge edwards25519.Scalar
}

var edWorks = sync.Pool{New: func() any { return newEdWork() }}

func newEdWork() *edWork { return &edWork{hash: sha512.New(), lanes: newLaneWork()} }

func (w *edWork) sign(dst []byte, secret *edSecret, messages [][]byte) ([]byte, error) {
	w.take(len(messages))
	for i, message := range messages {
		if _, err := w.nonces[i].SetUniformBytes(w.sum(secret.prefix[:], message)); err != nil {
			return nil, err
		}
	}
	multiplyBase(w.points, w.nonces, &w.lanes)
	makeAffine(w.points, w.products)
	start := len(dst)
	dst = append(dst, make([]byte, len(messages)*ed25519.SignatureSize)...)
	for i, message := range messages {
		p := &w.points[i]
		signature := dst[start+i*ed25519.SignatureSize:][:ed25519.SignatureSize]
		point, scalar := signature[:32], signature[32:]
		copy(point, p.y.Bytes())
		point[31] |= byte(p.x.IsNegative() << 7)
		if _, err := w.challenge.SetUniformBytes(w.sum(point, secret.public[:], message)); err != nil {
			return nil, err
		}
		copy(scalar, w.challenge.MultiplyAdd(&w.challenge, &secret.scalar, &w.nonces[i]).Bytes())
	}
	return dst, nil
}

// take makes room for n signatures.
func (w *edWork) take(n int) {
	if cap(w.products) < n+1 {
		w.nonces = make([]edwards25519.Scalar, n)
		w.points = make([]extended, n)
		w.products = make([]field.Element, n+1)
	}
	w.nonces, w.points, w.products = w.nonces[:n], w.points[:n], w.products[:n+1]
}

// forget leaves nothing of the nonces behind: whoever knows one, and the signature, knows the key.
func (w *edWork) forget() {
	clear(w.nonces)
	clear(w.points) // how a point was reached tells of its multiple
	clear(w.products)
	clear(w.digest[:])
	w.hash.Reset()
}

// sum is the SHA-512 of the parts, good until the next.
func (w *edWork) sum(parts ...[]byte) []byte {
	w.hash.Reset()
	for _, part := range parts {
		w.hash.Write(part)
	}
	return w.hash.Sum(w.digest[:0])
}
