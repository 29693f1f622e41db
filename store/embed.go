package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// EmbedOptions say how the embedded etcd runs.
type EmbedOptions struct {
	// Dir holds the log. It is made when missing, for this user alone.
	Dir string
	// ListenClient is a URL at which etcd's own clients may connect: etcdctl, or a second gateway. Empty, the default,
	// opens no port at all: this process talks to its etcd by function calls.
	ListenClient string
	// MaxTxnOps is etcd's --max-txn-ops; 0 means DefaultMaxTxnOps.
	MaxTxnOps int
	Logger    *slog.Logger
}

// DefaultMaxTxnOps is etcd's own default for --max-txn-ops.
const DefaultMaxTxnOps = 128

const (
	quotaBytes         = 8 << 30          // the most that etcd's documentation suggests
	compactionWindow   = 10 * time.Minute // history kept for watchers that fell behind; etcd keeps all of it by default
	embeddedStart      = 60 * time.Second // replaying a long log takes time
	embeddedMemberName = "usher"
)

// Embed starts a real etcd server of one member in this process, with fsync, compaction and a quota.
func Embed(ctx context.Context, o EmbedOptions) (*Log, error) {
	config, err := embedConfig(o)
	if err != nil {
		return nil, err
	}
	server, err := embed.StartEtcd(config)
	if err != nil {
		return nil, fmt.Errorf("start the embedded etcd in %s: %w", o.Dir, err)
	}
	select {
	case <-server.Server.ReadyNotify():
	case err := <-server.Err():
		server.Close()
		return nil, fmt.Errorf("start the embedded etcd in %s: %w", o.Dir, err)
	case <-ctx.Done():
		server.Close()
		return nil, fmt.Errorf("start the embedded etcd in %s: %w", o.Dir, ctx.Err())
	case <-time.After(embeddedStart):
		server.Close()
		return nil, fmt.Errorf("the embedded etcd in %s is not ready after %s", o.Dir, embeddedStart)
	}
	client := v3client.New(server.Server)
	return &Log{requests: client, watch: client, close: func() error {
		err := client.Close()
		server.Close()
		if errors.Is(err, context.Canceled) { // what a client without a connection says when it is closed
			err = nil
		}
		return err
	}}, nil
}

func embedConfig(o EmbedOptions) (*embed.Config, error) {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the data directory: %w", err)
	}
	c := embed.NewConfig()
	c.Name = embeddedMemberName
	c.Dir = filepath.Clean(o.Dir)
	c.ListenPeerUrls, c.ListenClientUrls, c.AdvertiseClientUrls = []url.URL{}, []url.URL{}, []url.URL{}
	if o.ListenClient != "" {
		u, err := url.Parse(o.ListenClient)
		if err != nil {
			return nil, fmt.Errorf("read the etcd client URL: %w", err)
		}
		c.ListenClientUrls, c.AdvertiseClientUrls = []url.URL{*u}, []url.URL{*u}
	}
	peer := url.URL{Scheme: "http", Host: "127.0.0.1:0"} // a name in the member list; nothing listens
	c.AdvertisePeerUrls = []url.URL{peer}
	c.InitialCluster = embeddedMemberName + "=" + peer.String()
	c.MaxTxnOps = uint(DefaultMaxTxnOps)
	if o.MaxTxnOps > 0 {
		c.MaxTxnOps = uint(o.MaxTxnOps)
	}
	c.QuotaBackendBytes = quotaBytes
	c.AutoCompactionMode = embed.CompactorModePeriodic
	c.AutoCompactionRetention = strconv.Itoa(int(compactionWindow.Minutes())) + "m"
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.New(zapToSlog{logger: o.Logger, level: zap.WarnLevel, expected: expectedOfEmbedded}))
	return c, nil
}

// expectedOfEmbedded holds for what an embedded server warns of each time: when it begins, that its port for clients is one
// for both protocols, that its tokens are simple, which nobody uses here, and, in its first seconds, that its new storage
// has no version yet; and when it ends, that its port is closed.
func expectedOfEmbedded(entry zapcore.Entry, fields []zapcore.Field) bool {
	for _, known := range []struct{ message, cause string }{
		{"Running http and grpc server on single port", ""},
		{"simple token is not cryptographically signed", ""},
		{"Failed to detect schema version", "missing term information"},
		{"failed to update storage version", "missing term information"},
		{"setting up serving from embedded etcd failed", "closed"},
		{"stopping insecure grpc server due to error", "closed"},
		{"stopped insecure grpc server due to error", "closed"},
	} {
		if strings.HasPrefix(entry.Message, known.message) {
			return known.cause == "" || slices.ContainsFunc(fields, func(f zapcore.Field) bool {
				err, ok := f.Interface.(error)
				return ok && strings.Contains(err.Error(), known.cause)
			})
		}
	}
	return false
}
