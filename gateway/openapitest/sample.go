package openapitest

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"

	"github.com/pb33f/libopenapi/datamodel/high/base"
	v3 "github.com/pb33f/libopenapi/datamodel/high/v3"
)

// Sample is a request made by the document's grammar: of one of its operations, with its parameters and a body of its
// schema, each of which may be left out, spoilt or replaced by something hostile.
type Sample struct {
	Method string
	Path   string // escaped
	Query  string // escaped
	Header [][2]string
	Body   []byte // nil: none
}

// Draw makes the choices of a Sample: a number from 0 to n-1. It gives 0 when it has no more to say, which is the choice
// of something plain.
type Draw func(n int) int

// Sample makes a request. words gives known values for a parameter or a member of a body, such as ids that exist.
func (v *Validator) Sample(draw Draw, words func(name string) []string) Sample {
	s := sampler{draw: draw, words: words}
	var all []route
	for _, r := range v.contract.routes {
		if r.template != unknownPath && r.template != otherMethod {
			all = append(all, r)
		}
	}
	r := all[draw(len(all))]
	var methods []string
	for method := range r.item.GetOperations().FromOldest() {
		methods = append(methods, method)
	}
	method := methods[draw(len(methods))]
	operation := r.item.GetOperations().GetOrZero(method)
	made := Sample{Method: strings.ToUpper(method), Path: r.template}
	if s.oneIn(20) {
		made.Method = []string{"HEAD", "PUT", "OPTIONS", "TRACE", "PROPFIND", "get"}[draw(6)]
	}
	var query []string
	for _, p := range slices.Concat(r.item.Parameters, operation.Parameters) {
		switch p.In {
		case "path":
			made.Path = strings.Replace(made.Path, "{"+p.Name+"}", s.segment(p.Name), 1)
		case "query":
			if draw(3) == 1 {
				query = append(query, url.QueryEscape(p.Name)+"="+url.QueryEscape(s.text(p.Name, schemaOf(p))))
			}
		case "header":
			if draw(4) == 1 {
				made.Header = append(made.Header, [2]string{p.Name, s.text(p.Name, schemaOf(p))})
			}
		}
	}
	if s.oneIn(12) {
		query = append(query, url.QueryEscape(s.hostile())+"="+s.hostile())
	}
	made.Query = strings.Join(query, "&")
	if operation.RequestBody != nil && !s.oneIn(12) {
		s.body(&made, operation.RequestBody)
	}
	return made
}

func schemaOf(p *v3.Parameter) *base.Schema {
	if p.Schema == nil {
		return nil
	}
	return p.Schema.Schema()
}

type sampler struct {
	draw  Draw
	words func(name string) []string
}

// oneIn is true once in n times, and never when there is nothing more to draw.
func (s sampler) oneIn(n int) bool { return s.draw(n) == n-1 }

// Hostile are texts that have broken other programs.
var Hostile = []string{
	"", " ", "..", ".", "%2e%2e", "%2F", "%00", "\x00", "a\x00b", "../../etc/passwd", "..%2f..%2f", "\xff\xfe", "\xc0\xae\xc0\xae", "\xed\xa0\x80", "\ufeff", "\u202e", "\u0000",
	"null", "true", "-1", "0", "1e999", "9223372036854775808", "18446744073709551616", "0x10", "NaN", "1.5", "-0", "00",
	"{", "[", "\"", "'", "\\", "`", "$(id)", "${jndi:ldap://a}", "{{7*7}}", "<script>alert(1)</script>", "' OR 1=1 --", "*", "?", "#", ";", "&", "=", "+", "\r\nX: y", "\n",
	"room_00000000000000000000000000", "tenant_00000000000000000000000000", "p_7zzzzzzzzzzzzzzzzzzzzzzzzz", "00000000-0000-0000-0000-000000000000", "__proto__", "constructor",
	"usk_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa_000000", "W/\"1\"", "*/*", "2026-01-01T00:00:00Z", "9999-12-31T23:59:60Z", "0000-00-00T00:00:00Z", "1.LQ", "MS4", "OTk5OTk5OTk5OTk5OTk5OTk5OS5h",
	strings.Repeat("a", 201), strings.Repeat("é", 5000), strings.Repeat("[", 12000), strings.Repeat("%2e", 60), strings.Repeat("a/", 100),
}

func (s sampler) hostile() string { return Hostile[s.draw(len(Hostile))] }

// segment is a value for a variable of the path, escaped or, now and then, not.
func (s sampler) segment(name string) string {
	if s.oneIn(8) {
		raw := s.hostile()
		if strings.ContainsAny(raw, "\r\n \x00?#\x7f") || !isASCII(raw) || s.draw(2) == 0 {
			return url.PathEscape(raw)
		}
		return raw
	}
	known := s.words(name)
	if len(known) == 0 {
		return "x"
	}
	return url.PathEscape(known[s.draw(len(known))])
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r > 0x7e })
}

