package token

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwe"
)

const (
	masterKeyBytes    = 32 // AES-256
	masterKeyIDLength = 16 // characters of base64url: 96 bits, to tell a handful of keys apart

	// masterKeyIDLabel separates this use of SHA-256 from every other, so that an id tells nothing about the key.
	masterKeyIDLabel = "usher master key id\x00"
)

const masterKeyFileHeader = `# Usher master keys: they encrypt the tenants' private signing keys before these are stored in etcd.
# Without this file those signing keys are lost; keep a copy, and keep it apart from copies of etcd.
#
# One key per line: 32 random bytes in base64url without padding, 43 characters.
# The first key seals; every key opens. To rotate, in two roll-outs so that no replica meets a key it does not have:
#   1. add a new key as the last line;  2. move it to the top.
# Remove an old key only when nothing is sealed by it any more.
`

// MasterKeys encrypt private signing keys at rest. They live in a file that is not in etcd: who has only the one or
// only the other can sign nothing. The first key of the file seals; all of them open, so a file of two keys is a
// rotation in progress. They come from LoadMasterKeys or ParseMasterKeys; the zero value is of no use. Safe for
// concurrent use.
type MasterKeys struct {
	redacted
	keys []masterKey // never empty
}

type masterKey struct {
	id     string
	secret func() []byte // a function: see redacted
}

// UnknownMasterKeyError says that something is sealed by a master key that is not among those loaded: the key file is
// an old one, a new one that lost a line, or another installation's.
type UnknownMasterKeyError struct {
	KeyID  string   // the master key that would open it
	Loaded []string // the master keys at hand, the sealing one first
}

func (e *UnknownMasterKeyError) Error() string {
	return fmt.Sprintf("sealed by master key %q, which is not among those loaded (%s)",
		e.KeyID, strings.Join(e.Loaded, ", "))
}

// CreateMasterKeyFile makes a key file with one new random key, readable by its owner only. It never overwrites: an
// existing file is an error that is fs.ErrExist. When it returns without error the file will survive a power cut.
func CreateMasterKeyFile(path string) error {
	secret := make([]byte, masterKeyBytes)
	_, _ = rand.Read(secret) // never fails (since Go 1.24 the program dies instead)
	content := masterKeyFileHeader + base64.RawURLEncoding.EncodeToString(secret) + "\n"

	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("create master key file: %w", err)
	}
	_, err = file.WriteString(content)
	if err := errors.Join(err, file.Sync(), file.Close(), syncDir(filepath.Dir(path))); err != nil {
		_ = os.Remove(path) // half a key file is worse than none
		return fmt.Errorf("create master key file %s: %w", path, err)
	}
	return nil
}

// syncDir makes the directory's entries durable: on Linux, fsync of a new file does not cover its name.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// LoadMasterKeys reads a key file. It does not look at the file's permissions: a mounted Kubernetes secret is a
// symbolic link to a file that is often readable by all in its container, and no less safe for it.
func LoadMasterKeys(path string) (*MasterKeys, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("load master keys: %w", err)
	}
	keys, err := ParseMasterKeys(text)
	if err != nil {
		return nil, fmt.Errorf("load master keys from %s: %w", path, err)
	}
	return keys, nil
}

// ParseMasterKeys reads the text of a key file: one key per line, blank lines and lines that start with # left out.
// Its errors name the line, never what stands in it.
func ParseMasterKeys(text []byte) (*MasterKeys, error) {
	m := &MasterKeys{}
	number := 0
	for line := range bytes.Lines(text) {
		number++
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		secret, err := decodeBase64(string(line))
		if err != nil || len(secret) != masterKeyBytes {
			return nil, fmt.Errorf("line %d is not a key: want %d bytes in base64url without padding",
				number, masterKeyBytes)
		}
		key := newMasterKey(secret)
		if m.find(key.id) != nil {
			return nil, fmt.Errorf("line %d repeats a key", number)
		}
		m.keys = append(m.keys, key)
	}
	if len(m.keys) == 0 {
		return nil, errors.New("there is no key in it")
	}
	return m, nil
}

func newMasterKey(secret []byte) masterKey {
	digest := sha256.Sum256(append([]byte(masterKeyIDLabel), secret...))
	return masterKey{id: base64.RawURLEncoding.EncodeToString(digest[:])[:masterKeyIDLength], secret: func() []byte { return secret }}
}

// SealingKeyID is the id of the key that Seal uses. What SealedBy says is sealed by another is due to be sealed anew.
func (m *MasterKeys) SealingKeyID() string { return m.keys[0].id }

