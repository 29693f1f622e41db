package main_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"usher/cmd/usher/certificates/certtest"
)

// secured is a running usher that speaks TLS, and who may call it.
type secured struct {
	*process
	secret    *certtest.Secret // of the API: tls.crt, tls.key and, for clients, ca.crt
	authority *certtest.Authority
}

func startSecured(t *testing.T, more ...string) *secured {
	t.Helper()
	s := &secured{authority: certtest.NewAuthority(t, "authority")}
	pair := s.authority.Good("usher")
	s.secret = certtest.NewSecret(t, map[string][]byte{"tls.crt": pair.Cert, "tls.key": pair.Key, "ca.crt": s.authority.PEM})
	s.process = start(t, t.TempDir(), true, append([]string{"--tls-cert-file", s.secret.Path("tls.crt"), "--tls-key-file", s.secret.Path("tls.key")}, more...)...)
	return s
}

// client makes connections of its own; each is made anew where kept is false.
func (s *secured) client(trusts *certtest.Authority, certificate *certtest.Pair, kept bool) *http.Client {
	config := &tls.Config{RootCAs: certtest.Pool(trusts)}
	if certificate != nil {
		config.Certificates = []tls.Certificate{certificate.TLS(s.t)}
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true, DisableKeepAlives: !kept}, Timeout: 20 * time.Second}
}

func (s *secured) add(c *http.Client) (*http.Response, error) {
	request, err := http.NewRequest(http.MethodPost, s.url+"/api/v1/rooms/CS101/participants", strings.NewReader(`{"display_name":"A"}`))
	if err != nil {
		return nil, err
	}
	request.Header.Set("X-API-Key", s.key)
	request.Header.Set("Content-Type", "application/json")
	response, err := c.Do(request)
	if err != nil {
		return nil, err
	}
	_, err = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
	return response, err
}

// metric waits until the operations port tells of it.
func (s *secured) metric(line string) {
	s.t.Helper()
	until(s.t, line, func() bool {
		_, _, text := s.ask("GET", "/metrics", "")
		return strings.Contains(text, "\n"+line)
	})
}

// TestCertificatesAreRenewedWithoutALostRequest: while callers call, on kept connections and on new ones, the certificate
// of the API is replaced three times, once by something broken.
func TestCertificatesAreRenewedWithoutALostRequest(t *testing.T) {
	t.Parallel()
	s := startSecured(t)
	if !strings.HasPrefix(s.url, "https://") {
		t.Fatal(s.url)
	}
	ctx, stop := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	var answered [2]atomic.Int64
	for i := range 6 {
		client := s.client(s.authority, nil, i%2 == 0)
		callers.Go(func() {
			for ctx.Err() == nil {
				response, err := s.add(client)
				if err != nil {
					t.Errorf("a request was lost: %v", err)
					return
				}
				if status := response.StatusCode; status != http.StatusCreated && status != 409 && status != 429 {
					t.Errorf("answered %d", status)
				}
				if response.ProtoMajor != 2 {
					t.Errorf("answered by %s", response.Proto)
				}
				answered[i%2].Add(1)
			}
		})
	}
	defer callers.Wait()
	defer stop()
	put := func(pair certtest.Pair) {
		s.secret.Put(map[string][]byte{"tls.crt": pair.Cert, "tls.key": pair.Key, "ca.crt": s.authority.PEM})
	}
	shown := func() *x509.Certificate {
		response, err := s.add(s.client(s.authority, nil, false))
		if err != nil {
			t.Fatal(err)
		}
		return response.TLS.PeerCertificates[0]
	}
	for i := range 2 {
		next := s.authority.Issue("usher", time.Now().Add(time.Duration(i+2)*time.Hour))
		put(next)
		s.metric(fmt.Sprintf(`usher_certificate_renewals_total{files="api",result="taken"} %d`, i+1))
		s.metric(`usher_certificate_expires_timestamp_seconds{certificate="api"} ` + strconv.FormatFloat(float64(next.Leaf.NotAfter.Unix()), 'g', -1, 64)) // as Prometheus writes it
		if !shown().Equal(next.Leaf) {
			t.Error("the new certificate is not shown")
		}
	}
	before := shown()
	put(certtest.Pair{Cert: before.Raw, Key: []byte("no key")})
	s.metric(`usher_certificate_renewals_total{files="api",result="refused"} 1`)
	if !shown().Equal(before) {
		t.Error("the old certificate is not in force")
	}
	for _, n := range []*atomic.Int64{&answered[0], &answered[1]} {
		from := n.Load()
		until(t, "callers to go on", func() bool { return n.Load() > from+20 })
	}
	stop()
	callers.Wait()
	s.kill()
	if !bytes.Contains(s.stderr.Bytes(), []byte("new certificates are no good")) {
		t.Error("the broken certificate was not told of:", s.stderr)
	}
}

