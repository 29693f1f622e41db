package tenant

import (
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"usher"
)

//go:embed settings.schema.json
var settingsSchemaText string

// SettingsSchema is the JSON Schema (2020-12) of the config document: the one source of every setting's type, default
// and bounds, and the text that explains it. The caller may do with the bytes as it likes.
func SettingsSchema() []byte { return []byte(settingsSchemaText) }

// schema is settings.schema.json, ready for use.
type schema struct {
	compiled *jsonschema.Schema        // for validation
	text     any                       // for the descriptions in $defs, which the compiled form does not give by location
	defaults map[string]jsontext.Value // of every setting
}

// settingsSchema compiles the schema when it is first used. The result is a constant: it follows from a file that is
// part of the program, is the same in every process, and nobody writes to it. So it may be a package-level variable,
// and a failure, which only a faulty build can have, may be a panic.
var settingsSchema = sync.OnceValue(func() schema {
	s, err := compileSchema(settingsSchemaText)
	if err != nil {
		panic("tenant: settings.schema.json: " + err.Error())
	}
	return s
})

func compileSchema(text string) (s schema, err error) {
	if s.text, err = jsonschema.UnmarshalJSON(strings.NewReader(text)); err != nil {
		return schema{}, err
	}
	var document struct {
		ID         string `json:"$id"`
		Properties map[string]struct {
			Default jsontext.Value `json:"default"`
		} `json:"properties"`
	}
	if err := json.Unmarshal([]byte(text), &document); err != nil {
		return schema{}, err
	}
	s.defaults = make(map[string]jsontext.Value, len(document.Properties))
	for key, property := range document.Properties {
		if property.Default == nil {
			return schema{}, fmt.Errorf("%s has no default", key)
		}
		s.defaults[key] = property.Default
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource(document.ID, s.text); err != nil {
		return schema{}, err
	}
	s.compiled, err = compiler.Compile(document.ID)
	return s, err
}

// knows says whether there is a setting of this name. The schema allows no additional properties.
func (s schema) knows(key string) bool { return s.compiled.Properties[key] != nil }

// validate lists everything that is wrong with one setting's value, which is JSON as Go decodes it into any.
//
// Settings are validated one by one, and not as a document, so that those a patch does not touch stay out of it, and
// because the validator's locations of faulty property names are right only below the root that it was given (it
// shares the slice they are in with its siblings).
func (s schema) validate(key string, value any) []usher.FieldError {
	err := s.compiled.Properties[key].Validate(value)
	if err == nil {
		return nil
	}
	root, ok := errors.AsType[*jsonschema.ValidationError](err)
	if !ok {
		return []usher.FieldError{{Field: key, Message: "is not valid"}}
	}
	return s.explain(key, value, root)
}

// explain turns the validator's tree of errors into a list, in the words of a person.
func (s schema) explain(key string, value any, e *jsonschema.ValidationError) (fields []usher.FieldError) {
	path := func(more ...string) string {
		return strings.Join(slices.Concat([]string{key}, e.InstanceLocation, more), ".")
	}
	switch k := e.ErrorKind.(type) {
	case *kind.PropertyNames:
		return []usher.FieldError{{Field: path(k.Property), Message: s.explain("", nil, e.Causes[0])[0].Message}}
	case *kind.UniqueItems: // names only the first pair
		for _, i := range repeats(at(value, e.InstanceLocation)) {
			fields = append(fields, usher.FieldError{Field: path(strconv.Itoa(i)), Message: "repeats an earlier entry"})
		}
		return fields
	}
	if len(e.Causes) == 0 {
		return []usher.FieldError{{Field: path(), Message: s.message(e)}}
	}
	for _, cause := range e.Causes {
		fields = append(fields, s.explain(key, value, cause)...)
	}
	return fields
}

// message ends a sentence that begins with the field's name.
func (s schema) message(e *jsonschema.ValidationError) string {
	switch k := e.ErrorKind.(type) {
	case *kind.Type:
		return "must be " + typeName(k.Want[0])
	case *kind.Enum:
		return "must be one of " + strings.Trim(strings.ReplaceAll(fmt.Sprint(k.Want), " ", ", "), "[]")
	case *kind.Minimum:
		return "must be at least " + k.Want.RatString()
	case *kind.Maximum:
		return "must be at most " + k.Want.RatString()
	case *kind.MaxLength:
		return fmt.Sprintf("must be at most %d characters", k.Want)
	case *kind.MinProperties:
		return fmt.Sprintf("must have at least %d", k.Want)
	case *kind.MaxProperties:
		return fmt.Sprintf("must have at most %d", k.Want)
	case *kind.MaxItems:
		return fmt.Sprintf("must have at most %d", k.Want)
	case *kind.Pattern:
		return "must be " + s.description(e.SchemaURL)
	}
	return "is not valid" // no keyword of the schema leads here; a test holds that
}

// repeats are the indexes of entries that equal an earlier one.
func repeats(list any) (indexes []int) {
	items, _ := list.([]any)
	seen := make(map[string]bool, len(items))
	for i, item := range items {
		text, _ := json.Marshal(item, json.Deterministic(true)) // of a value that was read from JSON: it cannot fail
		if seen[string(text)] {
			indexes = append(indexes, i)
		}
		seen[string(text)] = true
	}
	return indexes
}

func typeName(jsonType string) string {
	switch jsonType {
	case "boolean":
		return "true or false"
	case "integer":
		return "a whole number"
	case "array":
		return "a list"
	case "object":
		return "an object"
	}
	return "a " + jsonType
}

// description is that of the part of the schema at the URL, whose fragment is a JSON Pointer of plain names.
func (s schema) description(url string) string {
	_, pointer, _ := strings.Cut(url, "#/")
	part, _ := at(s.text, strings.Split(pointer, "/")).(map[string]any)
	description, _ := part["description"].(string)
	return description
}

// at is the part of a decoded JSON value at a path of member names, or nil.
func at(value any, path []string) any {
	for _, name := range path {
		object, ok := value.(map[string]any)
		if !ok {
			return nil
		}
		value = object[name]
	}
	return value
}
