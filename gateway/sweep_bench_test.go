package gateway_test

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkAddsWhileSweeping says how much adds slow down while the sweep takes away 100 000 ended participants:
//
//	go test ./gateway -run '^$' -bench AddsWhileSweeping -benchtime 1x
func BenchmarkAddsWhileSweeping(b *testing.B) {
	const ended, perRoom, atOnce = 100_000, 10_000, 16
	h := open(b, `{"max_participants_per_room":10000,"room_retention_hours":1,"empty_room_timeout_minutes":10080,"requests_per_second":100000,"burst":100000}`)
	h.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: atOnce}} // answers are checked by tests
	items := make([]object, 1000)
	for i := range items {
		items[i] = object{"display_name": "A", "external_user_id": fmt.Sprint("user-", i)}
	}
	for b.Loop() {
		for r := range ended / perRoom {
			room := fmt.Sprint("/api/v1/rooms/ended-", r)
			for range perRoom / len(items) {
				h.must(200, "POST", room+"/participants/bulk", object{"participants": items})
			}
			h.must(200, "POST", room+"/end", nil)
		}
		h.clock.advance(2 * time.Hour)
		quiet := h.adds(atOnce, func(n int) bool { return n < 20_000 })
		var sweeping sync.WaitGroup
		var done atomic.Bool
		began := time.Now()
		sweeping.Go(func() {
			defer done.Store(true)
			if swept := h.sweep(); swept.Forgotten != ended/perRoom {
				b.Errorf("%+v", swept)
			}
		})
		busy := h.adds(atOnce, func(int) bool { return !done.Load() })
		sweeping.Wait()
		b.ReportMetric(quiet, "adds/s-before")
		b.ReportMetric(busy, "adds/s-while-sweeping")
		b.ReportMetric(100*(1-busy/quiet), "%-slower")
		b.ReportMetric(time.Since(began).Seconds(), "s-to-sweep")
	}
}

// adds makes adds, each to one of many rooms, for as long as more says so, and gives their rate.
func (h *house) adds(atOnce int, more func(made int) bool) (perSecond float64) {
	var made atomic.Int64
	began := time.Now()
	together(atOnce, func(int) {
		for n := made.Add(1); more(int(n)); n = made.Add(1) {
			h.add(fmt.Sprint("live-", n%64), object{"display_name": "A"})
		}
	})
	return float64(made.Load()) / time.Since(began).Seconds()
}
