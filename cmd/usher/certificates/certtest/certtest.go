// Package certtest makes authorities and certificates for tests, and puts them where a cluster would.
package certtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// Authority signs certificates.
type Authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	PEM  []byte // of its own certificate
}

// NewAuthority makes one.
func NewAuthority(t testing.TB, name string) *Authority {
	t.Helper()
	a := &Authority{t: t}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.cert, a.key = a.sign(template)
	a.PEM = encode("CERTIFICATE", a.cert.Raw)
	return a
}

// sign signs the template with the authority's key, or with its own when the authority is only being made.
func (a *Authority) sign(template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62)); err != nil {
		a.t.Fatal(err)
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

// Pair is a certificate and its key, PEM.
type Pair struct {
	Cert, Key []byte
	Leaf      *x509.Certificate
}

// Issue makes a certificate for 127.0.0.1 and localhost, for servers and clients, that is good until then.
func (a *Authority) Issue(name string, until time.Time) Pair {
	a.t.Helper()
	cert, key := a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: name}, NotBefore: until.Add(-48 * time.Hour), NotAfter: until, DNSNames: []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	return Pair{Cert: encode("CERTIFICATE", cert.Raw), Key: encode("PRIVATE KEY", private), Leaf: cert}
}

// Good is Issue for as long as a test may take.
func (a *Authority) Good(name string) Pair { return a.Issue(name, time.Now().Add(time.Hour)) }

// TLS is the pair as crypto/tls has it.
func (p Pair) TLS(t testing.TB) tls.Certificate {
	t.Helper()
	pair, err := tls.X509KeyPair(p.Cert, p.Key)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// Pool trusts the authorities.
func Pool(authorities ...*Authority) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, a := range authorities {
		pool.AddCert(a.cert)
	}
	return pool
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// Secret is a folder as a kubelet mounts a Secret: the files are links to ..data, which is a link to the folder with the
// newest contents, and is moved in one step.
type Secret struct {
	t    testing.TB
	dir  string
	made int
}

// NewSecret makes the folder with the files.
func NewSecret(t testing.TB, files map[string][]byte) *Secret {
	t.Helper()
	s := &Secret{t: t, dir: t.TempDir()}
	s.Put(files)
	for name := range files {
		if err := os.Symlink(filepath.Join("..data", name), s.Path(name)); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// Path of a file.
func (s *Secret) Path(name string) string { return filepath.Join(s.dir, name) }

// Put replaces all files at once.
func (s *Secret) Put(files map[string][]byte) {
	s.t.Helper()
	s.made++
	folder := "..version-" + strconv.Itoa(s.made)
	if err := os.Mkdir(s.Path(folder), 0o700); err != nil {
		s.t.Fatal(err)
	}
	for name, content := range files {
		if err := os.WriteFile(s.Path(filepath.Join(folder, name)), content, 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
	if err := os.Symlink(folder, s.Path("..data_tmp")); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(s.Path("..data_tmp"), s.Path("..data")); err != nil {
		s.t.Fatal(err)
	}
}
