package reference_test

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"usher/gateway/reference"
)

func thePage(t *testing.T) (openapi []byte, page string) {
	t.Helper()
	openapi, err := os.ReadFile("../openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	rendered, err := reference.Page(openapi)
	if err != nil {
		t.Fatal(err)
	}
	return openapi, string(rendered)
}

func TestEveryCallSchemaAndCodeHasAPlace(t *testing.T) {
	t.Parallel()
	openapi, page := thePage(t)
	var d struct {
		Paths      map[string]map[string]any
		Components struct{ Schemas map[string]any }
		Codes      []struct{ Code string } `yaml:"x-codes"`
	}
	if err := yaml.Unmarshal(openapi, &d); err != nil {
		t.Fatal(err)
	}
	var wanted []string
	for _, item := range d.Paths {
		for _, o := range item {
			if o, ok := o.(map[string]any); ok {
				wanted = append(wanted, o["operationId"].(string))
			}
		}
	}
	for name := range d.Components.Schemas {
		wanted = append(wanted, "schema-"+name)
	}
	for _, c := range d.Codes {
		wanted = append(wanted, "code-"+c.Code)
	}
	if len(wanted) < 60 {
		t.Fatalf("the document has %d things to show", len(wanted))
	}
	for _, id := range wanted {
		if n := strings.Count(page, `id="`+id+`"`); n != 1 {
			t.Errorf("%s has %d places", id, n)
		}
	}
}

func TestThePageStandsAlone(t *testing.T) {
	t.Parallel()
	_, page := thePage(t)
	if found := regexp.MustCompile(`<(script|link|img|iframe|object|embed)\b|@import|url\(|\ssrc=`).FindString(page); found != "" {
		t.Errorf("it loads something: %s", found)
	}
	anchors := make(map[string]bool)
	for _, id := range regexp.MustCompile(`\sid="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		if anchors[id[1]] {
			t.Errorf("two places are called %s", id[1])
		}
		anchors[id[1]] = true
	}
	for _, link := range regexp.MustCompile(`href="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		if name, inside := strings.CutPrefix(link[1], "#"); link[1] != "/openapi.yaml" && (!inside || !anchors[name]) {
			t.Errorf("a link leads to %s", link[1])
		}
	}
}

func TestThePageIsTheSameEachTime(t *testing.T) {
	t.Parallel()
	openapi, first := thePage(t)
	again, err := reference.Page(openapi)
	if err != nil || !bytes.Equal(again, []byte(first)) {
		t.Errorf("it differs: %v", err)
	}
}

const small = `
info: {title: "<script>alert(1)</script>", description: "# Hello\n\n<script>alert(2)</script> [x](javascript:alert(3))"}
tags: [{name: T}]
paths:
  /things/{id}:
    get:
      operationId: getThing
      tags: [T]
      summary: "<b>bold</b>"
      parameters: [{name: id, in: path, schema: {type: string, enum: ["<i>"]}, example: it's}]
      responses: {'200': {description: ok, content: {application/json: {schema: {type: object}, example: {a: "</code><script>", n: 1, t: [true, null]}}}}}
`

func TestNothingInTheDocumentRuns(t *testing.T) {
	t.Parallel()
	page, err := reference.Page([]byte(small))
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"<script", "<b>bold", "javascript:", "<i>"} {
		if bytes.Contains(page, []byte(bad)) {
			t.Errorf("the page has %s", bad)
		}
	}
	if !bytes.Contains(page, []byte("&lt;i&gt;")) || !bytes.Contains(page, []byte("true,")) {
		t.Errorf("something is lost: %s", page)
	}
}

func TestWrongDocumentsAreNamed(t *testing.T) {
	t.Parallel()
	for _, wrong := range []string{
		"", "paths: [", "paths: 3", "just words",
		strings.Replace(small, "schema: {type: object}", "schema: {$ref: '#/components/schemas/None'}", 1),
		strings.Replace(small, "{'200': ", "{'200': {$ref: '#/components/responses/None'}, '201': ", 1),
	} {
		if page, err := reference.Page([]byte(wrong)); err == nil {
			t.Errorf("%.40q gives %d bytes", wrong, len(page))
		}
	}
}