// text is a value for a parameter.
func (s sampler) text(name string, schema *base.Schema) string {
	if s.oneIn(6) {
		return s.hostile()
	}
	if known := s.words(name); len(known) > 0 {
		return known[s.draw(len(known))]
	}
	switch value := s.value(name, schema, 0).(type) {
	case string:
		return value
	default:
		text, _ := json.Marshal(value) // made here of what can be encoded
		return string(text)
	}
}

func (s sampler) body(made *Sample, body *v3.RequestBody) {
	var types []string
	for mediaType := range body.Content.FromOldest() {
		types = append(types, mediaType)
	}
	mediaType := types[s.draw(len(types))]
	value := s.value("", body.Content.GetOrZero(mediaType).Schema.Schema(), 0)
	if strings.HasSuffix(mediaType, "form-urlencoded") {
		form := url.Values{}
		if members, ok := value.(map[string]any); ok {
			for name := range members {
				form.Set(name, s.text(name, nil))
			}
		}
		made.Body = []byte(form.Encode())
	} else {
		made.Body, _ = json.Marshal(value)
	}
	if s.oneIn(6) {
		made.Body = s.spoil(made.Body)
	}
	if s.oneIn(15) {
		mediaType = []string{"", "text/plain", "application/json; charset=utf-16", "application/json;;", "multipart/form-data", "application/xml"}[s.draw(6)]
	}
	if mediaType != "" {
		made.Header = append(made.Header, [2]string{"Content-Type", mediaType})
	}
}

// spoil makes JSON that is not quite.
func (s sampler) spoil(body []byte) []byte {
	text := string(body)
	switch s.draw(8) {
	case 0:
		return body[:s.draw(len(body)+1)]
	case 1:
		return []byte("\ufeff" + text)
	case 2: // every name twice
		return []byte(strings.Replace(text, "{", "{"+strings.TrimSuffix(strings.TrimPrefix(text, "{"), "}")+",", 1))
	case 3:
		return []byte(strings.Repeat(`{"metadata":`, 11000) + "1" + strings.Repeat("}", 11000))
	case 4:
		return []byte(strings.ReplaceAll(text, "1", "1e400"))
	case 5:
		return append(body, body...)
	case 6:
		return []byte(strings.ReplaceAll(text, "a", "\xff"))
	}
	return []byte(s.hostile())
}

// value is one of the schema, now and then of another kind.
func (s sampler) value(name string, schema *base.Schema, depth int) any {
	if depth > 6 || s.oneIn(24) {
		return []any{nil, true, 1e300, -1, s.hostile(), []any{}, map[string]any{"a": map[string]any{}}}[s.draw(7)]
	}
	if known := s.words(name); len(known) > 0 && s.draw(2) == 0 {
		return known[s.draw(len(known))]
	}
	if schema == nil {
		return s.hostile()
	}
	if len(schema.Enum) > 0 {
		var value any
		_ = schema.Enum[s.draw(len(schema.Enum))].Decode(&value) // of a document that tests have found good
		return value
	}
	for _, choices := range [][]*base.SchemaProxy{schema.OneOf, schema.AnyOf} {
		if len(choices) > 0 {
			return s.value(name, choices[s.draw(len(choices))].Schema(), depth)
		}
	}
	kind := "object"
	if len(schema.Type) > 0 {
		kind = schema.Type[s.draw(len(schema.Type))]
	}
	switch kind {
	case "string":
		if s.draw(3) == 0 {
			return "a"
		}
		return s.hostile()
	case "integer", "number":
		return []int64{1, 0, 2, 60, 100, 1000, 10000, -1, 1 << 31, 1 << 53, 1<<63 - 1}[s.draw(11)]
	case "boolean":
		return s.draw(2) == 0
	case "array":
		return s.list(name, schema, depth)
	case "null":
		return nil
	}
	return s.object(schema, depth)
}

func (s sampler) list(name string, schema *base.Schema, depth int) []any {
	list := make([]any, 0, 4)
	if schema.Items == nil || !schema.Items.IsA() {
		return list
	}
	for range []int{1, 0, 2, 3, 40}[s.draw(5)] {
		list = append(list, s.value(name, schema.Items.A.Schema(), depth+1))
	}
	return list
}

func (s sampler) object(schema *base.Schema, depth int) map[string]any {
	members := make(map[string]any)
	for _, part := range append([]*base.SchemaProxy{nil}, schema.AllOf...) {
		of := schema
		if part != nil {
			of = part.Schema()
		}
		for name, member := range of.Properties.FromOldest() {
			if required := slices.Contains(of.Required, name); required && s.oneIn(10) || !required && s.draw(3) != 1 {
				continue
			}
			members[name] = s.value(name, member.Schema(), depth+1)
		}
	}
	if s.oneIn(10) {
		members[s.hostile()] = s.hostile()
	}
	return members
}
