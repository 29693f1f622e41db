package token

import (
	"crypto/ed25519"
	"slices"
	"strings"
	"testing"
	"time"
)

// rawBench is what Usher's work is measured against: crypto/ed25519 over the very bytes that are signed.
type rawBench struct {
	key        *SigningKey
	private    ed25519.PrivateKey
	public     ed25519.PublicKey
	signer     *Signer
	compact    string // the media token
	seat       Claims
	claims     Claims
	want       Expect
	inputs     [3][]byte
	signatures [3][]byte
}

func newRawBench(b *testing.B) *rawBench {
	key := newKey(b, EdDSA)
	r := &rawBench{
		key: key, signer: newSigner(b, key), private: key.secret().(ed25519.PrivateKey),
		seat: seat(), claims: mediaClaims(), want: expected(),
	}
	r.public = r.private.Public().(ed25519.PublicKey)
	tokens, err := r.signer.SignSeat(seat(), time.Hour, 24*time.Hour)
	if err != nil {
		b.Fatal(err)
	}
	r.compact = tokens.Media
	for i, compact := range []string{tokens.Media, tokens.API, tokens.Refresh} {
		r.inputs[i] = []byte(compact[:strings.LastIndexByte(compact, '.')])
		r.signatures[i] = ed25519.Sign(r.private, r.inputs[i])
	}
	return r
}

func (r *rawBench) signSeat() {
	if _, err := r.signer.SignSeat(r.seat, time.Hour, 24*time.Hour); err != nil {
		panic(err)
	}
}

func (r *rawBench) signThree() {
	for _, input := range r.inputs {
		_ = ed25519.Sign(r.private, input)
	}
}

func (r *rawBench) sign() {
	if _, err := r.signer.Sign(r.claims); err != nil {
		panic(err)
	}
}

func (r *rawBench) signOne() { _ = ed25519.Sign(r.private, r.inputs[0]) }

func (r *rawBench) verify() {
	if _, err := verify(r.compact, r.key.public, r.want); err != nil {
		panic(err)
	}
}

func (r *rawBench) verifyOne() {
	if !ed25519.Verify(r.public, r.inputs[0], r.signatures[0]) {
		panic("not verified")
	}
}

func BenchmarkSignSeat(b *testing.B)         { bench(b, newRawBench(b).signSeat) }
func BenchmarkRawEd25519Three(b *testing.B)  { bench(b, newRawBench(b).signThree) }
func BenchmarkSign(b *testing.B)             { bench(b, newRawBench(b).sign) }
func BenchmarkRawEd25519Sign(b *testing.B)   { bench(b, newRawBench(b).signOne) }
func BenchmarkVerify(b *testing.B)           { bench(b, newRawBench(b).verify) }
func BenchmarkRawEd25519Verify(b *testing.B) { bench(b, newRawBench(b).verifyOne) }
func BenchmarkRatioSignSeat(b *testing.B) {
	r := newRawBench(b)
	benchRatio(b, r.signSeat, r.signThree)
}
func BenchmarkRatioSign(b *testing.B)   { r := newRawBench(b); benchRatio(b, r.sign, r.signOne) }
func BenchmarkRatioVerify(b *testing.B) { r := newRawBench(b); benchRatio(b, r.verify, r.verifyOne) }

func bench(b *testing.B, f func()) {
	b.ReportAllocs()
	for b.Loop() {
		f()
	}
}

// benchRatio runs ours and raw by turns, so that a busy machine slows both, and reports the median of their ratios.
func benchRatio(b *testing.B, ours, raw func()) {
	const turns = 20 // of each, in one measurement: about a millisecond
	elapsed := func(f func()) float64 {
		start := time.Now()
		for range turns {
			f()
		}
		return float64(time.Since(start))
	}
	var ratios []float64
	for b.Loop() {
		ratios = append(ratios, elapsed(ours)/elapsed(raw))
	}
	slices.Sort(ratios)
	b.ReportMetric(ratios[len(ratios)/2], "×raw")
	b.ReportMetric(0, "ns/op")
}

func BenchmarkByAlgorithm(b *testing.B) {
	for _, alg := range everyAlgorithm {
		key := newKey(b, alg)
		signer := newSigner(b, key)
		compact := sign(b, key, mediaClaims())
		s, want := seat(), expected()
		b.Run("SignSeat/"+string(alg), func(b *testing.B) {
			bench(b, func() { _, _ = signer.SignSeat(s, time.Hour, time.Hour) })
		})
		b.Run("Verify/"+string(alg), func(b *testing.B) {
			bench(b, func() { _, _ = verify(compact, key.public, want) })
		})
	}
}

// BenchmarkNewID is the reason why there is no buffer in front of crypto/rand.
func BenchmarkNewID(b *testing.B) { bench(b, func() { _ = newID() }) }
