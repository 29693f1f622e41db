package participants

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"usher"
	"usher/tenant"
)

// TestNoRecordGrowsWithItsRoom writes a room of 10 000, the largest there is, and one of 256, the largest with one record.
func TestNoRecordGrowsWithItsRoom(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for active, want := range map[int]int{1: 1, wholeRoomMost: 1, wholeRoomMost + 1: roomChunks, 10_000: roomChunks} {
		records := make(map[string]Heard)
		now := time.Date(2026, 1, 6, 10, 0, 0, 0, time.UTC).UnixMilli()
		for range active {
			id := ID(tenant.FormatTypeID("p", tenant.UUIDv7(now, 0, random.Uint64())))
			name := chunkOf(id, active)
			if records[name] == nil {
				records[name] = make(Heard)
			}
			records[name][id] = now
		}
		if len(records) != want {
			t.Errorf("a room of %d has %d records, want %d", active, len(records), want)
		}
		for name, heard := range records {
			if value, err := Presence.Encode(heard); err != nil || len(value) > 32<<10 {
				t.Errorf("a room of %d: record %s has %d bytes (%v)", active, name, len(value), err)
			}
		}
	}
}

// TestTheNewestOfAllRecordsCounts: wherever the times of a participant are, the last of them is found.
func TestTheNewestOfAllRecordsCounts(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		beats := rapid.SliceOf(rapid.Custom(func(t *rapid.T) beat {
			return beat{ID(rapid.SampledFrom([]string{"p_a", "p_b", "p_c"}).Draw(t, "id")), rapid.Int64Range(0, 1e13).Draw(t, "at"), rapid.IntRange(0, 3).Draw(t, "record")}
		})).Draw(t, "beats")
		records := make([]Heard, 4)
		newest := make(map[ID]int64)
		for _, b := range beats {
			if records[b.record] == nil {
				records[b.record] = make(Heard)
			}
			records[b.record].add(Heard{b.id: b.at}, map[ID]struct{}{"p_c": {}})
			if b.id != "p_c" {
				newest[b.id] = max(newest[b.id], b.at)
			}
		}
		for _, id := range []ID{"p_a", "p_b", "p_c"} {
			at, heard := newest[id]
			if got := last(records, id); got.IsZero() == heard || (heard && got.UnixMilli() != at) {
				t.Fatalf("%s was last heard at %v, want %d (%v) of %v", id, got, at, heard, records)
			}
		}
	})
}

// beat is a heartbeat in one of a room's records.
type beat struct {
	id     ID
	at     int64
	record int
}

// TestAWatermarkIsBoundedAndSaysNoMoreThanIsSo: for any number of tenants that are behind, silence counts for none of them
// further than for what it waits, and never beyond the time of telling or now.
func TestAWatermarkIsBoundedAndSaysNoMoreThanIsSo(t *testing.T) {
	t.Parallel()
	told := time.Date(2026, 1, 6, 10, 0, 0, 0, time.UTC)
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.OneOf(rapid.IntRange(0, 3), rapid.IntRange(behindMost-1, behindMost+2), rapid.Just(5000)).Draw(t, "behind")
		behind := make(map[tenant.ID]time.Time)
		for i := range n {
			behind[tenant.ID(fmt.Sprintf("tenant_%026d", i))] = told.Add(-time.Duration(i+1) * time.Millisecond)
		}
		value, err := Watermarks.Encode(watermarkAt(told, behind))
		if err != nil || len(value) > 8<<10 {
			t.Fatalf("%d are behind: %d bytes (%v)", n, len(value), err)
		}
		w, err := Watermarks.Decode("", value)
		if err != nil {
			t.Fatal(err)
		}
		now := told.Add(time.Duration(rapid.IntRange(-3, 3).Draw(t, "later")) * time.Second)
		for id, until := range behind {
			if through := w.through(id, now); through.After(until) || through.After(now) {
				t.Fatalf("of %s silence counts until %s, want %s at most", id, through, until)
			}
		}
		if through := w.through("another", now); n <= behindMost && !through.Equal(earlier(now, told)) {
			t.Fatalf("of one that is not behind silence counts until %s", through)
		}
	})
}

// TestWhatIsOnItsWayCountsAsWaiting: a beat is behind from when it was heard until it is written, also while a writing that
// fails has it, and when another has come meanwhile.
func TestWhatIsOnItsWayCountsAsWaiting(t *testing.T) {
	t.Parallel()
	noon := usher.At(time.Date(2026, 1, 6, 12, 0, 0, 0, time.UTC))
	var p presence
	all := func(string, time.Time) bool { return true }
	p.beat("t/r", "p_a", noon.Time)
	since := func() time.Time {
		for _, at := range p.waiting() {
			return at
		}
		return time.Time{}
	}
	taken := p.take(all)
	if at := since(); !at.Equal(noon.Time) {
		t.Errorf("on its way: %s", at)
	}
	p.beat("t/r", "p_b", noon.Add(time.Second))
	if at := since(); !at.Equal(noon.Time) {
		t.Errorf("on its way, with another behind it: %s", at)
	}
	p.written(taken, []chunk{{room: "t/r", heard: taken["t/r"].heard}})
	if at := since(); !at.Equal(noon.Time) {
		t.Errorf("failed: %s", at)
	}
	p.written(p.take(all), nil)
	if n := len(p.waiting()); n != 0 {
		t.Errorf("written: %d wait", n)
	}
}
