package proof

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/yannh/kubeconform/pkg/validator"
)

// page is docs/operations.md and docs/runbooks.md, with what was run of them.
type page struct {
	text  string
	tools map[string]string // program → path
	mu    sync.Mutex
	ran   map[string]bool // guarded by mu
}

// command is one of the page that needs no cluster of Kubernetes, on a line of its own.
var command = regexp.MustCompile(`(?m)^ +((?:etcdctl|etcdutl|usher|head) .*)$`)

func operationsPage(t *testing.T) *page {
	t.Helper()
	p := &page{tools: make(map[string]string), ran: make(map[string]bool)}
	for _, file := range []string{"operations", "runbooks"} {
		text, err := os.ReadFile("../../docs/" + file + ".md")
		if err != nil {
			t.Fatal(err)
		}
		p.text += regexp.MustCompile(`\\\n +`).ReplaceAllString(string(text), "")
	}
	for _, name := range []string{"etcdctl", "etcdutl"} {
		p.tools[name] = built(t, "..", "go.etcd.io/etcd/"+name+"/v3", name)
	}
	p.tools["usher"] = built(t, "../..", "./cmd/usher", "usher")
	return p
}

// run is try for a command that must succeed.
func (p *page) run(t *testing.T, dir, begins string, replace ...string) string {
	t.Helper()
	out, err := p.try(dir, begins, replace...)
	if err != nil {
		t.Fatalf("%s: %v\n%s", begins, err, out)
	}
	return out
}

// try runs the page's one command that begins with the words, with this machine's names in the place of the page's, and
// those in capitals in its environment.
func (p *page) try(dir, begins string, replace ...string) (string, error) {
	for _, found := range command.FindAllStringSubmatch(p.text, -1) {
		line := found[1]
		if !strings.HasPrefix(line, begins) {
			continue
		}
		p.mu.Lock()
		p.ran[line] = true
		p.mu.Unlock()
		c := exec.Command("bash", "-o", "pipefail", "-c", strings.NewReplacer(replace...).Replace(line))
		c.Dir = dir
		path := os.Getenv("PATH")
		for _, tool := range p.tools {
			path = filepath.Dir(tool) + ":" + path
		}
		c.Env = append(os.Environ(), "PATH="+path)
		for i := 0; i+1 < len(replace); i += 2 {
			if strings.ToUpper(replace[i]) == replace[i] {
				c.Env = append(c.Env, replace[i]+"="+replace[i+1])
			}
		}
		out, err := c.CombinedOutput()
		return string(out), err
	}
	return "", errors.New("the page has no such command")
}

// seats takes n seats in the room and gives their participants.
func (g *gateway) seats(t *testing.T, key, room string, n int) (ids []string) {
	t.Helper()
	for range n {
		status, added := g.call(key, http.MethodPost, "/api/v1/rooms/"+room+"/participants", `{"display_name":"A"}`)
		if status != http.StatusCreated {
			t.Fatalf("no seat: %d %v", status, added)
		}
		ids = append(ids, added["participant_id"].(string))
	}
	return ids
}

// sees waits until the gateway answers with the status for each of the participants.
func (g *gateway) sees(t *testing.T, key, room string, want int, ids []string) {
	t.Helper()
	for _, id := range ids {
		until(t, fmt.Sprintf("%s to be answered %d", id, want), time.Minute, func() bool {
			status, _ := g.call(key, http.MethodGet, "/api/v1/rooms/"+room+"/participants/"+id, "")
			return status == want
		})
	}
}

// TestTheOperationsPage does what the page says, in its order, and looks at what is left.
func TestTheOperationsPage(t *testing.T) {
	t.Parallel()
	page := operationsPage(t)
	etcd, usher := built(t, "..", "go.etcd.io/etcd/server/v3", "etcd"), page.tools["usher"]
	t.Run("backup and restore", func(t *testing.T) { restore(t, page, etcd, usher) })
	t.Run("a member", func(t *testing.T) { replaceMember(t, page, etcd, usher) })
	t.Run("keys", func(t *testing.T) { rotateKeys(t, page, etcd, usher) })
	t.Run("full", func(t *testing.T) { makeRoom(t, page, etcd, usher) })
	t.Run("etcd's users", func(t *testing.T) { ownUsers(t, page, etcd, usher) })
	t.Run("embedded", func(t *testing.T) { restoreEmbedded(t, page, usher) })
	for _, found := range command.FindAllStringSubmatch(page.text, -1) {
		if !page.ran[found[1]] {
			t.Errorf("the page has a command that was not tried: %s", found[1])
		}
	}
}

