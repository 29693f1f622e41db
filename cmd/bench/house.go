package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// harness is what the measurements share.
type harness struct {
	ctx   context.Context
	dir   string // of all that is written on the way
	usher string // the program
	etcd  string // the program; built when it is first needed
	load  *process

	quick  bool
	rounds int
	each   time.Duration // for one side in one round
	say    func(format string, args ...any)

	profiles string // directory for a profile of each load on a gateway; "" for none
	liveKit  string // a livekit-server; "" for none
	lines    []line // what the growth was found to be

	profiled int // how many profiles were taken

	names int // of loads so far, so that no two seat in the same rooms
}

// build makes a program from the source in the current directory, or from a module that it uses.
func (h *harness) build(source string) (program string, err error) {
	program = filepath.Join(h.dir, path.Base(source))
	out, err := exec.CommandContext(h.ctx, "go", "build", "-o", program, source).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", source, err, out)
	}
	return program, nil
}

// gateway is a running usher.
type gateway struct {
	*process
	address string // host:port
	dir     string
	etcd    string // URL at which its own etcd listens; "" for none
}

const operatorKey = "operator-of-the-benchmark"

// gateway starts the real program with its defaults and the flags.
func (h *harness) gateway(name string, flags ...string) (*gateway, error) {
	g := &gateway{dir: filepath.Join(h.dir, name)}
	if err := os.MkdirAll(g.dir, 0o700); err != nil {
		return nil, err
	}
	p, err := start(h.ctx, g.dir, "usher", h.usher, append([]string{"serve", "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0",
		"--operator-key", operatorKey, "--issuer-url", "https://usher.example"}, flags...)...)
	if err != nil {
		return nil, err
	}
	g.process = p
	line, err := p.out.ReadString('\n')
	if err != nil {
		log, _ := os.ReadFile(p.log)
		return nil, fmt.Errorf("usher did not start: %w\n%s", err, tail(log, 2000))
	}
	if _, err := fmt.Sscanf(line, "usher serves on http://%s (operations on http://%s", &g.address, &g.ops); err != nil {
		return nil, fmt.Errorf("usher says %q: %w", line, err)
	}
	g.ops = strings.TrimRight(g.ops, ")")
	go func() { _, _ = io.Copy(io.Discard, p.out) }() // ends with the process
	return g, nil
}

// withEtcd is gateway, with its etcd open to others. A port that was free may have been taken when it is listened at.
func (h *harness) withEtcd(name string) (g *gateway, err error) {
	for range 3 {
		port, err := freePort(h.ctx)
		if err != nil {
			return nil, err
		}
		etcd := "http://" + port
		if g, err = h.gateway(name, "--etcd-listen", etcd); err == nil {
			g.etcd = etcd
			return g, nil
		} else if !strings.Contains(err.Error(), "address already in use") {
			return nil, err
		}
	}
	return nil, err
}

// beside starts another replica on the etcd of the first.
func (h *harness) beside(first *gateway, name string) (*gateway, error) {
	return h.gateway(name, "--etcd-endpoints", first.etcd, "--master-key-file", filepath.Join(first.dir, "usher-data", "master-key"))
}

func freePort(ctx context.Context) (string, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// call makes one request with the key and reads the answer, which must have the status.
func (g *gateway) call(method, path, key string, body any, want int) (answer []byte, header http.Header, err error) {
	return g.send(method, path, key, body, want, 0)
}

// callFrom is a read that shows at least the revision.
func (g *gateway) callFrom(method, path, key string, revision int64) (answer []byte, header http.Header, err error) {
	return g.send(method, path, key, nil, http.StatusOK, revision)
}

func (g *gateway) send(method, path, key string, body any, want int, revision int64) (answer []byte, header http.Header, err error) {
	var send io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, nil, err
		}
		send = bytes.NewReader(text)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, "http://"+g.address+path, send)
	if err != nil {
		return nil, nil, err
	}
	r.Header.Set("Authorization", "Bearer "+key)
	if revision > 0 {
		r.Header.Set("Usher-Min-Revision", strconv.FormatInt(revision, 10))
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err = io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != want {
		err = fmt.Errorf("%s %s: %d %s", method, path, resp.StatusCode, answer)
	}
	return answer, resp.Header, err
}

// owner is a tenant with its first key.
type owner struct{ ID, Key string }

// tenants makes some that may do as much as a tenant ever may.
func (g *gateway) tenants(n int) ([]owner, error) { return g.tenantsWith(n, 100_000) }

