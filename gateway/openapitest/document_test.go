package openapitest

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"github.com/pb33f/libopenapi-validator/schema_validation"
	"github.com/pb33f/libopenapi/datamodel/high/base"
	v3 "github.com/pb33f/libopenapi/datamodel/high/v3"
	"go.yaml.in/yaml/v3"

	"usher"
	"usher/tenant"
)

func contractOf(t *testing.T) *contract {
	t.Helper()
	c, err := theContract()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// tree is the document as plain values.
func tree(t *testing.T) map[string]any {
	t.Helper()
	var root map[string]any
	if err := yaml.Unmarshal(contractOf(t).text, &root); err != nil {
		t.Fatal(err)
	}
	return root
}

// operationsOf calls f for every operation of the document.
func operationsOf(t *testing.T, f func(t *testing.T, path *v3.PathItem, o *v3.Operation)) {
	for _, r := range contractOf(t).routes {
		for _, o := range r.item.GetOperations().FromOldest() {
			if o.OperationId != "" { // the stand-ins of contract.go have none
				t.Run(o.OperationId, func(t *testing.T) { f(t, r.item, o) })
			}
		}
	}
}

func TestTheDocumentIsOpenAPI(t *testing.T) {
	document, err := libopenapi.NewDocument(contractOf(t).text)
	if err != nil {
		t.Fatal(err)
	}
	v, errs := validator.NewValidator(document)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	if ok, failures := v.ValidateDocument(); !ok {
		t.Error(strings.Join(explain(failures), "\n"))
	}
}

func TestTheCodesAreTheTable(t *testing.T) {
	root := tree(t)
	var listed []usher.CodeInfo
	for _, line := range root["x-codes"].([]any) {
		line := line.(map[string]any)
		listed = append(listed, usher.CodeInfo{Code: usher.Code(line["code"].(string)), Status: line["status"].(int), Title: line["title"].(string)})
	}
	if !slices.Equal(listed, usher.Codes()) {
		t.Errorf("x-codes is\n%v\nand the table\n%v", listed, usher.Codes())
	}
	var want []any
	for _, info := range usher.Codes() {
		want = append(want, string(info.Code))
	}
	if got := at(root, "components", "schemas", "Code", "enum"); !reflect.DeepEqual(got, want) {
		t.Errorf("the schema Code lists\n%v\nand the table\n%v", got, want)
	}
}

// An error is useless in a document that does not say which codes it may have, and wrong where the code is another
// status's.
func TestEveryErrorListsCodesOfItsStatus(t *testing.T) {
	operationsOf(t, func(t *testing.T, _ *v3.PathItem, o *v3.Operation) {
		for status, response := range o.Responses.Codes.FromOldest() {
			if status < "400" {
				continue
			}
			codes := codesOf(response)
			if len(codes) == 0 {
				t.Errorf("%s lists no codes", status)
			}
			for _, code := range codes {
				if got := fmt.Sprint(usher.Code(code).Info().Status); got != status {
					t.Errorf("%s lists %s, which is of %s", status, code, got)
				}
			}
		}
	})
}

func codesOf(response *v3.Response) (codes []string) {
	content := response.Content.GetOrZero("application/problem+json")
	if content == nil || len(content.Schema.Schema().AllOf) != 2 {
		return nil
	}
	for _, node := range content.Schema.Schema().AllOf[1].Schema().Properties.GetOrZero("code").Schema().Enum {
		codes = append(codes, node.Value)
	}
	return codes
}

func TestEveryOperationIsToldInFull(t *testing.T) {
	operationsOf(t, func(t *testing.T, path *v3.PathItem, o *v3.Operation) {
		if o.Summary == "" || len(o.Tags) != 1 || !regexp.MustCompile(`\nCallers: .*`).MatchString(o.Description) {
			t.Errorf("summary %q, tags %v, and no Callers in the description %q", o.Summary, o.Tags, o.Description)
		}
		if o.Tags[0] == "Service" {
			return
		}
		var parameters []string
		for _, p := range slices.Concat(path.Parameters, o.Parameters) {
			parameters = append(parameters, p.Name)
			if p.Description == "" {
				t.Errorf("the parameter %s has no description", p.Name)
			}
		}
		if !slices.Contains(parameters, "Usher-Min-Revision") || !slices.Contains(parameters, "X-Request-ID") {
			t.Errorf("the parameters are only %v", parameters)
		}
		needed := []string{"400", "500", "503"} // 400: for Usher-Min-Revision, if nothing else
		if o.Security == nil || len(o.Security) > 0 {
			needed = append(needed, "401", "403")
		}
		if o.RequestBody != nil {
			needed = append(needed, "413", "415")
		}
		for _, status := range needed {
			if o.Responses.Codes.GetOrZero(status) == nil {
				t.Errorf("%s is not documented", status)
			}
		}
		for status, response := range o.Responses.Codes.FromOldest() {
			if response.Headers.GetOrZero("Usher-Revision") == nil || response.Headers.GetOrZero("X-Request-ID") == nil {
				t.Errorf("%s has no Usher-Revision or X-Request-ID", status)
			}
		}
	})
}

func TestEveryExampleIsOfItsSchema(t *testing.T) {
	judge := schema_validation.NewSchemaValidator()
	seen := 0
	check := func(t *testing.T, what string, schema *base.SchemaProxy, example interface{ Decode(any) error }) {
		t.Helper()
		seen++
		var value any
		if err := example.Decode(&value); err != nil {
			t.Fatal(err)
		}
		encoded, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		if ok, failures := judge.ValidateSchemaString(schema.Schema(), string(encoded)); !ok {
			t.Errorf("the example of %s: %s\n%s", what, strings.Join(explain(failures), "; "), encoded)
		}
	}
	media := func(t *testing.T, what string, m *v3.MediaType) {
		t.Helper()
		if m.Example != nil {
			check(t, what, m.Schema, m.Example)
		}
		for name, example := range m.Examples.FromOldest() {
			check(t, what+" "+name, m.Schema, example.Value)
		}
	}
	c := contractOf(t)
	for name, schema := range c.model.Components.Schemas.FromOldest() {
		for _, example := range schema.Schema().Examples {
			check(t, name, schema, example)
		}
	}
	for name, header := range c.model.Components.Headers.FromOldest() {
		if header.Example != nil {
			check(t, name, header.Schema, header.Example)
		}
	}
	operationsOf(t, func(t *testing.T, _ *v3.PathItem, o *v3.Operation) {
		if o.RequestBody != nil {
			for _, m := range o.RequestBody.Content.FromOldest() {
				media(t, "the request", m)
			}
		}
		for status, response := range o.Responses.Codes.FromOldest() {
			if response.Content == nil {
				continue
			}
			for _, m := range response.Content.FromOldest() {
				media(t, status, m)
			}
		}
	})
	if seen < 40 {
		t.Errorf("only %d examples were found", seen)
	}
}

// What is not listed is not allowed: otherwise a member that is misspelt or should be secret passes every test.
func TestObjectsAreClosed(t *testing.T) {
	open := []string{"AtomicVerdict", "Discovery", "IntrospectionRequest", "Metadata", "Problem", "Roles"} // by their descriptions
	for name, schema := range at(tree(t), "components", "schemas").(map[string]any) {
		schema := schema.(map[string]any)
		if closed := schema["additionalProperties"] == false; schema["type"] == "object" && closed == slices.Contains(open, name) {
			t.Errorf("%s: additionalProperties is %v", name, schema["additionalProperties"])
		}
	}
}

// The settings' own schema is where they are decided; the document says the same to readers.
func TestTheSettingsAreThoseOfTheirSchema(t *testing.T) {
	var settings map[string]any
	if err := json.Unmarshal(tenant.SettingsSchema(), &settings); err != nil {
		t.Fatal(err)
	}
	root := tree(t)
	want := plain(t, settings, settings["properties"]).(map[string]any)
	got := plain(t, root, at(root, "components", "schemas", "TenantConfig", "properties")).(map[string]any)
	keys := slices.Sorted(maps.Keys(want))
	for _, key := range slices.Sorted(maps.Keys(got)) {
		if !slices.Contains(keys, key) {
			t.Errorf("%s is no setting", key)
		}
	}
	for _, key := range keys {
		if !reflect.DeepEqual(got[key], want[key]) {
			t.Errorf("%s is\n%v\nand by tenant/settings.schema.json\n%v", key, got[key], want[key])
		}
	}
	if required := sortedTexts(at(root, "components", "schemas", "TenantConfig", "required")); !slices.Equal(required, keys) {
		t.Errorf("an answer need only have %v", required)
	}
	patch := at(root, "components", "schemas", "TenantConfigPatch", "properties").(map[string]any)
	if got := slices.Sorted(maps.Keys(patch)); !slices.Equal(got, keys) {
		t.Errorf("a patch may have %v", got)
	}
	client := plain(t, root, at(root, "components", "schemas", "ClientConfig", "properties")).(map[string]any)
	for key, schema := range client {
		schema := schema.(map[string]any)
		if schema["default"] = want[key].(map[string]any)["default"]; !reflect.DeepEqual(schema, want[key]) {
			t.Errorf("to a client, %s is\n%v\nand by tenant/settings.schema.json\n%v", key, schema, want[key])
		}
	}
}

// plain is a part of a JSON Schema without what is for readers only, with numbers of one type, without the type of what
// is listed anyway, and with references replaced by what they mean; root is where references lead from.
func plain(t *testing.T, root map[string]any, value any) any {
	t.Helper()
	switch value := value.(type) {
	case int:
		return float64(value)
	case []any:
		list := make([]any, len(value))
		for i, v := range value {
			list[i] = plain(t, root, v)
		}
		return list
	case map[string]any:
		object := make(map[string]any)
		if ref, ok := value["$ref"].(string); ok {
			maps.Copy(object, plain(t, root, at(root, strings.Split(ref, "/")[1:]...)).(map[string]any))
		}
		for key, v := range value {
			_, isText := v.(string)
			if forReaders := key == "title" || key == "description" || key == "$comment" || key == "$ref"; !forReaders || !isText {
				object[key] = plain(t, root, v)
			}
		}
		if object["enum"] != nil {
			delete(object, "type") // the list says it
		}
		return object
	}
	return value
}

// at is the part of a tree at a path of names.
func at(value any, path ...string) any {
	for _, name := range path {
		object, _ := value.(map[string]any)
		value = object[name]
	}
	return value
}

func sortedTexts(list any) (texts []string) {
	for _, v := range list.([]any) {
		texts = append(texts, v.(string))
	}
	slices.Sort(texts)
	return texts
}