func (m *member) flag(name string) string {
	for i, a := range m.args {
		if a == name {
			return m.args[i+1]
		}
	}
	return ""
}

func endpoints(members []*member) string {
	var all []string
	for _, m := range members {
		all = append(all, m.plain)
	}
	return strings.Join(all, ",")
}

func restore(t *testing.T, page *page, etcd, usher string) {
	members := cluster(t, etcd, certificates(t, time.Hour), 1<<30)
	g := startGateway(t, usher, masterKeys(t), "--etcd-endpoints", endpoints(members))
	_, key := g.tenant(t, "{}")
	before := g.seats(t, key, "CS101", 5)
	work := t.TempDir()
	page.run(t, work, "etcdctl --endpoints=http://127.0.0.1:2379 snapshot save", "http://127.0.0.1:2379", members[0].plain)
	if out := page.run(t, work, "etcdutl snapshot status"); !strings.Contains(out, "REVISION") {
		t.Error(out)
	}
	after := g.seats(t, key, "CS101", 5)
	_, room := g.call(key, http.MethodGet, "/api/v1/rooms/CS101", "")
	for _, m := range members {
		m.kill()
	}
	g.sees(t, key, "CS101", http.StatusOK, after) // from memory, while there is no etcd
	for i, m := range members {
		fresh := filepath.Join(t.TempDir(), "data")
		page.run(t, work, "etcdutl snapshot restore usher.db --data-dir=data", "--data-dir=data", "--data-dir="+fresh, "--name=live-usher-etcd-0", "--name="+m.name,
			regexp.MustCompile(`--initial-cluster=\S+`).FindString(page.text), "--initial-cluster="+m.flag("--initial-cluster"),
			"--initial-advertise-peer-urls=http://live-usher-etcd-0.live-usher-etcd.rooms.svc:2380", "--initial-advertise-peer-urls="+m.flag("--initial-advertise-peer-urls"))
		for j, a := range m.args {
			if a == "--data-dir" {
				members[i].args[j+1] = fresh
			}
		}
	}
	for _, m := range members {
		m.start(t)
	}
	g.sees(t, key, "CS101", http.StatusNotFound, after)
	g.sees(t, key, "CS101", http.StatusOK, before)
	var again map[string]any
	until(t, "writes", time.Minute, func() bool {
		status, added := g.call(key, http.MethodPost, "/api/v1/rooms/CS101/participants", `{"display_name":"B"}`)
		again = added
		return status == http.StatusCreated
	})
	if count := again["room"].(map[string]any)["participant_count"]; count != 6.0 {
		t.Errorf("the room counts %v, want the five of the backup and the new one (it was %v)", count, room["participant_count"])
	}
}

func replaceMember(t *testing.T, page *page, etcd, usher string) {
	members := cluster(t, etcd, certificates(t, time.Hour), 1<<30)
	g := startGateway(t, usher, masterKeys(t), "--etcd-endpoints", endpoints(members))
	_, key := g.tenant(t, "{}")
	ids := g.seats(t, key, "CS101", 5)
	lost, left := members[2], endpoints(members[:2])
	lost.kill()
	list := page.run(t, "", "etcdctl member list", "ETCDCTL_ENDPOINTS", left)
	id := regexp.MustCompile(`([0-9a-f]{12,16}) │ started │ +` + lost.name).FindStringSubmatch(list)
	if id == nil {
		t.Fatalf("the list has no %s:\n%s", lost.name, list)
	}
	page.run(t, "", "etcdctl member remove", "<id>", id[1], "ETCDCTL_ENDPOINTS", left)
	until(t, "the members to have been connected for a while, as etcd wants before one is added", time.Minute, func() bool {
		_, err := page.try("", "etcdctl member add", "live-usher-etcd-2 ", lost.name+" ", "http://live-usher-etcd-2.live-usher-etcd.rooms.svc:2380",
			lost.flag("--initial-advertise-peer-urls"), "ETCDCTL_ENDPOINTS", left)
		return err == nil
	})
	for i, a := range lost.args {
		if a == "--data-dir" {
			lost.args[i+1] = t.TempDir()
		}
	}
	lost.args = append(lost.args, "--initial-cluster-state", "existing")
	lost.start(t)
	until(t, "the new member", time.Minute, func() bool {
		out, err := exec.Command(page.tools["etcdctl"], "--endpoints", lost.plain, "get", "/usher/v1/participants/", "--prefix", "--keys-only", "--consistency=s").Output()
		return err == nil && strings.Contains(string(out), ids[4])
	})
	members[0].kill() // the new one makes the majority now
	until(t, "a write", time.Minute, func() bool {
		status, _ := g.call(key, http.MethodPost, "/api/v1/rooms/CS101/participants", `{"display_name":"B"}`)
		return status == http.StatusCreated
	})
}

