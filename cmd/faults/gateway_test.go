package faults

import (
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"usher/store/porttest"
)

const (
	operatorKey = "an-operator-key-for-faults"
	prefix      = "/usher/v1/"
)

// gateway is a process of usher, with a link to each member of etcd.
type gateway struct {
	process
	url, ops string
	links    []*link

	mu    sync.Mutex
	away  []span // when it could not answer, since the bench had stopped it; guarded by mu
	since time.Time
}

// span is a time.
type span struct{ from, to time.Time }

func newGateway(t testing.TB, dir string, c *cluster, n int, masterKeys string) *gateway {
	t.Helper()
	api, ops := porttest.Free(t), porttest.Free(t)
	g := &gateway{url: "http://" + api, ops: "http://" + ops}
	var endpoints []string
	for _, m := range c.members {
		l := newLink(t, strings.TrimPrefix(m.client, "http://"))
		g.links, endpoints = append(g.links, l), append(endpoints, l.url())
	}
	g.name, g.binary, g.log = fmt.Sprintf("g%d", n), usherProgram, filepath.Join(dir, fmt.Sprintf("g%d.log", n))
	g.args = []string{"serve", "--listen", api, "--ops-listen", ops, "--operator-key", operatorKey, "--master-key-file", masterKeys,
		"--etcd-endpoints", strings.Join(endpoints, ","), "--log-level", "warn", "--issuer-url", "http://usher.test"}
	t.Cleanup(g.kill)
	return g
}

// spoil does the fault to the gateway's links to all members.
func (g *gateway) spoil(f fault) {
	for _, l := range g.links {
		l.wire("").spoil(f)
	}
}

// suspend notes that from now on it is not to be blamed for what takes long; resume that it is again.
func (g *gateway) suspend() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.since.IsZero() {
		g.since = time.Now()
	}
}

func (g *gateway) resume() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.since.IsZero() {
		g.away, g.since = append(g.away, span{g.since, time.Now()}), time.Time{}
	}
}

// excused says whether it was suspended at some time between the two.
func (g *gateway) excused(from, to time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.since.IsZero() && g.since.Before(to) {
		return true
	}
	for _, s := range g.away {
		if s.from.Before(to) && s.to.After(from) {
			return true
		}
	}
	return false
}

var operations = &http.Client{Timeout: 30 * time.Second}

// ask is a request to the operations port; 0 when nobody answers.
func (g *gateway) ask(path string) (status int, header http.Header, body string) {
	response, err := operations.Get(g.ops + path)
	if err != nil {
		return 0, nil, err.Error()
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, nil, err.Error()
	}
	return response.StatusCode, response.Header, string(text)
}

// ready says whether it follows the log without delay.
func (g *gateway) ready() bool {
	status, _, body := g.ask("/readyz")
	return status == http.StatusOK && strings.Contains(body, `"READY"`)
}
