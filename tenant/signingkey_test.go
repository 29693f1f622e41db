package tenant

import (
	"fmt"
	"runtime"
	"testing"
	"time"
	"weak"

	"pgregory.net/rapid"

	"usher"
	"usher/tenant/token"
)

// TestADeletedSigningKeyIsNotHeld: the private half of a key goes with its record.
func TestADeletedSigningKeyIsNotHeld(t *testing.T) {
	t.Parallel()
	s := onLog(t)
	owner, _, err := s.Create(t.Context(), NewTenant{Name: "a"}, operator)
	if err != nil {
		t.Fatal(err)
	}
	var held []weak.Pointer[token.Signer]
	for range 3 {
		key, ok := current(s.log.Snapshot(), owner.ID, s.now())
		if !ok {
			t.Fatal("there is no key")
		}
		kid := key.KID
		signer, err := s.signer(owner.ID, key)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := s.signer(owner.ID, key); err != nil || again != signer {
			t.Errorf("it is opened again: %v", err)
		}
		held = append(held, weak.Make(signer))
		if _, err := s.RotateSigningKey(t.Context(), owner.ID, KeyRotation{Immediately: true}, operator); err != nil {
			t.Fatal(err)
		}
		if err := s.DeleteSigningKey(t.Context(), owner.ID, kid, true, operator); err != nil {
			t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(10 * time.Second); ; runtime.Gosched() {
		runtime.GC()
		alive := 0
		for _, signer := range held {
			if signer.Value() != nil {
				alive++
			}
		}
		if alive == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d deleted keys are held", alive, len(held))
		}
	}
}

// TestEveryRotationKeepsTheBounds plans rotations, deletions and times at random.
func TestEveryRotationKeepsTheBounds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(1_800_000_000, 0)
		settings := Defaults()
		var owner Tenant
		keys := []SigningKey{{KID: "first", ActiveFrom: usher.At(now)}}
		var rotated []time.Time
		for i := range rapid.IntRange(1, 80).Draw(t, "steps") {
			now = now.Add(rapid.SampledFrom([]time.Duration{0, time.Second, 10 * time.Minute, 3 * time.Hour, 25 * time.Hour}).Draw(t, "time"))
			if rapid.IntRange(0, 3).Draw(t, "delete") == 0 {
				for j, k := range keys {
					if k.State(now) == KeyRetiring {
						keys = append(keys[:j:j], keys[j+1:]...)
						break
					}
				}
			}
			immediately := rapid.Bool().Draw(t, "immediately")
			plan, refused := planRotation(owner, keys, KeyRotation{Immediately: immediately}, operator, now)
			if refused != nil {
				continue
			}
			begins := now.Add(PublishAhead)
			if immediately {
				begins = now
			}
			var after []SigningKey
			for _, k := range keys {
				gone := false
				for _, kid := range plan.forget {
					gone = gone || kid == k.KID
				}
				for _, old := range plan.retire {
					if old.KID == k.KID {
						k.retire(begins, settings)
					}
				}
				if !gone {
					after = append(after, k)
				}
			}
			after = append(after, SigningKey{KID: fmt.Sprint(i), ActiveFrom: usher.At(begins)})
			keys = after
			owner.Rotations = plan.rotations
			rotated = append(rotated, now)
			verifying, hourly := 0, 0
			for _, k := range keys {
				if k.State(now) != KeyRetired {
					verifying++
				}
			}
			for _, at := range rotated {
				if now.Sub(at) < time.Hour {
					hourly++
				}
			}
			if verifying > maxVerifying || len(keys) > maxSigning || hourly > maxRotations || len(owner.Rotations) > maxRotations {
				t.Fatalf("%d keys, %d of them verify, %d rotations in an hour", len(keys), verifying, hourly)
			}
		}
	})
}