// tenantsWith is tenants that may make so many requests in a second. The operator makes them: what is raised above the
// defaults is bounds, and nobody raises its own.
func (g *gateway) tenantsWith(n, perSecond int) ([]owner, error) {
	config := map[string]any{"requests_per_second": perSecond, "burst": perSecond, "max_participants_per_room": 10_000, "max_concurrent_rooms": 100_000,
		"max_stored_bytes": 1 << 40}
	all := make([]owner, n)
	for i := range all {
		var err error
		if all[i], err = g.tenant(fmt.Sprintf("Tenant %d", i), config); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// tenant makes one with settings that are not the defaults.
func (g *gateway) tenant(name string, config map[string]any) (owner, error) {
	text, _, err := g.call(http.MethodPost, "/api/v1/tenants", operatorKey, map[string]any{"name": name, "config": config}, http.StatusCreated)
	if err != nil {
		return owner{}, err
	}
	var made struct {
		Tenant struct{ ID string }
		APIKey string `json:"api_key"`
	}
	err = json.Unmarshal(text, &made)
	return owner{made.Tenant.ID, made.APIKey}, err
}

func keysOf(owners []owner) (keys []string) {
	for _, o := range owners {
		keys = append(keys, o.Key)
	}
	return keys
}

// seating is seats in rooms that no other load has.
func (h *harness) seating(owners []owner, atOnce int) *seats {
	h.names++
	return &seats{Keys: keysOf(owners), Name: fmt.Sprintf("Lesson %d", h.names), PerRoom: 100, AtOnce: atOnce}
}

// adding is the load of single adds.
func (h *harness) adding(g *gateway, owners []owner, connections int) plan {
	return plan{
		Address: g.address, Connections: connections, For: h.each,
		Request: request{Method: http.MethodPost, Seats: h.seating(owners, 1)},
		Want:    want{Status: http.StatusCreated, Least: 2000, Most: 4000, Begins: `{"participant":{"id":"p_`},
	}
}

const bulkSize = 100

// bulks is the load of bulk adds.
func (h *harness) bulks(g *gateway, owners []owner, connections int) plan {
	p := h.adding(g, owners, connections)
	p.Request.Seats = h.seating(owners, bulkSize)
	p.Want = want{Status: http.StatusOK, Least: 1500 * bulkSize, Most: 3000 * bulkSize, Begins: `{"results":[{"participant_id":"p_`}
	return p
}

// counted makes sure that everybody who was seated by the plan is in the rooms.
func (h *harness) counted(g *gateway, p plan, owners []owner, answers int) error {
	found := 0
	if err := g.rooms(owners, p.Request.Seats.Name+" ", func(_ owner, r room) error {
		found += r.ParticipantCount
		return nil
	}); err != nil {
		return err
	}
	if want := answers * p.Request.Seats.AtOnce; found != want {
		return fmt.Errorf("%d were answered to be seated, and %d are", want, found)
	}
	return nil
}

type room struct {
	ID               string
	Name             string
	ParticipantCount int `json:"participant_count"`
}

// rooms goes through the rooms of the owners whose names begin so.
func (g *gateway) rooms(owners []owner, begins string, each func(owner, room) error) error {
	for _, o := range owners {
		for token := ""; ; {
			text, _, err := g.call(http.MethodGet, "/api/v1/rooms?page_size=1000&page_token="+token, o.Key, nil, http.StatusOK)
			if err != nil {
				return err
			}
			var page struct {
				Rooms []room
				Next  string `json:"next_page_token"`
			}
			if err := json.Unmarshal(text, &page); err != nil {
				return err
			}
			for _, room := range page.Rooms {
				if !strings.HasPrefix(room.Name, begins) {
					continue
				}
				if err := each(o, room); err != nil {
					return err
				}
			}
			if token = page.Next; token == "" {
				break
			}
		}
	}
	return nil
}

// bare starts the server that does nothing but what must be done.
func (h *harness) bare(b bare) (*process, string, error) {
	text, err := json.Marshal(b)
	if err != nil {
		return nil, "", err
	}
	p, err := child(h.ctx, h.dir, "bare", string(text))
	if err != nil {
		return nil, "", err
	}
	var address string
	return p, address, p.hear(&address)
}

// example makes the request of a plan once, and gives its bytes and its answer.
func (h *harness) example(p plan) (request, body []byte, err error) {
	conn, err := new(net.Dialer).DialContext(h.ctx, "tcp", p.Address)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = conn.Close() }()
	c := &client{plan: &p}
	request = c.render(nil)
	if _, err := conn.Write(request); err != nil {
		return nil, nil, err
	}
	reader := bufio.NewReader(conn)
	head, err := readHead(reader)
	if err != nil {
		return nil, nil, err
	}
	if head.status != p.Want.Status {
		return nil, nil, errors.New("the example was refused")
	}
	body = make([]byte, head.size)
	_, err = io.ReadFull(reader, body)
	return request, body, err
}
