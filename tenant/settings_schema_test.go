package tenant

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// mustObeySchema judges a whole document by the schema, as a stranger who was given both would.
func mustObeySchema(t failer, document []byte) {
	t.Helper()
	var decoded any
	if err := json.Unmarshal(document, &decoded); err != nil {
		t.Fatalf("%s is no JSON: %v", document, err)
	}
	if err := settingsSchema().compiled.Validate(decoded); err != nil {
		t.Fatalf("%s does not obey the schema: %v", document, err)
	}
}

// memberNames are an object's member names, in order.
func memberNames(t *testing.T, object []byte) (names []string) {
	t.Helper()
	decoder := jsontext.NewDecoder(bytes.NewReader(object))
	if _, err := decoder.ReadToken(); err != nil {
		t.Fatal(err)
	}
	for decoder.PeekKind() == '"' {
		name, err := decoder.ReadToken()
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, name.String())
		if err := decoder.SkipValue(); err != nil {
			t.Fatal(err)
		}
	}
	return names
}

func TestDefaultsObeyTheirOwnSchemaAndRules(t *testing.T) {
	t.Parallel()
	document, err := Defaults().Document()
	if err != nil {
		t.Fatal(err)
	}
	mustObeySchema(t, document)
	if fields := checkSettings(Defaults(), nil); len(fields) > 0 {
		t.Errorf("the defaults break the rules: %v", fields)
	}
}

func TestSchemaObeysItsMetaSchema(t *testing.T) {
	t.Parallel()
	compiled, err := jsonschema.NewCompiler().Compile("https://json-schema.org/draft/2020-12/schema")
	if err != nil {
		t.Fatal(err)
	}
	if err := compiled.Validate(settingsSchema().text); err != nil {
		t.Error(err)
	}
}

func TestEverySettingIsExplained(t *testing.T) {
	t.Parallel()
	compiled := settingsSchema().compiled
	for key, setting := range compiled.Properties {
		if setting.Title == "" || !strings.HasSuffix(setting.Description, ".") || setting.Types == nil || setting.Default == nil {
			t.Errorf("%s needs a title, a description in sentences, a type and a default", key)
		}
		if setting.Types.String() == "[integer]" && (setting.Minimum == nil || setting.Maximum == nil) {
			t.Errorf("%s needs a minimum and a maximum", key)
		}
	}
	if compiled.AdditionalProperties != false {
		t.Error("a stranger with this schema would let unknown keys through")
	}
}

// Every setting is a field of Settings, in the order of the schema, and the other way round.
func TestDocumentHasTheSchemasKeysInItsOrder(t *testing.T) {
	t.Parallel()
	var schema struct {
		Properties jsontext.Value `json:"properties"`
	}
	if err := json.Unmarshal(SettingsSchema(), &schema); err != nil {
		t.Fatal(err)
	}
	document, err := Defaults().Document()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(memberNames(t, schema.Properties), memberNames(t, document)); diff != "" {
		t.Errorf("schema (-) and document (+) differ:\n%s", diff)
	}
}

func TestSchemaThatWouldMisleadIsNotCompiled(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"not JSON":            `{`,
		"duplicate key":       `{"$id":"urn:x","$id":"urn:x"}`,
		"setting, no default": `{"$id":"urn:x","properties":{"a":{"type":"string"}}}`,
		"no such type":        `{"$id":"urn:x","properties":{"a":{"type":"text","default":1}}}`,
	} {
		if _, err := compileSchema(text); err == nil {
			t.Errorf("%s: compiled", name)
		}
	}
}

func TestCallerMayWriteToTheServedSchema(t *testing.T) {
	t.Parallel()
	clear(SettingsSchema())
	if !bytes.HasPrefix(SettingsSchema(), []byte("{")) {
		t.Error("writing to the schema changed it for everybody")
	}
}

// What the validator may say of a value, person-readable: no keyword of the schema is without its words.
func TestEveryKeywordHasItsWords(t *testing.T) {
	t.Parallel()
	known := []string{
		"$comment", "$defs", "$id", "$ref", "$schema", "additionalProperties", "default", "description", "enum", "items",
		"maxItems", "maxLength", "maxProperties", "maximum", "minProperties", "minimum", "pattern", "properties",
		"propertyNames", "title", "type", "uniqueItems",
	}
	used := make(map[string]bool)
	var walk func(schema any)
	walk = func(schema any) {
		object, ok := schema.(map[string]any)
		if !ok {
			return
		}
		for keyword, value := range object {
			used[keyword] = true
			switch keyword {
			case "properties", "$defs":
				for _, nested := range value.(map[string]any) {
					walk(nested)
				}
			case "items", "additionalProperties", "propertyNames":
				walk(value)
			}
		}
	}
	walk(settingsSchema().text)
	if diff := cmp.Diff(known, slices.Sorted(maps.Keys(used))); diff != "" {
		t.Errorf("give each new keyword its words in schema.message, a case in a test, and a line here:\n%s", diff)
	}
}
