package reference

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"go.yaml.in/yaml/v3"
)

// json is a YAML node as indented JSON, its members in the order of the document.
func (r *renderer) json(n *yaml.Node) string {
	encoded := jsontext.Value(compact(n))
	if err := encoded.Indent(jsontext.WithIndent("  ")); err != nil {
		r.fail(fmt.Errorf("line %d: an example is not JSON: %w", n.Line, err))
	}
	return string(encoded)
}

// compact is a YAML node as JSON in one line.
func compact(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		members := make([]string, 0, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			members = append(members, quoted(n.Content[i].Value)+": "+compact(n.Content[i+1]))
		}
		return "{" + strings.Join(members, ", ") + "}"
	case yaml.SequenceNode:
		elements := make([]string, len(n.Content))
		for i, element := range n.Content {
			elements[i] = compact(element)
		}
		return "[" + strings.Join(elements, ", ") + "]"
	case yaml.AliasNode:
		return compact(n.Alias)
	case yaml.DocumentNode, yaml.ScalarNode:
	}
	switch n.ShortTag() {
	case "!!int", "!!float", "!!bool":
		return n.Value
	case "!!null":
		return "null"
	}
	return quoted(n.Value)
}

func quoted(s string) string {
	b, err := jsontext.AppendQuote(nil, s)
	if err != nil {
		return strconv.Quote(s) // not UTF-8, which a YAML document cannot hold
	}
	return string(b)
}

// credential is the header that an operation is shown with.
func (o operation) credential() string {
	switch {
	case o.Security == nil:
		return "X-API-Key: $USHER_API_KEY"
	case len(*o.Security) == 0:
		return ""
	}
	return "Authorization: Bearer $USHER_OPERATOR_KEY"
}

// curl is the operation as a command to paste.
func curl(method, path string, parameters []parameter, credential string, b *content) string {
	for _, p := range parameters {
		if p.In == "path" {
			path = strings.ReplaceAll(path, "{"+p.Name+"}", url.PathEscape(p.Example.Value))
		}
	}
	var out strings.Builder
	out.WriteString("curl")
	if method != "GET" {
		out.WriteString(" -X " + method)
	}
	out.WriteString(` "$USHER` + path + `"`)
	if credential != "" {
		out.WriteString(" \\\n  -H \"" + credential + `"`)
	}
	if b != nil && len(b.Examples) > 0 {
		line := jsontext.Value(b.Examples[0])
		if err := line.Compact(); err == nil {
			out.WriteString(" \\\n  -H \"Content-Type: " + b.MediaTypes[0] + "\" \\\n  -d '" + strings.ReplaceAll(string(line), "'", `'\''`) + "'")
		}
	}
	return out.String()
}
