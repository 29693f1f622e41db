//go:build !race

package token

import (
	"testing"
	"time"
)

// The goal is four allocations for each token (goals.md, G7). The race detector adds its own, so it is not held to it.
func TestSigningAllocatesLittle(t *testing.T) {
	signer := newSigner(t, newKey(t, EdDSA))
	c := mediaClaims()
	c.ID = ""
	if n := testing.AllocsPerRun(100, func() { _, _ = signer.Sign(c) }); n > 4 {
		t.Errorf("Sign allocates %v times, want 4 at most", n)
	}
	s := seat()
	if n := testing.AllocsPerRun(100, func() { _, _ = signer.SignSeat(s, time.Hour, time.Hour) }); n > 12 {
		t.Errorf("SignSeat allocates %v times, want 12 at most", n)
	}
}
