package token

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"testing"

	"filippo.io/edwards25519"
	"filippo.io/edwards25519/field"
	"pgregory.net/rapid"
)

func TestSignaturesAreThoseOfCryptoEd25519(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		key := ed25519.NewKeyFromSeed(rapid.SliceOfN(rapid.Byte(), ed25519.SeedSize, ed25519.SeedSize).Draw(t, "seed"))
		messages := rapid.SliceOfN(rapid.SliceOf(rapid.Byte()), 0, 9).Draw(t, "messages")
		signer, err := newEdSigner(key)
		if err != nil {
			t.Fatal(err)
		}
		before := []byte("before")
		got, err := signer.sign(before, messages)
		if err != nil {
			t.Fatal(err)
		}
		want := bytes.Clone(before)
		for _, m := range messages {
			want = append(want, ed25519.Sign(key, m)...)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("signed %x\nwant   %x", got, want)
		}
	})
}

// The vectors of RFC 8032, section 7.1, TEST 1 and TEST 3.
func TestSignaturesAreThoseOfRFC8032(t *testing.T) {
	t.Parallel()
	for _, v := range []struct{ seed, message, signature string }{
		{"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60", "",
			"e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"},
		{"c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7", "af82",
			"6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"},
	} {
		signer, err := newEdSigner(ed25519.NewKeyFromSeed(unhex(t, v.seed)))
		if err != nil {
			t.Fatal(err)
		}
		got, err := signer.sign(nil, [][]byte{unhex(t, v.message)})
		if err != nil || !bytes.Equal(got, unhex(t, v.signature)) {
			t.Errorf("signed %x, %v; want %s", got, err, v.signature)
		}
	}
}

func unhex(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestNothingOfANonceStays where the next signature is made: whoever knows a nonce, and the signature, knows the key.
func TestNothingOfANonceStays(t *testing.T) {
	t.Parallel()
	signer, err := newEdSigner(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		t.Fatal(err)
	}
	w := newEdWork()
	if _, err := w.sign(nil, signer.secret(), [][]byte{{1}, {2}, {3}}); err != nil {
		t.Fatal(err)
	}
	w.forget()
	for i := range 3 {
		if w.nonces[i] != (edwards25519.Scalar{}) || w.points[i] != (extended{}) || w.products[i] != (field.Element{}) {
			t.Errorf("something of nonce %d is left", i)
		}
	}
	if w.products[3] != (field.Element{}) || w.digest != [64]byte{} {
		t.Error("something of the products, or of a digest, is left")
	}
}
