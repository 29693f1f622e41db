package gateway

import (
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestTheDocumentHasTheRoutes: what is served is documented, and what is documented is served.
func TestTheDocumentHasTheRoutes(t *testing.T) {
	t.Parallel()
	document := documentedPaths(t)
	var documented, served []string
	for path, item := range document {
		for method := range item {
			if method != "parameters" {
				documented = append(documented, strings.ToUpper(method)+" "+path)
			}
		}
	}
	for _, r := range (&Gateway{}).routes() {
		served = append(served, r.method+" "+r.path)
	}
	slices.Sort(documented)
	slices.Sort(served)
	if !slices.Equal(documented, served) {
		t.Errorf("documented:\n%s\nserved:\n%s", strings.Join(documented, "\n"), strings.Join(served, "\n"))
	}
}

func documentedPaths(t *testing.T) map[string]map[string]yaml.Node {
	t.Helper()
	var document struct {
		Paths map[string]map[string]yaml.Node `yaml:"paths"`
	}
	if err := yaml.Unmarshal(openapi, &document); err != nil {
		t.Fatal(err)
	}
	return document.Paths
}

// TestTheTableSaysWhatBodiesThereAre: a route takes a body just where the document has one for it.
func TestTheTableSaysWhatBodiesThereAre(t *testing.T) {
	t.Parallel()
	document := documentedPaths(t)
	for _, r := range (&Gateway{}).routes() {
		var operation struct {
			RequestBody yaml.Node `yaml:"requestBody"`
		}
		node := document[r.path][strings.ToLower(r.method)]
		if err := node.Decode(&operation); err != nil {
			t.Fatal(err)
		}
		if documented := operation.RequestBody.Kind != 0; documented != (r.body != noBody) || r.body > largestBody {
			t.Errorf("%s %s takes %d bytes; it is documented with a body: %v", r.method, r.path, r.body, documented)
		}
		if r.access.cost < 1 {
			t.Errorf("%s %s costs nothing", r.method, r.path)
		}
	}
}
