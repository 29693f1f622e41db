package main_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"usher/store/porttest"
)

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// TestRotationsSurviveKills kills the process in the middle of rotations, again and again: every key that was
// acknowledged is there, exactly one signs, and seats are given.
func TestRotationsSurviveKills(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := start(t, dir, true)
	key := p.key
	_, service, err := p.do("POST", "/api/v1/auth/token", "{}")
	if err != nil {
		t.Fatal(err)
	}
	tenant := tenantIn(t, service["access_token"].(string))
	acknowledged, total := make(map[string]bool), 0
	for round := range 3 { // in which there are fewer rotations than a tenant may have in an hour
		var working sync.WaitGroup
		enough := make(chan struct{})
		working.Go(func() {
			defer close(enough)
			for n := 0; ; {
				status, made, err := p.do("POST", "/api/v1/tenants/"+tenant+"/signing-keys/rotate", `{"immediately":true}`)
				if err != nil {
					return
				}
				if status == 201 {
					acknowledged[made["kid"].(string)] = true
					total++
					if n++; n == 1+round {
						enough <- struct{}{}
					}
				}
			}
		})
		<-enough // and the next one is under way
		p.kill()
		working.Wait()
		p = start(t, dir, false)
		p.key = key
		_, listed, err := p.do("GET", "/api/v1/tenants/"+tenant+"/signing-keys", "")
		if err != nil {
			t.Fatal(err)
		}
		active, there := 0, make(map[string]bool)
		for _, k := range listed["signing_keys"].([]any) {
			k := k.(map[string]any)
			there[k["kid"].(string)] = true
			if k["state"] == "active" {
				active++
			}
		}
		for kid := range acknowledged {
			if !there[kid] {
				t.Errorf("round %d: the acknowledged key %s is gone", round, kid)
			}
		}
		if active != 1 {
			t.Errorf("round %d: %d keys sign", round, active)
		}
		if status, _, err := p.do("POST", "/api/v1/rooms/r/participants", `{"display_name":"A"}`); err != nil || status != 201 {
			t.Errorf("round %d: add: %d %v", round, status, err)
		}
		for _, k := range listed["signing_keys"].([]any) { // there may be only so many
			if k := k.(map[string]any); k["state"] == "retiring" {
				kid := k["kid"].(string)
				if status, err := p.remove("/api/v1/tenants/" + tenant + "/signing-keys/" + kid + "?force=true"); err != nil || status != 204 {
					t.Fatalf("round %d: delete a key: %d %v", round, status, err)
				}
				delete(acknowledged, kid)
			}
		}
	}
	if total < 4 {
		t.Errorf("only %d rotations were acknowledged", total)
	}
}

// TestADeletionSurvivesAKill kills the process while it takes a deleted tenant's records away; the next one goes on.
func TestADeletionSurvivesAKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	etcd := "http://" + porttest.Free(t)
	p := start(t, dir, true, "--etcd-listen", etcd)
	_, service, err := p.do("POST", "/api/v1/auth/token", "{}")
	if err != nil {
		t.Fatal(err)
	}
	tenant := tenantIn(t, service["access_token"].(string))
	items := strings.TrimSuffix(strings.Repeat(`{"display_name":"A"},`, 1000), ",")
	operator, err := os.ReadFile(filepath.Join(dir, "operator-key"))
	if err != nil {
		t.Fatal(err)
	}
	other := *p
	other.key = strings.TrimSpace(string(operator))
	// A bulk counts as many requests as it has items.
	limits := `{"max_participants_per_room":1000,"requests_per_second":100000,"burst":100000}`
	if status, answer, err := other.do("PATCH", "/api/v1/tenants/"+tenant+"/config", limits); err != nil || status != 200 {
		t.Fatal(status, answer, err)
	}
	for room := range 10 {
		if status, _, err := p.do("POST", fmt.Sprintf("/api/v1/rooms/room-%d/participants/bulk", room), `{"participants":[`+items+`]}`); err != nil || status != 200 {
			t.Fatalf("%d %v", status, err)
		}
	}
	o := operatorOf(t, p.url, string(operator))
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{etcd}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	left := func() int64 {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		n := int64(0)
		for _, table := range []string{"participants", "rooms", "room-names", "tenants", "signing-keys", "api-key-ids", "audit", "tenant-versions"} {
			found, err := client.Get(ctx, "/usher/v1/"+table+"/"+tenant, clientv3.WithPrefix(), clientv3.WithCountOnly())
			if err != nil {
				t.Fatal(err)
			}
			n += found.Count
		}
		return n
	}
	before := left()
	o.says("deleted", "tenant", "delete", tenant, "--yes")
	for left() > before-1000 {
		continue
	}
	p.kill()
	p = start(t, dir, false, "--etcd-listen", etcd)
	if rest := left(); rest == 0 || before < 10_000 {
		t.Fatalf("the kill came too late: %d of %d records are left", rest, before)
	}
	operatorOf(t, p.url, string(operator)).fails("tenant_not_found", "tenant", "get", tenant)
	for left() > 0 {
		continue
	}
}

func operatorOf(t *testing.T, url, key string) operator {
	return operator{t: t, env: []string{"USHER_URL=" + url, "USHER_OPERATOR_KEY=" + strings.TrimSpace(key)}}
}

// tenantIn reads whose a token is.
func tenantIn(t *testing.T, compact string) string {
	t.Helper()
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(compact, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims struct {
		Tenant string `json:"tenant_id"`
	}
	if err := json.Unmarshal(payload, &claims); err != nil || claims.Tenant == "" {
		t.Fatalf("whose is %s? %v", payload, err)
	}
	return claims.Tenant
}
