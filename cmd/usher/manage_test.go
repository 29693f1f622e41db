package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"usher/store/porttest"
)

// operator runs commands against a gateway.
type operator struct {
	t   *testing.T
	env []string
}

// run gives what a command printed, and what it said of a failure.
func (o operator) run(args ...string) (out, failure string) {
	o.t.Helper()
	c := exec.Command(binary, args...)
	c.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + o.t.TempDir()}, o.env...)
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	if err := c.Run(); (err == nil) != (stderr.Len() == 0) {
		o.t.Errorf("usher %v: %v, but it says %q", args, err, stderr.String())
	}
	return stdout.String(), stderr.String()
}

// says runs a command that must succeed and print each of the words.
func (o operator) says(words string, args ...string) string {
	o.t.Helper()
	out, failure := o.run(args...)
	for _, word := range strings.Split(words, "|") {
		if failure != "" || !strings.Contains(out, word) {
			o.t.Errorf("usher %s: does not say %q: %s%s", strings.Join(args, " "), word, out, failure)
		}
	}
	return out
}

// fails runs a command that must fail, in one line that has the word.
func (o operator) fails(word string, args ...string) {
	o.t.Helper()
	out, failure := o.run(args...)
	if !strings.Contains(failure, word) || strings.Count(strings.TrimSpace(failure), "\n") != 0 || !strings.HasPrefix(failure, "usher: ") {
		o.t.Errorf("usher %s: does not fail with %q in one line: %s%s", strings.Join(args, " "), word, out, failure)
	}
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTheCommandLine(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := start(t, dir, true)
	// The keys come from a profile, and never from the command line.
	profiles := write(t, "config.yaml", "current: here\nprofiles:\n  here: {url: '"+p.url+"', operator_key_file: '"+filepath.Join(dir, "operator-key")+
		"'}\n  tenant: {url: '"+p.url+"', api_key: "+p.key+"}\n  nowhere: {url: 'http://127.0.0.1:1', api_key: x}\n")
	o := operator{t: t, env: []string{"USHER_CONFIG=" + profiles}}
	var list []struct{ ID, Name string }
	if err := json.Unmarshal([]byte(o.says("demo", "tenant", "list", "-o", "json")), &list); err != nil || len(list) != 1 {
		t.Fatal(err, list)
	}
	id := list[0].ID
	o.says("ID|demo|active", "tenant", "list")
	o.says("usk_|A clinic", "tenant", "create", "A clinic")
	o.says("name: demo", "tenant", "get", id, "-o", "yaml")
	o.says(`"audit_retention_days":90,"burst":1000,"max_concurrent`, "tenant", "get", id)
	o.says(`"max_stored_bytes":67108864,"requests_per_second":500`, "config", "defaults")
	o.says("set burst", "config", "set", id, "burst=4000")
	o.says(`"audit_retention_days":90,"burst":4000,"max_concurrent`, "tenant", "get", id)
	o.says("4000", "config", "get", id)
	o.says("burst    1000  4000", "config", "diff", id, "1", "2")
	edit := operator{t: t, env: append(o.env, "EDITOR=sed -i s/4000/4100/")}
	edit.says("4000|4100|changed", "config", "edit", id, "--yes")
	edit.says("nothing was changed", "config", "edit", id, "--yes") // there is no 4000 left to edit
	operator{t: t, env: append(o.env, "EDITOR=false")}.fails("the editor", "config", "edit", id)
	o.says("rolled", "config", "rollback", id, "1")
	o.says("config.rollback|operator", "tenant", "audit", id)
	o.says("usk_|worker", "key", "create", id, "worker", "--scopes", "rooms:read,participants:read")
	o.says("first key|worker", "key", "list", id)
	o.says("EdDSA|active", "signing-key", "list", id)
	o.says("next", "signing-key", "rotate", id)
	o.says("access_token", "participant", "add", "CS 101/a", "Ann", "--user", "ann", "--tenant", id)
	o.says("Ann|participant", "participant", "list", "CS 101/a", "--profile", "tenant")
	o.says("CS 101/a|active", "room", "list", "--profile", "tenant")
	o.says("locked", "room", "lock", "CS 101/a", "--profile", "tenant")
	o.says("suspended", "tenant", "suspend", id)
	o.fails("tenant_suspended", "room", "list", "--profile", "tenant")
	o.says("resumed", "tenant", "resume", id)
	o.says("bash completion", "completion", "bash")

	o.fails("room_not_found", "room", "get", "nothing", "--tenant", id)
	o.fails("--yes", "tenant", "delete", id)
	o.fails("invalid_request: burst must be at least 1", "config", "set", id, "burst=0")
	o.fails("no answer from http://127.0.0.1:1", "room", "list", "--profile", "nowhere")
	o.fails("has no profile", "tenant", "list", "--profile", "missing")
	o.fails("-o must be", "tenant", "list", "-o", "xml")
	o.fails("unknown command", "tenant", "lits")
	operator{t: t}.fails("no key to call with", "tenant", "list")
	o.says("deleted", "tenant", "delete", id, "--yes")
	o.fails("tenant_not_found", "tenant", "get", id)
}

func TestApplyMakesItSo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := start(t, dir, true)
	key, err := os.ReadFile(filepath.Join(dir, "operator-key"))
	if err != nil {
		t.Fatal(err)
	}
	o := operator{t: t, env: []string{"USHER_URL=" + p.url, "USHER_OPERATOR_KEY=" + strings.TrimSpace(string(key))}}
	file := write(t, "tenants.yaml", `
tenants:
  - name: demo
    config: {max_participants_per_room: 40, roles: {guest: [subscribe]}}
  - name: A school
    config: {allow_early_join: false}
`)
	o.says("would be changed|40|A school: would be created", "config", "apply", "-f", file, "--dry-run")
	o.says("demo|100", "tenant", "list", "-o", "json")
	o.says("changed|40|guest|A school: created|usk_", "config", "apply", "-f", file)
	if again := o.says("unchanged", "config", "apply", "-f", file); strings.Count(again, "unchanged") != 2 {
		t.Errorf("it is not idempotent: %s", again)
	}
	less := write(t, "less.yaml", "tenants:\n  - name: demo\n    config: {burst: 2000}\n")
	o.says("burst", "config", "apply", "-f", less)
	if pruned := o.says("max_participants_per_room|roles", "config", "apply", "-f", less, "--prune"); strings.Contains(pruned, "burst") {
		t.Errorf("what the file names was pruned: %s", pruned)
	}
	for text, want := range map[string]string{
		"tenants: [{name: demo, config: {burst: 0}}]": "burst must be at least 1", "tenants: [{config: {}}]": "neither id nor name",
		"tenant: []": "not found", "tenants: [{name: demo, config: {nothing: 1}}]": "nothing is not a setting",
	} {
		_, failure := o.run("config", "apply", "-f", write(t, "bad.yaml", text))
		if !strings.Contains(failure, want) {
			t.Errorf("%s: %s", text, failure)
		}
	}
	o.fails("no such file", "config", "apply", "-f", "/nowhere.yaml")

	// For machines it is JSON and nothing else, also when the second of two is refused: what was made has a key that is shown once.
	partly := write(t, "partly.yaml", "tenants:\n  - name: B school\n  - name: demo\n    config: {nothing: 1}\n")
	out, failure := o.run("config", "apply", "-f", partly, "-o", "json")
	var done []struct {
		Tenant, Outcome string
		Key             string `json:"api_key"`
	}
	if err := json.Unmarshal([]byte(out), &done); err != nil || len(done) != 1 || done[0].Outcome != "created" || !strings.HasPrefix(done[0].Key, "usk_") {
		t.Errorf("%v: %s", err, out)
	}
	if !strings.Contains(failure, "nothing is not a setting") {
		t.Error(failure)
	}
	var tried []struct {
		Outcome string
		DryRun  bool `json:"dry_run"`
		Diff    []any
	}
	out = o.says("changed", "config", "apply", "-f", file, "-o", "json", "--dry-run")
	if err := json.Unmarshal([]byte(out), &tried); err != nil || len(tried) != 2 || !tried[0].DryRun || tried[0].Outcome != "changed" || len(tried[0].Diff) == 0 || tried[1].Outcome != "unchanged" {
		t.Errorf("%v: %s", err, out)
	}
	var proof struct {
		OK    bool
		Steps []string
	}
	if out = o.says("verified", "check", "-o", "json"); json.Unmarshal([]byte(out), &proof) != nil || !proof.OK || len(proof.Steps) != 4 {
		t.Error(out)
	}
}