// rotateKeys goes through the change of the master key, and the rotation of a signing key, and back a version of etcd.
func rotateKeys(t *testing.T, page *page, etcd, usher string) {
	members := cluster(t, etcd, certificates(t, time.Hour), 1<<30)
	work := t.TempDir()
	file := filepath.Join(work, "master-keys")
	write := func(lines ...string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	old := strings.Repeat("A", 43)
	write(old)
	start := func() *gateway {
		return startGateway(t, usher, file, "--etcd-endpoints", endpoints(members))
	}
	g := start()
	id, key := g.tenant(t, "{}")
	_, seat := g.call(key, http.MethodPost, "/api/v1/rooms/CS101/participants", `{"display_name":"A"}`)
	g.kill()

	page.run(t, work, "head -c 32")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Fields(string(text))
	if len(lines) != 2 || lines[0] != old {
		t.Fatalf("the file holds %d keys", len(lines))
	}
	start().kill()
	write(lines[1], old)
	g = start()
	g.tenant(t, "{}") // its key is sealed with the new one
	reencrypt := func() string {
		return page.run(t, work, "usher reencrypt", "http://127.0.0.1:2379", endpoints(members))
	}
	if out := reencrypt(); !strings.Contains(out, "1 signing keys re-encrypted") {
		t.Error(out)
	}
	if out := reencrypt(); !strings.Contains(out, "0 signing keys re-encrypted") {
		t.Error(out)
	}
	g.kill()
	write(lines[1])
	g = start()
	if status, answer := g.call(seat["auth_token"].(string), http.MethodGet, "/api/v1/rooms/CS101", ""); status != http.StatusOK {
		t.Errorf("a token of before is answered %d: %v", status, answer)
	}
	g.seats(t, key, "CS101", 1)
	by := []string{"<tenant>", id, "USHER_URL", g.url, "USHER_OPERATOR_KEY", operatorKey}
	page.run(t, work, "usher signing-key rotate", by...)
	page.run(t, work, "usher config set <tenant> signing_key", by...)
	page.run(t, work, "usher config set <tenant> requests_per_second", by...)
	status, config := g.call(key, http.MethodGet, "/api/v1/tenants/"+id+"/config", "")
	if status != http.StatusOK || config["signing_key_rotation_days"] != 90.0 || config["requests_per_second"] != 2000.0 {
		t.Errorf("%d %v", status, config)
	}
	if out := page.run(t, work, "usher tenant get", by...); !strings.Contains(out, "ceilings") || !strings.Contains(out, "2000") {
		t.Error(out)
	}
	if out := page.run(t, work, "usher config defaults", by...); !strings.Contains(out, "max_stored_bytes") {
		t.Error(out)
	}
	if out := page.run(t, work, "etcdctl downgrade enable", "ETCDCTL_ENDPOINTS", endpoints(members)); !strings.Contains(out, "success") {
		t.Error(out)
	}
	g.seats(t, key, "CS101", 1)
}

func makeRoom(t *testing.T, page *page, etcd, usher string) {
	members := cluster(t, etcd, certificates(t, time.Hour), 16<<20)
	all := endpoints(members)
	g := startGateway(t, usher, masterKeys(t), "--etcd-endpoints", all)
	_, key := g.tenant(t, "{}")
	ids := g.seats(t, key, "CS101", 3)
	ballast := filepath.Join(t.TempDir(), "ballast")
	if err := os.WriteFile(ballast, []byte(strings.Repeat("x", 1<<20)), 0o600); err != nil {
		t.Fatal(err)
	}
	until(t, "etcd to be full", time.Minute, func() bool { // one key, so that only its history fills it
		file, err := os.Open(ballast)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = file.Close() }()
		c := exec.Command(page.tools["etcdctl"], "--endpoints", members[0].plain, "put", "/ballast")
		c.Stdin = file
		out, err := c.CombinedOutput()
		return err != nil && strings.Contains(string(out), "space exceeded")
	})
	if status, answer := g.call(key, http.MethodPost, "/api/v1/rooms/CS101/participants", `{"display_name":"B"}`); status != http.StatusServiceUnavailable {
		t.Errorf("a write is answered %d when etcd is full: %v", status, answer)
	}
	g.sees(t, key, "CS101", http.StatusOK, ids)
	if out := page.run(t, "", "etcdctl endpoint status", "ETCDCTL_ENDPOINTS", all); !strings.Contains(out, "NOSPACE") {
		t.Errorf("the status does not name the alarm:\n%s", out)
	}
	revision := regexp.MustCompile(`"revision":(\d+)`).FindStringSubmatch(page.run(t, "", "etcdctl get usher", "ETCDCTL_ENDPOINTS", all))
	if revision == nil {
		t.Fatal("no revision")
	}
	page.run(t, "", "etcdctl compact", "<revision>", revision[1], "ETCDCTL_ENDPOINTS", all)
	page.run(t, "", "etcdctl defrag", "ETCDCTL_ENDPOINTS", all)
	page.run(t, "", "etcdctl alarm disarm", "ETCDCTL_ENDPOINTS", all)
	until(t, "writes", time.Minute, func() bool {
		status, _ := g.call(key, http.MethodPost, "/api/v1/rooms/CS101/participants", `{"display_name":"B"}`)
		return status == http.StatusCreated
	})
}

