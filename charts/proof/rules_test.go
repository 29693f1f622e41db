package proof

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"sigs.k8s.io/yaml"
)

// rule is one of usher/rules/usher.yaml.
type rule struct {
	Record, Alert, Expr string
	Labels, Annotations map[string]string
}

func rules(t testing.TB) (all []rule) {
	t.Helper()
	text, err := os.ReadFile(chartDir + "/rules/usher.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct{ Rules []rule }
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

// tool finds a program of Debian's package prometheus, and installs that where it may.
func tool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if out, err := exec.Command("apt-get", "install", "-y", "--no-install-recommends", "prometheus").CombinedOutput(); err != nil {
		t.Skipf("needs %s, of Debian's package prometheus: %v %s", name, err, out)
	}
	if path, err = exec.LookPath(name); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestAlertsFireAndAreQuiet runs proof/rules_test.yaml.
func TestAlertsFireAndAreQuiet(t *testing.T) {
	t.Parallel()
	promtool := tool(t, "promtool")
	if out, err := exec.Command(promtool, "check", "rules", chartDir+"/rules/usher.yaml").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := exec.Command(promtool, "test", "rules", "rules_test.yaml").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cases, err := os.ReadFile("rules_test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules(t) {
		for _, side := range []string{"fires", "is quiet"} {
			if r.Alert != "" && !strings.Contains(string(cases), fmt.Sprintf("- name: %s %s\n", r.Alert, side)) {
				t.Errorf("no case says when %s %s", r.Alert, side)
			}
		}
	}
}

// TestTheChartsRulesAreOfItsNamespaceAlone: two installations on one Prometheus neither record for each other nor alert
// about each other. The same cases hold for what the chart makes of the rules.
func TestTheChartsRulesAreOfItsNamespaceAlone(t *testing.T) {
	t.Parallel()
	var v values
	if err := yaml.Unmarshal([]byte("{etcd: {enabled: true}, metrics: {serviceMonitor: {enabled: true}, rules: {enabled: true}}}"), &v); err != nil {
		t.Fatal(err)
	}
	r, err := render4(v)
	if err != nil {
		t.Fatal(err)
	}
	made := found[*monitoring.PrometheusRule](t, r.objects(t)).Spec
	for _, g := range made.Groups {
		for _, one := range g.Rules {
			for _, s := range selector.FindAllString(one.Expr.String(), -1) {
				if !strings.Contains(s, `{namespace="rooms"`) {
					t.Errorf("%s%s goes by %s, which may be another's", one.Alert, one.Record, s)
				}
			}
		}
	}
	text, err := yaml.Marshal(made)
	if err != nil {
		t.Fatal(err)
	}
	cases, err := os.ReadFile("rules_test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	// What is absent has the labels that were asked for.
	changed := strings.NewReplacer("../usher/rules/usher.yaml", "rules.yaml", `exp_labels: {severity: "critical"}`, `exp_labels: {severity: "critical", namespace: "rooms"}`).Replace(string(cases))
	dir := t.TempDir()
	for name, content := range map[string][]byte{"rules.yaml": text, "cases.yaml": []byte(changed)} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command(tool(t, "promtool"), "test", "rules", filepath.Join(dir, "cases.yaml")).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestEveryAlertHasItsRunbook, and no runbook is of an alert that is gone.
func TestEveryAlertHasItsRunbook(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/runbooks.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := make(map[string]bool)
	for _, heading := range regexp.MustCompile(`(?m)^## (\w+)$`).FindAllStringSubmatch(string(text), -1) {
		sections[heading[1]] = true
	}
	for _, r := range rules(t) {
		if r.Alert == "" {
			continue
		}
		if !sections[r.Alert] || r.Annotations["runbook_url"] != "docs/runbooks.md#"+strings.ToLower(r.Alert) {
			t.Errorf("%s has no runbook, or its link leads elsewhere: %s", r.Alert, r.Annotations["runbook_url"])
		}
		if r.Labels["severity"] == "" || r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
			t.Errorf("%s does not say how bad it is, or what it is", r.Alert)
		}
		delete(sections, r.Alert)
	}
	if len(sections) > 0 {
		t.Errorf("runbooks of no alert: %v", sections)
	}
}
