package openapitest

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"github.com/pb33f/libopenapi-validator/config"
	"github.com/pb33f/libopenapi-validator/helpers"
	v3 "github.com/pb33f/libopenapi/datamodel/high/v3"
)

// contract is the document, ready for use. Nobody changes it once it is loaded, so tests share it.
type contract struct {
	text      []byte
	model     *v3.Document
	validator validator.Validator
	routes    []route
}

// route is one path of the document.
type route struct {
	template string
	segments []string
	item     *v3.PathItem
}

// asked is what a request asks for.
type asked struct {
	name      string // for reports: the operationId, or what stands in for one
	template  string
	item      *v3.PathItem
	operation *v3.Operation
	method    string // by which item has the operation
}

// theContract loads the document when it is first asked for. It is a constant of the module.
var theContract = sync.OnceValues(func() (*contract, error) {
	text, err := documentText()
	if err != nil {
		return nil, err
	}
	return load(text)
})

// documentText finds gateway/openapi.yaml from wherever in the module the test runs. It is read from the disk, and not
// from package gateway, so that tests inside that package can use this one.
func documentText() ([]byte, error) {
	dir, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	for {
		text, err := os.ReadFile(filepath.Join(dir, "gateway", "openapi.yaml"))
		if err == nil || !errors.Is(err, os.ErrNotExist) {
			return text, err
		}
		if dir == filepath.Dir(dir) {
			return nil, errors.New("gateway/openapi.yaml is in no folder above the test's")
		}
		dir = filepath.Dir(dir)
	}
}

// Paths that no request can have, put in front of the document's own: the answers that belong to no operation become
// the answers of these, and are then checked like any other.
const (
	unknownPath = "/{unknown path}"
	otherMethod = "/{other method}"
	outside     = "\npaths:\n" +
		"  '" + unknownPath + "': {get: {responses: {'404': {$ref: '#/components/responses/UnknownPath'}, '429': {$ref: '#/components/responses/RateLimited'}}}}\n" +
		"  '" + otherMethod + "': {get: {responses: {'405': {$ref: '#/components/responses/MethodNotAllowed'}, '429': {$ref: '#/components/responses/RateLimited'}}}}\n"
)

func load(text []byte) (*contract, error) {
	if bytes.Count(text, []byte("\npaths:\n")) != 1 {
		return nil, errors.New("the document has no line that says paths")
	}
	document, err := libopenapi.NewDocument(bytes.Replace(text, []byte("\npaths:\n"), []byte(outside), 1))
	if err != nil {
		return nil, fmt.Errorf("read the document: %w", err)
	}
	model, err := document.BuildV3Model()
	if err != nil {
		return nil, fmt.Errorf("build the document's model: %w", err)
	}
	c := &contract{text: text, model: &model.Model, validator: validator.NewValidatorFromV3Model(&model.Model, config.WithFormatAssertions())}
	for template, item := range model.Model.Paths.PathItems.FromOldest() {
		c.routes = append(c.routes, route{template, strings.Split(template, "/"), item})
	}
	return c, nil
}

func (c *contract) operations() (names []string) {
	for _, r := range c.routes {
		if r.template == unknownPath || r.template == otherMethod {
			continue
		}
		for method := range r.item.GetOperations().FromOldest() {
			names = append(names, strings.ToUpper(method)+" "+r.template)
		}
	}
	return names
}

// queries are the parameters in the query of each operation that has any, sorted.
func (c *contract) queries() map[string][]string {
	all := make(map[string][]string)
	for _, r := range c.routes {
		for method, operation := range r.item.GetOperations().FromOldest() {
			for _, p := range slices.Concat(r.item.Parameters, operation.Parameters) {
				if p.In == "query" {
					name := strings.ToUpper(method) + " " + r.template
					all[name] = append(all[name], p.Name)
				}
			}
		}
	}
	for _, names := range all {
		slices.Sort(names)
	}
	return all
}

// find finds the operation that a request is for. The path is matched as it was sent, so that an escaped slash in a
// name separates nothing, and segment by segment, so that an empty one is no name, as the router sees it.
func (c *contract) find(method, escapedPath string) asked {
	if method == http.MethodHead { // what GET answers, without the body
		method = http.MethodGet
	}
	var best *route
	for i := range c.routes {
		if r := &c.routes[i]; r.matches(escapedPath) && (best == nil || r.variables() < best.variables()) {
			best = r
		}
	}
	if best == nil {
		return c.standIn("an unknown path", unknownPath)
	}
	operation := helpers.ExtractOperation(&http.Request{Method: method}, best.item)
	if operation == nil {
		return c.standIn("a method that the path does not have", otherMethod)
	}
	return asked{operation.OperationId, best.template, best.item, operation, method}
}

func (c *contract) standIn(name, template string) asked {
	item := c.model.Paths.PathItems.GetOrZero(template)
	return asked{name, template, item, item.Get, http.MethodGet}
}

func (r route) matches(escapedPath string) bool {
	segments := strings.Split(escapedPath, "/")
	if len(segments) != len(r.segments) {
		return false
	}
	for i, want := range r.segments {
		if variable := strings.HasPrefix(want, "{"); !variable && segments[i] != want || variable && segments[i] == "" {
			return false
		}
	}
	return r.template != unknownPath && r.template != otherMethod
}

func (r route) variables() int { return strings.Count(r.template, "{") }
