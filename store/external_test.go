package store

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"usher/store/porttest"
)

// guardedEtcd is an etcd as a careful operator runs it: reached over TLS alone, only by clients with a certificate, who
// then say who they are.
type guardedEtcd struct {
	endpoint, ca, cert, key string
}

const guardedUser, guardedPassword = "usher", "a password"

func startGuardedEtcd(t *testing.T) guardedEtcd {
	t.Helper()
	dir := t.TempDir()
	g := guardedEtcd{ca: filepath.Join(dir, "cert.pem"), cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem")}
	writeCertificate(t, g.cert, g.key)
	g.endpoint = "https://" + porttest.Free(t)
	config, err := embedConfig(EmbedOptions{Dir: filepath.Join(dir, "data"), ListenClient: g.endpoint, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	config.ClientTLSInfo = transport.TLSInfo{CertFile: g.cert, KeyFile: g.key, TrustedCAFile: g.ca, ClientCertAuth: true}
	config.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	server, err := embed.StartEtcd(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	<-server.Server.ReadyNotify()
	g.enableAuthentication(t)
	return g
}

// enableAuthentication lets the user guardedUser have what is below /usher/, and nobody else but root anything.
func (g guardedEtcd) enableAuthentication(t *testing.T) {
	t.Helper()
	ctx := deadline(t)
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{g.endpoint}, TLS: g.tls(t), Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	_, rootErr := client.UserAdd(ctx, "root", "root")
	_, rootRoleErr := client.UserGrantRole(ctx, "root", "root")
	_, roleErr := client.RoleAdd(ctx, "usher")
	_, grantErr := client.RoleGrantPermission(ctx, "usher", "/usher/", clientv3.GetPrefixRangeEnd("/usher/"), clientv3.PermissionType(clientv3.PermReadWrite))
	_, userErr := client.UserAdd(ctx, guardedUser, guardedPassword)
	_, userRoleErr := client.UserGrantRole(ctx, guardedUser, "usher")
	_, enableErr := client.AuthEnable(ctx)
	if err := errors.Join(rootErr, rootRoleErr, roleErr, grantErr, userErr, userRoleErr, enableErr); err != nil {
		t.Fatal(err)
	}
}

func (g guardedEtcd) tls(t *testing.T) *tls.Config {
	t.Helper()
	config, err := transport.TLSInfo{CertFile: g.cert, KeyFile: g.key, TrustedCAFile: g.ca}.ClientConfig()
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// always is tls for every connection.
func (g guardedEtcd) always(t *testing.T) func() *tls.Config {
	config := g.tls(t)
	return func() *tls.Config { return config }
}

func writeCertificate(t *testing.T, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "127.0.0.1"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: cert}, keyFile: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTwoStoresOnAnExternalEtcd: over TLS and as a user of etcd's own, two replicas read, write and watch as in one
// process.
func TestTwoStoresOnAnExternalEtcd(t *testing.T) {
	t.Parallel()
	guarded := startGuardedEtcd(t)
	ctx := deadline(t)
	stores := make([]*Store, 2)
	for i := range stores {
		log, err := Dial(ctx, DialOptions{Endpoints: []string{guarded.endpoint}, TLS: guarded.always(t), Username: guardedUser,
			Password: guardedPassword, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = log.Close() })
		if stores[i], err = Open(log, Options{Logger: slog.New(slog.DiscardHandler)}, numbers); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(stores[i].Close)
		if err := stores[i].WaitReady(ctx); err != nil {
			t.Fatal(err)
		}
	}
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			if _, err := Commit(ctx, stores[i%2], add(1, 1000, "n")); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	newest := max(stores[0].Revision(), stores[1].Revision())
	for i, s := range stores {
		if err := s.WaitRevision(ctx, newest); err != nil {
			t.Fatal(err)
		}
		if row, ok := numbers.Get(s.Snapshot(), "n"); !ok || row.Value != 100 {
			t.Errorf("store %d has %v", i, row)
		}
	}
}

func TestDialSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	guarded := startGuardedEtcd(t)
	without := func(what func(*tls.Config)) func(*DialOptions) {
		return func(o *DialOptions) {
			config := o.TLS().Clone()
			what(config)
			o.TLS = func() *tls.Config { return config }
		}
	}
	for name, c := range map[string]struct {
		change func(*DialOptions)
		says   string
	}{
		"no TLS": {func(o *DialOptions) {
			o.TLS, o.Endpoints = nil, []string{(&url.URL{Scheme: "http", Host: guarded.endpoint[len("https://"):]}).String()}
		}, "https://"},
		"a wrong password": {func(o *DialOptions) { o.Password, o.Timeout = "another", 20*time.Second }, "authentication failed"}, // etcd takes its time for it
		"nobody there":     {func(o *DialOptions) { o.Endpoints = []string{"https://127.0.0.1:1"} }, "connection refused"},
		"no user, and nobody there": {func(o *DialOptions) {
			o.Username, o.Password, o.Endpoints = "", "", []string{"https://127.0.0.1:1", guarded.endpoint}
			o.TLS = func() *tls.Config { return &tls.Config{MinVersion: tls.VersionTLS12} }
		}, "connection refused"},
		"no certificate of ours":       {without(func(c *tls.Config) { c.Certificates, c.GetClientCertificate = nil, nil }), "certificate required"},
		"an authority that is unknown": {without(func(c *tls.Config) { c.RootCAs = x509.NewCertPool() }), "unknown authority"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := DialOptions{Endpoints: []string{guarded.endpoint}, TLS: guarded.always(t), Username: guardedUser, Password: guardedPassword,
				Timeout: time.Second, Logger: slog.New(slog.DiscardHandler)}
			c.change(&o)
			log, err := Dial(deadline(t), o)
			if err == nil {
				_ = log.Close()
			}
			if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("it says %v, and not in one line %s", err, c.says)
			}
		})
	}
}
