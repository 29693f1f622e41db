package main_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"usher/cmd/usher/certificates/certtest"
	"usher/store/porttest"
)

// guarded is an etcd as a careful operator runs it, with an usher before it: TLS both ways, a user of etcd's own that may
// have what is below the prefix and nothing else, and tokens that expire after two seconds. Between the two is a proxy
// that can cut every connection.
type guarded struct {
	*process
	old, young *certtest.Authority
	server     *certtest.Secret // etcd's own certificate
	client     *certtest.Secret // usher's, and whom it trusts
	root       *clientv3.Client
	proxy      *cutter
}

const (
	etcdPassword = "a password"
	tokenTTL     = 2 * time.Second
)

func startGuarded(t *testing.T) *guarded {
	t.Helper()
	g := &guarded{old: certtest.NewAuthority(t, "old"), young: certtest.NewAuthority(t, "young")}
	pair := g.old.Good("etcd")
	// etcd reads the authorities of its clients once, so both are there; its certificate it reads for each connection.
	g.server = certtest.NewSecret(t, map[string][]byte{"tls.crt": pair.Cert, "tls.key": pair.Key, "ca.crt": slices.Concat(g.old.PEM, g.young.PEM)})
	g.client = certtest.NewSecret(t, g.clientFiles(g.old.Good("usher"), g.old))
	endpoint := g.startEtcd(t)
	g.proxy = newCutter(t, endpoint)
	g.authenticate(t, endpoint)
	dir := t.TempDir()
	master := filepath.Join(dir, "master")
	if err := os.WriteFile(master, []byte(strings.Repeat("A", 43)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const operator = "an-operator-key-for-tests"
	g.process = start(t, dir, false, "--issuer-url", "http://usher.test", "--etcd-endpoints", "https://"+g.proxy.listener.Addr().String(), "--etcd-ca-file", g.client.Path("ca.crt"),
		"--etcd-cert-file", g.client.Path("tls.crt"), "--etcd-key-file", g.client.Path("tls.key"), "--etcd-user", "usher",
		"--etcd-password", etcdPassword, "--operator-key", operator, "--master-key-file", master)
	g.key = operator
	status, answer, err := g.do("POST", "/api/v1/tenants", `{"name":"a school","config":{"max_participants_per_room":10000,"requests_per_second":10000,"burst":10000}}`)
	if err != nil || status != http.StatusCreated {
		t.Fatal(status, answer, err, g.stderr)
	}
	g.key = answer["api_key"].(string)
	return g
}

func (g *guarded) clientFiles(pair certtest.Pair, trusted ...*certtest.Authority) map[string][]byte {
	var ca []byte
	for _, a := range trusted {
		ca = append(ca, a.PEM...)
	}
	return map[string][]byte{"tls.crt": pair.Cert, "tls.key": pair.Key, "ca.crt": ca}
}

func (g *guarded) startEtcd(t *testing.T) (address string) {
	t.Helper()
	address = porttest.Free(t)
	dir := t.TempDir()
	c := embed.NewConfig()
	c.Dir = filepath.Join(dir, "etcd")
	serves := url.URL{Scheme: "https", Host: address}
	c.ListenClientUrls, c.AdvertiseClientUrls, c.ListenPeerUrls = []url.URL{serves}, []url.URL{serves}, []url.URL{}
	c.ClientTLSInfo = transport.TLSInfo{CertFile: g.server.Path("tls.crt"), KeyFile: g.server.Path("tls.key"), TrustedCAFile: g.server.Path("ca.crt"), ClientCertAuth: true}
	c.AuthToken = fmt.Sprintf("jwt,priv-key=%s,sign-method=EdDSA,ttl=%s", signingKey(t, dir), tokenTTL)
	c.UnsafeNoFsync = true // a disk that stalls would fail requests for a reason of its own
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	server, err := embed.StartEtcd(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	<-server.Server.ReadyNotify()
	return address
}

func signingKey(t *testing.T, dir string) (path string) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, "jwt.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// authenticate gives the user usher what is below the prefix, and turns authentication on.
func (g *guarded) authenticate(t *testing.T, endpoint string) {
	t.Helper()
	config := clientv3.Config{
		Endpoints: []string{"https://" + endpoint}, Logger: zap.NewNop(), DialTimeout: 10 * time.Second,
		TLS: &tls.Config{RootCAs: certtest.Pool(g.old, g.young), Certificates: []tls.Certificate{g.old.Good("").TLS(t)}},
	}
	first, err := clientv3.New(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	_, rootErr := first.UserAdd(ctx, "root", "root")
	_, rootRoleErr := first.UserGrantRole(ctx, "root", "root")
	_, roleErr := first.RoleAdd(ctx, "usher")
	_, grantErr := first.RoleGrantPermission(ctx, "usher", "/usher/v1/", clientv3.GetPrefixRangeEnd("/usher/v1/"), clientv3.PermissionType(clientv3.PermReadWrite))
	_, userErr := first.UserAdd(ctx, "usher", etcdPassword)
	_, userRoleErr := first.UserGrantRole(ctx, "usher", "usher")
	_, enableErr := first.AuthEnable(ctx)
	if err := errors.Join(rootErr, rootRoleErr, roleErr, grantErr, userErr, userRoleErr, enableErr, first.Close()); err != nil {
		t.Fatal(err)
	}
	config.Username, config.Password = "root", "root"
	if g.root, err = clientv3.New(config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.root.Close() })
}

// cutter passes connections on to an address, until it cuts them.
type cutter struct {
	listener net.Listener

	mu    sync.Mutex
	conns []net.Conn // of the callers; guarded by mu
	taken int        // since the last cut; guarded by mu
}

func newCutter(t *testing.T, to string) *cutter {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{listener: listener}
	t.Cleanup(func() {
		_ = listener.Close()
		c.cut()
	})
	go func() { // ends with the listener
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			other, err := net.Dial("tcp", to)
			if err != nil {
				_ = conn.Close()
				continue
			}
			c.mu.Lock()
			c.conns = append(c.conns, conn)
			c.taken++
			c.mu.Unlock()
			pass := func(to, from net.Conn) {
				_, _ = io.Copy(to, from)
				_, _ = to.Close(), from.Close()
			}
			go pass(conn, other)
			go pass(other, conn)
		}
	}()
	return c
}

func (c *cutter) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.conns {
		_ = conn.Close()
	}
	c.conns, c.taken = nil, 0
}

func (c *cutter) takenSince() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.taken
}

