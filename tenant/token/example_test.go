package token_test

import (
	"fmt"
	"time"

	"usher/tenant/token"
)

func Example() {
	key, err := token.GenerateKey(token.EdDSA)
	if err != nil {
		panic(err)
	}
	signer, err := token.NewSigner(key)
	if err != nil {
		panic(err)
	}
	now := time.Date(2026, 1, 6, 10, 0, 0, 0, time.UTC)
	seat, err := signer.SignSeat(token.Claims{
		Issuer:   "https://usher.example/api/v1/tenants/tenant_1",
		Subject:  "p_1",
		IssuedAt: now,
		TenantID: "tenant_1",
		RoomID:   "room_1",
		Name:     "John Doe",
		Role:     "participant",
		Grants:   []string{"publish", "subscribe"},
	}, time.Hour, 24*time.Hour)
	if err != nil {
		panic(err)
	}

	unverified, err := token.Parse(seat.API)
	if err != nil {
		panic(err)
	}
	keys := map[string]token.PublicKey{key.KID(): key.Public()}
	want := token.Expect{
		Issuer:    "https://usher.example/api/v1/tenants/tenant_1",
		TenantID:  unverified.TenantID(),
		Audiences: []token.Audience{token.AudienceAPI},
		Now:       now.Add(time.Minute),
	}
	claims, err := unverified.Verify(keys[unverified.KID()], want)
	fmt.Println(claims.Name, claims.Grants, err)

	want.Now = now.Add(time.Hour)
	_, err = unverified.Verify(keys[unverified.KID()], want)
	fmt.Println(err)
	fmt.Println(key)

	// Output:
	// John Doe [publish subscribe] <nil>
	// token_expired: the token expired at 2026-01-06T11:00:00Z
	// [redacted]
}
