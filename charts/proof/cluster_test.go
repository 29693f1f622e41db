package proof

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	loader3 "helm.sh/helm/v3/pkg/chart/loader"
	chartutil3 "helm.sh/helm/v3/pkg/chartutil"
	engine3 "helm.sh/helm/v3/pkg/engine"
	common4 "helm.sh/helm/v4/pkg/chart/common"
	util4 "helm.sh/helm/v4/pkg/chart/common/util"
	loader4 "helm.sh/helm/v4/pkg/chart/v2/loader"
	engine4 "helm.sh/helm/v4/pkg/engine"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"
)

// there is a cluster in which some objects are already: what the chart finds when it looks something up.
type there []runtime.Object

// GetClientFor is what both Helms look things up by.
func (c there) GetClientFor(apiVersion, kind string) (dynamic.NamespaceableResourceInterface, bool, error) {
	version, err := schema.ParseGroupVersion(apiVersion)
	if err != nil {
		return nil, false, err
	}
	return fake.NewSimpleDynamicClient(scheme.Scheme, c...).Resource(version.WithResource(strings.ToLower(kind) + "s")), true, nil
}

// upgrades renders an upgrade of a release in the cluster, by each Helm.
func upgrades(t *testing.T, c there, v values, check func(t *testing.T, objects []runtime.Object)) {
	t.Helper()
	for helm, render := range map[string]func() (map[string]string, error){
		"helm 3": func() (map[string]string, error) { return upgrade3(c, v) },
		"helm 4": func() (map[string]string, error) { return upgrade4(c, v) },
	} {
		t.Run(helm, func(t *testing.T) {
			files, err := render()
			if err != nil {
				t.Fatal(err)
			}
			var all rendered
			for path, text := range files {
				if strings.HasSuffix(path, ".yaml") {
					all.manifests = append(all.manifests, split(text)...)
				}
			}
			check(t, all.objects(t))
		})
	}
}

func upgrade3(c there, v values) (map[string]string, error) {
	chart, err := loader3.Load(chartDir)
	if err != nil {
		return nil, err
	}
	with, err := chartutil3.ToRenderValues(chart, v, chartutil3.ReleaseOptions{Name: "live", Namespace: "rooms", Revision: 2, IsUpgrade: true}, nil)
	if err != nil {
		return nil, err
	}
	return engine3.RenderWithClientProvider(chart, with, c)
}

func upgrade4(c there, v values) (map[string]string, error) {
	chart, err := loader4.Load(chartDir)
	if err != nil {
		return nil, err
	}
	with, err := util4.ToRenderValues(chart, v, common4.ReleaseOptions{Name: "live", Namespace: "rooms", Revision: 2, IsUpgrade: true}, nil)
	if err != nil {
		return nil, err
	}
	return engine4.RenderWithClientProvider(chart, with, c)
}

func checksum(s *core.Secret) string {
	text := "operator-key: " + base64.StdEncoding.EncodeToString(s.Data["operator-key"]) + "\nmaster-keys: " + base64.StdEncoding.EncodeToString(s.Data["master-keys"])
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// found is the one object of the type.
func found[T runtime.Object](t *testing.T, objects []runtime.Object) T {
	t.Helper()
	at := slices.IndexFunc(objects, func(o runtime.Object) bool { _, ok := o.(T); return ok })
	if at < 0 {
		t.Fatal("no such object was rendered")
	}
	return objects[at].(T)
}

// TestKeysAreMadeOnce: new keys are of the forms that Usher wants, and the checksum that restarts pods is theirs. They are
// in no revision of the release, so that no rollback can bring old ones back.
func TestKeysAreMadeOnce(t *testing.T) {
	t.Parallel()
	for helm, by := range helms {
		r, err := by.render(matrix(t)["own-etcd"])
		if err != nil {
			t.Fatal(err)
		}
		secret := found[*core.Secret](t, r.objects(t))
		master := strings.TrimSpace(string(secret.Data["master-keys"]))
		if raw, err := base64.RawURLEncoding.DecodeString(master); err != nil || len(raw) != 32 {
			t.Errorf("%s: the master key is not 32 bytes in base64url: %v", helm, err)
		}
		if len(secret.Data["operator-key"]) < 40 || secret.Annotations["helm.sh/hook"] != "pre-install,pre-upgrade" {
			t.Errorf("%s: %v", helm, secret)
		}
		if found[*apps.Deployment](t, r.objects(t)).Spec.Template.Annotations["checksum/keys"] != checksum(secret) {
			t.Errorf("%s: the checksum is of other keys than those in the Secret", helm)
		}
		r.hooks = nil
		if slices.ContainsFunc(r.objects(t), func(o runtime.Object) bool { _, is := o.(*core.Secret); return is }) {
			t.Errorf("%s: the Secret is in the revision, and a rollback would bring it back", helm)
		}
	}
}

// TestAnUpgradeKeepsTheKeys that are in the cluster, also those that an operator has put there by hand.
func TestAnUpgradeKeepsTheKeys(t *testing.T) {
	t.Parallel()
	kept := &core.Secret{
		ObjectMeta: meta.ObjectMeta{Name: "live-usher-keys", Namespace: "rooms"},
		Data:       map[string][]byte{"operator-key": []byte("an operator's own"), "master-keys": []byte("new\nold\n")},
	}
	upgrades(t, there{kept}, matrix(t)["own-etcd"], func(t *testing.T, objects []runtime.Object) {
		for _, o := range objects {
			if s, ok := o.(*core.Secret); ok {
				t.Errorf("the upgrade writes the Secret %s", s.Name)
			}
		}
		if found[*apps.Deployment](t, objects).Spec.Template.Annotations["checksum/keys"] != checksum(kept) {
			t.Error("the pods are not those of the keys in the cluster")
		}
	})
	upgrades(t, nil, matrix(t)["own-etcd"], func(t *testing.T, objects []runtime.Object) {
		if found[*core.Secret](t, objects).Name != kept.Name {
			t.Error("an upgrade that finds no keys makes none")
		}
	})
}

// TestReplacingAMemberRestartsNoOther: what a member without data must be told is not in the template of the pods.
func TestReplacingAMemberRestartsNoOther(t *testing.T) {
	t.Parallel()
	render := func(state string) []runtime.Object {
		var v values
		if err := yaml.Unmarshal([]byte("{etcd: {enabled: true, initialClusterState: "+state+"}}"), &v); err != nil {
			t.Fatal(err)
		}
		r, err := render4(v)
		if err != nil {
			t.Fatal(err)
		}
		return r.objects(t)
	}
	before, after := render("new"), render("existing")
	one, two := found[*apps.StatefulSet](t, before).Spec, found[*apps.StatefulSet](t, after).Spec
	if !equality.Semantic.DeepEqual(one, two) {
		t.Errorf("the members restart:\n%v\n%v", one, two)
	}
	for name, value := range one.Template.Labels {
		if !strings.HasPrefix(name, "app.kubernetes.io/") || name == "app.kubernetes.io/version" {
			t.Errorf("the members restart with each release, for their label %s: %s", name, value)
		}
	}
	config := found[*core.ConfigMap](t, after)
	env := two.Template.Spec.Containers[0].Env
	told := slices.IndexFunc(env, func(e core.EnvVar) bool { return e.Name == "ETCD_INITIAL_CLUSTER_STATE" })
	if told < 0 || env[told].ValueFrom.ConfigMapKeyRef.Name != config.Name || config.Data[env[told].ValueFrom.ConfigMapKeyRef.Key] != "existing" {
		t.Errorf("a new member is not told: %v %v", env, config.Data)
	}
}
