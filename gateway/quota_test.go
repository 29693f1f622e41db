package gateway_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// kept is how many bytes etcd has of the tenant: keys and values.
func (p *probe) kept() (bytes int) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	all, err := p.etcd.Get(ctx, p.prefix, clientv3.WithPrefix())
	if err != nil {
		p.t.Fatal(err)
	}
	for _, kv := range all.Kvs {
		if strings.Contains(string(kv.Key), p.tenant) {
			bytes += len(kv.Key) + len(kv.Value)
		}
	}
	return bytes
}

const smallQuota = 4 << 20

// TestATenantKeepsNoMoreThanItMay: whatever it stores with, what adds is refused in time and what removes goes on.
func TestATenantKeepsNoMoreThanItMay(t *testing.T) {
	t.Parallel()
	p := openProbe(t, fmt.Sprintf(`{"max_stored_bytes":%d,"max_participants_per_room":1000,"burst":100000,"requests_per_second":100000}`, smallQuota))
	replicas := []*house{p.house, p.second()}
	metadata := object{"x": strings.Repeat("m", 4000)}
	bulk := object{"participants": make([]object, 50)}
	for i := range 50 {
		bulk["participants"].([]object)[i] = object{"display_name": "A", "metadata": metadata, "external_user_id": fmt.Sprint("u", i)}
	}
	var refused, n atomic.Int64
	fill := func() { // until each of several callers is refused, on both replicas at once
		together(6, func(i int) {
			for range 40 {
				h, room := replicas[i%2], fmt.Sprintf("/api/v1/rooms/room-%d-%d", i%3, n.Add(1)%2)
				r := h.send(p.key, "POST", room+"/participants/bulk", bulk, "Idempotency-Key", fmt.Sprint("k", n.Add(1)))
				failed := r.body["code"] == "quota_exceeded"
				for _, result := range listOf(r.body["results"]) {
					failed = failed || result.(object)["code"] == "quota_exceeded"
				}
				if failed {
					refused.Add(1)
					return
				}
				if r.status != 200 {
					t.Errorf("%d %s", r.status, r.raw)
					return
				}
			}
		})
	}
	bounded := func(when string) {
		t.Helper()
		if kept := p.kept(); kept > smallQuota {
			t.Errorf("%s: %d bytes are kept, %d may be", when, kept, smallQuota)
		} else {
			t.Logf("%s: %d of %d bytes", when, kept, smallQuota)
		}
	}
	fill()
	bounded("after bulks")
	if refused.Load() == 0 || p.kept() < smallQuota/2 {
		t.Fatalf("%d were refused at %d bytes", refused.Load(), p.kept())
	}
	// Every other way to add is refused too, when the last bytes are gone.
	tenant := "/api/v1/tenants/" + p.tenant
	for _, way := range []func(i int) reply{
		func(i int) reply {
			return p.send(p.key, "POST", "/api/v1/rooms", object{"name": fmt.Sprint(i), "metadata": metadata})
		},
		func(i int) reply {
			return p.send(p.key, "POST", "/api/v1/rooms/room-0-0/participants", object{"display_name": fmt.Sprint(i), "metadata": metadata}, "Idempotency-Key", fmt.Sprint("single", i))
		},
		func(i int) reply {
			return p.send(p.key, "PATCH", tenant, object{"name": fmt.Sprint(strings.Repeat("n", 190), i)})
		},
		func(i int) reply {
			return p.send(p.key, "PATCH", tenant+"/config", object{"empty_room_timeout_minutes": 1 + i%500})
		},
		func(i int) reply {
			return p.send(p.key, "POST", "/api/v1/rooms/room-1-1/participants/bulk-remove", object{"external_user_ids": []string{fmt.Sprint(strings.Repeat("é", 200), i)}, "ban_seconds": 3600})
		},
	} {
		for i := 0; ; i++ {
			r := way(i)
			if r.body["code"] == "quota_exceeded" {
				break
			}
			if r.status >= 300 || i > 5000 {
				t.Errorf("%d after %d: %s", r.status, i, r.raw)
				break
			}
		}
		bounded("after another way")
	}
	// What removes goes on, and makes room again.
	rooms := p.must(200, "GET", "/api/v1/rooms", nil)["rooms"].([]any)
	for _, one := range rooms {
		room := one.(object)["id"].(string)
		seated := p.list(room, "?active=true&page_size=5")
		for _, one := range seated {
			p.must(204, "DELETE", "/api/v1/rooms/"+room+"/participants/"+one.(object)["id"].(string), nil)
		}
	}
	bounded("after removals")
	for _, one := range rooms {
		room := one.(object)["id"].(string)
		p.must(204, "DELETE", "/api/v1/rooms/"+room+"/bans", nil)
		p.must(204, "DELETE", "/api/v1/rooms/"+room, nil)
	}
	p.add("anew", object{"display_name": "A", "metadata": metadata})
	p.clock.advance(25 * time.Hour)
	p.sweep()
	p.clock.advance(80 * time.Hour)
	p.sweep()
	p.sweep()
	before := p.kept()
	refused.Store(0)
	fill()
	bounded("after all was taken away and filled again")
	if p.kept() < before+smallQuota/2 {
		t.Errorf("room was not given back: %d bytes before, %d after", before, p.kept())
	}
}

func listOf(v any) []any {
	list, _ := v.([]any)
	return list
}
