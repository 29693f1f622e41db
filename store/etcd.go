package store

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"

	"usher"
)

// Log is a connection to etcd: to a cluster (Dial), or to a server inside this process (Embed).
type Log struct {
	// requests and watch are separate connections towards a cluster, so that a busy watch never delays a transaction
	// (etcd issue 15402: the two starve each other on one TLS connection).
	requests, watch *clientv3.Client
	close           func() error

	endpoints []string   // all that were given; the clients use those of them that are well. None for an embedded server
	choosing  sync.Mutex // guards the endpoints of the watch's client, whose Dial reads them without its own lock
	slow      slowness   // of whatever members should bring; nil for an embedded server
}

// Close ends the connections, and the embedded server if there is one.
func (l *Log) Close() error { return l.close() }

// DialOptions say how to reach a cluster.
type DialOptions struct {
	Endpoints []string
	TLS       func() *tls.Config // asked for each connection that is made; nil: no TLS
	Username  string
	Password  string
	Timeout   time.Duration // for a connection to be made; 0 means 5 s
	Logger    *slog.Logger
	Tracing   trace.TracerProvider // nil: requests are not traced into etcd
}

// Dial connects to a cluster and makes sure that it answers, by a quorum read.
func Dial(ctx context.Context, o DialOptions) (*Log, error) {
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Second
	}
	// The watch goes to the member that is connected first, which would be the same one for all replicas.
	endpoints := slices.Clone(o.Endpoints)
	rand.Shuffle(len(endpoints), func(i, j int) { endpoints[i], endpoints[j] = endpoints[j], endpoints[i] })
	config := clientv3.Config{
		Endpoints: endpoints, Username: o.Username, Password: o.Password, DialTimeout: o.Timeout,
		// Without keepalive a partition goes unnoticed. etcd refuses pings more often than every 5 s, and on connections with
		// nothing under way: for those it closes the connection, and the client then pings half as often, each time.
		DialKeepAliveTime: 10 * time.Second, DialKeepAliveTimeout: 5 * time.Second,
		Logger: zap.New(zapToSlog{logger: o.Logger, level: zap.ErrorLevel}),
	}
	if o.TLS != nil { // wins over what the client would use
		config.DialOptions = []grpc.DialOption{grpc.WithTransportCredentials(renewed{o.TLS})}
	}
	asking := config
	slow := make(slowness, 1)
	asking.DialOptions = append(slices.Clone(config.DialOptions), grpc.WithChainUnaryInterceptor(requireLeader, slow.intercept))
	if o.Tracing != nil { // the watch is left out: it would be one span for ever
		asking.DialOptions = append(asking.DialOptions, grpc.WithStatsHandler(otelgrpc.NewClientHandler(
			otelgrpc.WithTracerProvider(o.Tracing), otelgrpc.WithPropagators(propagation.TraceContext{}),
			otelgrpc.WithMeterProvider(noop.NewMeterProvider()), otelgrpc.WithFilter(withinTrace))))
	}
	requests, err := clientv3.New(asking)
	if err != nil {
		return nil, fmt.Errorf("connect to etcd at %s: %w", strings.Join(o.Endpoints, ", "), o.explain(ctx, err))
	}
	watch, err := clientv3.New(config)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("connect to etcd at %s: %w", strings.Join(o.Endpoints, ", "), o.explain(ctx, err)), requests.Close())
	}
	l := &Log{requests: requests, watch: watch, endpoints: endpoints, slow: slow,
		close: func() error { return errors.Join(watch.Close(), requests.Close()) }}
	whole := ctx
	ctx, cancel := context.WithTimeout(whole, o.Timeout)
	defer cancel()
	if _, err := requests.Get(ctx, "usher", clientv3.WithCountOnly()); err != nil && !errors.Is(err, rpctypes.ErrPermissionDenied) {
		return nil, errors.Join(fmt.Errorf("etcd at %s does not answer: %w", strings.Join(o.Endpoints, ", "), o.explain(whole, err)), l.Close())
	}
	return l, nil
}

// requireLeader has a member that knows no leader say so at once. Otherwise one that is cut off from its peers keeps what
// it is asked until the time is over, and the client goes on to ask it every third time.
func requireLeader(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	if strings.HasPrefix(method, "/etcdserverpb.KV/") {
		ctx = clientv3.WithRequireLeader(ctx)
	}
	return invoke(ctx, method, request, reply, conn, options...)
}

// withinTrace lets only those calls be traced that are part of a request's: not the probes, not the leases.
func withinTrace(info *stats.RPCTagInfo) bool { return strings.HasSuffix(info.FullMethodName, "/Txn") }

// group is the part of a transaction that stands or falls as one: the changes of one group of decisions, and the
// records that must be unchanged for it.
type group struct {
	tx      *Tx
	members []*submission
}

