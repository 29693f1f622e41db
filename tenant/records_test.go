package tenant

import (
	"testing"

	"usher/store/storetest"
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
		storetest.Settles(t, Idempotencies, value)
		storetest.Settles(t, keyRefs, value)
		storetest.Settles(t, versions, value)
		storetest.Settles(t, APIKeys, value)
		storetest.Settles(t, tenants, value)
		storetest.Settles(t, SigningKeys, value)
		storetest.Settles(t, keyUses, value)
		storetest.Settles(t, auditLog, value)
		storetest.Settles(t, baselines, value)
	})
}
