package tenant

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"usher"
)

// What bounds the work that a patch can make, and all of which is refused before the schema is asked
// (BenchmarkCostlyPatch).
const (
	maxPatchBytes  = 32 << 10 // the longest document that the schema allows has 21 KiB
	maxPatchKeys   = 64       // there are fewer settings
	maxPatchRoles  = 64       // as many as can be in roles, and as many as can be taken out
	maxPatchGrants = 16       // of a role: there are fewer
	maxPatchList   = 64       // as many as any list of the schema may have
)

// Patch applies a JSON Merge Patch (RFC 7396) and gives the new overrides, and the settings they resolve to. When it
// refuses, the error names the offending fields, the first usher.MostFieldErrors of them, and the overrides it gives back
// are o itself.
//
//   - A value becomes an override, also when it equals the default: the tenant has made its choice.
//   - null removes an override, so the key follows its default again.
//   - roles is the one setting that is an object, so the one that a patch can merge into. It is merged into the roles
//     that the tenant reads, its own or the default ones, and the outcome becomes its own as a whole: {"viewer": null}
//     removes a role that came from the defaults, and {"guest": ["subscribe"]} keeps them. A role's grants are a list,
//     which a patch replaces. null for roles itself is as for any key.
//   - Numbers are doubles, as in RFC 7493: 3.0 and 3e0 are whole and kept as 3.
//
// A key that the patch does not touch is not judged again, except by the rules between settings. Patching with {} tells
// whether overrides from elsewhere, such as an old version, still keep those.
func (o Overrides) Patch(mergePatch []byte, b Baseline) (Overrides, Settings, error) {
	patch, err := parsePatch(mergePatch)
	if err != nil {
		return o, Settings{}, err
	}
	return o.apply(patch, b)
}

// settingsPatch is a merge patch that was read, by key: small, and every value in canonical form.
type settingsPatch map[string]jsontext.Value

// apply is Patch.
func (o Overrides) apply(patch settingsPatch, b Baseline) (Overrides, Settings, error) {
	merged, err := o.merge(patch, b)
	if err != nil {
		return o, Settings{}, usher.Internal(err, "merge a patch of settings")
	}
	fields, faulty := judge(patch, merged, b)
	if len(fields) >= usher.MostFieldErrors {
		return o, Settings{}, usher.Invalid(fields...)
	}
	for key := range faulty {
		delete(merged, key) // the rest can still be resolved, and told what is wrong with it
	}
	patched, settings, err := resolveMembers(merged, b)
	if err != nil {
		return o, Settings{}, usher.Internal(err, "resolve patched settings")
	}
	if fields = append(fields, checkSettings(settings, faulty)...); len(fields) > 0 {
		slices.SortFunc(fields, func(a, b usher.FieldError) int {
			return cmp.Or(strings.Compare(a.Field, b.Field), strings.Compare(a.Message, b.Message))
		})
		return o, Settings{}, usher.Invalid(fields...)
	}
	return patched, settings, nil
}

// parsePatch reads a JSON object: UTF-8, no name twice. What it refuses is wrong whatever the patch is applied to.
func parsePatch(mergePatch []byte) (patch settingsPatch, err error) {
	if len(mergePatch) > maxPatchBytes {
		return nil, usher.Errorf(usher.CodeBodyTooLarge, "A settings patch may have at most %d bytes.", maxPatchBytes)
	}
	value := jsontext.Value(mergePatch).Clone()
	if err := value.Canonicalize(); err != nil {
		return nil, malformed(err)
	}
	if value.Kind() != '{' {
		return nil, wrongPatch("The settings patch must be a JSON object.", "must be an object")
	}
	if err := json.Unmarshal(value, &patch); err != nil {
		return nil, usher.Internal(err, "read a settings patch")
	}
	if len(patch) > maxPatchKeys {
		return nil, wrongPatch("The settings patch names more settings than there are.", fmt.Sprintf("must have at most %d members", maxPatchKeys))
	}
	var excess []usher.FieldError
	for _, key := range slices.Sorted(maps.Keys(patch)) {
		excess = append(excess, tooMany(key, patch[key])...)
	}
	if len(excess) > 0 {
		return nil, usher.Invalid(excess...)
	}
	return patch, nil
}

// wrongPatch is about the document itself. Whoever nests it puts the name of the member before.
func wrongPatch(detail, message string) error {
	return &usher.Error{Code: usher.CodeInvalidRequest, Detail: detail, Fields: []usher.FieldError{{Field: "", Message: message}}}
}

