package faults

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"strings"
)

// holdings are what a process holds.
type holdings struct{ goroutines, files, heapBytes float64 }

// holdings asks the gateway, after a collection of garbage.
func (g *gateway) holdings() (h holdings, err error) {
	if status, _, body := g.ask("/debug/pprof/heap?gc=1"); status != 200 {
		return h, fmt.Errorf("collect %s's garbage: %d %s", g.name, status, body)
	}
	status, _, body := g.ask("/metrics")
	if status != 200 {
		return h, fmt.Errorf("ask for %s's metrics: %d %s", g.name, status, body)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(body))
	if err != nil {
		return h, fmt.Errorf("read %s's metrics: %w", g.name, err)
	}
	for name, into := range map[string]*float64{"go_goroutines": &h.goroutines, "process_open_fds": &h.files, "go_memstats_heap_alloc_bytes": &h.heapBytes} {
		family := families[name]
		if family == nil {
			return h, fmt.Errorf("%s does not tell %s", g.name, name)
		}
		*into = family.GetMetric()[0].GetGauge().GetValue()
	}
	return h, nil
}

// holdNothing makes sure that holdings can be asked for.
func (b *bench) holdNothing(t *testing.T) {
	t.Helper()
	for _, g := range b.gateways {
		h, err := g.holdings()
		if err != nil || h.goroutines == 0 || h.files == 0 || h.heapBytes == 0 {
			t.Fatalf("%+v %v", h, err)
		}
	}
}

// What an old gateway may hold beyond a new one with the same records: connections that are not quite closed yet, buffers
// that are kept, the last minutes for the status page.
const (
	spareGoroutines = 20
	spareFiles      = 10
	spareHeap       = 16 << 20 // bytes
)

// checkHoldings compares what each gateway holds with what it holds once it is started anew.
func (b *bench) checkHoldings(t *testing.T) {
	defer b.work.quiet()()
	b.work.client.CloseIdleConnections()
	for _, g := range b.gateways {
		old, err := g.holdings()
		if err != nil {
			t.Fatal(err)
		}
		g.kill()
		if err := g.start(); err != nil {
			t.Fatal(err)
		}
		if !until(30*time.Second, g.ready) {
			t.Fatalf("%s is not ready again", g.name)
		}
		<-time.After(2 * time.Second) // until the sweep, the leases and the connections to every member are there too
		fresh, err := g.holdings()
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s holds %.0f goroutines (new: %.0f), %.0f files (%.0f), %.1f MB of heap (%.1f)", g.name,
			old.goroutines, fresh.goroutines, old.files, fresh.files, old.heapBytes/1e6, fresh.heapBytes/1e6)
		if old.goroutines > fresh.goroutines+spareGoroutines || old.files > fresh.files+spareFiles || old.heapBytes > 1.5*fresh.heapBytes+spareHeap {
			t.Errorf("%s holds %+v, and %+v when it is new", g.name, old, fresh)
		}
	}
}
