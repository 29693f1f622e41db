package main_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"usher/store/porttest"
)

// binary is the real program, built once for all tests.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "usher-binary")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "usher")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		panic(string(out))
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// process is a running usher.
type process struct {
	t      testing.TB
	cmd    *exec.Cmd
	url    string
	ops    string // URL of the operations port
	key    string // the API key that a first start has printed
	stderr *bytes.Buffer
}

var (
	servesOn = regexp.MustCompile(`^usher serves on (https?://\S+) \(operations on (https?://[^)]+)\)`)
	apiKey   = regexp.MustCompile(`^\s+API key\s+(usk_\S+)`)
)

// start runs usher on a data directory until it serves and, on a first start, until it has printed its key.
func start(t testing.TB, dir string, first bool, more ...string) *process {
	t.Helper()
	return startOn(t, 0, dir, first, more...)
}

// startOn is start on so many processors; 0: on all.
func startOn(t testing.TB, processors int, dir string, first bool, more ...string) *process {
	t.Helper()
	p := &process{t: t, stderr: &bytes.Buffer{}}
	p.cmd = exec.Command(binary, "serve", "--data-dir", dir, "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0")
	p.cmd.Args = append(p.cmd.Args, more...)
	p.cmd.Stderr = p.stderr
	if processors > 0 {
		p.cmd.Env = append(os.Environ(), fmt.Sprintf("GOMAXPROCS=%d", processors))
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if found := servesOn.FindStringSubmatch(lines.Text()); found != nil {
			p.url, p.ops = found[1], found[2]
		}
		if found := apiKey.FindStringSubmatch(lines.Text()); found != nil {
			p.key = found[1]
		}
		if p.url != "" && (p.key != "" || !first) {
			go func() { _, _ = io.Copy(io.Discard, stdout) }() // ends with the process
			return p
		}
	}
	t.Fatalf("usher did not start: %s", p.stderr)
	return nil
}

func (p *process) do(method, path, body string) (status int, answer map[string]any, err error) {
	request, err := http.NewRequest(method, p.url+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	request.Header.Set("X-API-Key", p.key)
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = response.Body.Close() }()
	return response.StatusCode, answer, json.NewDecoder(response.Body).Decode(&answer)
}

// remove is do for what is answered without a body.
func (p *process) remove(path string) (status int, err error) {
	request, err := http.NewRequest(http.MethodDelete, p.url+path, nil)
	if err != nil {
		return 0, err
	}
	request.Header.Set("X-API-Key", p.key)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	return response.StatusCode, response.Body.Close()
}

// TestWhatWasAcknowledgedSurvivesAKill kills the process in the middle of 1000 adds and looks at what is left.
func TestWhatWasAcknowledgedSurvivesAKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := start(t, dir, true)
	var (
		mu           sync.Mutex
		acknowledged = make(map[string]bool)
		workers      sync.WaitGroup
		kill         sync.Once
	)
	for w := range 20 {
		workers.Go(func() {
			for i := range 50 {
				status, added, err := p.do("POST", fmt.Sprintf("/api/v1/rooms/room-%d/participants", w), fmt.Sprintf(`{"display_name":"user %d-%d"}`, w, i))
				if err != nil {
					return // killed
				}
				mu.Lock()
				if status == http.StatusCreated {
					acknowledged[added["participant_id"].(string)] = true
				}
				half := len(acknowledged) >= 500
				mu.Unlock()
				if half {
					kill.Do(func() { _ = p.cmd.Process.Signal(syscall.SIGKILL) })
				}
			}
		})
	}
	workers.Wait()
	_ = p.cmd.Wait()
	if len(acknowledged) < 500 || len(acknowledged) == 1000 {
		t.Fatalf("%d adds were acknowledged before the kill", len(acknowledged))
	}
	again := start(t, dir, false)
	again.key = p.key
	for w := range 20 {
		name := fmt.Sprintf("/api/v1/rooms/room-%d", w)
		_, list, err := again.do("GET", name+"/participants", "")
		if err != nil {
			t.Fatal(err)
		}
		_, room, err := again.do("GET", name, "")
		if err != nil {
			t.Fatal(err)
		}
		seats, _ := list["participants"].([]any)
		for _, seat := range seats {
			delete(acknowledged, seat.(map[string]any)["id"].(string))
		}
		if room["participant_count"] != float64(len(seats)) {
			t.Errorf("room-%d counts %v, %d are listed", w, room["participant_count"], len(seats))
		}
	}
	if len(acknowledged) > 0 {
		t.Errorf("%d acknowledged participants are gone", len(acknowledged))
	}
}

