package proof

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/yannh/kubeconform/pkg/validator"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	policy "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"
	levels "k8s.io/pod-security-admission/api"
	security "k8s.io/pod-security-admission/policy"
	gatewayapi "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"
)

// decoder knows every API that the chart uses, and refuses a field that none of them has.
func decoder(t testing.TB) runtime.Decoder {
	t.Helper()
	known := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{scheme.AddToScheme, monitoring.AddToScheme, gatewayapi.Install} {
		if err := add(known); err != nil {
			t.Fatal(err)
		}
	}
	return serializer.NewCodecFactory(known, serializer.EnableStrict).UniversalDeserializer()
}

// objects are the manifests and hooks in their types.
func (r rendered) objects(t testing.TB) (all []runtime.Object) {
	t.Helper()
	d := decoder(t)
	for _, manifest := range append(append([]string(nil), r.manifests...), r.hooks...) {
		object, _, err := d.Decode([]byte(manifest), nil, nil)
		if err != nil {
			t.Fatalf("%v in\n%s", err, manifest)
		}
		all = append(all, object)
	}
	return all
}

func TestEveryManifestIsStrictlyOfItsType(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, name string, r rendered) {
		kinds := make(map[string]int)
		for _, o := range r.objects(t) {
			kinds[o.GetObjectKind().GroupVersionKind().Kind]++
		}
		want := map[string]map[string]int{
			"external-etcd": {"Deployment": 1, "Service": 2, "Secret": 1, "NetworkPolicy": 1, "PodDisruptionBudget": 1, "ServiceAccount": 1, "Pod": 1},
			"own-etcd":      {"Deployment": 1, "StatefulSet": 1, "ConfigMap": 1, "Service": 3, "Secret": 1, "NetworkPolicy": 2, "PodDisruptionBudget": 2, "ServiceAccount": 1, "Pod": 1},
			"everything": {"Deployment": 1, "StatefulSet": 1, "Service": 3, "Secret": 1, "NetworkPolicy": 2, "PodDisruptionBudget": 2, "ServiceAccount": 1, "Pod": 1,
				"HorizontalPodAutoscaler": 1, "Ingress": 1, "HTTPRoute": 1, "ServiceMonitor": 2, "PrometheusRule": 1, "ConfigMap": 5},
			"secrets-by-reference": {"Deployment": 1, "Service": 2, "PodDisruptionBudget": 1, "Ingress": 1, "Pod": 1},
			"tls":                  {"Deployment": 1, "Service": 2, "Secret": 1, "NetworkPolicy": 1, "PodDisruptionBudget": 1, "ServiceAccount": 1, "Pod": 1, "ServiceMonitor": 1},
		}[name]
		if fmt.Sprint(kinds) != fmt.Sprint(want) {
			t.Errorf("rendered %v, want %v", kinds, want)
		}
	})
}

// TestEveryManifestFitsARealServersSchemas uses the schemas that a real API server served, where they are at hand.
func TestEveryManifestFitsARealServersSchemas(t *testing.T) {
	t.Parallel()
	location := os.Getenv("KUBERNETES_SCHEMAS")
	if location == "" {
		t.Skip("set KUBERNETES_SCHEMAS to a folder of JSON schemas")
	}
	v, err := validator.New([]string{location + "/{{.ResourceKind}}{{.KindSuffix}}.json"}, validator.Opts{
		Strict: true, SkipKinds: map[string]struct{}{"ServiceMonitor": {}, "PrometheusRule": {}, "HTTPRoute": {}},
	})
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	everywhere(t, func(t *testing.T, _ string, r rendered) {
		for _, manifest := range append(r.manifests, r.hooks...) {
			for _, result := range v.Validate("manifest", io.NopCloser(strings.NewReader(manifest))) {
				switch result.Status {
				case validator.Valid:
					checked++
				case validator.Skipped, validator.Empty:
				default:
					t.Errorf("%v in\n%s", result.Err, manifest)
				}
			}
		}
	})
	if checked < 50 {
		t.Errorf("only %d manifests were checked", checked)
	}
	bad := "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {portz: []}\n"
	if results := v.Validate("bad", io.NopCloser(strings.NewReader(bad))); len(results) != 1 || results[0].Status == validator.Valid {
		t.Error("the schemas let a wrong field pass")
	}
}

