package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

var (
	g13a = goal{"G13a", "list against LiveKit", "list of 20: CPU against livekit-server's ListParticipants", "×", 0.5, false}
	g13b = goal{"G13b", "kick against LiveKit", "DELETE of a participant: CPU against livekit-server's RemoveParticipant", "×", 0.5, false}
)

const (
	lessonSize   = 20          // participants, in each room of G13
	lessonsEnded = 5           // rooms that are emptied in a round
	idleTime     = time.Second // for which a server is watched before
)

// measureLiveKit is G13. Its participants are real there: WebRTC clients that have connected, in a process of their own.
func (h *harness) measureLiveKit() ([]figure, error) {
	if h.liveKit == "" {
		return nil, notAtHand("no --livekit-server was given")
	}
	theirs, err := h.startLiveKit()
	if err != nil {
		return nil, err
	}
	defer theirs.stop()
	g, err := h.gateway("livekit-usher")
	if err != nil {
		return nil, err
	}
	defer g.stop()
	owners, err := g.tenants(1)
	if err != nil {
		return nil, err
	}
	ours := &lessons{gateway: g, key: owners[0].Key}
	ourList, err := ours.listing(h)
	if err != nil {
		return nil, err
	}
	theirList, err := theirs.listing(h)
	if err != nil {
		return nil, err
	}
	list, kick := figure{goal: g13a}, figure{goal: g13b}
	for round := range h.rounds {
		h.say("livekit, round %d of %d", round+1, h.rounds)
		a, err := h.put(ourList, g.process)
		if err != nil {
			return nil, err
		}
		b, err := h.put(theirList, theirs.process)
		if err != nil {
			return nil, err
		}
		list.add(a.cpuEach()/b.cpuEach(), of("usher", 1e6*a.cpuEach(), "µs"), of("livekit", 1e6*b.cpuEach(), "µs"))
		ourKick, err := ours.kicked(h, fmt.Sprintf("Round-%d", round))
		if err != nil {
			return nil, err
		}
		theirKick, err := theirs.kicked(h, fmt.Sprintf("Round-%d", round))
		if err != nil {
			return nil, err
		}
		kick.add(ourKick/theirKick, of("usher", 1e6*ourKick, "µs"), of("livekit", 1e6*theirKick, "µs"))
	}
	return []figure{list, kick}, nil
}

// kicks gives the CPU of each of the plan's requests, in seconds, until its answer: what a server does about it later is
// not counted, nor what it does meanwhile for those who sit in its rooms.
func (h *harness) kicks(p plan, on *process) (float64, error) {
	var before time.Duration
	for range 2 { // what joining has set off comes to an end in the first of them
		before = on.cpu()
		select {
		case <-time.After(idleTime):
		case <-h.ctx.Done():
			return 0, h.ctx.Err()
		}
	}
	idle := (on.cpu() - before).Seconds() / idleTime.Seconds()
	done, err := h.put(p, on)
	if err != nil {
		return 0, err
	}
	busy := done.CPU.Seconds() - idle*done.Took.Seconds()
	if done.Answers != lessonSize*lessonsEnded || busy <= 0 {
		return 0, fmt.Errorf("nothing was measured: %d answers, %s of CPU in %s, and %.3f in each second before", done.Answers, done.CPU, done.Took, idle)
	}
	return busy / float64(done.Answers), nil
}

// lessons are rooms of Usher.
type lessons struct {
	gateway *gateway
	key     string
}

// seated fills a room and gives the paths of its participants.
func (l *lessons) seated(name string) (path string, seats []string, err error) {
	path = "/api/v1/rooms/" + name + "/participants"
	var users []map[string]string
	for i := range lessonSize {
		users = append(users, map[string]string{"display_name": "John Doe", "external_user_id": fmt.Sprintf("user_%d", i)})
	}
	text, _, err := l.gateway.call(http.MethodPost, path+"/bulk", l.key, map[string]any{"participants": users}, http.StatusOK)
	if err != nil {
		return "", nil, err
	}
	var added struct {
		Results []struct {
			ID string `json:"participant_id"`
		}
	}
	if err := json.Unmarshal(text, &added); err != nil {
		return "", nil, err
	}
	for _, r := range added.Results {
		seats = append(seats, path+"/"+r.ID)
	}
	return path + "?active=true", seats, nil
}