// TestReencryptSparesReplicas: a replica that was not restarted with the new key could not read what is sealed with it.
func TestReencryptSparesReplicas(t *testing.T) {
	t.Parallel()
	dir, etcd := t.TempDir(), "http://"+porttest.Free(t)
	p := start(t, dir, true, "--etcd-listen", etcd)
	old, err := os.ReadFile(filepath.Join(dir, "master-key"))
	if err != nil {
		t.Fatal(err)
	}
	until(t, "it to be registered", func() bool { _, _, page := p.ask("GET", "/debug/index/replicas", ""); return page != "" })
	o := operator{t: t}
	o.fails("have not loaded the first key", "reencrypt", "--etcd-endpoints", etcd, "--master-key-file", write(t, "new-first", strings.Repeat("q", 42)+"A\n"+string(old)))
	if said := o.says("0 signing keys", "reencrypt", "--etcd-endpoints", etcd, "--master-key-file", write(t, "new-last", string(old)+"\n"+strings.Repeat("q", 42)+"A\n")); said == "" {
		t.Error("it says nothing")
	}
}

// TestTheMasterKeyRotates goes through all steps of README, with kills in between.
func TestTheMasterKeyRotates(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := start(t, dir, true)
	operatorKey, err := os.ReadFile(filepath.Join(dir, "operator-key"))
	if err != nil {
		t.Fatal(err)
	}
	const others = 200
	file := "tenants:\n"
	for i := range others {
		file += "  - name: tenant-" + strconv.Itoa(i) + "\n"
	}
	operatorOf(t, p.url, string(operatorKey)).says("created", "config", "apply", "-f", write(t, "tenants.yaml", file))
	p.kill()
	path := filepath.Join(dir, "master-key")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	old := strings.TrimSpace(string(text[strings.LastIndex(strings.TrimSpace(string(text)), "\n")+1:]))
	fresh := strings.Repeat("q", 42) + "A"
	put := func(keys ...string) {
		if err := os.WriteFile(path, []byte(strings.Join(keys, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o := operator{t: t}
	reencrypt := func() string {
		c := exec.Command(binary, "reencrypt", "--data-dir", dir)
		out, err := c.Output()
		if err != nil {
			t.Fatalf("reencrypt: %v: %s", err, out)
		}
		return string(out)
	}
	put(fresh, old)
	killed := exec.Command(binary, "reencrypt", "--data-dir", dir)
	progress, err := killed.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := killed.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = io.ReadFull(progress, make([]byte, len("\r1 of 61 signing keys")*5))
	_ = killed.Process.Kill()
	_ = killed.Wait()
	var rest int
	if _, err := fmt.Sscanf(lastLine(reencrypt()), "%d signing keys re-encrypted", &rest); err != nil || rest == 0 || rest > others+1-5 {
		t.Errorf("after a kill %d were left to do: %v", rest, err)
	}
	if out := reencrypt(); !strings.Contains(out, "0 signing keys re-encrypted") {
		t.Error(out)
	}
	put(fresh)
	again := start(t, dir, false)
	again.key = p.key
	if status, _, err := again.do("POST", "/api/v1/rooms/r/participants", `{"display_name":"A"}`); err != nil || status != 201 {
		t.Errorf("after the rotation: %d %v", status, err)
	}
	again.kill()
	put(old)
	if _, failure := o.run("reencrypt", "--data-dir", dir); !strings.Contains(failure, "which is not among those loaded") {
		t.Errorf("without the new key: %s", failure)
	}
}