// pods are the pod templates, by what they are of.
func pods(objects []runtime.Object) map[string]core.PodTemplateSpec {
	all := make(map[string]core.PodTemplateSpec)
	for _, o := range objects {
		switch o := o.(type) {
		case *apps.Deployment:
			all["Deployment"] = o.Spec.Template
		case *apps.StatefulSet:
			all["StatefulSet"] = o.Spec.Template
		case *core.Pod:
			all["Pod"] = core.PodTemplateSpec{ObjectMeta: o.ObjectMeta, Spec: o.Spec}
		}
	}
	return all
}

// TestPodsAreRestricted holds them to the restricted pod security standard, as the API server itself does, and to a little
// more.
func TestPodsAreRestricted(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, _ string, r rendered) {
		for of, pod := range pods(r.objects(t)) {
			for _, problem := range problemsOf(t, pod) {
				t.Errorf("%s: %s", of, problem)
			}
		}
	})
	if problems := problemsOf(t, core.PodTemplateSpec{Spec: core.PodSpec{Containers: []core.Container{{Image: "a:latest"}}}}); len(problems) != 10 {
		t.Errorf("a bare pod has only these problems: %v", problems)
	}
}

func problemsOf(t *testing.T, pod core.PodTemplateSpec) (problems []string) {
	t.Helper()
	standard, err := security.NewEvaluator(security.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, check := range standard.EvaluatePod(levels.LevelVersion{Level: levels.LevelRestricted, Version: levels.LatestVersion()}, &pod.ObjectMeta, &pod.Spec) {
		if !check.Allowed {
			problems = append(problems, check.ForbiddenReason+": "+check.ForbiddenDetail)
		}
	}
	want := func(is bool, what string) {
		if !is {
			problems = append(problems, what)
		}
	}
	no := func(b *bool) bool { return b != nil && !*b }
	want(no(pod.Spec.AutomountServiceAccountToken), "has a token of the API server")
	want(no(pod.Spec.EnableServiceLinks), "has every Service of the namespace in its environment")
	pinned := regexp.MustCompile(`(:[0-9A-Za-z._-]+|@sha256:[0-9a-f]{64})$`)
	for _, c := range pod.Spec.Containers {
		want(pinned.MatchString(c.Image) && !strings.HasSuffix(c.Image, ":latest"), "its image is not pinned: "+c.Image)
		want(!c.Resources.Requests.Cpu().IsZero() && !c.Resources.Requests.Memory().IsZero(), "requests no resources")
		want(!c.Resources.Limits.Memory().IsZero(), "has no limit of memory")
		want(c.SecurityContext != nil && c.SecurityContext.ReadOnlyRootFilesystem != nil && *c.SecurityContext.ReadOnlyRootFilesystem, "may write its root")
	}
	return problems
}

// TestSelectorsMatch: what selects pods selects those it is meant for, and no others.
func TestSelectorsMatch(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, _ string, r rendered) {
		objects := r.objects(t)
		templates := pods(objects)
		matching := func(selector map[string]string) (of []string) {
			for _, name := range []string{"Deployment", "StatefulSet", "Pod"} {
				if pod, ok := templates[name]; ok && labels.SelectorFromSet(selector).Matches(labels.Set(pod.Labels)) {
					of = append(of, name)
				}
			}
			return of
		}
		for _, o := range objects {
			switch o := o.(type) {
			case *apps.Deployment:
				only(t, "the deployment", matching(o.Spec.Selector.MatchLabels), "Deployment")
			case *apps.StatefulSet:
				only(t, "the stateful set", matching(o.Spec.Selector.MatchLabels), "StatefulSet")
				only(t, "its PVCs", []string{o.Spec.VolumeClaimTemplates[0].Name}, "data")
			case *core.Service:
				want := "Deployment"
				if strings.HasSuffix(o.Name, "-etcd") {
					want = "StatefulSet"
				}
				only(t, "service "+o.Name, matching(o.Spec.Selector), want)
				for _, port := range o.Spec.Ports {
					if !hasPort(templates[want], port.TargetPort.StrVal) {
						t.Errorf("service %s leads to the port %s, which no container has", o.Name, port.TargetPort.StrVal)
					}
				}
			case *policy.PodDisruptionBudget:
				want := "Deployment"
				if strings.HasSuffix(o.Name, "-etcd") {
					want = "StatefulSet"
				}
				only(t, "budget "+o.Name, matching(o.Spec.Selector.MatchLabels), want)
			case *monitoring.ServiceMonitor:
				found := 0
				for _, other := range objects {
					if s, ok := other.(*core.Service); ok && labels.SelectorFromSet(o.Spec.Selector.MatchLabels).Matches(labels.Set(s.Labels)) {
						found++
						if s.Spec.Ports[len(s.Spec.Ports)-1].Name != o.Spec.Endpoints[0].Port {
							t.Errorf("%s scrapes the port %s, which %s has not", o.Name, o.Spec.Endpoints[0].Port, s.Name)
						}
					}
				}
				if found != 1 {
					t.Errorf("%s matches %d services, want 1: each replica would be scraped as often", o.Name, found)
				}
			}
		}
	})
}

