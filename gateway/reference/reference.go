// Package reference makes one HTML page for people out of an OpenAPI 3.1 document.
//
// The page stands alone: its style is in it, it has no script, and it loads nothing, so it reads well without a network,
// saved or printed. Everything on it comes from the document; there is nothing to keep in step with it.
package reference

import (
	"bytes"
	_ "embed" // for the template
	"fmt"
	"html/template"
	"slices"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"go.yaml.in/yaml/v3"
)

//go:embed page.html.tmpl
var source string

// page is what the template shows.
type page struct {
	Title, Version, Summary string
	Introduction            template.HTML
	Groups                  []group
	Schemas                 []shape
	Codes                   []code
}

// group is the operations under one tag.
type group struct {
	Name, Anchor string
	Description  template.HTML
	Calls        []call
}

// call is one operation.
type call struct {
	ID, Method, Path, Summary string
	Description               template.HTML
	Parameters                []member
	Body                      *content
	Answers                   []reply
	Curl                      string
}

// member is a parameter, or a property of a schema.
type member struct {
	Name, Where string
	Required    bool
	Type        template.HTML
	Description template.HTML
}

// content is a body.
type content struct {
	MediaTypes []string
	Type       template.HTML
	Examples   []string // as JSON
}

// reply is one answer of an operation.
type reply struct {
	Status      string
	Description template.HTML
	Headers     []string
	Codes       []string
	Body        *content
}

// shape is one schema.
type shape struct {
	Name        string
	Description template.HTML
	Type        template.HTML // of one without properties
	Members     []member
	Examples    []string
}

// Page renders the document. It fails for a document that is not YAML, or in which a reference leads nowhere.
func Page(openapi []byte) ([]byte, error) {
	var d document
	if err := yaml.Unmarshal(openapi, &d); err != nil {
		return nil, fmt.Errorf("read the OpenAPI document: %w", err)
	}
	if len(d.Paths) == 0 {
		return nil, fmt.Errorf("read the OpenAPI document: it has no paths")
	}
	r := renderer{document: d, markdown: goldmark.New(goldmark.WithExtensions(extension.GFM), goldmark.WithParserOptions(parser.WithAutoHeadingID()))}
	shown := r.page()
	if r.err != nil {
		return nil, fmt.Errorf("render the OpenAPI document: %w", r.err)
	}
	t, err := template.New("page").Funcs(template.FuncMap{"lower": strings.ToLower}).Parse(source)
	if err != nil {
		return nil, fmt.Errorf("read the page's template: %w", err)
	}
	var out bytes.Buffer
	if err := t.Execute(&out, shown); err != nil {
		return nil, fmt.Errorf("fill the page's template: %w", err)
	}
	return out.Bytes(), nil
}

// renderer turns the document into the page. The first error stays, so that it is looked for once, at the end.
type renderer struct {
	document
	markdown goldmark.Markdown
	err      error
}

func (r *renderer) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *renderer) page() page {
	p := page{
		Title: r.Info.Title, Version: r.Info.Version, Summary: r.Info.Summary,
		Introduction: r.prose(r.Info.Description), Codes: r.Codes,
	}
	for i, t := range r.Tags {
		g := group{Name: t.Name, Anchor: fmt.Sprintf("tag-%d", i+1), Description: r.prose(t.Description)}
		for _, path := range r.Paths {
			for _, m := range path.Value.methods() {
				if slices.Contains(m.Value.Tags, t.Name) {
					g.Calls = append(g.Calls, r.call(path.Name, m.Name, path.Value.Parameters, *m.Value))
				}
			}
		}
		p.Groups = append(p.Groups, g)
	}
	for _, s := range r.Components.Schemas {
		p.Schemas = append(p.Schemas, r.shape(s.Name, s.Value))
	}
	return p
}

// methods are the operations of a path in the order in which a reader wants them.
func (p pathItem) methods() ordered[*operation] {
	all := ordered[*operation]{{"POST", p.Post}, {"GET", p.Get}, {"PUT", p.Put}, {"PATCH", p.Patch}, {"DELETE", p.Delete}}
	return slices.DeleteFunc(all, func(m entry[*operation]) bool { return m.Value == nil })
}

