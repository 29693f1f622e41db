package tenant

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func TestAPIKeysCarryAChecksum(t *testing.T) {
	t.Parallel()
	key := newSecret(apiKeyPrefix).Reveal()
	if parsed, ok := ParseAPIKey(key); !ok || parsed.Reveal() != key {
		t.Fatalf("%q is not read back", key)
	}
	for i := range key {
		other := byte('a')
		if key[i] == other {
			other = 'b'
		}
		if _, ok := ParseAPIKey(key[:i] + string(other) + key[i+1:]); ok {
			t.Errorf("%q is taken with its character %d changed", key, i)
		}
		if _, ok := ParseAPIKey(key[:i]); ok {
			t.Errorf("the first %d characters are taken", i)
		}
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	t.Parallel()
	s := newSecret(apiKeyPrefix)
	encoded, err := json.Marshal(map[string]any{"key": s})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{fmt.Sprint(s), fmt.Sprintf("%s %v %+v %#v %q %x", s, s, s, s, s, s), string(encoded), s.LogValue().String()} {
		if strings.Contains(text, s.Reveal()) || strings.Contains(text, s.Reveal()[4:20]) {
			t.Errorf("printed: %s", text)
		}
	}
}

// FuzzParseAPIKey: whatever is taken for a key has a key's shape, and nothing makes the parser panic.
func FuzzParseAPIKey(f *testing.F) {
	for _, seed := range []string{newSecret(apiKeyPrefix).Reveal(), "", "usk_", "usk_" + strings.Repeat("a", 39), "usk_\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		secret, ok := ParseAPIKey(s)
		if !ok {
			return
		}
		if sum := checksum(s[:len(s)-checksumLength-1]); secret.Reveal() != s || !IsAPIKey(s) || !strings.HasSuffix(s, "_"+string(sum[:])) {
			t.Fatalf("%q was taken", s)
		}
	})
}