// tooMany says that a value has more members or entries than any sound one, and no more of it: each would be looked at,
// and told to be wrong.
func tooMany(key string, value jsontext.Value) []usher.FieldError {
	var wrong []usher.FieldError
	note := func(field, message string, most int) {
		wrong = append(wrong, usher.FieldError{Field: field, Message: fmt.Sprintf(message, most)})
	}
	switch {
	case value.Kind() == '[':
		if entries(value) > maxPatchList {
			note(key, "must have at most %d", maxPatchList)
		}
	case key == "roles" && value.Kind() == '{':
		var roles map[string]jsontext.Value
		if err := json.Unmarshal(value, &roles); err != nil {
			return nil // it is in canonical form, so it can be read
		}
		if len(roles) > maxPatchRoles {
			note(key, "must name at most %d roles in one patch", maxPatchRoles)
			return wrong
		}
		for _, name := range slices.Sorted(maps.Keys(roles)) {
			if roles[name].Kind() == '[' && entries(roles[name]) > maxPatchGrants {
				note(key+"."+name, "must have at most %d", maxPatchGrants)
			}
		}
	}
	return wrong
}

// entries counts the entries of a list.
func entries(list jsontext.Value) int {
	var all []jsontext.Value
	if err := json.Unmarshal(list, &all); err != nil {
		return 0
	}
	return len(all)
}

// malformed says in which way a patch is no JSON.
func malformed(err error) error {
	syntax, ok := errors.AsType[*jsontext.SyntacticError](err)
	if !ok {
		return usher.Internal(err, "check a settings patch")
	}
	if errors.Is(syntax.Err, jsontext.ErrDuplicateName) {
		path := slices.Collect(syntax.JSONPointer.Tokens())
		return usher.Invalid(usher.FieldError{Field: strings.Join(path, "."), Message: "is given twice"})
	}
	return usher.Errorf(usher.CodeInvalidRequest, "The settings patch is not valid JSON: %v at byte %d.",
		syntax.Err, syntax.ByteOffset)
}

// merge is the overrides with the patch on them, by key, not judged in any way. Only what is a setting is merged, and
// roles is the only one of them that is an object: nothing has to be merged below its members.
func (o Overrides) merge(patch settingsPatch, b Baseline) (merged map[string]jsontext.Value, err error) {
	if merged, err = o.members(); err != nil {
		return nil, err
	}
	for key, value := range patch {
		switch {
		case !settingsSchema().knows(key): // is refused anyway
		case value.Kind() == 'n':
			delete(merged, key)
		case key == "roles" && value.Kind() == '{':
			if _, own := merged[key]; !own {
				if merged[key], err = b.defaultOf(key); err != nil {
					return nil, err
				}
			}
			if merged[key], err = mergeRoles(merged[key], value); err != nil {
				return nil, err
			}
		default:
			merged[key] = value
		}
	}
	return merged, nil
}

// mergeRoles adds, replaces and takes out roles.
func mergeRoles(roles, patch jsontext.Value) (jsontext.Value, error) {
	var merged, changes map[string]jsontext.Value
	if err := errors.Join(json.Unmarshal(roles, &merged), json.Unmarshal(patch, &changes)); err != nil {
		return nil, err
	}
	for name, grants := range changes {
		if grants.Kind() == 'n' {
			delete(merged, name)
		} else {
			merged[name] = grants
		}
	}
	return json.Marshal(merged, json.Deterministic(true))
}

// judge lists what is wrong with the settings that a patch touches, each by itself, and which these are. It stops when
// there is enough to tell.
func judge(patch settingsPatch, merged map[string]jsontext.Value, b Baseline) (fields []usher.FieldError, faulty map[string]bool) {
	schema := settingsSchema()
	faulty = make(map[string]bool)
	for _, key := range slices.Sorted(maps.Keys(patch)) {
		if len(fields) >= usher.MostFieldErrors {
			break
		}
		if !schema.knows(key) { // also when its value is null: whoever resets a key that is none has misspelt it
			fields = append(fields, usher.FieldError{Field: key, Message: "is not a setting"})
			continue
		}
		value, set := merged[key]
		if !set {
			continue
		}
		var decoded any
		if err := json.Unmarshal(value, &decoded); err != nil {
			fields, faulty[key] = append(fields, usher.FieldError{Field: key, Message: "is not valid"}), true
			continue
		}
		found := schema.validate(key, decoded)
		if len(found) == 0 {
			found = b.exceeded(key, value)
		}
		if len(found) > 0 {
			fields, faulty[key] = append(fields, found...), true
		}
	}
	return fields, faulty
}

func resolveMembers(members map[string]jsontext.Value, b Baseline) (Overrides, Settings, error) {
	document, err := json.Marshal(members)
	if err != nil {
		return Overrides{}, Settings{}, err
	}
	o, err := newOverrides(document)
	if err != nil {
		return Overrides{}, Settings{}, err
	}
	s, err := Resolve(o, b)
	return o, s, err
}
