package store

import (
	"testing"
	"time"
)

// TestAnIndexThatIsLateIsNotStale: others write all the time, and the watch brings it a second and a half later. The index
// is never at the newest revision, and yet never older than that.
func TestAnIndexThatIsLateIsNotStale(t *testing.T) {
	t.Parallel()
	const late = 1500 * time.Millisecond
	var f freshness
	start := time.Unix(1_800_000_000, 0)
	revision := func(at time.Duration) int64 { return 100 + int64(at/(10*time.Millisecond)) } // a hundred a second
	f.setLoaded(start)
	for at := time.Duration(0); at < time.Minute; at += 10 * time.Millisecond {
		if at%probeInterval == 0 {
			f.saw(revision(at), revision(at-late), start.Add(at))
		}
		f.reached(revision(at - late))
		if age := start.Add(at).Sub(f.asOf); age > late+probeInterval {
			t.Fatalf("after %s it counts as %s old", at, age)
		}
	}
	if f.asOf.Sub(f.unbroken) < 50*time.Second {
		t.Error("it was not fresh without a break")
	}
}

// TestAnIndexThatStandsStillIsStale, however many quorum reads there are; and when it has caught up with one of them, it
// is as old as that.
func TestAnIndexThatStandsStillIsStale(t *testing.T) {
	t.Parallel()
	var f freshness
	start := time.Unix(1_800_000_000, 0)
	f.setLoaded(start)
	for i := range int64(100) {
		f.saw(100+i, 99, start.Add(time.Duration(i)*time.Second))
	}
	if f.asOf != start || len(f.owed) > maxReads {
		t.Errorf("as of %s, with %d reads", f.asOf.Sub(start), len(f.owed))
	}
	f.reached(103)
	if got := f.asOf.Sub(start); got != 3*time.Second {
		t.Errorf("it is as of %s, want the read that it has reached", got)
	}
	f.reached(199)
	if got := f.asOf.Sub(start); got != 99*time.Second {
		t.Errorf("it is as of %s, want the last read", got)
	}
	// Another log, restored: the revisions that the old one showed prove nothing.
	f.saw(500, 199, start.Add(200*time.Second))
	f.saw(50, 40, start.Add(201*time.Second))
	f.reached(50)
	if got := f.asOf.Sub(start); got != 201*time.Second {
		t.Errorf("it is as of %s after the log went back", got)
	}
}
