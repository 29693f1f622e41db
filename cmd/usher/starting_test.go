package main_test

import (
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"usher/store/porttest"
)

// TestAStartingProcessSaysSo: from the first moment on, and as long as etcd is not there, who asks is told so, probes above all.
func TestAStartingProcessSaysSo(t *testing.T) {
	t.Parallel()
	etcd, dir := "http://"+porttest.Free(t), t.TempDir()
	start(t, dir, true).endsInPeace() // for its master key
	api, ops := porttest.Free(t), porttest.Free(t)
	c := exec.Command(binary, "serve", "--listen", api, "--ops-listen", ops, "--etcd-endpoints", etcd, "--issuer-url", "http://usher.test",
		"--operator-key", strings.Repeat("k", 16), "--master-key-file", filepath.Join(dir, "master-key"))
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	ask := func(url string) (status int, header http.Header, body string) {
		r, err := http.Get(url)
		if err != nil {
			return 0, nil, err.Error()
		}
		defer func() { _ = r.Body.Close() }()
		text, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		return r.StatusCode, r.Header, string(text)
	}
	until(t, "its ports", func() bool { status, _, _ := ask("http://" + ops + "/healthz"); return status == http.StatusOK })
	for url, want := range map[string]string{
		"http://" + ops + "/readyz": `"state":"STARTING"`, "http://" + ops + "/": "Usher is starting", "http://" + ops + "/debug/index": "Usher is starting",
		"http://" + api + "/api/v1/rooms": `"code":"unavailable"`,
	} {
		status, header, body := ask(url)
		if status != http.StatusServiceUnavailable || !strings.Contains(body, want) || strings.Contains(url, api) && (header.Get("Retry-After") != "1" || header.Get("Usher-Revision") != "0") {
			t.Errorf("%s answers %d %v %s", url, status, header, body)
		}
	}
	if status, _, body := ask("http://" + ops + "/metrics"); status != http.StatusOK || !strings.Contains(body, "usher_build_info") {
		t.Errorf("/metrics answers %d", status)
	}
	start(t, dir, false, "--etcd-listen", etcd)
	until(t, "it to be ready", func() bool { status, _, _ := ask("http://" + ops + "/readyz"); return status == http.StatusOK })
	if status, _, _ := ask("http://" + api + "/api/v1/rooms"); status != http.StatusUnauthorized {
		t.Errorf("when it is ready it answers %d", status)
	}
}
