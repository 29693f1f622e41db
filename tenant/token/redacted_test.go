package token

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// However a key is printed, nothing of it is seen; nor when it is in somebody's struct, where fmt cannot ask for methods.
func TestSecretsAreNeverShown(t *testing.T) {
	t.Parallel()
	keys := parseKeys(t, lineB, lineA)
	for _, alg := range everyAlgorithm {
		t.Run(string(alg), func(t *testing.T) {
			t.Parallel()
			key := newKey(t, alg)
			signer := newSigner(t, key)
			secrets := append(formsOf(privateBytes(t, key)), formsOf(keys.keys[0].secret())...)
			type holder struct {
				m *MasterKeys
				M MasterKeys
				k *SigningKey
				K *SigningKey
				s *Signer
				a MasterKeys
				b SigningKey
				c Signer
			}
			all := holder{keys, *keys, key, key, signer, *keys, *key, *signer}
			for name, value := range map[string]any{
				"master keys": keys, "master keys value": *keys, "signing key": key, "signing key value": *key,
				"signer": signer, "holder": all, "holder pointer": &all, "slice": []*SigningKey{key}, "map": map[string]any{"k": *key},
			} {
				for how, shown := range everyWayToShow(value) {
					for _, secret := range secrets {
						if strings.Contains(shown, secret) {
							t.Errorf("%s by %s shows %q:\n%s", name, how, secret, shown)
						}
					}
					if !strings.Contains(name, "holder") && !strings.Contains(shown, redactedText) {
						t.Errorf("%s by %s is %s", name, how, shown)
					}
				}
			}
		})
	}
}

func TestTokensAreNotShownByAccident(t *testing.T) {
	t.Parallel()
	key := newKey(t, EdDSA)
	tokens, err := newSigner(t, key).SignSeat(seat(), time.Hour, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	unverified, err := Parse(tokens.Media)
	if err != nil {
		t.Fatal(err)
	}
	for _, value := range []any{tokens, &tokens, unverified, &unverified} {
		for how, shown := range everyWayToShow(value) {
			if strings.Contains(shown, "eyJ") || !strings.Contains(shown, redactedText) {
				t.Errorf("%T by %s is %s", value, how, shown)
			}
		}
	}
}

func everyWayToShow(value any) map[string]string {
	shown := make(map[string]string)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		shown[verb] = fmt.Sprintf(verb, value)
	}
	encoded, err := json.Marshal(value)
	shown["json.Marshal"] = fmt.Sprint(string(encoded), err)
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "value", value)
	shown["slog JSON"] = log.String()
	log.Reset()
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "value", value)
	shown["slog text"] = log.String()
	shown["error"] = fmt.Errorf("x: %v", value).Error()
	return shown
}

func privateBytes(t *testing.T, key *SigningKey) []byte {
	t.Helper()
	switch raw := key.secret().(type) {
	case ed25519.PrivateKey:
		return raw.Seed()
	case *ecdsa.PrivateKey:
		secret, err := raw.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		return secret
	case *rsa.PrivateKey:
		return raw.D.Bytes()
	}
	t.Fatal("unknown kind of key")
	return nil
}

// formsOf are the beginnings of the texts that a secret could appear as.
func formsOf(secret []byte) []string {
	head := secret[:6]
	decimal := fmt.Sprint(head) //nolint:staticcheck // QF1010 takes the list of numbers for a text
	return []string{
		base64.StdEncoding.EncodeToString(head), base64.RawURLEncoding.EncodeToString(head),
		hex.EncodeToString(head), strings.ToUpper(hex.EncodeToString(head)),
		strings.Trim(decimal, "[]"),
		strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", head), "[]byte{"), "}"),
		strings.Trim(fmt.Sprintf("%x", decimal), "[]"),
	}
}
