package rooms

import (
	"errors"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// mergePatch applies a JSON Merge Patch (RFC 7396) to an object; an empty target is an empty object. It takes time in
// the length of both, however deep they are: each is read once. Numbers stay as they were written.
func mergePatch(target, patch jsontext.Value) (jsontext.Value, error) {
	var before any
	if len(target) > 0 {
		if err := json.Unmarshal(target, &before, rawNumbers); err != nil {
			return nil, err
		}
	}
	var changes any
	if err := json.Unmarshal(patch, &changes, rawNumbers); err != nil {
		return nil, err
	}
	return json.Marshal(merge(before, changes), json.Deterministic(true))
}

// merge is the function of section 2 of the RFC. It changes the target.
func merge(target, patch any) any {
	changes, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	merged, ok := target.(map[string]any)
	if !ok {
		merged = make(map[string]any)
	}
	for name, value := range changes {
		if value == nil {
			delete(merged, name)
		} else {
			merged[name] = merge(merged[name], value)
		}
	}
	return merged
}

// rawNumbers has numbers read as they are written: a double does not hold all of them.
var rawNumbers = json.WithUnmarshalers(json.UnmarshalFromFunc(func(d *jsontext.Decoder, value *any) error {
	if d.PeekKind() != '0' {
		return errors.ErrUnsupported
	}
	number, err := d.ReadValue()
	*value = number.Clone()
	return err
}))