func ownUsers(t *testing.T, page *page, etcd, usher string) {
	members := cluster(t, etcd, certificates(t, time.Hour), 1<<30)
	all := endpoints(members)
	for _, line := range []string{"role add", "role grant-permission", "user add usher", "user grant-role usher", "user add root", "user grant-role root", "auth enable"} {
		page.run(t, "", "etcdctl "+line, "<password>", "secret", "<another>", "more-secret", "ETCDCTL_ENDPOINTS", all)
	}
	g := startGateway(t, usher, masterKeys(t), "--etcd-endpoints", all, "--etcd-user", "usher", "--etcd-password", "secret")
	_, key := g.tenant(t, "{}")
	g.seats(t, key, "CS101", 3)
	for _, words := range []string{"get /other", "put /other x", "snapshot save " + filepath.Join(t.TempDir(), "db"), "user list"} {
		c := exec.Command(page.tools["etcdctl"], append([]string{"--endpoints", members[0].plain, "--user", "usher:secret"}, strings.Fields(words)...)...)
		if out, err := c.CombinedOutput(); err == nil || !strings.Contains(string(out), "denied") {
			t.Errorf("the gateways' user may %s: %v %s", words, err, out)
		}
	}
}

func restoreEmbedded(t *testing.T, page *page, usher string) {
	work := t.TempDir()
	etcd := fmt.Sprintf("http://127.0.0.1:%d", freePort(t))
	data := []string{"--data-dir", filepath.Join(work, "usher-data"), "--etcd-listen", etcd}
	keys := masterKeys(t)
	g := startGateway(t, usher, keys, data...)
	_, key := g.tenant(t, "{}")
	before := g.seats(t, key, "CS101", 2)
	page.run(t, work, "etcdctl --endpoints=http://127.0.0.1:2379 snapshot save", "http://127.0.0.1:2379", etcd)
	after := g.seats(t, key, "CS101", 2)
	g.kill()
	if err := os.Rename(filepath.Join(work, "usher-data", "etcd"), filepath.Join(work, "etcd.before")); err != nil {
		t.Fatal(err)
	}
	page.run(t, work, "etcdutl snapshot restore usher.db --data-dir=usher-data/etcd")
	g = startGateway(t, usher, keys, data...)
	g.sees(t, key, "CS101", http.StatusOK, before)
	g.sees(t, key, "CS101", http.StatusNotFound, after)
	g.seats(t, key, "CS101", 1)
}

// TestTheManifestsOfThePagesAreOfTheirTypes checks what the documents would have an operator apply.
func TestTheManifestsOfThePagesAreOfTheirTypes(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	manifests := regexp.MustCompile("(?s) *```yaml\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(manifests) == 0 {
		t.Fatal("no manifest is on the page")
	}
	for _, found := range manifests {
		manifest := strings.ReplaceAll("\n"+found[1], "\n   ", "\n")
		if _, _, err := decoder(t).Decode([]byte(manifest), nil, nil); err != nil {
			t.Errorf("%v in\n%s", err, manifest)
		}
		if location := os.Getenv("KUBERNETES_SCHEMAS"); location != "" {
			v, err := validator.New([]string{location + "/{{.ResourceKind}}{{.KindSuffix}}.json"}, validator.Opts{Strict: true})
			if err != nil {
				t.Fatal(err)
			}
			for _, result := range v.Validate("manifest", io.NopCloser(strings.NewReader(manifest))) {
				if result.Status != validator.Valid {
					t.Errorf("%v in\n%s", result.Err, manifest)
				}
			}
		}
	}
}
