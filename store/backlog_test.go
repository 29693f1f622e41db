package store

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"usher"
)

func TestABurstWaitsAndACrowdIsRefused(t *testing.T) {
	t.Parallel()
	const round, step = 20 * time.Millisecond, time.Millisecond
	now := time.Now()
	b := backlog{round: round}
	for _, phase := range []struct {
		somebody bool
		lasts    time.Duration
		want     time.Duration // at its end
	}{
		{false, step, patience},
		{true, patience, patience}, // a burst
		{false, step, patience},
		{true, patience, patience},
		{true, 2 * step, round}, // a crowd
		{false, patience - step, round},
		{true, step, round}, // it was gone for a moment only
		{false, patience + 2*step, patience},
		{true, step, patience},
	} {
		var got time.Duration
		for end := now.Add(phase.lasts); now.Before(end); now = now.Add(step) {
			got = b.seen(phase.somebody, now)
		}
		if got != phase.want {
			t.Errorf("%+v: one waits %s", phase, got)
		}
	}
	if b = (backlog{strict: true, round: time.Microsecond}); b.seen(true, now) != leastWaiting {
		t.Error("fast transactions leave no time to wait")
	}
}

// offered is what became of changes that came at a rate, whether others were done or not.
type offered struct {
	taken   []time.Duration // how long each took, in order of size
	refused int
}

func (o offered) quantile(q float64) time.Duration {
	return o.taken[int(q*float64(len(o.taken)-1))]
}

// changeOf makes the room's number i. In the hot room transactions are slow.
func changeOf(ctx context.Context, s *Store, room string, i int) error {
	_, err := Commit(ctx, s, Change[int]{
		Aggregates: func(*Snapshot) []Key { return []Key{numbers.Key(room)} },
		Decide: func(tx *Tx) (int, error) {
			if room == "hot" {
				tx.Memo("slow", func(*Snapshot) any { time.Sleep(serviceTime); return nil })
			}
			numbers.Put(tx, fmt.Sprintf("%s/%d", room, i), i)
			return 0, nil
		},
	})
	return err
}

// capacity is how many changes of the hot room can be written each second: as many as go into a transaction, by how long one
// takes, which the disk decides.
func capacity(t *testing.T, s *Store) float64 {
	t.Helper()
	const transactions = 40
	began := time.Now()
	for i := range transactions {
		if err := changeOf(deadline(t), s, "hot", i); err != nil {
			t.Fatal(err)
		}
	}
	return float64(s.MaxTxnOps()*transactions) / time.Since(began).Seconds()
}

// offer makes changes of the room, so many each second. Those of the first patience are not counted: until then a
// crowd is a burst.
func offer(t *testing.T, s *Store, room string, perSecond float64, lasts time.Duration) (o offered) {
	t.Helper()
	var (
		mu  sync.Mutex
		all sync.WaitGroup
	)
	ctx, start := deadline(t), time.Now()
	for i := range int(perSecond * lasts.Seconds()) {
		due := time.Duration(float64(i) / perSecond * float64(time.Second))
		time.Sleep(time.Until(start.Add(due)))
		all.Go(func() {
			began := time.Now()
			err := changeOf(ctx, s, room, i)
			took := time.Since(began)
			if due < 2*patience {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				o.taken = append(o.taken, took)
			case usher.HasCode(err, usher.CodeUnavailable) && usher.AsError(err).RetryAfter > 0:
				o.refused++
			default:
				t.Errorf("refused with %v", err)
			}
		})
	}
	all.Wait()
	slices.Sort(o.taken)
	return o
}

// serviceTime is how much longer each transaction takes: it makes a log as slow as one with a poor disk.
const serviceTime = 20 * time.Millisecond

// TestPastSaturationTheWriterSheds: three times as much comes as can be written. What is taken takes at most twice as long
// as below saturation, about as much is written as ever, nobody waits long to be refused, and another room notices nothing.
func TestPastSaturationTheWriterSheds(t *testing.T) {
	t.Parallel()
	s, err := Open(etcd, Options{Prefix: newPrefix(), MaxTxnOps: 8, Logger: slog.New(slog.DiscardHandler)}, numbers)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if err := s.WaitReady(deadline(t)); err != nil {
		t.Fatal(err)
	}
	most := capacity(t, s)
	normal := offer(t, s, "hot", most/2, 3500*time.Millisecond)
	var quiet offered
	var other sync.WaitGroup
	other.Go(func() { quiet = offer(t, s, "quiet", 10, 5*time.Second) })
	crowd := offer(t, s, "hot", 3*most, 5*time.Second)
	other.Wait()
	t.Logf("below saturation p50 %s p90 %s, %d taken, %d refused; past it p50 %s p90 %s, %d taken, %d refused; another room p50 %s p90 %s, %d refused",
		normal.quantile(.5), normal.quantile(.9), len(normal.taken), normal.refused, crowd.quantile(.5), crowd.quantile(.9), len(crowd.taken), crowd.refused,
		quiet.quantile(.5), quiet.quantile(.9), quiet.refused)
	if normal.refused > 0 || quiet.refused > 0 {
		t.Error("somebody is refused below saturation, or in another room")
	}
	for _, c := range []struct {
		who string
		o   offered
		q   float64 // the other room has 30 changes: one stall of the disk is a tenth of them
	}{{"a change that is taken", crowd, .5}, {"a change that is taken", crowd, .9}, {"one of another room", quiet, .5}, {"one of another room", quiet, .75}} {
		if c.o.quantile(c.q) > 2*normal.quantile(c.q) {
			t.Errorf("%s takes %s past saturation, and %s below it (quantile %g)", c.who, c.o.quantile(c.q), normal.quantile(c.q), c.q)
		}
	}
	if least := min(most, capacity(t, s)) * 3 * 0.6; float64(len(crowd.taken)) < least { // of those that are counted, which come for 3 s
		t.Errorf("only %d are taken past saturation, want %.0f", len(crowd.taken), least)
	}
}
