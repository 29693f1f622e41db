package faults

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"usher/store/porttest"
)

// member is a process of etcd. Its peers reach it over a link, and each gateway over one of its own.
type member struct {
	process
	client string // URL; not over a link
	data   string // directory
	peers  *link
}

// cluster is the three members.
type cluster struct {
	members []*member
	client  *clientv3.Client // not over links
}

type clusterOptions struct {
	quota int64                   // bytes; 0 for etcd's default
	data  func(member int) string // where a member's data shall be; nil for the bench's directory
}

func newCluster(t testing.TB, dir string, o clusterOptions) *cluster {
	t.Helper()
	c := &cluster{}
	var initial, clients, listen []string
	c.members = []*member{{}, {}, {}}
	for i, m := range c.members {
		peer := porttest.Free(t)
		*m = member{client: "http://" + porttest.Free(t), peers: newLink(t, peer, c.members...), data: filepath.Join(dir, fmt.Sprintf("m%d", i), "data")}
		if o.data != nil {
			m.data = filepath.Join(o.data(i), "data")
		}
		if err := os.MkdirAll(filepath.Dir(m.data), 0o700); err != nil {
			t.Fatal(err)
		}
		m.name, m.binary, m.log = fmt.Sprintf("m%d", i), etcdProgram, filepath.Join(dir, fmt.Sprintf("m%d.log", i))
		initial, clients, listen = append(initial, m.name+"="+m.peers.url()), append(clients, m.client), append(listen, "http://"+peer)
	}
	for i, m := range c.members {
		m.args = []string{"--name", m.name, "--data-dir", m.data, "--listen-client-urls", m.client, "--advertise-client-urls", m.client,
			"--listen-peer-urls", listen[i], "--initial-advertise-peer-urls", m.peers.url(), "--initial-cluster", strings.Join(initial, ","),
			"--log-level", "warn"}
		if o.quota > 0 {
			m.args = append(m.args, "--quota-backend-bytes", strconv.FormatInt(o.quota, 10))
		}
		t.Cleanup(m.kill)
	}
	var err error
	c.client, err = clientv3.New(clientv3.Config{Endpoints: clients, Logger: zap.NewNop(), DialKeepAliveTime: 5 * time.Second,
		DialKeepAliveTimeout: 2 * time.Second, MaxCallRecvMsgSize: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.client.Close() })
	if err := c.start(); err != nil {
		t.Fatal(err)
	}
	return c
}

// start starts every member that does not run, and waits until the cluster answers.
func (c *cluster) start() error {
	for _, m := range c.members {
		if m.cmd == nil || !m.running() {
			if err := m.start(); err != nil {
				return err
			}
		}
	}
	if !until(30*time.Second, c.answers) {
		return fmt.Errorf("etcd does not answer:\n%s", c.members[0].tail(20))
	}
	for _, m := range c.members {
		if !until(30*time.Second, func() bool { return c.status(m) != nil }) {
			return fmt.Errorf("%s does not answer:\n%s", m.name, m.tail(20))
		}
	}
	return nil
}

func within(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), d)
}

func (c *cluster) answers() bool {
	ctx, cancel := within(2 * time.Second)
	defer cancel()
	_, err := c.client.Get(ctx, "anything")
	return err == nil
}

// revision is the log's newest.
func (c *cluster) revision() (int64, error) {
	ctx, cancel := within(10 * time.Second)
	defer cancel()
	response, err := c.client.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		return 0, err
	}
	return response.Header.Revision, nil
}

// leader is the member that leads now; one of them, when none says so.
func (c *cluster) leader() *member {
	leader := c.members[0]
	until(5*time.Second, func() bool {
		for _, m := range c.members {
			if s := c.status(m); s != nil && s.Leader == s.Header.MemberId {
				leader = m
				return true
			}
		}
		return false
	})
	return leader
}

func (c *cluster) status(m *member) *clientv3.StatusResponse {
	ctx, cancel := within(time.Second)
	defer cancel()
	s, err := c.client.Status(ctx, m.client)
	if err != nil {
		return nil
	}
	return s
}

// isolate spoils the connections between the member and its peers: those that it has made, those that they have, or both.
func (c *cluster) isolate(lonely *member, f fault, made, taken bool) {
	for _, m := range c.members {
		if m == lonely {
			continue
		}
		if made {
			m.peers.wire(lonely.name).spoil(f)
		}
		if taken {
			lonely.peers.wire(m.name).spoil(f)
		}
	}
}

func (c *cluster) mend() {
	for _, m := range c.members {
		m.peers.mu.Lock()
		for _, w := range m.peers.wires {
			w.mend()
		}
		m.peers.mu.Unlock()
	}
}
