package proof

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2/hpack"
)

// program is a process that a test runs.
type program struct {
	t   *testing.T
	cmd *exec.Cmd
	out bytes.Buffer
}

func run(t *testing.T, path string, args ...string) *program {
	t.Helper()
	p := &program{t: t, cmd: exec.Command(path, args...)}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	return p
}

func (p *program) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

func (p *program) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// built compiles a package into a program; extra are flags of go build.
func built(t *testing.T, dir, pkg, name string, extra ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	c := exec.Command("go", append(append([]string{"build"}, extra...), "-o", path, pkg)...)
	c.Dir = dir
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", pkg, err, out)
	}
	return path
}

var (
	portsMu sync.Mutex
	ports   = make(map[int]bool) // those that were given; guarded by portsMu
)

// freePort is one on which nobody listens, and given once. It is none of those, from 32768 on, that the kernel gives to
// whoever asks for any, and so it stays free.
func freePort(t *testing.T) int {
	t.Helper()
	portsMu.Lock()
	defer portsMu.Unlock()
	for range 100 {
		port := 12_000 + rand.IntN(20_000)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		_ = l.Close()
		if !ports[port] {
			ports[port] = true
			return port
		}
	}
	t.Fatal("no port is free")
	return 0
}

// until waits for something to become true.
func until(t *testing.T, what string, patience time.Duration, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
		<-time.After(50 * time.Millisecond)
	}
}

// member is one of etcd's.
type member struct {
	*program
	args         []string
	plain, tls   string // URLs of its clients
	binary, name string
}

func (m *member) start(t *testing.T) { m.program = run(t, m.binary, m.args...) }

// cluster starts three members, each with a TLS and a plain address for clients.
func cluster(t *testing.T, binary string, certificates string, quota int64) (members []*member) {
	t.Helper()
	var peers []string
	for i := range 3 {
		m := &member{binary: binary, name: fmt.Sprintf("m%d", i),
			plain: fmt.Sprintf("http://127.0.0.1:%d", freePort(t)), tls: fmt.Sprintf("https://127.0.0.1:%d", freePort(t))}
		peer := fmt.Sprintf("http://127.0.0.1:%d", freePort(t))
		peers = append(peers, m.name+"="+peer)
		m.args = []string{"--name", m.name, "--data-dir", t.TempDir(), "--listen-client-urls", m.plain + "," + m.tls,
			"--advertise-client-urls", m.plain, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
			"--cert-file", certificates + "/tls.crt", "--key-file", certificates + "/tls.key", "--trusted-ca-file", certificates + "/ca.crt",
			"--client-cert-auth", "--quota-backend-bytes", fmt.Sprint(quota), "--log-level", "error"}
		members = append(members, m)
	}
	for _, m := range members {
		m.args = append(m.args, "--initial-cluster", strings.Join(peers, ","))
		m.start(t)
	}
	return members
}

// gateway is a running usher.
type gateway struct {
	*program
	url, ops string
}

const operatorKey = "an-operator-key-for-proofs"

func startGateway(t *testing.T, binary, masterKeys string, args ...string) *gateway {
	t.Helper()
	api, ops := fmt.Sprintf("127.0.0.1:%d", freePort(t)), fmt.Sprintf("127.0.0.1:%d", freePort(t))
	g := &gateway{url: "http://" + api, ops: ops}
	g.program = run(t, binary, append([]string{"serve", "--listen", api, "--ops-listen", ops, "--issuer-url", "https://usher.example", "--operator-key", operatorKey,
		"--master-key-file", masterKeys, "--log-level", "error"}, args...)...)
	until(t, "usher to be ready", time.Minute, func() bool {
		response, err := http.Get("http://" + ops + "/readyz")
		if err != nil {
			return false
		}
		_ = response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
	return g
}

// call makes a request and gives the status and the answer; 0 when there was none.
func (g *gateway) call(key, method, path, body string) (int, map[string]any) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, g.url+path, strings.NewReader(body))
	if err != nil {
		return 0, nil
	}
	request.Header.Set("Authorization", "Bearer "+key)
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, nil
	}
	defer func() { _ = response.Body.Close() }()
	text, _ := io.ReadAll(response.Body)
	var answer map[string]any
	_ = json.Unmarshal(text, &answer)
	return response.StatusCode, answer
}