// callers add participants one after the other, but while they are held.
type callers struct {
	hold    sync.RWMutex // read-locked by a request in flight
	running sync.WaitGroup
	stop    context.CancelFunc
	log     func() string // of usher, which is killed for it
	mu      sync.Mutex
	done    int      // guarded by mu
	failed  []string // guarded by mu
}

func (g *guarded) call(t *testing.T) *callers {
	t.Helper()
	c := &callers{log: func() string {
		g.kill()
		return g.stderr.String()
	}}
	ctx, stop := context.WithCancel(t.Context())
	c.stop = stop
	for i := range 3 {
		c.running.Go(func() {
			for ctx.Err() == nil {
				c.hold.RLock()
				status, answer, err := g.do("POST", fmt.Sprintf("/api/v1/rooms/room-%d/participants", i), `{"display_name":"A"}`)
				c.hold.RUnlock()
				c.mu.Lock()
				c.done++
				if (err != nil || status != http.StatusCreated) && ctx.Err() == nil {
					c.failed = append(c.failed, fmt.Sprint(status, answer, err))
				}
				c.mu.Unlock()
			}
		})
	}
	t.Cleanup(func() {
		stop()
		c.running.Wait()
	})
	return c
}

// none fails the test when a request has failed; what says when.
func (c *callers) none(t *testing.T, what string) {
	t.Helper()
	c.mu.Lock()
	from := c.done
	c.mu.Unlock()
	until(t, "callers to go on", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.done >= from+20
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.failed) > 0 {
		t.Fatalf("%d requests failed %s: %s\n%s", len(c.failed), what, c.failed[0], c.log())
	}
}

// cut breaks usher's connections to etcd at a moment without a request, and waits for new ones.
func (g *guarded) cut(c *callers) {
	g.t.Helper()
	c.hold.Lock()
	defer c.hold.Unlock()
	g.proxy.cut()
	until(g.t, "new connections", func() bool { return g.proxy.takenSince() >= 2 })
}

func (g *guarded) renewed(times int) {
	g.t.Helper()
	line := fmt.Sprintf(`usher_certificate_renewals_total{files="etcd",result="taken"} %d`, times)
	until(g.t, line, func() bool {
		_, _, text := g.ask("GET", "/metrics", "")
		return strings.Contains(text, line)
	})
}

