package tenant

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"strings"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"usher"
)

// maxPatchBytes bounds the work that a patch can make: merging takes time in the square of its members, and each fault
// is a line of the answer. The most costly patch of this size takes some 50 ms (BenchmarkCostlyPatch); the longest
// document that the schema allows has 21 KiB.
const maxPatchBytes = 32 << 10

// Patch applies a JSON Merge Patch (RFC 7396) and gives the new overrides, and the settings they resolve to. When it
// refuses, the error names every offending field, and the overrides it gives back are o itself.
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
	merged, err := o.merge(patch, b)
	if err != nil {
		return o, Settings{}, usher.Internal(err, "merge a patch of settings")
	}
	fields, faulty := judge(patch, merged, b)
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

// parsePatch reads a JSON object: UTF-8, no name twice, every value in canonical form.
func parsePatch(mergePatch []byte) (patch map[string]jsontext.Value, err error) {
	if len(mergePatch) > maxPatchBytes {
		return nil, usher.Errorf(usher.CodeBodyTooLarge, "A settings patch may have at most %d bytes.", maxPatchBytes)
	}
	value := jsontext.Value(mergePatch).Clone()
	if err := value.Canonicalize(); err != nil {
		return nil, malformed(err)
	}
	if value.Kind() != '{' {
		// The field is the document itself. Whoever nests it puts the name of the member before.
		return nil, &usher.Error{Code: usher.CodeInvalidRequest, Detail: "The settings patch must be a JSON object.",
			Fields: []usher.FieldError{{Field: "", Message: "must be an object"}}}
	}
	if err := json.Unmarshal(value, &patch); err != nil {
		return nil, usher.Internal(err, "read a settings patch")
	}
	return patch, nil
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

// merge is the overrides with the patch on them, by key, not judged in any way.
func (o Overrides) merge(patch map[string]jsontext.Value, b Baseline) (merged map[string]jsontext.Value, err error) {
	base, err := o.members()
	if err != nil {
		return nil, err
	}
	if _, own := base["roles"]; !own && patch["roles"].Kind() == '{' {
		if base["roles"], err = b.defaultOf("roles"); err != nil {
			return nil, err
		}
	}
	// A key that is no setting is refused anyway; merging none of them bounds the work.
	patch = maps.Clone(patch)
	maps.DeleteFunc(patch, func(key string, _ jsontext.Value) bool { return !settingsSchema().knows(key) })
	document, err := json.Marshal(base)
	if err != nil {
		return nil, err
	}
	patchDocument, err := json.Marshal(patch)
	if err != nil {
		return nil, err
	}
	if document, err = jsonpatch.MergePatch(document, patchDocument); err != nil {
		return nil, err
	}
	err = json.Unmarshal(document, &merged)
	return merged, err
}

// judge lists what is wrong with the settings that a patch touches, each by itself, and which these are.
func judge(patch, merged map[string]jsontext.Value, b Baseline) (fields []usher.FieldError, faulty map[string]bool) {
	schema := settingsSchema()
	faulty = make(map[string]bool)
	for key := range patch {
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
