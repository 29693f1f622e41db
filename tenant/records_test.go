package tenant

import (
	"bytes"
	"testing"

	"usher/store"
)

// FuzzRecords: whatever lies in the log, a record of this package is refused or read, never a panic; and what was read is
// written as something that reads the same.
func FuzzRecords(f *testing.F) {
	for _, seed := range []string{
		`{"id":"key_1","name":"k","scopes":["rooms:read"],"cidrs":["10.0.0.0/8"],"hash":"AA","tenant_id":"tenant_1","created_at":"2026-01-06T10:00:00.000Z","expires_at":"2026-01-06T10:00:00.000Z"}`,
		`{"id":"tenant_1","name":"a","status":"active","config":{"burst":5,"roles":{"guest":["subscribe"]}},"version":3,"created_at":"2026-01-06T10:00:00.000Z"}`,
		`{"kid":"a","alg":"EdDSA","state":"active","sealed":"a.b.c.d.e","public":{"kty":"OKP","crv":"Ed25519","x":"AA"}}`,
		`{"version":1,"diff":[{"path":"burst","from":1,"to":2}],"config":{"burst":1e999}}`, `{"action":"a","by":"b","details":{}}`,
		`{"fingerprint":"a","finished":true,"outcome":{"seats":[]}}`, `null`, `[]`, `{"cidrs":["x"]}`, "\xff", ``, `{"config":{"config":{}}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		settles(t, Idempotencies, value)
		settles(t, keyRefs, value)
		settles(t, versions, value)
		settles(t, APIKeys, value)
		settles(t, tenants, value)
		settles(t, SigningKeys, value)
		settles(t, keyUses, value)
		settles(t, auditLog, value)
		settles(t, baselines, value)
	})
}

func settles[R any](t *testing.T, table store.Table[R], value []byte) {
	t.Helper()
	r, err := table.Decode("a/b", value)
	if err != nil {
		return
	}
	once, err := table.Encode(r)
	if err != nil {
		t.Fatalf("%s: %q was read and cannot be written: %v", table.Name, value, err)
	}
	again, err := table.Decode("a/b", once)
	if err != nil {
		t.Fatalf("%s: %q was written as %s, which cannot be read: %v", table.Name, value, once, err)
	}
	if twice, err := table.Encode(again); err != nil || !bytes.Equal(once, twice) {
		t.Fatalf("%s: %q was written as %s and then as %s (%v)", table.Name, value, once, twice, err)
	}
}