// IDs are the ids of all the keys, the sealing one first. They are safe to log.
func (m *MasterKeys) IDs() []string {
	ids := make([]string, len(m.keys))
	for i, key := range m.keys {
		ids[i] = key.id
	}
	return ids
}

func (m *MasterKeys) find(id string) *masterKey {
	for i := range m.keys {
		if m.keys[i].id == id {
			return &m.keys[i]
		}
	}
	return nil
}

// Seal encrypts and authenticates plaintext with the first master key. The answer is a compact JWE with the algorithms
// dir and A256GCM whose kid names the master key. Nonces are random, which is sound for 2^32 seals by one key
// (NIST SP 800-38D, section 8.3).
func (m *MasterKeys) Seal(plaintext []byte) (string, error) { return m.seal(plaintext, "") }

// seal is Seal with a content type (RFC 7516, section 4.1.12), which the seal protects too.
func (m *MasterKeys) seal(plaintext []byte, contentType string) (string, error) {
	key := m.keys[0]
	header := jwe.NewHeaders()
	if err := header.Set(jwe.KeyIDKey, key.id); err != nil {
		return "", fmt.Errorf("seal: %w", err)
	}
	if contentType != "" {
		if err := header.Set(jwe.ContentTypeKey, contentType); err != nil {
			return "", fmt.Errorf("seal: %w", err)
		}
	}
	sealed, err := jwe.Encrypt(plaintext,
		jwe.WithKey(jwa.DIRECT, key.secret()),
		jwe.WithContentEncryption(jwa.A256GCM),
		jwe.WithProtectedHeaders(header))
	if err != nil {
		return "", fmt.Errorf("seal: %w", err)
	}
	return string(sealed), nil
}

// Open gives back what Seal was given, or says that it was not sealed by one of these keys, or altered since. When the
// key it needs is not loaded the error is an *UnknownMasterKeyError.
func (m *MasterKeys) Open(sealed string) ([]byte, error) {
	header, err := parseSealedHeader(sealed)
	if err != nil {
		return nil, err
	}
	return m.open(sealed, header)
}

func (m *MasterKeys) open(sealed string, header sealedHeader) ([]byte, error) {
	key := m.find(header.KeyID)
	if key == nil {
		return nil, &UnknownMasterKeyError{KeyID: header.KeyID, Loaded: m.IDs()}
	}
	plaintext, err := jwe.Decrypt([]byte(sealed), jwe.WithKey(jwa.DIRECT, key.secret()))
	if err != nil {
		return nil, fmt.Errorf("open what master key %s sealed: %w", key.id, err)
	}
	return plaintext, nil
}

// SealedBy is the id of the master key that a sealed text needs. It reads the header only and opens nothing, so the
// answer is a claim until Open has succeeded.
func SealedBy(sealed string) (string, error) {
	header, err := parseSealedHeader(sealed)
	return header.KeyID, err
}

type sealedHeader struct {
	Algorithm   string         `json:"alg"`
	Encryption  string         `json:"enc"`
	KeyID       string         `json:"kid"`
	ContentType string         `json:"cty"`
	Compression jsontext.Value `json:"zip"`
	Critical    jsontext.Value `json:"crit"`
}

// parseSealedHeader accepts what seal makes and nothing else of what JWE can be, so that no choice of algorithm is
// ever taken from stored data (RFC 8725, section 3.1).
func parseSealedHeader(sealed string) (sealedHeader, error) {
	var header sealedHeader
	if strings.Count(sealed, ".") != 4 {
		return header, errors.New("sealed text is not a compact JWE of five parts")
	}
	for part := range strings.SplitSeq(sealed, ".") { // jwx is lenient here, and one text should have one form
		if _, err := decodeBase64(part); err != nil {
			return header, fmt.Errorf("part of the sealed text %w", err)
		}
	}
	part, _, _ := strings.Cut(sealed, ".")
	if err := decodeJSON(part, &header); err != nil {
		return sealedHeader{}, fmt.Errorf("header of the sealed text %w", err)
	}
	switch {
	case header.Algorithm != jwa.DIRECT.String() || header.Encryption != jwa.A256GCM.String():
		return sealedHeader{}, fmt.Errorf("sealed text has alg %q and enc %q: want dir and A256GCM",
			header.Algorithm, header.Encryption)
	case header.Compression != nil || header.Critical != nil:
		return sealedHeader{}, errors.New("sealed text has a zip or crit header: want neither")
	case header.KeyID == "":
		return sealedHeader{}, errors.New("sealed text names no master key")
	}
	return header, nil
}
