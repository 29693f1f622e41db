// Package certificates is certificates that somebody else renews: cert-manager, a Secret that a cluster mounts, a script
// with mv. They are read from files, and read again while the process runs; whoever connects next meets the newest.
//
// What does not hold together never takes the place of what does: a key of another certificate, a file cut short, a
// certificate that has expired. Then the old one stays in force and the failure is told.
package certificates

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"
)

// Files name what is read, all PEM. Cert and Key are given together or not at all.
type Files struct {
	Cert string // the certificate, and those that lead to its authority
	Key  string // its private key
	CA   string // the authorities whose certificates are believed
}

// Set is what the files held when they last held together. It is safe for concurrent use, but for Watch, which one
// goroutine runs.
type Set struct {
	files   Files
	now     func() time.Time
	current atomic.Pointer[material]

	failing, told [sha256.Size]byte // contents that were refused last, and told of last
}

type material struct {
	sum         [sha256.Size]byte
	pair        *tls.Certificate // nil without Cert
	authorities []*x509.Certificate
	pool        *x509.CertPool // nil without CA
}

// Load reads the files. A certificate that has expired is taken, since there is no better one: its clients will say so.
func Load(f Files, now func() time.Time) (*Set, error) {
	s := &Set{files: f, now: now}
	contents, err := s.read()
	if err != nil {
		return nil, err
	}
	m, err := s.parse(contents)
	if err != nil {
		return nil, err
	}
	s.current.Store(m)
	return s, nil
}

// Watch looks at the files again and again until the context ends. told is called with nil for each renewal, and with
// what is wrong, once for the same contents. Reading tells more than the file system's events do: it works with links
// that are moved, as a Kubernetes Secret is, with files written in place, and over a network.
func (s *Set) Watch(ctx context.Context, every time.Duration, told func(error)) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if renewed, err := s.Renew(); renewed || err != nil {
				told(err)
			}
		}
	}
}

// Renew takes what the files hold now, if that is new and good. Contents that are not good are complained of when they
// are met the second time: the first may have been in the middle of being replaced.
func (s *Set) Renew() (renewed bool, err error) {
	contents, err := s.read()
	sum := contents.sum(err)
	if sum == s.current.Load().sum {
		s.failing, s.told = [sha256.Size]byte{}, [sha256.Size]byte{}
		return false, nil
	}
	var m *material
	if err == nil {
		m, err = s.parse(contents)
	}
	if err == nil {
		err = s.worse(m)
	}
	if err == nil {
		s.current.Store(m)
		return true, nil
	}
	again := s.failing == sum && s.told != sum
	s.failing = sum
	if !again {
		return false, nil
	}
	s.told = sum
	return false, err
}

// contents of the files, in the order of Files.
type contents [3][]byte

// sum tells contents apart, those that cannot be read too.
func (c contents) sum(err error) [sha256.Size]byte {
	var all bytes.Buffer
	for _, content := range c {
		fmt.Fprintf(&all, "%d:%s", len(content), content)
	}
	if err != nil {
		all.WriteString(err.Error())
	}
	return sha256.Sum256(all.Bytes())
}

func (s *Set) read() (c contents, err error) {
	for i, path := range []string{s.files.Cert, s.files.Key, s.files.CA} {
		if path == "" {
			continue
		}
		if c[i], err = os.ReadFile(path); err != nil {
			return c, err
		}
	}
	return c, nil
}

func (s *Set) parse(c contents) (*material, error) {
	m := &material{sum: c.sum(nil)}
	if s.files.Cert != "" {
		pair, err := tls.X509KeyPair(c[0], c[1])
		if err != nil {
			return nil, fmt.Errorf("%s and %s: %w", s.files.Cert, s.files.Key, err)
		}
		m.pair = &pair
	}
	if s.files.CA == "" {
		return m, nil
	}
	m.pool = x509.NewCertPool()
	for block, rest := pem.Decode(c[2]); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		ca, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.files.CA, err)
		}
		m.authorities = append(m.authorities, ca)
		m.pool.AddCert(ca)
	}
	if len(m.authorities) == 0 {
		return nil, fmt.Errorf("%s holds no certificate", s.files.CA)
	}
	return m, nil
}

// worse says why the certificate should not take the place of the one in force: it is not good now, and that one is.
func (s *Set) worse(m *material) error {
	old := s.current.Load()
	if m.pair == nil || !goodAt(old.pair.Leaf, s.now()) || goodAt(m.pair.Leaf, s.now()) {
		return nil
	}
	return fmt.Errorf("%s is good from %s until %s only, and it is %s", s.files.Cert, m.pair.Leaf.NotBefore.UTC().Format(time.RFC3339),
		m.pair.Leaf.NotAfter.UTC().Format(time.RFC3339), s.now().UTC().Format(time.RFC3339))
}

func goodAt(c *x509.Certificate, now time.Time) bool {
	return !now.Before(c.NotBefore) && !now.After(c.NotAfter)
}

// Certificate is the one in force; nil without Cert.
func (s *Set) Certificate() *x509.Certificate {
	if pair := s.current.Load().pair; pair != nil {
		return pair.Leaf
	}
	return nil
}

// Authority is the one in force that expires first; nil without CA.
func (s *Set) Authority() (first *x509.Certificate) {
	for _, ca := range s.current.Load().authorities {
		if first == nil || ca.NotAfter.Before(first.NotAfter) {
			first = ca
		}
	}
	return first
}

// Server is for an HTTP server that shows the certificate. With authorities, and verify set, it lets in only clients that
// have a certificate of theirs; then no session is resumed, so that each connection is judged by the authorities in force.
func (s *Set) Server(least uint16, verify bool) *tls.Config {
	return &tls.Config{MinVersion: least, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		m := s.current.Load()
		config := &tls.Config{MinVersion: least, Certificates: []tls.Certificate{*m.pair}, NextProtos: []string{"h2", "http/1.1"}}
		if verify && m.pool != nil {
			config.ClientAuth, config.ClientCAs, config.SessionTicketsDisabled = tls.RequireAndVerifyClientCert, m.pool, true
		}
		return config, nil
	}}
}

// Client is for one connection to a server that has a certificate of the authorities, or without CA of one that the system
// trusts. Ask for it anew for each connection.
func (s *Set) Client() *tls.Config {
	m := s.current.Load()
	config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: m.pool}
	if m.pair != nil {
		config.Certificates = []tls.Certificate{*m.pair}
	}
	return config
}

// ParseVersion reads the least version of TLS that is spoken.
func ParseVersion(s string) (uint16, error) {
	switch s {
	case "1.2":
		return tls.VersionTLS12, nil
	case "1.3":
		return tls.VersionTLS13, nil
	}
	return 0, errors.New("must be 1.2 or 1.3")
}