// tenant makes one with the settings and gives its id and key.
func (g *gateway) tenant(t *testing.T, config string) (id, key string) {
	t.Helper()
	status, made := g.call(operatorKey, http.MethodPost, "/api/v1/tenants", `{"name":"a school","config":`+config+`}`)
	if status != http.StatusCreated {
		t.Fatalf("no tenant: %d %v", status, made)
	}
	return made["tenant"].(map[string]any)["id"].(string), made["api_key"].(string)
}

// link is a connection of a gateway to etcd that a test can spoil: only where the watch is, all else goes on.
type link struct {
	listener net.Listener
	to       string
	delay    atomic.Int64 // of what the watch brings, in nanoseconds
	cut      atomic.Bool  // the watch is broken, and cannot be made anew

	mu      sync.Mutex
	watches []net.Conn // guarded by mu
}

// watchName is how HTTP/2 writes the header that only the watch of the index has: elections watch too, beside the
// transactions.
var watchName = hpack.AppendHuffmanString(nil, "usher-watch")

func newLink(t *testing.T, to string) *link {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &link{listener: listener, to: strings.TrimPrefix(to, "http://")}
	t.Cleanup(func() { _ = listener.Close() })
	go func() { // ends with the listener
		for {
			from, err := listener.Accept()
			if err != nil {
				return
			}
			go l.carry(from)
		}
	}()
	return l
}

func (l *link) url() string { return "http://" + l.listener.Addr().String() }

// carry takes bytes both ways until either side ends.
func (l *link) carry(from net.Conn) {
	defer func() { _ = from.Close() }()
	to, err := net.Dial("tcp", l.to)
	if err != nil {
		return
	}
	defer func() { _ = to.Close() }()
	var watching atomic.Bool
	go func() { // ends with either connection
		defer func() { _ = to.Close() }()
		buffer := make([]byte, 64<<10)
		for {
			n, err := from.Read(buffer)
			if bytes.Contains(buffer[:n], watchName) {
				watching.Store(true)
				l.mu.Lock()
				l.watches = append(l.watches, from)
				l.mu.Unlock()
				if l.cut.Load() {
					return
				}
			}
			if _, failed := to.Write(buffer[:n]); err != nil || failed != nil {
				return
			}
		}
	}()
	type parcel struct {
		due  time.Time
		load []byte
	}
	parcels := make(chan parcel, 1<<16)
	go func() { // ends with to
		defer close(parcels)
		for {
			buffer := make([]byte, 64<<10)
			n, err := to.Read(buffer)
			due := time.Now()
			if watching.Load() {
				due = due.Add(time.Duration(l.delay.Load()))
			}
			if n > 0 {
				parcels <- parcel{due, buffer[:n]}
			}
			if err != nil {
				return
			}
		}
	}()
	for p := range parcels {
		<-time.After(time.Until(p.due))
		if _, err := from.Write(p.load); err != nil {
			return
		}
	}
}

// breakWatch cuts the watch, until the next call of mend.
func (l *link) breakWatch() {
	l.cut.Store(true)
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.watches {
		_ = c.Close()
	}
	l.watches = nil
}

func (l *link) mend() { l.cut.Store(false) }

// certificates makes an authority and a certificate for servers and clients of this machine that expires after the time.
func certificates(t *testing.T, lifetime time.Duration) (dir string) {
	t.Helper()
	dir = t.TempDir()
	writeCertificates(t, dir, lifetime)
	return dir
}

func masterKeys(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "master-keys")
	if err := os.WriteFile(path, []byte(strings.Repeat("A", 43)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