func (r *renderer) call(path, method string, shared []parameter, o operation) call {
	c := call{ID: o.OperationID, Method: method, Path: path, Summary: o.Summary, Description: r.prose(o.Description)}
	parameters := r.parameters(slices.Concat(shared, o.Parameters))
	for _, p := range parameters {
		c.Parameters = append(c.Parameters, member{
			Name: p.Name, Where: p.In, Required: p.Required, Type: r.typeOf(p.Schema), Description: r.prose(p.Description),
		})
	}
	if o.RequestBody != nil {
		c.Body = r.content(o.RequestBody.Content)
	}
	for _, answer := range o.Responses {
		c.Answers = append(c.Answers, r.reply(answer.Name, answer.Value))
	}
	c.Curl = curl(method, path, parameters, o.credential(), c.Body)
	return c
}

func (r *renderer) parameters(all []parameter) []parameter {
	found := make([]parameter, len(all))
	for i, p := range all {
		var err error
		if found[i], err = dereferenced(p.Ref, "parameters", p, r.Components.Parameters); err != nil {
			r.fail(err)
		}
	}
	return found
}

func (r *renderer) reply(status string, answer response) reply {
	answer, err := dereferenced(answer.Ref, "responses", answer, r.Components.Responses)
	if err != nil {
		r.fail(err)
	}
	shown := reply{Status: status, Description: r.prose(answer.Description)}
	for _, h := range answer.Headers {
		shown.Headers = append(shown.Headers, h.Name)
	}
	for _, m := range answer.Content {
		shown.Codes = append(shown.Codes, codesOf(m.Value.Schema)...)
	}
	if len(answer.Content) > 0 {
		shown.Body = r.content(answer.Content)
		if len(shown.Codes) > 0 {
			shown.Body.Type = "" // every error is a problem document, which the introduction says
		}
	}
	return shown
}

// codesOf are the error codes that a schema narrows Problem to.
func codesOf(s schema) (codes []string) {
	for _, part := range s.AllOf {
		if property, ok := part.Properties.find("code"); ok {
			for _, c := range property.Enum {
				codes = append(codes, c.Value)
			}
		}
	}
	return codes
}

func (r *renderer) content(all ordered[media]) *content {
	c := &content{}
	for _, m := range all {
		c.MediaTypes = append(c.MediaTypes, m.Name)
	}
	first := all[0].Value
	c.Type = r.typeOf(first.Schema)
	if !first.Example.IsZero() {
		c.Examples = append(c.Examples, r.json(&first.Example))
	}
	for _, e := range first.Examples {
		c.Examples = append(c.Examples, r.json(&e.Value.Value))
	}
	if s, err := dereferenced(first.Schema.Ref, "schemas", first.Schema, r.Components.Schemas); err != nil {
		r.fail(err)
	} else if len(c.Examples) == 0 && len(s.Examples) > 0 {
		c.Examples = []string{r.json(&s.Examples[0])}
	}
	return c
}

func (r *renderer) shape(name string, s schema) shape {
	shown := shape{Name: name, Description: r.prose(s.Description)}
	if len(s.Properties) == 0 {
		shown.Type = r.typeOf(s)
	}
	for _, p := range s.Properties {
		shown.Members = append(shown.Members, member{
			Name: p.Name, Required: slices.Contains(s.Required, p.Name), Type: r.typeOf(p.Value), Description: r.prose(p.Value.Description),
		})
	}
	for _, e := range s.Examples {
		shown.Examples = append(shown.Examples, r.json(&e))
	}
	return shown
}

// prose renders Markdown. HTML in it is left out, so nothing in the document can run in a reader's browser.
func (r *renderer) prose(text string) template.HTML {
	var out bytes.Buffer
	if err := r.markdown.Convert([]byte(text), &out); err != nil {
		r.fail(err)
	}
	return template.HTML(out.String()) //nolint:gosec // goldmark escapes, and drops raw HTML unless told otherwise
}
