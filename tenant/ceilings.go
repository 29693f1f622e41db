package tenant

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"usher"
)

// Ceilings are the most that settings may be, by key. Only whole numbers have them. A setting that protects the service
// has one from the start; who is limited does not set the limit, so only an operator raises one: for all tenants, or for
// a single one by setting it higher there.
type Ceilings map[string]int64

// protective are the settings that have a ceiling though nobody has set one. It is then the setting's default, the
// operator's or the schema's, whichever is higher.
func protective() []string {
	return []string{"max_participants_per_room", "max_concurrent_rooms", "max_stored_bytes", "room_retention_hours",
		"audit_retention_days", "requests_per_second", "burst"}
}

// InForce is the Baseline with every ceiling that there is for a tenant that has these of its own.
func (b Baseline) InForce(own Ceilings) Baseline {
	all := make(Ceilings, len(protective())+len(b.Ceilings))
	set, _ := b.Defaults.members() // they were decoded, so they are well-formed
	for _, key := range protective() {
		all[key], _ = integer(settingsSchema().defaults[key])
		if n, ok := integer(set[key]); ok {
			all[key] = max(all[key], n)
		}
	}
	maps.Copy(all, b.Ceilings)
	for key, ceiling := range own {
		if general, limited := all[key]; limited {
			all[key] = max(general, ceiling)
		}
	}
	return Baseline{Defaults: b.Defaults, Ceilings: all}
}

// hold lowers what is above a ceiling.
func (b Baseline) hold(members map[string]jsontext.Value) {
	for key, ceiling := range b.Ceilings {
		if n, ok := integer(members[key]); ok && n > ceiling {
			members[key] = jsontext.Value(strconv.FormatInt(ceiling, 10))
		}
	}
}

// exceeded says that a value is above its ceiling.
func (b Baseline) exceeded(key string, value jsontext.Value) []usher.FieldError {
	ceiling, limited := b.Ceilings[key]
	if n, ok := integer(value); !limited || !ok || n <= ceiling {
		return nil
	}
	return []usher.FieldError{{Field: key, Message: fmt.Sprintf("must be at most %d, the operator's ceiling", ceiling)}}
}

// choice is what a tenant's settings shall be: what it has set, and its own ceilings.
type choice struct {
	overrides Overrides
	ceilings  Ceilings
}

// choose is the choice that a patch on the overrides makes. The operator is held by no ceiling: what it sets above the
// general one becomes the tenant's own, and what it sets below, or takes away, ends that.
func (b Baseline) choose(on Overrides, own Ceilings, patch settingsPatch, by Actor) (choice, error) {
	if !by.raisesCeilings() {
		overrides, _, err := on.apply(patch, b.InForce(own))
		return choice{overrides, own}, err
	}
	overrides, _, err := on.apply(patch, Baseline{Defaults: b.Defaults})
	if err != nil {
		return choice{}, err
	}
	ceilings, err := b.raised(own, slices.Collect(maps.Keys(patch)), overrides)
	return choice{overrides, ceilings}, err
}

// raised is a tenant's own ceilings after the operator has set the keys.
func (b Baseline) raised(own Ceilings, keys []string, after Overrides) (Ceilings, error) {
	set, err := after.members()
	if err != nil {
		return nil, usher.Internal(err, "read patched settings")
	}
	ceilings := maps.Clone(own)
	if ceilings == nil {
		ceilings = make(Ceilings)
	}
	general := b.InForce(nil).Ceilings
	for _, key := range keys {
		delete(ceilings, key)
		n, ok := integer(set[key])
		if ceiling, limited := general[key]; ok && limited && n > ceiling {
			ceilings[key] = n
		}
	}
	return ceilings, nil
}

// AboveCeiling is a tenant that has set more than a ceiling allows. It gets the ceiling.
type AboveCeiling struct {
	TenantID ID     `json:"tenant_id"`
	Setting  string `json:"setting"`
	Value    int64  `json:"value"`
	Ceiling  int64  `json:"ceiling"`
}

// mostAbove is how many AboveCeilings are listed.
const mostAbove = 1000

// AboveCeilings lists what tenants have set above the ceilings in force for them, by tenant and setting, the first
// thousand, and says whether there are more.
func (s *Service) AboveCeilings(b Baseline) (above []AboveCeiling, more bool) {
	general := b.InForce(nil)
	for row := range tenants.Scan(s.log.Snapshot(), "", "") {
		r := row.Value.record
		set, err := r.Overrides.members()
		if err != nil || len(set) == 0 {
			continue // it was decoded, so it is well-formed
		}
		in := general
		if len(r.Ceilings) > 0 {
			in = b.InForce(r.Ceilings)
		}
		for _, key := range slices.Sorted(maps.Keys(in.Ceilings)) {
			n, ok := integer(set[key])
			if !ok || n <= in.Ceilings[key] {
				continue
			}
			if len(above) == mostAbove {
				return above, true
			}
			above = append(above, AboveCeiling{TenantID: r.ID, Setting: key, Value: n, Ceiling: in.Ceilings[key]})
		}
	}
	return above, false
}