func (l *lessons) listing(h *harness) (plan, error) {
	path, _, err := l.seated("Listed")
	if err != nil {
		return plan{}, err
	}
	text, _, err := l.gateway.call(http.MethodGet, path, l.key, nil, http.StatusOK)
	if err == nil && bytes.Count(text, []byte(`"id":"p_`)) != lessonSize {
		err = fmt.Errorf("the room to be listed is %s", text)
	}
	return plan{
		Address: l.gateway.address, Connections: 16, For: h.each, Request: request{Method: http.MethodGet, Path: path, Header: map[string]string{"X-API-Key": l.key}},
		Want: want{Status: http.StatusOK, Least: len(text), Most: len(text), Begins: `{"participants":[{"id":"p_`},
	}, err
}

func (l *lessons) kicked(h *harness, name string) (float64, error) {
	p := plan{
		Address: l.gateway.address, Connections: lessonSize, Each: lessonsEnded,
		Request: request{Method: http.MethodDelete}, Want: want{Status: http.StatusNoContent},
	}
	var lists []string
	for i := range lessonsEnded {
		list, seats, err := l.seated(fmt.Sprintf("%s-%d", name, i))
		if err != nil {
			return 0, err
		}
		lists = append(lists, list)
		for _, seat := range seats {
			p.Request.Turns = append(p.Request.Turns, turn{Path: seat, Token: l.key})
		}
	}
	each, err := h.kicks(p, l.gateway.process)
	for _, list := range lists {
		text, _, failed := l.gateway.call(http.MethodGet, list, l.key, nil, http.StatusOK)
		if failed == nil && bytes.Contains(text, []byte(`"id"`)) {
			failed = fmt.Errorf("there is still somebody: %s", text)
		}
		err = errors.Join(err, failed)
	}
	return each, err
}

// liveKit is a running livekit-server, and the process that joins its rooms.
type liveKit struct {
	*process
	address string // host:port
	joiner  *process
}

const (
	liveKitKey    = "bench"
	liveKitSecret = "of-the-benchmark-alone-32-characters"
)

// startLiveKit starts the server on loopback alone, and builds and starts the program that joins.
func (h *harness) startLiveKit() (_ *liveKit, err error) {
	dir := filepath.Join(h.dir, "livekit")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	server, err := filepath.Abs(h.liveKit)
	if err != nil {
		return nil, err
	}
	h.say("livekit: building the client")
	joiner := filepath.Join(dir, "joiner")
	build := exec.CommandContext(h.ctx, "go", "build", "-C", "cmd/bench/livekit", "-o", joiner, ".")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the client: %w\n%s", err, out)
	}
	if err != nil {
		return nil, err
	}
	address, err := freePort(h.ctx)
	if err != nil {
		return nil, err
	}
	var ports [3]int // that of the address, and two for media
	if ports[0], err = portOf(address, nil); err != nil {
		return nil, err
	}
	for i := range ports[1:] {
		if ports[1+i], err = portOf(freePort(h.ctx)); err != nil {
			return nil, err
		}
	}
	config, err := json.Marshal(map[string]any{ // JSON is YAML
		"port": ports[0], "bind_addresses": []string{"127.0.0.1"}, "keys": map[string]string{liveKitKey: liveKitSecret},
		"rtc": map[string]any{
			"tcp_port": ports[1], "udp_port": ports[2], "node_ip": "127.0.0.1", "use_external_ip": false,
			"interfaces": map[string]any{"includes": []string{"lo"}}, "enable_loopback_candidate": true,
		},
		"logging": map[string]string{"level": "error"},
	})
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "config.yaml"), config, 0o600); err != nil {
		return nil, err
	}
	l := &liveKit{address: address}
	if l.process, err = start(h.ctx, dir, "livekit-server", server, "--config", "config.yaml"); err != nil {
		return nil, err
	}
	if err = h.answers("http://"+l.address+"/", l.log); err == nil {
		l.joiner, err = start(h.ctx, dir, "livekit-joiner", joiner, "ws://"+l.address, liveKitKey, liveKitSecret)
	}
	if err != nil {
		l.process.stop()
		return nil, err
	}
	return l, nil
}

