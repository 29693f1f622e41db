//go:build !race

package tenant

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"usher/store"
)

// largestPatch is the largest that is accepted, more or less.
func largestPatch() string {
	roles, origins := make([]string, 29), make([]string, 64)
	for i := range roles {
		roles[i] = fmt.Sprintf(`"r%031d":["publish","subscribe","moderate","record"]`, i)
	}
	for i := range origins {
		origins[i] = fmt.Sprintf(`"https://%0247d"`, i)
	}
	return `{"roles":{` + strings.Join(roles, ",") + `},"allowed_origins":[` + strings.Join(origins, ",") + `]}`
}

// TestADecisionAboutSettingsCostsTheSameWhateverThePatch: what is done in the writer is to compare and to write, however
// long the patch and whatever is wrong with it. What it costs is counted in allocations: reading a patch would make one
// for each of its members at least.
func TestADecisionAboutSettingsCostsTheSameWhateverThePatch(t *testing.T) {
	s := onLog(t)
	owner, _, err := s.Create(t.Context(), NewTenant{Name: "a"}, operator)
	if err != nil {
		t.Fatal(err)
	}
	cost := func(patch string) (allocations uint64) {
		changes, err := parsePatch([]byte(patch))
		if err != nil {
			t.Fatal(err)
		}
		c := s.prepareSettings(owner.ID, "", func(_ store.Reader, t Tenant, b Baseline) (choice, error) {
			return b.choose(t.Overrides, t.Ceilings, changes, operator)
		})
		_, err = store.Commit(t.Context(), s.log, store.Change[struct{}]{
			Aggregates: func(*store.Snapshot) []store.Key { return []store.Key{Aggregate(owner.ID)} },
			Decide: func(tx *store.Tx) (none struct{}, err error) {
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				_, _ = c.decide(tx, operator, "config.update", time.Now())
				runtime.ReadMemStats(&after)
				allocations = after.Mallocs - before.Mallocs
				return none, errMoved // nothing is written
			},
		})
		if !errors.Is(err, errMoved) {
			t.Fatal(err)
		}
		return allocations
	}
	small := cost(`{"burst":5}`)
	wrong := make([]string, 60)
	for i := range wrong {
		wrong[i] = fmt.Sprintf(`"R%d":["x","y"]`, i)
	}
	for name, patch := range map[string]string{"empty": `{}`, "large": largestPatch(), "wrong": `{"roles":{` + strings.Join(wrong, ",") + `}}`} {
		most := small + 60 // the log of a replica that is idle allocates too
		if name == "large" {
			most += 150 // to write the largest settings there can be, in three records
		}
		if got := cost(patch); got > most {
			t.Errorf("%s: %d allocations, and %d for a patch of one setting", name, got, small)
		}
	}
}