// TestTheCommandLineSpeaksTLS: usher check over mutual TLS, at an address that the certificate does not name.
func TestTheCommandLineSpeaksTLS(t *testing.T) {
	t.Parallel()
	clients := certtest.NewAuthority(t, "clients")
	s := startSecured(t, "--tls-client-ca-file", certtest.NewSecret(t, map[string][]byte{"ca.crt": clients.PEM}).Path("ca.crt"))
	pair := clients.Good("operator")
	files := certtest.NewSecret(t, map[string][]byte{"tls.crt": pair.Cert, "tls.key": pair.Key, "ca.crt": s.authority.PEM})
	check := func(environment ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), binary, "check", "--cert-file", files.Path("tls.crt"), "--key-file", files.Path("tls.key"))
		cmd.Env = append(os.Environ(), append([]string{"USHER_API_KEY=" + s.key, "USHER_URL=" + s.url}, environment...)...)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := check("USHER_CA_FILE=" + files.Path("ca.crt")); err != nil || !strings.Contains(out, "ok  verified its token") {
		t.Error(out, err)
	}
	if out, err := check("USHER_CA_FILE="+files.Path("ca.crt"), "USHER_SERVER_NAME=localhost"); err != nil {
		t.Error(out, err)
	}
	if out, err := check("USHER_CA_FILE="+files.Path("ca.crt"), "USHER_SERVER_NAME=usher.example"); err == nil || !strings.Contains(out, "usher.example") {
		t.Error("another name is believed:", out, err)
	}
	if out, err := check(); err == nil || !strings.Contains(out, "certificate") {
		t.Error("an unknown authority is believed:", out, err)
	}
	if out, err := check("USHER_CA_FILE=" + files.Path("none")); err == nil || !strings.Contains(out, "certificates to call with") {
		t.Error(out, err)
	}
}

func TestOnlyClientsWithACertificateAreLetIn(t *testing.T) {
	t.Parallel()
	strangers := certtest.NewAuthority(t, "strangers")
	clients := certtest.NewAuthority(t, "clients")
	ca := certtest.NewSecret(t, map[string][]byte{"ca.crt": clients.PEM})
	s := startSecured(t, "--tls-client-ca-file", ca.Path("ca.crt"), "--tls-min-version", "1.3", "--ops-tls=false")
	ours, theirs := clients.Good("backend"), strangers.Good("backend")
	if response, err := s.add(s.client(s.authority, &ours, false)); err != nil || response.StatusCode != http.StatusCreated {
		t.Fatal(response, err)
	}
	for name, pair := range map[string]*certtest.Pair{"none": nil, "another authority's": &theirs} {
		if response, err := s.add(s.client(s.authority, pair, false)); err == nil {
			t.Errorf("with the certificate %s: %d", name, response.StatusCode)
		}
	}
	// A certificate opens no door that needs a key.
	request, err := http.NewRequest(http.MethodGet, s.url+"/api/v1/rooms", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := s.client(s.authority, &ours, false).Do(request)
	if err != nil || response.StatusCode != http.StatusUnauthorized {
		t.Error(response, err)
	}
	_ = response.Body.Close()
	// The other authority takes the place of the first.
	ca.Put(map[string][]byte{"ca.crt": strangers.PEM})
	s.metric(`usher_certificate_renewals_total{files="api",result="taken"} 1`)
	if response, err := s.add(s.client(s.authority, &theirs, false)); err != nil || response.StatusCode != http.StatusCreated {
		t.Error(response, err)
	}
	if _, err := s.add(s.client(s.authority, &ours, false)); err == nil {
		t.Error("a client of the authority that was taken away is let in")
	}
}

func TestTheOperationsPortSpeaksTLS(t *testing.T) {
	t.Parallel()
	s := startSecured(t, "--ops-tls")
	if !strings.HasPrefix(s.ops, "https://") {
		t.Fatal(s.ops)
	}
	response, err := s.client(s.authority, nil, true).Get(s.ops + "/readyz")
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatal(response, err)
	}
	_ = response.Body.Close()
	plain, err := http.Get("http" + strings.TrimPrefix(s.url, "https") + "/docs")
	if err != nil || plain.StatusCode != http.StatusBadRequest {
		t.Error("plain HTTP:", plain, err)
	}
	_ = plain.Body.Close()
}