// TestMistakesAreOneClearLine starts usher as a stranger might, and reads what it says.
func TestMistakesAreOneClearLine(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() }) // after the subtests, which run when this function has returned
	used := t.TempDir()
	start(t, used, true)
	written := t.TempDir()
	start(t, written, true, "--etcd-listen", "http://"+porttest.Free(t)).endsInPeace()
	lost := t.TempDir()
	start(t, lost, true).endsInPeace()
	if err := os.Remove(filepath.Join(lost, "master-key")); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	other := filepath.Join(t.TempDir(), "other")
	for path, text := range map[string]string{file: "x", other: strings.Repeat("A", 43) + "\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cluster := func(endpoint string, more ...string) []string {
		return append([]string{"--etcd-endpoints", endpoint, "--operator-key", strings.Repeat("k", 16), "--master-key-file", other, "--start-timeout", "5s"}, more...)
	}
	issuer := []string{"--issuer-url", "http://usher.test"}
	for name, c := range map[string]struct {
		args []string
		says string
	}{
		"port taken":         {[]string{"--listen", taken.Addr().String()}, "address already in use"},
		"directory in use":   {[]string{"--data-dir", used}, "in use by another usher"},
		"directory a file":   {[]string{"--data-dir", file}, "data directory"},
		"wrong master key":   {[]string{"--data-dir", written, "--master-key-file", other}, "master key file"},
		"missing master key": {[]string{"--master-key-file", file + "-none"}, "no such file"},
		"lost master key":    {[]string{"--data-dir", lost}, "put it back from your copy"},
		"etcd unreachable":   {cluster("127.0.0.1:1", issuer...), "127.0.0.1:1 does not answer: dial tcp 127.0.0.1:1: connect: connection refused"},
		"etcd mistyped":      {cluster("nonsense", issuer...), "is not an endpoint such as"},
		"no issuer":          {cluster("127.0.0.1:1"), "--issuer-url must be given"},
		"issuer no URL":      {cluster("127.0.0.1:1", "--issuer-url", "usher.test"), "is not a URL such as"},
		"etcd port no URL":   {[]string{"--etcd-listen", "127.0.0.1:2379"}, "is not a URL such as"},
		"no certificate":     {[]string{"--tls-cert-file", file + "-none", "--tls-key-file", file}, "--tls-cert-file"},
		"short operator key": {[]string{"--operator-key", "short"}, "at least 16"},
		"unknown flag":       {[]string{"--nope"}, "unknown flag: --nope; see usher serve --help"},
		"unknown argument":   {[]string{"now"}, "unknown command"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := append([]string{"serve", "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0", "--data-dir", t.TempDir()}, c.args...)
			var stderr bytes.Buffer
			cmd := exec.Command(binary, args...)
			cmd.Stderr = &stderr
			done := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
			defer done.Stop()
			err := cmd.Run()
			line := lastLine(stderr.String())
			if err == nil || !strings.HasPrefix(line, "usher: ") || !strings.Contains(line, c.says) {
				t.Errorf("%v: %v, says: %s", c.args, err, stderr.String())
			}
		})
	}
}

// endsInPeace has it end, with nothing to say but what a person must know.
func (p *process) endsInPeace() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		p.t.Fatalf("SIGTERM did not end it in peace: %v: %s", err, p.stderr)
	}
	for line := range strings.Lines(p.stderr.String()) {
		slow := strings.Contains(line, "took too long") || strings.Contains(line, "slow fdatasync") // this machine, for a moment
		if !slow && (strings.Contains(line, "level=WARN") || strings.Contains(line, "level=ERROR")) {
			p.t.Errorf("with nothing wrong it says %s", line)
		}
	}
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return lines[len(lines)-1]
}