func only(t *testing.T, who string, got []string, want string) {
	t.Helper()
	if len(got) != 1 || got[0] != want {
		t.Errorf("%s selects %v, want %s", who, got, want)
	}
}

func hasPort(pod core.PodTemplateSpec, name string) bool {
	for _, c := range pod.Spec.Containers {
		for _, p := range c.Ports {
			if p.Name == name {
				return true
			}
		}
	}
	return false
}

// TestRolloutsLoseNothing: there is never a replica less than there should be, and each has time to say farewell.
func TestRolloutsLoseNothing(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, name string, r rendered) {
		for _, o := range r.objects(t) {
			d, ok := o.(*apps.Deployment)
			if !ok {
				continue
			}
			if u := d.Spec.Strategy.RollingUpdate; u.MaxUnavailable.IntValue() != 0 || u.MaxSurge.IntValue() != 1 {
				t.Errorf("rolls with %v", u)
			}
			if grace := *d.Spec.Template.Spec.TerminationGracePeriodSeconds; name != "secrets-by-reference" && grace != 35 {
				t.Errorf("%d s to end, want 5 + 5 + 20 and 5 to spare", grace)
			}
			if c := d.Spec.Template.Spec.Containers[0]; (c.Lifecycle == nil) != (name == "secrets-by-reference") {
				t.Errorf("preStop is %v", c.Lifecycle)
			}
			if (d.Spec.Replicas == nil) != (name == "everything") {
				t.Error("the autoscaler and the Deployment both say how many replicas there are")
			}
		}
	})
}

// TestEnvironmentIsThatOfTheBinary: every variable that the chart sets is one that Usher reads.
func TestEnvironmentIsThatOfTheBinary(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("../../cmd/usher/options.go")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	everywhere(t, func(t *testing.T, _ string, r rendered) {
		for _, e := range pods(r.objects(t))["Deployment"].Spec.Containers[0].Env {
			flag, ok := strings.CutPrefix(e.Name, "USHER_")
			if !ok {
				continue
			}
			seen++
			if flag = strings.ToLower(strings.ReplaceAll(flag, "_", "-")); !bytes.Contains(source, []byte(`"`+flag+`"`)) {
				t.Errorf("%s is set, and there is no flag --%s", e.Name, flag)
			}
		}
	})
	if seen == 0 {
		t.Error("no variable is set")
	}
}

// TestTLSReachesEverybody: who speaks to a gateway with certificates does so by TLS, and its folders are mounted whole, so
// that what the cluster renews is seen.
func TestTLSReachesEverybody(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, name string, r rendered) {
		secure := name == "tls"
		scheme := core.URISchemeHTTPS
		if !secure {
			scheme = ""
		}
		objects := r.objects(t)
		gateway, check := pods(objects)["Deployment"].Spec, pods(objects)["Pod"].Spec
		c := gateway.Containers[0]
		for _, p := range []*core.Probe{c.LivenessProbe, c.ReadinessProbe} {
			if p.HTTPGet.Scheme != scheme {
				t.Errorf("probes %s by %q", p.HTTPGet.Path, p.HTTPGet.Scheme)
			}
		}
		mounted := make(map[string]bool)
		for _, m := range c.VolumeMounts {
			mounted[m.MountPath] = true
			if m.SubPath != "" {
				t.Errorf("%s is a subPath, which is never renewed", m.MountPath)
			}
		}
		for _, e := range c.Env {
			if path, file := e.Value, strings.HasSuffix(e.Name, "_FILE"); file && !mounted[path[:strings.LastIndex(path, "/")]] {
				t.Errorf("%s is %s, where nothing is mounted", e.Name, path)
			}
		}
		if mounted["/etc/usher/tls"] != secure || mounted["/etc/usher/tls-clients"] != secure {
			t.Errorf("mounted are %v", mounted)
		}
		if url := check.Containers[0].Env[0].Value; strings.HasPrefix(url, "https://") != secure {
			t.Errorf("helm test calls %s", url)
		}
		for _, v := range check.Volumes {
			for _, item := range v.Secret.Items {
				if item.Key == "tls.key" {
					t.Error("helm test has the gateway's key")
				}
			}
		}
		for _, o := range objects {
			switch o := o.(type) {
			case *core.Service:
				if p := o.Spec.Ports[0]; !strings.HasSuffix(o.Name, "-etcd") && (*p.AppProtocol == "https") != secure {
					t.Errorf("service %s speaks %s", o.Name, *p.AppProtocol)
				}
			case *monitoring.ServiceMonitor:
				if e := o.Spec.Endpoints[0]; secure && (e.Scheme == nil || *e.Scheme != "https" || e.TLSConfig == nil) {
					t.Errorf("Prometheus scrapes by %v", e.Scheme)
				}
			}
		}
	})
}

