package token

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

const (
	lineA = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	lineB = "__________________________________________8"
)

func parseKeys(t testing.TB, lines ...string) *MasterKeys {
	t.Helper()
	keys, err := ParseMasterKeys([]byte(strings.Join(lines, "\n")))
	if err != nil {
		t.Fatalf("parse master keys: %v", err)
	}
	return keys
}

func TestCreatedKeyFileLoads(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "master.keys")
	if err := CreateMasterKeyFile(path); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode is %v, want 0600", info.Mode().Perm())
	}
	keys, err := LoadMasterKeys(path)
	if err != nil {
		t.Fatal(err)
	}
	if ids := keys.IDs(); len(ids) != 1 || len(ids[0]) != masterKeyIDLength || keys.SealingKeyID() != ids[0] {
		t.Errorf("ids %q, sealing key %q", ids, keys.SealingKeyID())
	}
	other := filepath.Join(t.TempDir(), "master.keys")
	if err := CreateMasterKeyFile(other); err != nil {
		t.Fatal(err)
	}
	if others, err := LoadMasterKeys(other); err != nil || others.SealingKeyID() == keys.SealingKeyID() {
		t.Errorf("two new key files hold the same key, or: %v", err)
	}
}

func TestKeyFileIsNeverOverwritten(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "master.keys")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := CreateMasterKeyFile(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("error is %v, want fs.ErrExist", err)
	}
	if content, _ := os.ReadFile(path); string(content) != "precious" {
		t.Errorf("file now holds %q", content)
	}
	if err := CreateMasterKeyFile(filepath.Join(path, "below", "a", "file")); err == nil {
		t.Error("created a key file below a file")
	}
}

// Kubernetes mounts a secret as a symbolic link to a file that all in the container may read.
func TestKeyFileMayBeAMountedSecret(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "..data"), []byte(lineA), 0o444); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("..data", filepath.Join(dir, "master.keys")); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadMasterKeys(filepath.Join(dir, "master.keys")); err != nil {
		t.Error(err)
	}
}

func TestParseMasterKeys(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, text, wantError string }{
		{"one key", lineA, ""},
		{"comments, blank lines, Windows line ends", "# old\r\n\r\n  " + lineA + "  \r\n#new\r\n" + lineB + "\r\n", ""},
		{"nothing", "", "no key"},
		{"comments only", "# " + lineA + "\n", "no key"},
		{"31 bytes", "# x\n" + lineA[:42], "line 2 is not a key"},
		{"padding", lineA + "=", "line 1 is not a key"},
		{"standard alphabet", strings.ReplaceAll(lineB, "_", "/"), "line 1 is not a key"},
		{"last bits not zero", lineA[:42] + "B", "line 1 is not a key"},
		{"two keys on a line", lineA + " " + lineB, "line 1 is not a key"},
		{"the same key twice", lineA + "\n" + lineB + "\n" + lineA, "line 3 repeats a key"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := ParseMasterKeys([]byte(test.text))
			switch {
			case test.wantError == "" && err != nil:
				t.Errorf("refused: %v", err)
			case test.wantError != "" && (err == nil || !strings.Contains(err.Error(), test.wantError)):
				t.Errorf("error is %v, want one with %q", err, test.wantError)
			case err != nil && (strings.Contains(err.Error(), lineA[:8]) || strings.Contains(err.Error(), lineB[:8])):
				t.Errorf("error shows the key: %v", err)
			}
		})
	}
	if _, err := LoadMasterKeys(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error for a missing file is %v", err)
	}
}

func TestSealedTextOpens(t *testing.T) {
	t.Parallel()
	keys := parseKeys(t, lineA)
	for _, plaintext := range []string{"secret", "\x00", strings.Repeat("long ", 10000)} {
		sealed, err := keys.Seal([]byte(plaintext))
		if err != nil {
			t.Fatal(err)
		}
		opened, err := keys.Open(sealed)
		if err != nil || string(opened) != plaintext {
			t.Fatalf("opened %.20q, error %v", opened, err)
		}
		if again, _ := keys.Seal([]byte(plaintext)); again == sealed {
			t.Error("two seals are the same: the nonce repeats")
		}
	}
}

