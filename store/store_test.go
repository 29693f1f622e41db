package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"usher"
)

// etcd is one real embedded server for all tests of the package; each test has its own prefix in it.
var etcd *Log

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "usher-store-test")
	if err != nil {
		panic(err)
	}
	if etcd, err = Embed(context.Background(), EmbedOptions{Dir: dir, Logger: slog.New(slog.DiscardHandler)}); err != nil {
		panic(err)
	}
	code := m.Run()
	_ = etcd.Close()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// numbers is a table of integers, each an aggregate of its own.
var numbers = Table[int]{
	Name: "numbers", Aggregate: true,
	Decode: func(_ string, value []byte) (int, error) { return strconv.Atoi(string(value)) },
	Encode: func(n int) ([]byte, error) { return []byte(strconv.Itoa(n)), nil },
}

var prefixes atomic.Int64

func newPrefix() string { return fmt.Sprintf("/store-test-%d/", prefixes.Add(1)) }

func openStore(t *testing.T, prefix string) *Store {
	t.Helper()
	s, err := Open(etcd, Options{Prefix: prefix, Logger: slog.New(slog.DiscardHandler)}, numbers)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if err := s.WaitReady(deadline(t)); err != nil {
		t.Fatal(err)
	}
	return s
}

func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// add adds to a number, if it stays at most at the limit.
func add(n, limit int, paths ...string) Change[int] {
	return Change[int]{
		Aggregates: func(*Snapshot) (keys []Key) {
			for _, path := range paths {
				keys = append(keys, numbers.Key(path))
			}
			return keys
		},
		Decide: func(tx *Tx) (sum int, err error) {
			for _, path := range paths {
				sum = n
				if row, ok := numbers.Get(tx, path); ok {
					sum += row.Value
				}
				if sum > limit {
					return 0, errFull
				}
				numbers.Put(tx, path, sum)
			}
			return sum, nil
		},
	}
}

var errFull = errors.New("full")