// compiled is a group in etcd's terms.
type compiled struct {
	compares []clientv3.Cmp
	writes   []clientv3.Op
}

func (s *Store) compile(g *group) (compiled, error) {
	c := compiled{compares: make([]clientv3.Cmp, 0, len(g.tx.guards)), writes: make([]clientv3.Op, 0, len(g.tx.order))}
	for key, known := range g.tx.guards {
		row := known.row
		if !known.looked {
			row, _ = g.tx.snapshot.get(s.index.tables[key.Table].layout(), key.Path)
		}
		var modified int64
		if row != nil {
			_, modified = row.revisions()
		}
		c.compares = append(c.compares, clientv3.Compare(clientv3.ModRevision(s.logKey(key)), "=", modified))
	}
	for _, key := range g.tx.order {
		change := g.tx.changes[key]
		if change.row == nil {
			c.writes = append(c.writes, clientv3.OpDelete(s.logKey(key)))
			continue
		}
		if change.value == nil {
			var err error
			if change.value, err = change.table.encode(change.row); err != nil {
				return c, fmt.Errorf("encode %s: %w", key, err)
			}
		}
		c.writes = append(c.writes, clientv3.OpPut(s.logKey(key), string(change.value)))
	}
	return c, nil
}

// shared takes the compares that several groups have out of them, so that etcd makes each once. Where one does not hold
// nothing is written, and all groups are decided again: what they share, a tenant's record or an API key's, seldom changes.
func shared(parts []compiled) (all []clientv3.Cmp) {
	first := make(map[string]int, 4*len(parts)) // how many groups have it
	for _, p := range parts {
		for i := range p.compares {
			first[string(p.compares[i].KeyBytes())]++
		}
	}
	for i := range parts {
		own := parts[i].compares[:0]
		for _, compare := range parts[i].compares {
			switch n := first[string(compare.KeyBytes())]; {
			case n == 1:
				own = append(own, compare)
			case n > 1 && len(all) <= len(parts): // the first of them; there are never more than etcd takes
				all = append(all, compare)
				first[string(compare.KeyBytes())] = 0
			case n > 1:
				own = append(own, compare)
			}
		}
		parts[i].compares = own
	}
	return all
}

// logKey is where the log has the record.
func (s *Store) logKey(k Key) string { return s.options.Prefix + k.Table + "/" + k.Path }

// commit sends the groups, and a barrier where they are announced, as one transaction and says for each whether its compares held, and the revision at which
// that was so. Groups hold disjoint keys: etcd evaluates all compares before any write, and refuses a key put twice.
func (s *Store) commit(ctx context.Context, groups []*group, announced bool) (held []bool, revision int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.options.CommitTimeout)
	defer cancel()
	for {
		held, revision, err = s.commitOnce(ctx, groups, announced)
		if !errors.Is(err, rpctypes.ErrNoLeader) || pause(ctx, leaderPause) != nil { // the next time another member is asked
			return held, revision, err
		}
	}
}

// leaderPause is how often the members are asked while an election goes on.
const leaderPause = 50 * time.Millisecond

func (s *Store) commitOnce(ctx context.Context, groups []*group, announced bool) (held []bool, revision int64, err error) {
	parts := make([]compiled, len(groups))
	writes := 0
	for i, g := range groups {
		if parts[i], err = s.compile(g); err != nil {
			return nil, 0, usher.Internal(err, "compile a transaction")
		}
		writes += len(parts[i].writes)
	}
	switch {
	case writes == 0:
		return s.confirm(ctx, parts)
	case len(parts) == 1: // flat, which leaves all of max-txn-ops to the one group
		if announced {
			parts[0].writes = s.withBarrier(parts[0].writes)
		}
		resp, err := s.log.requests.Txn(ctx).If(parts[0].compares...).Then(parts[0].writes...).Commit()
		if err != nil {
			return nil, 0, s.commitError(ctx, groups, parts, err)
		}
		held = []bool{resp.Succeeded}
		return held, resp.Header.Revision, s.showOwn(groups, held, resp.Header)
	}
	compares := shared(parts)
	nested := make([]clientv3.Op, len(parts), len(parts)+1)
	for i, p := range parts {
		nested[i] = clientv3.OpTxn(p.compares, p.writes, nil)
	}
	if announced {
		nested = s.withBarrier(nested)
	}
	resp, err := s.log.requests.Txn(ctx).If(compares...).Then(nested...).Commit()
	if err != nil {
		parts[0].compares = append(parts[0].compares, compares...)
		return nil, 0, s.commitError(ctx, groups, parts, err)
	}
	held = make([]bool, len(parts))
	if !resp.Succeeded {
		return held, resp.Header.Revision, nil
	}
	for i, r := range resp.Responses[:len(parts)] {
		held[i] = r.GetResponseTxn().Succeeded
	}
	return held, resp.Header.Revision, s.showOwn(groups, held, resp.Header)
}

