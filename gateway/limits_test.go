package gateway_test

import (
	"context"
	"sync"
	"testing"
	"time"
)

func TestATenantMakesOnlySoManyRequests(t *testing.T) {
	t.Parallel()
	h := open(t, `{"requests_per_second":10,"burst":20}`)
	passed := h.burstOf(30)
	if passed != 20 {
		t.Errorf("%d of a burst of 20 passed", passed)
	}
	r := h.refused(h.key, 429, "rate_limited", "GET", "/api/v1/rooms", nil)
	if r.header.Get("Retry-After") != "1" || r.header.Get("RateLimit-Policy") != `"tenant";q=20;w=2` || r.header.Get("RateLimit") != `"tenant";r=0;t=2` {
		t.Errorf("headers: %v", r.header)
	}
	h.clock.advance(500 * time.Millisecond)
	if passed := h.burstOf(10); passed != 5 {
		t.Errorf("%d passed after half a second", passed)
	}
	// The operator, and other tenants, are not concerned; a change of the settings is in force at once.
	if r := h.send(operatorKey, "PATCH", h.config(), object{"burst": 40, "requests_per_second": 1000}); r.status != 200 {
		t.Fatal(r.raw)
	}
	h.burstOf(1) // from now on by the new settings
	h.clock.advance(time.Second)
	if passed := h.burstOf(50); passed != 40 {
		t.Errorf("%d passed by the new settings", passed)
	}
	_, key := h.newTenant("")
	if r := h.send(key, "GET", "/api/v1/rooms", nil); r.status != 200 {
		t.Errorf("another tenant: %d", r.status)
	}
}

// burstOf makes n requests and says how many passed.
func (h *house) burstOf(n int) (passed int) {
	h.t.Helper()
	for range n {
		if r := h.send(h.key, "GET", "/api/v1/rooms", nil); r.status == 200 {
			passed++
		}
	}
	return passed
}

func TestReplicasShareTheLimit(t *testing.T) {
	t.Parallel()
	h := open(t, `{"requests_per_second":60,"burst":60}`)
	gateways := []*house{h, h.second(), h.second()}
	var running sync.WaitGroup
	stops := make([]context.CancelFunc, len(gateways))
	for i, gateway := range gateways {
		ctx, stop := context.WithCancel(context.Background())
		stops[i] = stop
		running.Go(func() { gateway.sweeper.Log.Register(ctx, "v0", nil, nil) })
	}
	known := func(n int) {
		for _, gateway := range gateways {
			for gateway.sweeper.Log.Replicas() != n {
				continue
			}
		}
		h.clock.advance(time.Second) // the replicas are counted anew
		for _, gateway := range gateways {
			gateway.burstOf(1)
		}
		h.clock.advance(2 * time.Second) // the buckets are full
	}
	known(3)
	total := 0
	for _, gateway := range gateways {
		total += gateway.burstOf(40)
	}
	if total != 60 {
		t.Errorf("%d of 60 passed, over three replicas", total)
	}
	stops[2]()
	known(2)
	if passed := h.burstOf(40); passed != 30 {
		t.Errorf("%d passed by one of two replicas", passed)
	}
	stops[0]()
	stops[1]()
	running.Wait()
}