// TestTwoWritersLoseNothing adds through two stores at once: every acknowledged addition counts, the limit holds.
func TestTwoWritersLoseNothing(t *testing.T) {
	t.Parallel()
	prefix := newPrefix()
	stores := []*Store{openStore(t, prefix), openStore(t, prefix)}
	var all sync.WaitGroup
	var done, full atomic.Int64
	ctx := deadline(t)
	for i := range 400 {
		all.Go(func() {
			switch _, err := Commit(ctx, stores[i%2], add(1, 150, "n")); {
			case err == nil:
				done.Add(1)
			case errors.Is(err, errFull):
				full.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	all.Wait()
	row, ok := numbers.Get(stores[0].Snapshot(), "n")
	if !ok || row.Value != 150 || done.Load() != 150 || full.Load() != 250 {
		t.Errorf("%v after %d done and %d full", row, done.Load(), full.Load())
	}
}

// TestProgressDoesNotWaitForAnotherStore: a store that has just listed the log must not hold up another that waits for a
// revision which brings it no event.
func TestProgressDoesNotWaitForAnotherStore(t *testing.T) {
	t.Parallel()
	ctx := deadline(t)
	quiet, err := Embed(ctx, EmbedOptions{Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = quiet.Close() })
	open := func(prefix string) *Store {
		s, err := Open(quiet, Options{Prefix: prefix, Logger: slog.New(slog.DiscardHandler)}, numbers)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		if err := s.WaitReady(ctx); err != nil {
			t.Fatal(err)
		}
		return s
	}
	waits := open("/waits/")
	response, err := quiet.requests.Put(ctx, "/elsewhere", "")
	if err != nil {
		t.Fatal(err)
	}
	open("/listed-after/")
	if err := waits.WaitRevision(ctx, response.Header.Revision); err != nil {
		t.Error(err)
	}
}

// TestChangesThatShareRecordsAreOneGroup mixes changes of one record, of two, and of many in one batch.
func TestChangesThatShareRecordsAreOneGroup(t *testing.T) {
	t.Parallel()
	s := openStore(t, newPrefix())
	ctx := deadline(t)
	var all sync.WaitGroup
	for i := range 300 {
		all.Go(func() {
			if _, err := Commit(ctx, s, add(1, 1000, strconv.Itoa(i%7), "b"+strconv.Itoa(i%150))); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	sum := 0
	for row := range numbers.Scan(s.Snapshot(), "", "") {
		sum += row.Value
	}
	if sum != 600 {
		t.Errorf("600 was added, %d is there", sum)
	}
}

func TestARefusedChangeWritesNothing(t *testing.T) {
	t.Parallel()
	s := openStore(t, newPrefix())
	c := add(1, 1000, "x")
	decide := c.Decide
	c.Decide = func(tx *Tx) (int, error) {
		if _, err := decide(tx); err != nil {
			return 0, err
		}
		return 0, errFull
	}
	if _, err := Commit(deadline(t), s, c); !errors.Is(err, errFull) {
		t.Fatal(err)
	}
	if row, ok := numbers.Get(s.Snapshot(), "x"); ok {
		t.Errorf("written: %v", row)
	}
	c.Decide = func(*Tx) (int, error) { panic("a mistake") }
	if _, err := Commit(deadline(t), s, c); !usher.HasCode(err, usher.CodeInternal) {
		t.Errorf("a panic is %v", err)
	}
}

// TestATransactionOverTheLimitIsRefused and does not stand in the way of others.
func TestATransactionOverTheLimitIsRefused(t *testing.T) {
	t.Parallel()
	s := openStore(t, newPrefix())
	paths := make([]string, DefaultMaxTxnOps+1)
	for i := range paths {
		paths[i] = strconv.Itoa(i)
	}
	if _, err := Commit(deadline(t), s, add(1, 9, paths...)); !usher.HasCode(err, usher.CodeBulkTooLarge) {
		t.Error(err)
	}
	if _, err := Commit(deadline(t), s, add(1, 9, paths[1:]...)); err != nil {
		t.Error(err)
	}
}

// TestAValueThatDoesNotDecodeKeepsTheLastGoodOne and is named until it is mended, and does not hold up the rest.
func TestAValueThatDoesNotDecodeKeepsTheLastGoodOne(t *testing.T) {
	t.Parallel()
	prefix := newPrefix()
	s := openStore(t, prefix)
	ctx := deadline(t)
	put := func(path, value string) {
		t.Helper()
		response, err := etcd.requests.Put(ctx, prefix+"numbers/"+path, value)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.WaitRevision(ctx, response.Header.Revision); err != nil {
			t.Fatal(err)
		}
	}
	put("a", "1")
	put("a", "one")
	put("b", "2")
	row, ok := numbers.Get(s.Snapshot(), "a")
	if rejected := s.Rejected(); !ok || row.Value != 1 || len(rejected) != 1 || rejected[0].Key != numbers.Key("a") {
		t.Errorf("a is %v; rejected: %v", row, rejected)
	}
	if row, ok := numbers.Get(s.Snapshot(), "b"); !ok || row.Value != 2 {
		t.Errorf("b is %v", row)
	}
	put("a", "3")
	if row, _ := numbers.Get(s.Snapshot(), "a"); row.Value != 3 || len(s.Rejected()) != 0 {
		t.Errorf("a is %v; rejected: %v", row, s.Rejected())
	}
}

// TestADeleteTakesOneRecord: others whose path begins as the deleted one's stay, as all do when the path is empty.
func TestADeleteTakesOneRecord(t *testing.T) {
	t.Parallel()
	prefix := newPrefix()
	s := openStore(t, prefix)
	if _, err := Commit(deadline(t), s, add(1, 9, "u1", "u10", "u1/x")); err != nil {
		t.Fatal(err)
	}
	shown := func(revision int64) {
		t.Helper()
		if err := s.WaitRevision(deadline(t), revision); err != nil {
			t.Fatal(err)
		}
		s.becomes(t, map[string]int{"u10": 1, "u1/x": 1})
	}
	remove := Change[struct{}]{
		Aggregates: func(*Snapshot) []Key { return []Key{numbers.Key("u1")} },
		Decide: func(tx *Tx) (struct{}, error) {
			numbers.Delete(tx, "u1")
			numbers.Delete(tx, "")
			return struct{}{}, nil
		},
	}
	if _, err := Commit(deadline(t), s, remove); err != nil {
		t.Fatal(err)
	}
	shown(s.Revision())
	if _, err := etcd.requests.Put(deadline(t), prefix+"numbers/", "1"); err != nil {
		t.Fatal(err)
	}
	deleted, err := etcd.requests.Delete(deadline(t), prefix+"numbers/")
	if err != nil {
		t.Fatal(err)
	}
	shown(deleted.Header.Revision)
}

// TestAListReplacesTheIndex: after a relist the index equals the log, deletes that no watch has shown included.
func TestAListReplacesTheIndex(t *testing.T) {
	t.Parallel()
	prefix := newPrefix()
	s := openStore(t, prefix)
	ctx := deadline(t)
	for _, path := range []string{"a", "b", "c"} {
		if _, err := Commit(ctx, s, add(1, 9, path)); err != nil {
			t.Fatal(err)
		}
	}
	// A row that the log does not have, as if its delete had been compacted away unseen.
	s.pretend(t, "ghost", Row[int]{Modified: 1, Value: 7})
	response, err := etcd.requests.Txn(ctx).Then(clientv3.OpDelete(prefix+"numbers/b"), clientv3.OpPut(prefix+"numbers/c", "5")).Commit()
	if err != nil {
		t.Fatal(err)
	}
	s.demandRelist(errRelist{wentBack, "a test"})
	if err := s.WaitRevision(ctx, response.Header.Revision); err != nil {
		t.Fatal(err)
	}
	s.becomes(t, map[string]int{"a": 1, "c": 5})
}

// TestAnotherHistoryIsNoticed: the log was restored from a backup and written to until it was as far as the index, whose
// rows have the revisions that the log's have, and other values.
// TestAWatchDoesNotJudgeTheRevision: it moves forward while the watch is read, with what this replica writes itself.
func TestAWatchDoesNotJudgeTheRevision(t *testing.T) {
	t.Parallel()
	s := openStore(t, newPrefix())
	ctx, written := deadline(t), make(chan struct{})
	go func() {
		defer close(written)
		for i := range 300 {
			if _, err := Commit(ctx, s, add(1, 1000, strconv.Itoa(i))); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	opened := &pb.ResponseHeader{ClusterId: s.cluster.Load()}
	for {
		if err := s.hear(clientv3.WatchResponse{Header: opened, Created: true}); err != nil {
			t.Fatal(err)
		}
		select {
		case <-written:
			return
		default:
		}
	}
}

func TestAnotherHistoryIsNoticed(t *testing.T) {
	t.Parallel()
	s := openStore(t, newPrefix())
	ctx := deadline(t)
	if _, err := Commit(ctx, s, add(1, 9, "a")); err != nil {
		t.Fatal(err)
	}
	row, _ := numbers.Get(s.Snapshot(), "a")
	for ; s.landmarks.newest.Load() == nil; time.Sleep(time.Millisecond) { // until the watch has told of it, too
		if ctx.Err() != nil {
			t.Fatal("no landmark")
		}
	}
	s.pretend(t, "a", Row[int]{Created: row.Created, Modified: row.Modified, Value: 7})
	before := *s.landmarks.newest.Load()
	before.sum++
	s.landmarks.known.Store(&before)
	s.becomes(t, map[string]int{"a": 1})
}

// TestALandmarkIsKeptUntilItIsFoundAgain: while the log cannot be read, what a watch tells does not take the place of what
// is to be found.
func TestALandmarkIsKeptUntilItIsFoundAgain(t *testing.T) {
	t.Parallel()
	prefix, ctx := newPrefix(), deadline(t)
	s, _ := follower(t, prefix)
	put := func(value string) *landmark {
		response, err := etcd.requests.Put(ctx, prefix+"numbers/a", value)
		if err != nil {
			t.Fatal(err)
		}
		s.landmarks.pass([]byte(prefix+"numbers/a"), []byte(value), response.Header.Revision)
		return s.landmarks.newest.Load()
	}
	ask := func(ctx context.Context, want *landmark, found bool) {
		t.Helper()
		_, gone, err := s.ask(ctx)
		if known := s.landmarks.known.Load(); known != want || (err == nil && gone == "") != found {
			t.Errorf("it looks for %v, want %v; %q %v", known, want, gone, err)
		}
	}
	over, cancel := context.WithCancel(ctx)
	cancel()
	first := put("1")
	ask(ctx, first, true)
	second := put("2")
	ask(over, second, false) // what was told until then is of the log that was
	third := put("3")
	ask(over, second, false)
	ask(ctx, third, true)
	s.landmarks.known.Store(&landmark{key: second.key, revision: second.revision, sum: second.sum + 1})
	if _, gone, err := s.ask(ctx); gone == "" || err != nil {
		t.Errorf("another value at the revision is taken for the same: %v", err)
	}
}

// pretend makes the index show a row that the log has not.
func (s *Store) pretend(t *testing.T, path string, row Row[int]) {
	t.Helper()
	row.Path = path
	s.index.mu.Lock()
	defer s.index.mu.Unlock()
	if err := s.index.commit([]change{{table: numbers, path: path, row: &row}}); err != nil {
		t.Fatal(err)
	}
	s.index.publish(s.index.applied())
	if got, ok := numbers.Get(s.Snapshot(), path); !ok || got.Value != row.Value {
		t.Fatalf("the index shows %v", got)
	}
}

// becomes waits until the index holds just these numbers.
func (s *Store) becomes(t *testing.T, want map[string]int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		got := make(map[string]int)
		for row := range numbers.Scan(s.Snapshot(), "", "") {
			got[row.Path] = row.Value
		}
		if fmt.Sprint(got) == fmt.Sprint(want) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the index is %v, want %v", got, want)
		}
		ctx, cancel := context.WithTimeout(context.Background(), tick)
		_ = s.WaitRevision(ctx, s.Revision()+1)
		cancel()
	}
}

func TestAStaleStoreRefusesWrites(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64
	s, err := Open(etcd, Options{Prefix: newPrefix(), Logger: slog.New(slog.DiscardHandler),
		Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }}, numbers)
	if err != nil {
		t.Fatal(err)
	}
	if state, _ := s.State(); state == Stale {
		t.Error("stale before it was loaded")
	}
	if err := s.WaitReady(deadline(t)); err != nil {
		t.Fatal(err)
	}
	s.Close() // nobody probes any more, as with etcd gone
	ahead.Store(int64(time.Minute))
	if state, age := s.State(); state != Stale || age < 50*time.Second {
		t.Errorf("%v for %s", state, age)
	}
	if _, err := Commit(deadline(t), s, add(1, 9, "a")); !usher.HasCode(err, usher.CodeUnavailable) {
		t.Error(err)
	}
}
