package store

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// TestASlowDecisionIsCountedAndNamed: the log says what was decided, for whom, and on what.
func TestASlowDecisionIsCountedAndNamed(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer // read once the store is closed
	registry := prometheus.NewRegistry()
	s, err := Open(etcd, Options{Prefix: newPrefix(), Logger: slog.New(slog.NewTextHandler(&log, nil)), Metrics: registry}, numbers)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if err := s.WaitReady(deadline(t)); err != nil {
		t.Fatal(err)
	}
	quick, slow := add(1, 9, "tenant/quick"), add(1, 9, "tenant/slow")
	decide := slow.Decide
	slow.Decide = func(tx *Tx) (int, error) {
		for began := time.Now(); time.Since(began) <= decideBudget; { // it works, it does not wait
			continue
		}
		return decide(tx)
	}
	slow.What = slow.Decide
	request := &Request{Who: func() string { return "key_1 of tenant_1" }}
	for _, c := range []Change[int]{quick, slow} {
		if _, err := Commit(request.With(deadline(t)), s, c); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	if n := testutil.ToFloat64(s.metrics.overBudget); n < 1 {
		t.Errorf("%v decisions were over the budget", n)
	}
	for _, want := range []string{"TestASlowDecisionIsCountedAndNamed", "key_1 of tenant_1", "tenant/slow"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not tell %q: %s", want, log.String())
		}
	}
}

// TestADecisionIsNotMadeForOneWhoMayNotAnyMore: what entitles a request's caller is looked at on the state that is decided on.
func TestADecisionIsNotMadeForOneWhoMayNotAnyMore(t *testing.T) {
	t.Parallel()
	s := openStore(t, newPrefix())
	request := &Request{Holds: func(tx *Tx) error {
		if _, ok := numbers.Get(tx, "revoked"); ok {
			return errFull
		}
		return nil
	}}
	ctx := request.With(deadline(t))
	if _, err := Commit(ctx, s, add(1, 9, "n")); err != nil || request.Revision() != s.Revision() {
		t.Fatalf("%v, at revision %d", err, request.Revision())
	}
	if _, err := Commit(deadline(t), s, add(1, 9, "revoked")); err != nil {
		t.Fatal(err)
	}
	if _, err := Commit(ctx, s, add(1, 9, "n")); !errors.Is(err, errFull) {
		t.Errorf("after it: %v", err)
	}
	if row, _ := numbers.Get(s.Snapshot(), "n"); row.Value != 1 {
		t.Errorf("it was written: %v", row.Value)
	}
}

// TestAScanThatNothingGuardsIsRefused, and one that a record guards is compared on it.
func TestAScanThatNothingGuardsIsRefused(t *testing.T) {
	t.Parallel()
	s := openStore(t, newPrefix())
	scan := func(read func(*Tx) Reader) error {
		_, err := Commit(deadline(t), s, Change[int]{
			Aggregates: func(*Snapshot) []Key { return nil },
			Decide: func(tx *Tx) (n int, err error) {
				for range numbers.Scan(read(tx), "", "") {
					n++
				}
				return n, nil
			},
		})
		return err
	}
	if err := scan(func(tx *Tx) Reader { return tx }); err == nil || !strings.Contains(err.Error(), "no record guards") {
		t.Errorf("a scan: %v", err)
	}
	if err := scan(func(tx *Tx) Reader { return tx.Unguarded() }); err != nil {
		t.Errorf("one that says so: %v", err)
	}
	g := Guard{Table: "rooms", Segments: 2}
	for path, want := range map[string]Key{"t/r/p": {"rooms", "t/r"}, "t/r/": {"rooms", "t/r"}, "t/r": {"rooms", "t/r"}, "t": {}} {
		if key, ok := g.of(path); ok != (want != Key{}) || (ok && key != want) {
			t.Errorf("of %q: %v %t", path, key, ok)
		}
	}
	for prefix, ok := range map[string]bool{"t/r/": true, "t/r": false, "t/": false, "": false} {
		if _, got := g.over(prefix); got != ok {
			t.Errorf("over %q: %t", prefix, got)
		}
	}
}
