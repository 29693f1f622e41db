package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.uber.org/zap"

	"usher"
)

// texts is a table of large records, each an aggregate of its own.
var texts = Table[string]{
	Name: "texts", Aggregate: true,
	Decode: func(_ string, value []byte) (string, error) { return string(value), nil },
	Encode: func(s string) ([]byte, error) { return []byte(s), nil },
}

// smallEtcd is a server that is full soon.
func smallEtcd(t *testing.T, quota int64) *Log {
	t.Helper()
	config, err := embedConfig(EmbedOptions{Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	config.QuotaBackendBytes = quota
	config.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	server, err := embed.StartEtcd(config)
	if err != nil {
		t.Fatal(err)
	}
	<-server.Server.ReadyNotify()
	client := v3client.New(server.Server)
	t.Cleanup(func() { _ = client.Close(); server.Close() })
	return &Log{requests: client, watch: client}
}

// TestWhatIsRefusedForWantOfSpaceIsNotWritten: the transaction at which etcd finds itself full is written, and answered
// as the ones after it, which are not.
func TestWhatIsRefusedForWantOfSpaceIsNotWritten(t *testing.T) {
	t.Parallel()
	log, ctx := smallEtcd(t, 4<<20), deadline(t)
	stores := make([]*Store, 12) // each sends one transaction at a time
	for i := range stores {
		s, err := Open(log, Options{Prefix: "/full/", Logger: slog.New(slog.DiscardHandler)}, texts)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		if err := s.WaitReady(ctx); err != nil {
			t.Fatal(err)
		}
		stores[i] = s
	}
	var (
		refused, unknown sync.Map
		full             atomic.Int64
		all              sync.WaitGroup
		value            = strings.Repeat("x", 100<<10)
	)
	for i, s := range stores {
		all.Go(func() {
			for n := 0; full.Load() < 50 && ctx.Err() == nil; n++ {
				path := fmt.Sprintf("%d-%d", i, n)
				_, err := Commit(ctx, s, Change[struct{}]{
					Aggregates: func(*Snapshot) []Key { return []Key{texts.Key(path)} },
					Decide: func(tx *Tx) (struct{}, error) {
						texts.Put(tx, path, value)
						return struct{}{}, nil
					},
				})
				if errors.Is(err, rpctypes.ErrNoSpace) {
					full.Add(1)
				}
				switch {
				case usher.HasCode(err, usher.CodeUnavailable):
					refused.Store(path, err)
				case err != nil:
					unknown.Store(path, err)
				}
			}
		})
	}
	all.Wait()
	written := func(answers *sync.Map) (n, of int) {
		answers.Range(func(path, err any) bool {
			got, readErr := log.requests.Get(context.Background(), "/full/texts/"+path.(string))
			if readErr != nil {
				t.Fatal(readErr)
			}
			of++
			if n += int(got.Count); got.Count > 0 {
				t.Logf("%s was answered %v, and is in the log", path, err)
			}
			return true
		})
		return n, of
	}
	if n, of := written(&refused); n > 0 || of == 0 {
		t.Errorf("%d of %d refused writes are in the log", n, of)
	}
	n, of := written(&unknown)
	t.Logf("%d of %d writes of unknown outcome are in the log", n, of)
}
