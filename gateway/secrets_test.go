package gateway_test

import (
	"bytes"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// page is a log that can be read while it is written.
type logPage struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (p *logPage) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(b)
}

func (p *logPage) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// TestSecretsAreShownOnceAndNowhereElse does what there is to do with secrets, well and badly, and then looks for them:
// in the log at its most talkative, in every answer that is no answer to their making, and in etcd's files.
func TestSecretsAreShownOnceAndNowhereElse(t *testing.T) {
	t.Parallel()
	h := open(t, "")
	logs := &logPage{}
	h.logger = slog.New(slog.NewJSONHandler(logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	h.url = h.start() // the same log, by a gateway that says all it can
	owner := "/api/v1/tenants/" + h.tenant
	secrets := map[string]string{"the operator key": operatorKey, "the first API key": h.key}
	var shown strings.Builder
	look := func(r reply) { shown.WriteString(r.raw + "\n") }

	added := h.add("r", object{"display_name": "A", "external_user_id": "u"})
	secrets["an access token"], secrets["an auth token"] = added["access_token"].(string), added["auth_token"].(string)
	secrets["a refresh token"] = added["refresh_token"].(string)
	id, key := h.newKey(object{"name": "k", "scopes": []string{"rooms:read", "tenant:read"}})
	secrets["an API key"] = key
	rotated := h.must(201, "POST", h.keys()+"/"+id+"/rotate", object{"grace_seconds": 60})
	secrets["a rotated API key"] = rotated["api_key"].(string)
	secrets["a service token"] = h.must(200, "POST", "/api/v1/auth/token", nil)["access_token"].(string)
	for _, secret := range secrets { // each where it belongs, where it does not, and spoilt
		for _, credential := range []string{secret, secret + "x", strings.ToUpper(secret)} {
			look(h.send(credential, "GET", "/api/v1/rooms", nil))
			look(h.send(credential, "POST", "/api/v1/tenants", object{"name": 5}))
			look(h.send(credential, "DELETE", seats+"/"+idOf(added)+"x", nil))
			look(h.send("", "GET", "/api/v1/rooms", nil, "X-API-Key", credential))
		}
		look(h.introspect(secret))
	}
	h.must(201, "POST", owner+"/signing-keys/rotate", object{"immediately": true})
	h.must(200, "PATCH", h.config(), object{"burst": 900})
	look(h.send(h.key, "PATCH", h.config(), `{"burst":`))
	h.clock.advance(2 * time.Minute)
	h.sweep()
	for _, path := range []string{owner, owner + "/config", owner + "/config/versions", owner + "/keys", owner + "/signing-keys", owner + "/audit",
		owner + "/.well-known/jwks.json", "/api/v1/rooms", "/api/v1/rooms/r", seats, seats + "/" + idOf(added), "/openapi.yaml"} {
		look(h.send(h.key, "GET", path, nil))
	}
	look(h.send(operatorKey, "GET", "/api/v1/tenants", nil))
	look(h.send(operatorKey, "GET", "/api/v1/audit", nil))

	disk := filesOf(t, etcdDir)
	for name, secret := range secrets {
		for place, text := range map[string]string{"the log": logs.String(), "an answer": shown.String(), "etcd's files": disk} {
			if strings.Contains(text, secret) {
				t.Errorf("%s is in %s", name, place)
			}
		}
	}
	// A private key, in any form that one is written in.
	for _, mark := range []string{`"d":"`, `"d": "`, "PRIVATE KEY"} {
		if strings.Contains(disk, mark) || strings.Contains(shown.String(), mark) || strings.Contains(logs.String(), mark) {
			t.Errorf("there is a private key, by %s", mark)
		}
	}
	// The search itself finds what is there.
	if !strings.Contains(disk, h.tenant) || !strings.Contains(logs.String(), h.tenant) || !strings.Contains(disk, `"sealed":"`) || len(logs.String()) < 10_000 {
		t.Errorf("the search finds nothing at all: %d bytes of files, %d of log", len(disk), len(logs.String()))
	}
}

// filesOf is everything in the files of the directory.
func filesOf(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		all.Write(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}
