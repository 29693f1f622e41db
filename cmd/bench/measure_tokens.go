package main

import (
	"crypto/ed25519"
	"slices"
	"testing"
	"time"

	"usher/tenant/token"
)

// tokenRatios is one round of measuring tokens against what they are made of.
type tokenRatios struct {
	Sign, Verify, Allocations float64
	Raw                       [2]time.Duration // of a signature, of a verification
}

// serveTokens is the child that signs and verifies, by turns with crypto/ed25519 over the very bytes of the token.
func serveTokens([]string) error {
	key, err := token.GenerateKey(token.EdDSA)
	if err != nil {
		return err
	}
	signer, err := token.NewSigner(key)
	if err != nil {
		return err
	}
	now := time.Now()
	claims := token.Claims{
		Issuer: "https://usher.example/api/v1/tenants/tenant_01m84s322sfk09gx3043gc4hrx", Subject: "p_01m84f8xcke00a1y84v4wbjn67",
		Audience: token.AudienceMedia, IssuedAt: now, NotBefore: now, ExpiresAt: now.Add(time.Hour), TenantID: "tenant_01m84s322sfk09gx3043gc4hrx",
		RoomID: "room_01m84f8xckf3n88r7a9bktfmpy", RoomName: "CS101 Lecture", Name: "John Doe", ExternalUserID: "user_123", Role: "participant",
		Grants: []string{"publish", "subscribe"},
	}
	compact, err := signer.Sign(claims)
	if err != nil {
		return err
	}
	expect := token.Expect{Issuer: claims.Issuer, TenantID: claims.TenantID, Audiences: []token.Audience{token.AudienceMedia}, Now: now}
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return err
	}
	payload := []byte(compact[:len(compact)-87]) // without the dot and the signature
	signature := ed25519.Sign(private, payload)
	sign := func() { _, err = signer.Sign(claims) }
	verify := func() {
		var unverified token.Unverified
		if unverified, err = token.Parse(compact); err == nil {
			_, err = unverified.Verify(key.Public(), expect)
		}
	}
	return answerTo(func(each time.Duration) (tokenRatios, error) {
		var r tokenRatios
		r.Sign, r.Raw[0] = against(each, sign, func() { _ = ed25519.Sign(private, payload) })
		r.Verify, r.Raw[1] = against(each, verify, func() { _ = ed25519.Verify(public, payload, signature) })
		r.Allocations = testing.AllocsPerRun(200, sign)
		return r, err
	})
}

// against runs the two by turns for a while and gives the median of their ratios, and the second's own time.
func against(each time.Duration, ours, raw func()) (ratio float64, alone time.Duration) {
	const turns = 10
	elapsed := func(f func()) time.Duration {
		began := time.Now()
		for range turns {
			f()
		}
		return time.Since(began)
	}
	var ratios []float64
	var times []time.Duration
	for end := time.Now().Add(each / 2); time.Now().Before(end); {
		a, b := elapsed(ours), elapsed(raw)
		ratios, times = append(ratios, float64(a)/float64(b)), append(times, b/turns)
	}
	slices.Sort(times)
	return median(ratios), times[len(times)/2]
}

// measureTokens is G7.
func (h *harness) measureTokens() ([]figure, error) {
	p, err := child(h.ctx, h.dir, "tokens")
	if err != nil {
		return nil, err
	}
	defer p.stop()
	sign, verify, allocations := figure{goal: g7a}, figure{goal: g7b}, figure{goal: g7c}
	for round := range h.rounds {
		h.say("tokens, round %d of %d", round+1, h.rounds)
		r, err := ask[tokenRatios](p, h.each)
		if err != nil {
			return nil, err
		}
		sign.add(r.Sign, of("raw", micros(r.Raw[0]), "µs"))
		verify.add(r.Verify, of("raw", micros(r.Raw[1]), "µs"))
		allocations.add(r.Allocations)
	}
	return []figure{sign, verify, allocations}, nil
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }
