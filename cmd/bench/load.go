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
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// serveLoad is the child that puts load on servers. For each plan it connects, says so, waits for a word, and answers with
// the outcome. It writes requests that are ready and reads no more of an answer than its length, so that it takes as little
// as it can of the machine that it shares with what it measures.
func serveLoad([]string) error {
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var p plan
		if err := in.Decode(&p); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		clients, err := p.connect()
		if err != nil {
			return err
		}
		if err := out.Encode("connected"); err != nil {
			return err
		}
		var begin any
		if err := in.Decode(&begin); err != nil {
			return err
		}
		l := &loading{plan: &p}
		var word errgroup.Group
		if p.Held {
			word.Go(func() error {
				var enough any
				defer l.enough.Store(true)
				return in.Decode(&enough)
			})
		}
		done := l.run(clients)
		if err := word.Wait(); err != nil {
			return err
		}
		if err := out.Encode(done); err != nil {
			return err
		}
	}
}

// loading is a plan that is being run.
type loading struct {
	*plan
	began    time.Time
	answered atomic.Int64
	enough   atomic.Bool // the word was heard
}

// goesOn says whether requests are still begun.
func (l *loading) goesOn() bool {
	switch took := time.Since(l.began); {
	case took < l.For:
		return true
	case took >= l.Most:
		return false
	}
	return l.Held && !l.enough.Load() || l.answered.Load() < int64(l.Least)
}

// client is one connection and what it has seen.
type client struct {
	plan      *plan
	n         int // which of the connections
	address   string
	conn      net.Conn
	reader    *bufio.Reader
	sent      int
	latencies []time.Duration
	refused   int
	statuses  map[int]int
	failure   string
}

func (c *client) connect() (err error) {
	if c.conn, err = new(net.Dialer).DialContext(context.Background(), "tcp", c.address); err == nil {
		c.reader = bufio.NewReaderSize(c.conn, 64<<10)
	}
	return err
}

func (p *plan) connect() ([]*client, error) {
	clients := make([]*client, p.Connections)
	if p.Request.Seats != nil {
		p.Request.Seats.Together = p.Connections / len(p.Request.Seats.Keys)
	}
	for i := range clients {
		address := p.Address
		if turn := i % (len(p.Beside) + 1); turn > 0 {
			address = p.Beside[turn-1]
		}
		clients[i] = &client{plan: p, n: i, address: address, statuses: make(map[int]int)}
		if err := clients[i].connect(); err != nil {
			return nil, err
		}
	}
	return clients, nil
}

func (l *loading) run(clients []*client) (o outcome) {
	l.began = time.Now()
	var running sync.WaitGroup
	for _, c := range clients {
		running.Go(func() { c.run(l) })
	}
	running.Wait()
	o.Took, o.Least, o.Statuses = time.Since(l.began), l.Least, make(map[int]int)
	for _, c := range clients {
		_ = c.conn.Close() // every answer was read
		o.Latencies = append(o.Latencies, c.latencies...)
		o.Refused += c.refused
		for status, n := range c.statuses {
			o.Statuses[status] += n
		}
		if o.Failure == "" {
			o.Failure = c.failure
		}
	}
	o.Answers = len(o.Latencies)
	slices.Sort(o.Latencies)
	return o
}

// run sends one request after another. With a rate, each has its time, and its latency counts from then: a server that is
// late does not slow down who asks it (coordinated omission).
func (c *client) run(l *loading) {
	var interval time.Duration
	if c.plan.PerSecond > 0 {
		interval = time.Duration(c.plan.Connections) * time.Second / time.Duration(c.plan.PerSecond)
	}
	due := l.began.Add(interval * time.Duration(c.n) / time.Duration(c.plan.Connections))
	cycle := c.cycle()
	ready := c.render(nil)
	for {
		now := time.Now()
		if interval > 0 {
			if wait := due.Sub(now); wait > 0 {
				time.Sleep(wait)
			}
			now = due
			due = due.Add(interval)
		}
		if c.plan.Each > 0 && c.sent == c.plan.Each || c.plan.Each == 0 && !l.goesOn() {
			return
		}
		if len(cycle) > 0 {
			ready = cycle[(c.n+c.sent)%len(cycle)]
		}
		done, err := c.exchange(ready)
		if err != nil {
			c.failure = err.Error()
			return
		}
		l.answered.Add(1)
		if done {
			c.latencies = append(c.latencies, time.Since(now))
		} else {
			c.refused++
		}
		c.sent++
		if r := c.plan.Request; r.Seats != nil || r.Changes != nil || r.Turns != nil && c.sent < c.plan.Each {
			ready = c.render(ready[:0])
		}
	}
}

// cycle is the requests of a cycle, ready to be sent.
func (c *client) cycle() (ready [][]byte) {
	for _, turn := range c.plan.Request.Cycle {
		ready = append(ready, c.request(nil, turn.Path, turn.Body, "", turn.Token))
	}
	return ready
}

// exchange sends the request and says whether it was done, or refused as a plan may expect.
func (c *client) exchange(request []byte) (done bool, err error) {
	if c.plan.Want.Any {
		return true, c.count(request)
	}
	if _, err := c.conn.Write(request); err != nil {
		return false, err
	}
	h, err := readHead(c.reader)
	if err != nil {
		return false, err
	}
	w := c.plan.Want
	begins, err := c.reader.Peek(min(h.size, max(len(w.Begins), 400)))
	if err != nil {
		return false, err
	}
	done = h.status == w.Status && h.size >= w.Least && h.size <= w.Most && bytes.HasPrefix(begins, []byte(w.Begins))
	if refused := slices.Contains(w.Refused, h.status) && h.retryAfter; !done && !refused {
		return false, fmt.Errorf("answered %d with %d bytes, want %d with %d to %d: %s", h.status, h.size, w.Status, w.Least, w.Most, begins)
	}
	_, err = c.reader.Discard(h.size)
	return done, err
}

// count sends the request and counts the status of the answer. Who is refused with a large body may find the connection closed.
func (c *client) count(request []byte) error {
	h, err := c.send(request)
	if err == nil && (h.status < 200 || h.status >= 500 && h.status != http.StatusServiceUnavailable) {
		return fmt.Errorf("answered %d", h.status)
	}
	c.statuses[h.status]++
	if err == nil && !h.last {
		return nil
	}
	_ = c.conn.Close() // what was sent over it was answered, or is lost
	return c.connect()
}

// send is an exchange of which nothing but the head is looked at.
func (c *client) send(request []byte) (h head, err error) {
	_, unsent := c.conn.Write(request)
	if h, err = readHead(c.reader); err != nil { // whoever does not take the whole body may have answered all the same
		return head{}, errors.Join(unsent, err)
	}
	if unsent != nil {
		return h, unsent
	}
	if !h.last {
		_, err = c.reader.Discard(h.size)
	}
	return h, err
}

// head is what matters of the head of an answer.
type head struct {
	status, size int
	retryAfter   bool // it says when to come again
	last         bool // no more answers come over this connection, or none that can be told apart
}

func readHead(r *bufio.Reader) (h head, err error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return h, err
	}
	if len(line) < 12 {
		return h, fmt.Errorf("not HTTP: %q", line)
	}
	if h.status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return h, err
	}
	for {
		if line, err = r.ReadSlice('\n'); err != nil {
			return h, err
		}
		if len(line) == 2 {
			return h, nil
		}
		h.last = h.last || bytes.HasPrefix(line, []byte("Connection: close")) || bytes.HasPrefix(line, []byte("Transfer-Encoding: "))
		h.retryAfter = h.retryAfter || bytes.HasPrefix(line, []byte("Retry-After: "))
		if value, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if h.size, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return h, err
			}
		}
	}
}

// render appends the connection's next request.
func (c *client) render(b []byte) []byte {
	r := c.plan.Request
	path, body, key, token := r.Path, r.Body, "", ""
	if s := r.Seats; s != nil {
		path, body = s.next(c.n, c.sent)
		key = s.Keys[c.n%len(s.Keys)]
	}
	if r.Changes != nil {
		owner := r.Changes.Owners[c.n%len(r.Changes.Owners)]
		path, body, key = "/api/v1/tenants/"+owner.ID+"/config", fmt.Sprintf(`{"burst":%d}`, 50_000+(c.n+c.sent)%1000), operatorKey
	}
	if r.Turns != nil {
		turn := r.Turns[c.n*c.plan.Each+c.sent]
		path, body, token = turn.Path, turn.Body, turn.Token
	}
	return c.request(b, path, body, key, token)
}

// request appends a request with what the plan says of all.
func (c *client) request(b []byte, path, body, key, token string) []byte {
	r := c.plan.Request
	b = fmt.Appendf(b, "%s %s HTTP/1.1\r\nHost: %s\r\n", r.Method, path, c.plan.Address)
	for name, value := range r.Header {
		b = fmt.Appendf(b, "%s: %s\r\n", name, value)
	}
	if key != "" {
		b = fmt.Appendf(b, "X-API-Key: %s\r\n", key)
	}
	if token != "" {
		b = fmt.Appendf(b, "Authorization: Bearer %s\r\n", token)
	}
	if body != "" {
		b = fmt.Appendf(b, "Content-Type: application/json\r\nContent-Length: %d\r\n", len(body))
	}
	return append(append(b, "\r\n"...), body...)
}

// next is the request that a connection sends after it has sent some.
func (s *seats) next(connection, sent int) (path, body string) {
	first, filling, together := sent*s.AtOnce, connection%len(s.Keys), max(1, s.Together)
	if s.Apart {
		filling, together = connection, 1
	}
	room := url.PathEscape(fmt.Sprintf("%s %d-%d", s.Name, filling, first*together/s.PerRoom))
	metadata := ""
	if s.Metadata != "" {
		metadata = `,"metadata":` + s.Metadata
	}
	user := func(i int) string {
		return fmt.Sprintf(`{"display_name":"John Doe","external_user_id":"user_%d_%07d","role":"participant"%s}`, connection, first+i, metadata)
	}
	if s.AtOnce == 1 {
		return "/api/v1/rooms/" + room + "/participants", user(0)
	}
	users := make([]string, s.AtOnce)
	for i := range users {
		users[i] = user(i)
	}
	return "/api/v1/rooms/" + room + "/participants/bulk", `{"participants":[` + strings.Join(users, ",") + `]}`
}