// showOwn shows what was just committed without waiting for the watch to tell of it. That is possible when the index holds
// all that came before: then nobody else's change lies between, and what this transaction has done is known. Otherwise
// the watch brings it, in its order.
func (s *Store) showOwn(groups []*group, held []bool, header *etcdserverpb.ResponseHeader) error {
	if s.cluster.Load() != header.ClusterId || s.index.applied() != header.Revision-1 {
		return nil
	}
	var changes []change
	wrote := false // and so the revision is this transaction's own; to delete what is not there makes none
	for i, g := range groups {
		if !held[i] {
			continue
		}
		for _, key := range g.tx.order {
			c := g.tx.changes[key].change
			changes, wrote = append(changes, c), wrote || c.row != nil
		}
	}
	if !wrote {
		return nil
	}
	if err := s.index.advance(changes, header.Revision); err != nil {
		return usher.Internal(err, "show what was committed")
	}
	return nil
}

// confirm proves decisions that change nothing, refusals above all: what they were decided on must still be so, or a
// caller could be told that a room is full after somebody's leaving was acknowledged. It is a read by quorum and costs
// no write. The read of a key makes it one: etcd answers a transaction without any from its local state.
//
// All compares are in one transaction, so where one does not hold all groups are decided again. Where they are more than a
// transaction may have, each group has a nested one, which etcd counts as a write: it takes longer and makes no revision.
func (s *Store) confirm(ctx context.Context, parts []compiled) (held []bool, revision int64, err error) {
	var compares []clientv3.Cmp
	known := make(map[string]struct{})
	for _, p := range parts {
		for _, compare := range p.compares {
			if _, ok := known[string(compare.KeyBytes())]; !ok { // all were decided on one snapshot, so they compare the same
				known[string(compare.KeyBytes())] = struct{}{}
				compares = append(compares, compare)
			}
		}
	}
	held = make([]bool, len(parts))
	read := clientv3.OpGet(s.options.Prefix, clientv3.WithCountOnly())
	ask, flat := s.log.requests.Txn(ctx).If(compares...).Then(read).Else(read), len(compares) <= s.options.MaxTxnOps
	if !flat {
		nested := make([]clientv3.Op, len(parts))
		for i, p := range parts {
			nested[i] = clientv3.OpTxn(p.compares, []clientv3.Op{read}, []clientv3.Op{read})
		}
		ask = s.log.requests.Txn(ctx).Then(nested...)
	}
	resp, err := ask.Commit()
	if err != nil {
		return nil, 0, &usher.Error{Code: usher.CodeUnavailable, RetryAfter: retryAfter, Err: fmt.Errorf("confirm: %w", err),
			Detail: "Nothing was written: the log cannot be asked now. Try again."}
	}
	for i := range held {
		held[i] = resp.Succeeded
		if !flat {
			held[i] = resp.Responses[i].GetResponseTxn().Succeeded
		}
	}
	return held, resp.Header.Revision, nil
}

// list reads every record below the prefix at one revision. It streams where the server can (etcd ≥ 3.7); otherwise it
// asks for the whole range at once: pages up to a far end are quadratic, since etcd counts the rest for each (52 s
// against 2 s for a million keys). Chunks come in no promised size, the keys in their order.
func (s *Store) list(ctx context.Context, each func(key, value []byte, created, modified int64)) (revision int64, cluster uint64, err error) {
	stream, err := s.log.requests.GetStream(ctx, s.options.Prefix, clientv3.WithPrefix())
	if err == nil {
		streamed := 0
		for chunk := range stream {
			if err = chunk.Err(); err != nil {
				break
			}
			for _, kv := range chunk.Kvs {
				each(kv.Key, kv.Value, kv.CreateRevision, kv.ModRevision)
			}
			streamed += len(chunk.Kvs)
			if chunk.Header != nil {
				revision, cluster = chunk.Header.Revision, chunk.Header.ClusterId
			}
		}
		if err == nil {
			return revision, cluster, ctx.Err()
		}
		if streamed > 0 {
			return 0, 0, fmt.Errorf("list: %w", err)
		}
	}
	if status.Code(err) != codes.Unimplemented {
		return 0, 0, fmt.Errorf("list: %w", err)
	}
	resp, err := s.log.requests.Get(ctx, s.options.Prefix, clientv3.WithPrefix())
	if err != nil {
		return 0, 0, fmt.Errorf("list: %w", err)
	}
	for _, kv := range resp.Kvs {
		each(kv.Key, kv.Value, kv.CreateRevision, kv.ModRevision)
	}
	return resp.Header.Revision, resp.Header.ClusterId, nil
}