func portOf(address string, err error) (int, error) {
	if err != nil {
		return 0, err
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(port)
}

func (l *liveKit) stop() {
	_ = l.joiner.in.Close() // it ends with its input
	l.joiner.stop()
	l.process.stop()
}

// joined fills a room with clients, and gives who they are and the token of an administrator.
func (l *liveKit) joined(room string) (identities []string, token string, err error) {
	for i := range lessonSize {
		identities = append(identities, fmt.Sprintf("user_%d", i))
	}
	told, err := ask[struct{ Token string }](l.joiner, map[string]any{"room": room, "identities": identities})
	return identities, told.Token, err
}

const roomService = "/twirp/livekit.RoomService/"

func (l *liveKit) listing(h *harness) (plan, error) {
	_, token, err := l.joined("listed")
	if err != nil {
		return plan{}, err
	}
	p := plan{
		Address: l.address, Connections: 16, For: h.each,
		Request: request{Method: http.MethodPost, Path: roomService + "ListParticipants", Header: map[string]string{"Authorization": "Bearer " + token}, Body: `{"room":"listed"}`},
		Want:    want{Status: http.StatusOK, Least: 200 * lessonSize, Most: 1000 * lessonSize, Begins: `{"participants":[{"sid":"PA_`},
	}
	return p, h.active(p, lessonSize)
}

// active waits until a list of livekit's has so many participants, and all of them are connected.
func (h *harness) active(list plan, n int) error {
	var listed, connected int
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end) && h.ctx.Err() == nil; {
		_, text, err := h.example(list)
		if err != nil {
			return err
		}
		listed, connected = bytes.Count(text, []byte(`"sid":"PA_`)), bytes.Count(text, []byte(`"state":"ACTIVE"`))
		if listed == n && connected == n {
			return nil
		}
	}
	return fmt.Errorf("livekit's room has %d participants, of whom %d are connected, not %d", listed, connected, n)
}

func (l *liveKit) kicked(h *harness, name string) (float64, error) {
	p := plan{
		Address: l.address, Connections: lessonSize, Each: lessonsEnded, Request: request{Method: http.MethodPost},
		Want: want{Status: http.StatusOK, Least: 2, Most: 2, Begins: `{}`},
	}
	var lists []plan
	for i := range lessonsEnded {
		room := fmt.Sprintf("%s-%d", name, i)
		identities, token, err := l.joined(room)
		if err != nil {
			return 0, err
		}
		for _, identity := range identities {
			p.Request.Turns = append(p.Request.Turns, turn{roomService + "RemoveParticipant", token, fmt.Sprintf(`{"room":%q,"identity":%q}`, room, identity)})
		}
		list := plan{Address: l.address, Connections: 1, Each: 1, Want: want{Status: http.StatusOK}, Request: request{
			Method: http.MethodPost, Turns: []turn{{roomService + "ListParticipants", token, fmt.Sprintf(`{"room":%q}`, room)}},
		}}
		if err := h.active(list, lessonSize); err != nil {
			return 0, err
		}
		lists = append(lists, list)
	}
	each, err := h.kicks(p, l.process)
	for _, list := range lists {
		err = errors.Join(err, h.active(list, 0))
	}
	return each, err
}
