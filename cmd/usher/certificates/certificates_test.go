package certificates_test

import (
	"context"
	"crypto/tls"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"usher/cmd/usher/certificates"
	"usher/cmd/usher/certificates/certtest"
)

func load(t *testing.T, s *certtest.Secret) *certificates.Set {
	t.Helper()
	set, err := certificates.Load(certificates.Files{Cert: s.Path("tls.crt"), Key: s.Path("tls.key"), CA: s.Path("ca.crt")}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func files(a *certtest.Authority, p certtest.Pair) map[string][]byte {
	return map[string][]byte{"tls.crt": p.Cert, "tls.key": p.Key, "ca.crt": a.PEM}
}

// handshake connects a client to a server and gives what went wrong for the server, or else for the client.
func handshake(t *testing.T, server, client *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	done := make(chan error, 1)
	go func() { // ends with the connection
		conn, err := listener.Accept()
		if err == nil {
			err = tls.Server(conn, server).HandshakeContext(t.Context())
			_ = conn.Close()
		}
		done <- err
	}()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	c := tls.Client(conn, client)
	failed := c.HandshakeContext(t.Context())
	if failed != nil {
		_ = conn.Close()
	}
	if err := <-done; err != nil {
		return tls.ConnectionState{}, err
	}
	return c.ConnectionState(), failed
}

func TestTheNewestCertificateIsShown(t *testing.T) {
	t.Parallel()
	old, young := certtest.NewAuthority(t, "old"), certtest.NewAuthority(t, "young")
	first := old.Good("first")
	secret := certtest.NewSecret(t, files(old, first))
	set := load(t, secret)
	server := set.Server(tls.VersionTLS12, true)
	client := func(trusts *certtest.Authority, p certtest.Pair) *tls.Config {
		return &tls.Config{RootCAs: certtest.Pool(trusts), ServerName: "127.0.0.1", Certificates: []tls.Certificate{p.TLS(t)}}
	}
	if renewed, err := set.Renew(); renewed || err != nil {
		t.Error(renewed, err)
	}
	state, err := handshake(t, server, client(old, old.Good("client")))
	if err != nil || !state.PeerCertificates[0].Equal(first.Leaf) {
		t.Fatal(err)
	}
	second := young.Good("second")
	secret.Put(files(young, second))
	if renewed, err := set.Renew(); !renewed || err != nil {
		t.Fatal(renewed, err)
	}
	state, err = handshake(t, server, client(young, young.Good("client")))
	if err != nil || !state.PeerCertificates[0].Equal(second.Leaf) {
		t.Error(err)
	}
	if _, err := handshake(t, server, client(young, old.Good("client"))); err == nil {
		t.Error("a client of the old authority is let in")
	}
	if _, err := handshake(t, server, &tls.Config{RootCAs: certtest.Pool(young), ServerName: "127.0.0.1"}); err == nil {
		t.Error("a client without a certificate is let in")
	}
	if _, err := handshake(t, set.Server(tls.VersionTLS12, false), &tls.Config{RootCAs: certtest.Pool(young), ServerName: "127.0.0.1"}); err != nil {
		t.Error("the operations port wants a certificate:", err)
	}
	if _, err := handshake(t, set.Server(tls.VersionTLS13, false), &tls.Config{RootCAs: certtest.Pool(young), ServerName: "127.0.0.1", MaxVersion: tls.VersionTLS12}); err == nil {
		t.Error("TLS 1.2 is spoken where 1.3 is the least")
	}
	// As a client, a connection made now trusts the new authority alone, and shows the new certificate.
	if _, err := handshake(t, &tls.Config{Certificates: []tls.Certificate{young.Good("server").TLS(t)}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: certtest.Pool(young)}, named(set.Client())); err != nil {
		t.Error(err)
	}
	if _, err := handshake(t, &tls.Config{Certificates: []tls.Certificate{old.Good("server").TLS(t)}}, named(set.Client())); err == nil {
		t.Error("a server of the old authority is believed")
	}
}

func named(c *tls.Config) *tls.Config {
	c.ServerName = "127.0.0.1"
	return c
}

func TestWhatIsNoGoodLeavesTheOldInForce(t *testing.T) {
	t.Parallel()
	a := certtest.NewAuthority(t, "authority")
	good := a.Good("good")
	for name, broken := range map[string]map[string][]byte{
		"the key of another": {"tls.crt": good.Cert, "tls.key": a.Good("other").Key, "ca.crt": a.PEM},
		"cut short":          {"tls.crt": good.Cert[:len(good.Cert)/2], "tls.key": good.Key, "ca.crt": a.PEM},
		"empty":              {"tls.crt": nil, "tls.key": nil, "ca.crt": nil},
		"missing":            {},
		"no authority":       {"tls.crt": good.Cert, "tls.key": good.Key, "ca.crt": []byte("none\n")},
		"a broken authority": {"tls.crt": good.Cert, "tls.key": good.Key, "ca.crt": []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")},
		"expired":            files(a, a.Issue("expired", time.Now().Add(-time.Minute))),
		"good from tomorrow": files(a, a.Issue("tomorrow", time.Now().Add(72*time.Hour))),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			secret := certtest.NewSecret(t, files(a, good))
			set := load(t, secret)
			secret.Put(broken)
			if renewed, err := set.Renew(); renewed || err != nil {
				t.Fatalf("the first look: %v %v", renewed, err)
			}
			if renewed, err := set.Renew(); renewed || err == nil {
				t.Fatalf("the second look: %v %v", renewed, err)
			} else if strings.Contains(err.Error(), "PRIVATE") {
				t.Error(err)
			}
			if renewed, err := set.Renew(); renewed || err != nil {
				t.Errorf("it is told of twice: %v %v", renewed, err)
			}
			if !set.Certificate().Equal(good.Leaf) || set.Authority() == nil {
				t.Error("the old one is not in force")
			}
			better := a.Good("better")
			secret.Put(files(a, better))
			if renewed, err := set.Renew(); !renewed || err != nil || !set.Certificate().Equal(better.Leaf) {
				t.Errorf("it does not recover: %v %v", renewed, err)
			}
		})
	}
}

// TestFilesWrittenInPlace: the new certificate is there before its key. Nobody is alarmed, and the pair is taken when it is
// whole.
func TestFilesWrittenInPlace(t *testing.T) {
	t.Parallel()
	a := certtest.NewAuthority(t, "authority")
	secret := certtest.NewSecret(t, files(a, a.Good("first")))
	set := load(t, secret)
	second := a.Good("second")
	if err := os.WriteFile(secret.Path("tls.crt"), second.Cert, 0o600); err != nil {
		t.Fatal(err)
	}
	if renewed, err := set.Renew(); renewed || err != nil {
		t.Error(renewed, err)
	}
	if err := os.WriteFile(secret.Path("tls.key"), second.Key, 0o600); err != nil {
		t.Fatal(err)
	}
	told := make(chan error)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	go set.Watch(ctx, time.Millisecond, func(err error) { told <- err })
	if err := <-told; err != nil || !set.Certificate().Equal(second.Leaf) {
		t.Error(err)
	}
}

func TestNothingIsLoadedThatDoesNotHold(t *testing.T) {
	t.Parallel()
	a := certtest.NewAuthority(t, "authority")
	secret := certtest.NewSecret(t, files(a, a.Good("first")))
	for _, f := range []certificates.Files{
		{Cert: secret.Path("tls.crt"), Key: secret.Path("none")}, {Cert: secret.Path("tls.key"), Key: secret.Path("tls.key")}, {CA: secret.Path("tls.key")},
	} {
		if _, err := certificates.Load(f, time.Now); err == nil {
			t.Errorf("%v is loaded", f)
		}
	}
	expired := certtest.NewSecret(t, files(a, a.Issue("expired", time.Now().Add(-time.Minute))))
	if c := load(t, expired).Certificate(); c == nil {
		t.Error("an expired certificate does not let it start")
	}
}