// written waits until an add answers with the status, and says how long the longest answer took.
func (g *guarded) written(want int) (longest time.Duration) {
	g.t.Helper()
	until(g.t, fmt.Sprintf("an add to be answered %d", want), func() bool {
		began := time.Now()
		status, _, err := g.do("POST", "/api/v1/rooms/probe/participants", `{"display_name":"A"}`)
		longest = max(longest, time.Since(began))
		return err == nil && status == want
	})
	return longest
}

// TestEtcdsCertificatesAreReplacedWithoutAFailedRequest: the authority, etcd's certificate and usher's own are replaced
// one after the other, and the connections made anew.
func TestEtcdsCertificatesAreReplacedWithoutAFailedRequest(t *testing.T) {
	t.Parallel()
	g := startGuarded(t)
	c := g.call(t)
	c.none(t, "before anything was replaced")

	g.client.Put(g.clientFiles(g.old.Good("usher"), g.old, g.young))
	g.renewed(1)
	g.cut(c)
	c.none(t, "with both authorities")

	pair := g.young.Good("etcd")
	g.server.Put(map[string][]byte{"tls.crt": pair.Cert, "tls.key": pair.Key, "ca.crt": slices.Concat(g.old.PEM, g.young.PEM)})
	g.cut(c)
	c.none(t, "with etcd's new certificate")

	g.client.Put(g.clientFiles(g.young.Good("usher"), g.young))
	g.renewed(2)
	g.cut(c)
	c.none(t, "with the new authority alone")
	c.stop()
	c.running.Wait()

	// An etcd that shows a certificate of the old authority is believed no more.
	pair = g.old.Good("etcd")
	g.server.Put(map[string][]byte{"tls.crt": pair.Cert, "tls.key": pair.Key, "ca.crt": slices.Concat(g.old.PEM, g.young.PEM)})
	g.proxy.cut()
	if took := g.written(http.StatusServiceUnavailable); took > 20*time.Second {
		t.Errorf("the refusal took %s", took)
	}
	g.client.Put(g.clientFiles(g.young.Good("usher"), g.young, g.old))
	g.written(http.StatusCreated)
}

// TestEtcdsOwnUsers: usher works as a user of etcd's that has the prefix and nothing else, while its tokens expire and are
// revoked; and says so when it is locked out.
func TestEtcdsOwnUsers(t *testing.T) {
	t.Parallel()
	g := startGuarded(t)
	c := g.call(t)
	for began := time.Now(); time.Since(began) < 4*tokenTTL; {
		c.none(t, "while tokens expired")
	}
	ctx := t.Context()
	for range 5 { // each makes every token worthless
		if _, err := g.root.UserChangePassword(ctx, "usher", etcdPassword); err != nil {
			t.Fatal(err)
		}
		c.none(t, "when tokens were revoked")
	}
	g.cut(c)
	c.none(t, "on new connections")
	until(t, "what etcd tells of itself", func() bool {
		_, _, text := g.ask("GET", "/metrics", "")
		return strings.Contains(text, "usher_etcd_up{") && strings.Contains(text, "usher_sweeper_leading 1")
	})
	if _, _, text := g.ask("GET", "/metrics", ""); !strings.Contains(text, `"} 1`) || strings.Contains(text, `usher_etcd_up{member="https://`+g.proxy.listener.Addr().String()+`"} 0`) {
		t.Error("the member counts as down")
	}
	c.stop()
	c.running.Wait()

	lockOut := func(how string, out, in func() error) {
		t.Helper()
		if err := out(); err != nil {
			t.Fatal(err)
		}
		if took := g.written(http.StatusServiceUnavailable); took > 20*time.Second {
			t.Errorf("%s: the refusal took %s", how, took)
		}
		if status, _, err := g.do("GET", "/api/v1/rooms/room-0/participants?page_size=1", ""); err != nil || status != http.StatusOK {
			t.Errorf("%s: a read is answered %d %v", how, status, err)
		}
		if err := in(); err != nil {
			t.Fatal(err)
		}
		g.written(http.StatusCreated)
	}
	lockOut("by another password",
		func() error { _, err := g.root.UserChangePassword(ctx, "usher", "another"); return err },
		func() error { _, err := g.root.UserChangePassword(ctx, "usher", etcdPassword); return err })
	lockOut("by a role taken away",
		func() error { _, err := g.root.UserRevokeRole(ctx, "usher", "usher"); return err },
		func() error { _, err := g.root.UserGrantRole(ctx, "usher", "usher"); return err })
}
