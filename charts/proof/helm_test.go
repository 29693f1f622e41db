package proof

import (
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"strings"
	"testing"

	action3 "helm.sh/helm/v3/pkg/action"
	loader3 "helm.sh/helm/v3/pkg/chart/loader"
	chartutil3 "helm.sh/helm/v3/pkg/chartutil"
	action4 "helm.sh/helm/v4/pkg/action"
	common4 "helm.sh/helm/v4/pkg/chart/common"
	loader4 "helm.sh/helm/v4/pkg/chart/v2/loader"
	release4 "helm.sh/helm/v4/pkg/release/v1"
	"sigs.k8s.io/yaml"
)

const chartDir = "../usher"

// kubeVersion is that of the schemas and of the types. Helm as a library believes in one of its own otherwise.
const kubeVersion = "v1.37.2"

type values = map[string]any

// rendered is what Helm would send to a cluster, and say to the person.
type rendered struct {
	manifests []string
	hooks     []string
	notes     string
}

// helms are both, by name.
var helms = map[string]struct {
	render func(values) (rendered, error)
	lint   func(values) []error
}{
	"helm 3": {render3, lint3},
	"helm 4": {render4, lint4},
}

func render3(v values) (rendered, error) {
	c, err := loader3.Load(chartDir)
	if err != nil {
		return rendered{}, err
	}
	version, err := chartutil3.ParseKubeVersion(kubeVersion)
	if err != nil {
		return rendered{}, err
	}
	install := action3.NewInstall(&action3.Configuration{Log: func(string, ...any) {}})
	install.ClientOnly, install.DryRun, install.KubeVersion = true, true, version
	install.ReleaseName, install.Namespace = "live", "rooms"
	release, err := install.Run(c, v)
	if err != nil {
		return rendered{}, err
	}
	r := rendered{manifests: split(release.Manifest), notes: release.Info.Notes}
	for _, h := range release.Hooks {
		r.hooks = append(r.hooks, h.Manifest)
	}
	return r, nil
}

func render4(v values) (rendered, error) {
	c, err := loader4.Load(chartDir)
	if err != nil {
		return rendered{}, err
	}
	version, err := common4.ParseKubeVersion(kubeVersion)
	if err != nil {
		return rendered{}, err
	}
	install := action4.NewInstall(action4.NewConfiguration())
	install.DryRunStrategy, install.KubeVersion = action4.DryRunClient, version
	install.ReleaseName, install.Namespace = "live", "rooms"
	made, err := install.Run(c, v)
	if err != nil {
		return rendered{}, err
	}
	release, ok := made.(*release4.Release)
	if !ok {
		return rendered{}, fmt.Errorf("a release of another kind: %T", made)
	}
	r := rendered{manifests: split(release.Manifest), notes: release.Info.Notes}
	for _, h := range release.Hooks {
		r.hooks = append(r.hooks, h.Manifest)
	}
	return r, nil
}

func lint3(v values) []error {
	version, err := chartutil3.ParseKubeVersion(kubeVersion)
	if err != nil {
		return []error{err}
	}
	l := action3.NewLint()
	l.Strict, l.Namespace, l.KubeVersion = true, "rooms", version
	return l.Run([]string{chartDir}, v).Errors
}

func lint4(v values) []error {
	version, err := common4.ParseKubeVersion(kubeVersion)
	if err != nil {
		return []error{err}
	}
	l := action4.NewLint()
	l.Strict, l.Namespace, l.KubeVersion = true, "rooms", version
	return l.Run([]string{chartDir}, v).Errors
}

func split(manifest string) (documents []string) {
	for _, d := range strings.Split("\n"+manifest, "\n---") {
		if strings.TrimSpace(d) != "" {
			documents = append(documents, d)
		}
	}
	return documents
}

// matrix is the values of usher/ci, by file.
func matrix(t testing.TB) map[string]values {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(chartDir, "ci", "*-values.yaml"))
	if err != nil || len(files) < 4 {
		t.Fatal(err, files)
	}
	all := make(map[string]values)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var v values
		if err := yaml.UnmarshalStrict(text, &v); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all[strings.TrimSuffix(filepath.Base(file), "-values.yaml")] = v
	}
	return all
}

func TestMain(m *testing.M) {
	log.SetOutput(io.Discard) // Helm's
	os.Exit(m.Run())
}

// everywhere renders each of the matrix by each Helm.
func everywhere(t *testing.T, check func(t *testing.T, name string, r rendered)) {
	t.Helper()
	for helm, by := range helms {
		for name, v := range matrix(t) {
			t.Run(helm+"/"+name, func(t *testing.T) {
				r, err := by.render(v)
				if err != nil {
					t.Fatal(err)
				}
				check(t, name, r)
			})
		}
	}
}

func TestHelmLintIsStrictlyContent(t *testing.T) {
	t.Parallel()
	for helm, by := range helms {
		for name, v := range matrix(t) {
			if errs := by.lint(v); len(errs) > 0 {
				t.Errorf("%s, %s: %v", helm, name, errs)
			}
		}
	}
}