func TestWrongValuesAreRefused(t *testing.T) {
	t.Parallel()
	for says, text := range map[string]string{
		"replica":     "{replica: 5, etcd: {enabled: true}}", // for replicas
		"endpoint":    "{etcd: {endpoint: 'http://a:2379'}}",
		"etcd":        "{}", // nowhere to write
		"tag":         "{image: {tag: latest}, etcd: {enabled: true}}",
		"level":       "{log: {level: loud}, etcd: {enabled: true}}",
		"endpoints":   "{etcd: {endpoints: [etcd-0]}}",
		"requests":    "{resources: {requests: null}, etcd: {enabled: true}}",
		"ratio":       "{tracing: {ratio: 2}, etcd: {enabled: true}}",
		"hosts":       "{ingress: {enabled: true}, etcd: {enabled: true}}",
		"certificate": "{tls: {ops: true}, etcd: {enabled: true}}",
		"minVersion":  "{tls: {secretName: a, minVersion: '1.1'}, etcd: {enabled: true}}",
		"tlsConfig":   "{tls: {secretName: a, ops: true}, metrics: {serviceMonitor: {enabled: true}}, etcd: {enabled: true}}",
		"parentRefs":  "{httpRoute: {enabled: true}, etcd: {enabled: true}}",
		"runbookURLs": "{metrics: {rules: {runbookURLs: a}}, etcd: {enabled: true}}",
	} {
		var v values
		if err := yaml.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(err)
		}
		for helm, by := range helms {
			if _, err := by.render(v); err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("%s takes %s, or does not say %q: %v", helm, text, says, err)
			}
		}
	}
}

// TestEveryValueIsInTheSchema walks the defaults: a value that the schema does not know could not be set.
func TestEveryValueIsInTheSchema(t *testing.T) {
	t.Parallel()
	var defaults values
	var schema map[string]any
	for path, into := range map[string]any{"values.yaml": &defaults, "values.schema.json": &schema} {
		text, err := os.ReadFile(chartDir + "/" + path)
		if err == nil {
			err = yaml.Unmarshal(text, into)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var walk func(path string, v any, s map[string]any)
	walk = func(path string, v any, s map[string]any) {
		members, ok := v.(map[string]any)
		properties, described := s["properties"].(map[string]any)
		if !ok || !described {
			return
		}
		for name, value := range members {
			sub, ok := properties[name].(map[string]any)
			if !ok {
				t.Errorf("%s%s has a default and is not in the schema", path, name)
				continue
			}
			walk(path+name+".", value, sub)
		}
		for name := range properties {
			if _, ok := members[name]; !ok && name != "global" && name != "requests" && name != "limits" && name != "claims" {
				t.Errorf("%s%s is in the schema and has no default to be found by", path, name)
			}
		}
	}
	walk("", defaults, schema)
}

func TestNotesSayWhatIsNext(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, name string, r rendered) {
		for _, words := range []string{"helm -n rooms test live", "rollout status deployment/live-", "usher tenant create"} {
			if !strings.Contains(r.notes, words) {
				t.Errorf("the notes do not say %q:\n%s", words, r.notes)
			}
		}
		if made := strings.Contains(r.notes, "Back up the Secret"); made == (name == "secrets-by-reference") {
			t.Errorf("the notes are about other keys:\n%s", r.notes)
		}
	})
}

func TestDashboardsArriveWhole(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, name string, r rendered) {
		for _, o := range r.objects(t) {
			if c, ok := o.(*core.ConfigMap); ok {
				for file, text := range c.Data {
					if strings.HasSuffix(file, ".json") && !json.Valid([]byte(text)) {
						t.Errorf("%s is not JSON any more", file)
					}
				}
			}
			if rules, ok := o.(*monitoring.PrometheusRule); ok {
				text := fmt.Sprint(rules.Spec)
				if strings.Contains(text, "UsherAbsent") || !strings.Contains(text, "https://runbooks.example/usher#usherstale") || !strings.Contains(text, "{{ $labels.instance }}") {
					t.Errorf("%s: the rules are not as the values say", name)
				}
			}
		}
	})
}
