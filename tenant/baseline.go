package tenant

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"usher"
	"usher/store"
)

// Baseline is what the operator decides for all tenants: defaults where a tenant has set nothing, and ceilings that no
// tenant gets above. As it is stored it has only what was set; InForce adds the ceilings that there are from the start.
// The zero Baseline leaves the schema's own defaults and bounds.
type Baseline struct {
	Defaults Overrides `json:"defaults"`
	Ceilings Ceilings  `json:"ceilings,omitempty"`
}

// baselines is the table of the one Baseline. Tenants are resolved with it when they are read, so a change reaches every
// tenant without writing one.
var baselines = store.Table[Baseline]{Name: "defaults", Aggregate: true, Decode: decodeJSON[Baseline], Encode: encodeBaseline}

func encodeBaseline(b Baseline) ([]byte, error) { return json.Marshal(b, json.Deterministic(true)) }

// ETag is a strong tag of the Baseline.
func (b Baseline) ETag() string {
	encoded, err := encodeBaseline(b)
	if err != nil {
		return "" // matches nothing; one that was read can be written
	}
	return usher.ETag(encoded)
}

const baselinePath = "operator"

// baselineOf is the Baseline in force, and the revision that tells it from others.
func baselineOf(r store.Reader) (b Baseline, revision int64) {
	row, ok := baselines.Get(r, baselinePath)
	switch {
	case !ok:
		return Baseline{}, 0
	case row.Modified == 0:
		return row.Value, uncommitted
	}
	return row.Value, row.Modified
}

// uncommitted is the revision of what this very transaction writes.
const uncommitted = -1

func (b Baseline) defaultOf(key string) (jsontext.Value, error) {
	set, err := b.Defaults.members()
	if err != nil {
		return nil, err
	}
	if value, ok := set[key]; ok {
		return value, nil
	}
	return settingsSchema().defaults[key], nil
}

func integer(value jsontext.Value) (int64, bool) {
	n, err := strconv.ParseInt(string(value), 10, 64)
	return n, err == nil
}

// NewBaseline is the request to set the Baseline.
type NewBaseline struct {
	Defaults jsontext.Value            `json:"defaults"`
	Ceilings map[string]jsontext.Value `json:"ceilings"`

	baseline Baseline // what Validate made of it
}

// Validate reads the request and lists what is wrong with it.
func (n *NewBaseline) Validate() (problems []usher.FieldError) {
	n.baseline.Ceilings = make(Ceilings)
	if len(n.Ceilings) > maxPatchKeys {
		return []usher.FieldError{{Field: "ceilings", Message: fmt.Sprintf("must have at most %d members", maxPatchKeys)}}
	}
	for _, key := range slices.Sorted(maps.Keys(n.Ceilings)) {
		ceiling, problem := ceilingOf(key, n.Ceilings[key])
		if problem != "" {
			problems = append(problems, usher.FieldError{Field: "ceilings." + key, Message: problem})
			continue
		}
		n.baseline.Ceilings[key] = ceiling
	}
	if len(n.Defaults) == 0 {
		n.Defaults = jsontext.Value("{}")
	}
	// Ceilings hold for the schema's defaults too, so those need not be repeated below them.
	defaults, _, err := Overrides{}.Patch(n.Defaults, Baseline{Ceilings: n.baseline.Ceilings})
	if err != nil {
		e := usher.AsError(within("defaults", err))
		if len(e.Fields) == 0 {
			e.Fields = []usher.FieldError{{Field: "defaults", Message: e.Message()}}
		}
		problems = append(problems, e.Fields...)
	}
	n.baseline.Defaults = defaults
	return problems
}

func ceilingOf(key string, value jsontext.Value) (ceiling int64, problem string) {
	schema := settingsSchema()
	if !schema.knows(key) {
		return 0, "is not a setting"
	}
	if _, number := integer(schema.defaults[key]); !number {
		return 0, "is not a setting that can have a ceiling: only whole numbers can"
	}
	value = value.Clone()
	ceiling, whole := int64(0), false
	if err := value.Canonicalize(); err == nil {
		ceiling, whole = integer(value)
	}
	if !whole {
		return 0, "must be an integer"
	}
	if wrong := schema.validate(key, float64(ceiling)); len(wrong) > 0 {
		return 0, wrong[0].Message
	}
	return ceiling, ""
}

// Baseline is what the operator has decided.
func (s *Service) Baseline() Baseline {
	b, _ := baselineOf(s.log.Snapshot())
	return b
}

// SetBaseline replaces the Baseline.
func (s *Service) SetBaseline(ctx context.Context, n NewBaseline, ifMatch string, by Actor) (Baseline, error) {
	return prepared(func() (Baseline, error) {
		before, revision := baselineOf(s.log.Snapshot())
		changes, matches := before.ETag() != n.baseline.ETag(), usher.IfMatch(ifMatch, before.ETag())
		return store.Commit(ctx, s.log, store.Change[Baseline]{
			Aggregates: func(*store.Snapshot) []store.Key { return []store.Key{baselines.Key(baselinePath)} },
			Decide: func(tx *store.Tx) (Baseline, error) {
				switch _, now := baselineOf(tx); {
				case now != revision:
					return before, errMoved
				case !matches:
					return before, usher.Errorf(usher.CodePreconditionFailed, "The defaults have changed: read them again and repeat the change.")
				case !changes:
					return before, nil
				}
				baselines.Put(tx, baselinePath, n.baseline)
				return n.baseline, record(tx, operatorLog, by, s.now(), "defaults.set", "defaults", detail{"from": before, "to": n.baseline})
			},
		})
	})
}
