package proof

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
)

// machine stands for the cluster: it runs the programs of the chart's pods, as the pods say, with addresses of its own in
// the place of their names.
type machine struct {
	t     *testing.T
	names []string // what is replaced, and by what, in pairs
	keys  *core.Secret
}

// place gives a name in the pods' arguments an address of this machine.
func (m *machine) place(name string) (address string) {
	address = fmt.Sprintf("127.0.0.1:%d", freePort(m.t))
	m.names = append(m.names, name, address)
	return address
}

// here is the text with all names replaced; before them, more pairs.
func (m *machine) here(text string, more ...string) string {
	return strings.NewReplacer(append(more, m.names...)...).Replace(text)
}

// environment is that of a container, with what it refers to.
func (m *machine) environment(c core.Container, config *core.ConfigMap, more ...string) (env []string) {
	for _, e := range c.Env {
		value := e.Value
		if from := e.ValueFrom; from != nil {
			switch {
			case from.SecretKeyRef != nil && from.SecretKeyRef.Name == m.keys.Name:
				value = string(m.keys.Data[from.SecretKeyRef.Key])
			case from.ConfigMapKeyRef != nil && from.ConfigMapKeyRef.Name == config.Name:
				value = config.Data[from.ConfigMapKeyRef.Key]
			case from.FieldRef != nil:
				continue
			default:
				m.t.Fatalf("%s is from something that was not rendered", e.Name)
			}
		}
		env = append(env, e.Name+"="+m.here(value, more...))
	}
	return env
}

// probe asks what a probe asks, at the address of the port.
func probe(p *core.Probe, address string) int {
	client := http.Client{Timeout: 5 * time.Second}
	response, err := client.Get("http://" + address + p.HTTPGet.Path)
	if err != nil {
		return 0
	}
	_ = response.Body.Close()
	return response.StatusCode
}

// chartMember is a member of etcd as the chart starts it.
type chartMember struct {
	*program
	binary, metrics string
	args, env       []string
}

func (c *chartMember) start(t *testing.T) {
	c.program = &program{t: t, cmd: exec.Command(c.binary, c.args...)}
	c.cmd.Env = append(os.Environ(), c.env...)
	c.cmd.Stdout, c.cmd.Stderr = &c.out, &c.out
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.kill)
}

// TestTheChartsPodsStart runs what the chart's containers run, with their arguments, environment and probes: three members
// of etcd that find each other, a gateway before them, and the check of helm test.
func TestTheChartsPodsStart(t *testing.T) {
	t.Parallel()
	r, err := render4(matrix(t)["own-etcd"])
	if err != nil {
		t.Fatal(err)
	}
	objects := r.objects(t)
	config, etcd := found[*core.ConfigMap](t, objects), found[*apps.StatefulSet](t, objects).Spec.Template.Spec.Containers[0]
	m := &machine{t: t, keys: found[*core.Secret](t, objects)}
	const set = "live-usher-etcd"
	var clients, peers [3]string
	for i := range 3 {
		host := fmt.Sprintf("%s-%d.%s.rooms.svc", set, i, set)
		clients[i], peers[i] = m.place(host+":2379"), m.place(host+":2380")
	}
	binary := built(t, "..", "go.etcd.io/etcd/server/v3", "etcd")
	var members [3]*chartMember
	for i := range members {
		metrics := fmt.Sprintf("127.0.0.1:%d", freePort(t))
		name := fmt.Sprintf("%s-%d", set, i)
		own := []string{"0.0.0.0:2379", clients[i], "0.0.0.0:2380", peers[i], "0.0.0.0:2381", metrics, "/var/lib/etcd", t.TempDir()}
		members[i] = &chartMember{binary: binary, metrics: metrics, env: m.environment(etcd, config)}
		for _, arg := range etcd.Args {
			members[i].args = append(members[i].args, m.here(strings.ReplaceAll(arg, "$(POD_NAME)", name), own...))
		}
	}
	ready := func(which ...int) {
		t.Helper()
		for _, i := range which {
			until(t, fmt.Sprintf("member %d to be ready: %s", i, members[i].args), time.Minute, func() bool { return probe(etcd.ReadinessProbe, members[i].metrics) == http.StatusOK })
		}
	}
	// Alone it lives, and is not ready: nobody restarts it, and a rolling update would wait.
	members[0].start(t)
	until(t, "the first member", time.Minute, func() bool { return probe(etcd.LivenessProbe, members[0].metrics) == http.StatusOK })
	if status := probe(etcd.ReadinessProbe, members[0].metrics); status == http.StatusOK {
		t.Error("one member of three is ready")
	}
	members[1].start(t)
	members[2].start(t)
	ready(0, 1, 2)
	members[1].kill() // and it comes back with its data
	members[1].start(t)
	ready(1)

	deployment := found[*apps.Deployment](t, objects).Spec.Template.Spec.Containers[0]
	api, ops, keys := fmt.Sprintf("127.0.0.1:%d", freePort(t)), fmt.Sprintf("127.0.0.1:%d", freePort(t)), t.TempDir()
	if err := os.WriteFile(filepath.Join(keys, "master-keys"), m.keys.Data["master-keys"], 0o400); err != nil {
		t.Fatal(err)
	}
	usher := built(t, "../..", "./cmd/usher", "usher")
	g := exec.Command(usher, deployment.Args...)
	g.Dir, g.Env = t.TempDir(), m.environment(deployment, config, "0.0.0.0:8080", api, "0.0.0.0:9090", ops, "/etc/usher/keys", keys)
	running := &program{t: t, cmd: g}
	g.Stdout, g.Stderr = &running.out, &running.out
	if err := g.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(running.kill)
	until(t, "the gateway", time.Minute, func() bool {
		return probe(deployment.ReadinessProbe, ops) == http.StatusOK && probe(deployment.LivenessProbe, ops) == http.StatusOK
	})
	if left, err := os.ReadDir(g.Dir); err != nil || len(left) > 0 {
		t.Errorf("it has written %v where its root cannot be written", left)
	}
	pod := found[*core.Pod](t, objects).Spec.Containers[0]
	check := exec.Command(usher, pod.Args...)
	check.Env = m.environment(pod, config, "live-usher.rooms.svc:80", api)
	if out, err := check.CombinedOutput(); err != nil || !strings.Contains(string(out), "verified its token, by the keys of http://live-usher.rooms.svc/") {
		t.Errorf("helm test: %v\n%s", err, out)
	}

	// A member that has lost its data must not begin a cluster of its own beside the other two.
	lost := members[2]
	lost.kill()
	for i, arg := range lost.args {
		if strings.HasPrefix(arg, "--data-dir=") {
			lost.args[i] = "--data-dir=" + t.TempDir()
		}
	}
	lost.start(t)
	patience := time.AfterFunc(time.Minute, func() { lost.signal(syscall.SIGKILL) })
	defer patience.Stop()
	if err := lost.cmd.Wait(); err == nil || !strings.Contains(lost.out.String(), "has already been bootstrapped") {
		t.Errorf("it did not refuse: %v\n%s", err, lost.out.String())
	}
}
