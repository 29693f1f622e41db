package reference

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// document is what the page shows of an OpenAPI 3.1 document. Maps keep the order in which they are written, since that
// is the order in which people should read them.
type document struct {
	Info struct {
		Title, Version, Summary, Description string
	}
	Tags       []tag
	Paths      ordered[pathItem]
	Components struct {
		Parameters ordered[parameter]
		Headers    ordered[header]
		Responses  ordered[response]
		Schemas    ordered[schema]
	}
	Codes []code `yaml:"x-codes"`
}

type tag struct{ Name, Description string }

type code struct {
	Code   string
	Status int
	Title  string
}

type pathItem struct {
	Parameters []parameter
	Get        *operation
	Post       *operation
	Put        *operation
	Patch      *operation
	Delete     *operation
}

type operation struct {
	OperationID string `yaml:"operationId"`
	Tags        []string
	Summary     string
	Description string
	Security    *[]map[string][]string // nil: as the document says, that is an API key
	Parameters  []parameter
	RequestBody *body `yaml:"requestBody"`
	Responses   ordered[response]
}

type parameter struct {
	Ref         string `yaml:"$ref"`
	Name        string
	In          string
	Required    bool
	Description string
	Schema      schema
	Example     yaml.Node
}

type header struct {
	Ref         string `yaml:"$ref"`
	Description string
}

type body struct {
	Content ordered[media]
}

type response struct {
	Ref         string `yaml:"$ref"`
	Description string
	Headers     ordered[header]
	Content     ordered[media]
}

type media struct {
	Schema   schema
	Example  yaml.Node
	Examples ordered[struct{ Value yaml.Node }]
}

type schema struct {
	Ref         string `yaml:"$ref"`
	Description string
	Type        types
	Format      string
	Const       yaml.Node
	Enum        []yaml.Node
	Default     yaml.Node
	Minimum     yaml.Node
	Maximum     yaml.Node
	MinLength   *int `yaml:"minLength"`
	MaxLength   *int `yaml:"maxLength"`
	MinItems    *int `yaml:"minItems"`
	MaxItems    *int `yaml:"maxItems"`
	Pattern     string
	Required    []string
	Properties  ordered[schema]
	Additional  additional `yaml:"additionalProperties"`
	Items       *schema
	AllOf       []schema `yaml:"allOf"`
	OneOf       []schema `yaml:"oneOf"`
	Examples    []yaml.Node
}

// types is one type or several.
type types []string

func (t *types) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.ScalarNode {
		*t = types{node.Value}
		return nil
	}
	return node.Decode((*[]string)(t))
}

// additional is a schema, or true or false.
type additional struct{ *schema }

func (a *additional) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.ScalarNode {
		return nil
	}
	return node.Decode(&a.schema)
}

// ordered is a map in the order of the document.
type ordered[T any] []entry[T]

type entry[T any] struct {
	Name  string
	Value T
}

func (o *ordered[T]) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: a mapping is wanted here", node.Line)
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		one := entry[T]{Name: node.Content[i].Value}
		if err := node.Content[i+1].Decode(&one.Value); err != nil {
			return err
		}
		*o = append(*o, one)
	}
	return nil
}

func (o ordered[T]) find(name string) (T, bool) {
	i := slices.IndexFunc(o, func(e entry[T]) bool { return e.Name == name })
	if i < 0 {
		var none T
		return none, false
	}
	return o[i].Value, true
}

// dereferenced follows a reference to a component, or gives back what is there when there is none.
func dereferenced[T any](ref, kind string, here T, components ordered[T]) (T, error) {
	if ref == "" {
		return here, nil
	}
	name, ok := strings.CutPrefix(ref, "#/components/"+kind+"/")
	if found, known := components.find(name); ok && known {
		return found, nil
	}
	return here, fmt.Errorf("%s leads nowhere", ref)
}
