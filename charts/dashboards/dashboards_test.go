package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

func TestTheChartHasTheDashboardsOfThisSource(t *testing.T) {
	t.Parallel()
	written, err := filepath.Glob("../usher/dashboards/*.json")
	if err != nil || len(written) != len(all()) {
		t.Errorf("the chart has %v, want %d", written, len(all()))
	}
	for _, d := range all() {
		want, err := d.JSON()
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join("../usher/dashboards", d.Name+".json"))
		if err != nil || !bytes.Equal(want, got) {
			t.Errorf("%s.json is not what its source says: go run ./dashboards (%v)", d.Name, err)
		}
	}
}

func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	schema, err := jsonschema.NewCompiler().Compile("schema/dashboard.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// TestGrafanaKnowsAllThatADashboardSays holds the dashboards against Grafana's own types.
func TestGrafanaKnowsAllThatADashboardSays(t *testing.T) {
	t.Parallel()
	schema := compiled(t)
	for _, d := range all() {
		if err := schema.Validate(decoded(t, d)); err != nil {
			t.Errorf("%s: %v", d.Name, err)
		}
	}
	// And the schema would say so if they were wrong.
	for what, spoil := range map[string]func(panel map[string]any){
		"a kind that is none":     func(p map[string]any) { p["type"] = "gauges" },
		"an option that is none":  func(p map[string]any) { p["options"].(map[string]any)["colours"] = true },
		"a query without a query": func(p map[string]any) { delete(p["targets"].([]any)[0].(map[string]any), "expr") },
	} {
		d := decoded(t, overview())
		spoil(d.(map[string]any)["panels"].([]any)[1].(map[string]any))
		if schema.Validate(d) == nil {
			t.Errorf("%s passes", what)
		}
	}
}

func decoded(t *testing.T, d Dashboard) any {
	t.Helper()
	text, err := d.JSON()
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// TestTheSchemaIsMadeFromGrafanasTypes makes it again where npm is at hand.
func TestTheSchemaIsMadeFromGrafanasTypes(t *testing.T) {
	t.Parallel()
	npm, err := exec.LookPath("npm")
	if err != nil {
		t.Skip("needs npm")
	}
	dir := t.TempDir()
	for _, name := range []string{"package.json", "tsconfig.json", "dashboard.ts", "make.js"} {
		text, err := os.ReadFile(filepath.Join("schema", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"install", "--no-package-lock", "--no-audit", "--no-fund"}, {"run", "make"}} {
		c := exec.Command(npm, args...)
		c.Dir = dir
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("npm %v: %v\n%s", args, err, out)
		}
	}
	var made, kept any
	for path, into := range map[string]*any{filepath.Join(dir, "dashboard.schema.json"): &made, "schema/dashboard.schema.json": &kept} {
		text, err := os.ReadFile(path)
		if err == nil {
			err = json.Unmarshal(text, into)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	a, _ := json.Marshal(made)
	b, _ := json.Marshal(kept)
	if !bytes.Equal(a, b) {
		t.Error("dashboard.schema.json is not what make.js makes of Grafana's types")
	}
}

// TestPanelsAreExplained: a panel whose title is not plain has words, and a runbook that is named exists.
func TestPanelsAreExplained(t *testing.T) {
	t.Parallel()
	runbooks, err := os.ReadFile("../../docs/runbooks.md")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`Usher[A-Z]\w+`)
	for _, d := range all() {
		for _, row := range d.Rows {
			for _, p := range row.Panels {
				if p.Bad > 0 && p.Help == "" && p.Unit != Seconds {
					t.Errorf("%s / %s turns red and does not say why", d.Title, p.Title)
				}
				for _, alert := range named.FindAllString(p.Help, -1) {
					if !strings.Contains(string(runbooks), "## "+alert+"\n") {
						t.Errorf("%s / %s names the runbook %s, which is not there", d.Title, p.Title, alert)
					}
				}
			}
		}
	}
}