// What is sealed can be opened by any JOSE library, also when jwx is no more.
func TestSealedTextOpensWithAnotherLibrary(t *testing.T) {
	t.Parallel()
	sealed, err := parseKeys(t, lineA).Seal([]byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := jose.ParseEncryptedCompact(sealed, []jose.KeyAlgorithm{jose.DIRECT}, []jose.ContentEncryption{jose.A256GCM})
	if err != nil {
		t.Fatal(err)
	}
	opened, err := parsed.Decrypt(make([]byte, masterKeyBytes))
	if err != nil || string(opened) != "secret" {
		t.Errorf("opened %q, error %v", opened, err)
	}
}

func TestRotatedMasterKeys(t *testing.T) {
	t.Parallel()
	before, added, promoted, after := parseKeys(t, lineA), parseKeys(t, lineA, lineB), parseKeys(t, lineB, lineA), parseKeys(t, lineB)
	old, err := before.Seal([]byte("old"))
	if err != nil {
		t.Fatal(err)
	}
	young, err := promoted.Seal([]byte("young"))
	if err != nil {
		t.Fatal(err)
	}
	if added.SealingKeyID() != before.SealingKeyID() {
		t.Error("a key added at the end seals already")
	}
	if by, err := SealedBy(young); err != nil || by != after.SealingKeyID() {
		t.Errorf("sealed by %q (%v), want the first key %q", by, err, after.SealingKeyID())
	}
	for _, keys := range []*MasterKeys{added, promoted} {
		for sealed, want := range map[string]string{old: "old", young: "young"} {
			if opened, err := keys.Open(sealed); err != nil || string(opened) != want {
				t.Errorf("opened %q (%v), want %q", opened, err, want)
			}
		}
	}

	_, err = after.Open(old)
	unknown, ok := errors.AsType[*UnknownMasterKeyError](err)
	if !ok {
		t.Fatalf("error is %v, want an UnknownMasterKeyError", err)
	}
	if unknown.KeyID != before.SealingKeyID() || !slices.Equal(unknown.Loaded, after.IDs()) {
		t.Errorf("error names %q and %q", unknown.KeyID, unknown.Loaded)
	}
	if !strings.Contains(err.Error(), unknown.KeyID) || !strings.Contains(err.Error(), unknown.Loaded[0]) {
		t.Errorf("text does not name the keys: %v", err)
	}
}

func TestDamagedSealDoesNotOpen(t *testing.T) {
	t.Parallel()
	keys := parseKeys(t, lineA)
	sealed, err := keys.Seal([]byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range len(sealed) {
		if opened, err := keys.Open(sealed[:i]); err == nil {
			t.Errorf("cut at %d it opens as %q", i, opened)
		}
		if opened, err := keys.Open(flip(sealed, i)); err == nil {
			t.Errorf("changed at %d it opens as %q", i, opened)
		}
	}
}

// flip changes the character at i into another that base64url allows.
func flip(s string, i int) string {
	changed := byte('A')
	if s[i] == 'A' {
		changed = 'B'
	}
	return s[:i] + string(changed) + s[i+1:]
}

func TestOnlyOurFormOfSealIsRead(t *testing.T) {
	t.Parallel()
	keys := parseKeys(t, lineA)
	kid := `"kid":"` + keys.SealingKeyID() + `"`
	for _, header := range []string{
		`{"alg":"A256KW","enc":"A256GCM",` + kid + `}`,
		`{"alg":"dir","enc":"A128CBC-HS256",` + kid + `}`,
		`{"alg":"dir","enc":"A256GCM","zip":"DEF",` + kid + `}`,
		`{"alg":"dir","enc":"A256GCM","crit":null,` + kid + `}`,
		`{"alg":"dir","enc":"A256GCM"}`,
		`{"alg":"dir","alg":"dir","enc":"A256GCM",` + kid + `}`,
		`null`, `[]`, `{`, ``,
	} {
		if by, err := SealedBy(encode(header) + "....AAAA"); err == nil {
			t.Errorf("header %s is taken for a seal by %q", header, by)
		}
	}
}
