package operations

import (
	"math"
	"testing"
	"time"
)

func TestQuantilesAreThoseOfPrometheus(t *testing.T) {
	t.Parallel()
	bounds := []float64{.01, .1, 1}
	before := buckets{bounds: bounds, counts: []float64{10, 10, 10}, total: 10}
	now := buckets{bounds: bounds, counts: []float64{10, 60, 110}, total: 110}
	for q, want := range map[float64]float64{.25: .055, .5: .1, .75: .55, 1: 1} {
		if got := now.quantile(q, before); math.Abs(got-want) > 1e-9 {
			t.Errorf("quantile %g is %g, want %g", q, got, want)
		}
	}
	if got := before.quantile(.5, before); got != 0 {
		t.Errorf("the quantile of nothing is %g", got)
	}
	longer := buckets{bounds: bounds, counts: []float64{10, 10, 10}, total: 20}
	if got := longer.quantile(.5, before); got != 1 {
		t.Errorf("beyond the last bound it is %g, want the bound", got)
	}
}

func TestSamplesAreKeptForAQuarterOfAnHour(t *testing.T) {
	t.Parallel()
	var h history
	start := time.Unix(1_800_000_000, 0)
	for i := range 400 {
		h.keep(sample{at: start.Add(time.Duration(i) * sampleInterval), tenants: map[string]float64{"a": float64(i), "b": float64(10 * i), "idle": 3}})
	}
	all := h.all()
	if span := all[len(all)-1].at.Sub(all[0].at); span != remembered {
		t.Errorf("samples span %s, want %s", span, remembered)
	}
	busy := busiest(all)
	if len(busy) != 2 || busy[0].ID != "b" || busy[0].PerSecond != 2 || busy[1].PerSecond != .2 {
		t.Errorf("the busiest are %+v", busy)
	}
}

func TestACounterThatBeganAnewHasNoRate(t *testing.T) {
	t.Parallel()
	if perSecond(5, 100, time.Second) != 0 || perSecond(100, 90, 5*time.Second) != 2 {
		t.Error("wrong rates")
	}
}
