package store

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync/atomic"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// landmark is a record by which the log is known again: that the key had this value at this revision is so in no other
// history. A log that was restored from a backup may have the cluster id that it had before and, once it has been written
// to again, a higher revision than the index. Only what lies at its revisions tells that they are others.
type landmark struct {
	key      string
	revision int64
	sum      uint64 // of the value
}

// landmarks keeps the newest record that the index has been told of, and the one that the next quorum read must find
// again. They are not the same: a watch that has found its way to another log tells of that one's records before it is known
// to be another. So the one to be found is what was the newest when the log was last read or, when that has failed since,
// when it first failed.
type landmarks struct {
	newest atomic.Pointer[landmark] // written by the follower alone; nil before there is any
	known  atomic.Pointer[landmark] // to be found again; nil before there is any
	failed bool                     // the last quorum read did; the probe's alone
	seed   maphash.Seed
}

// pass notes a record, if it is newer than the last.
func (l *landmarks) pass(key, value []byte, modified int64) {
	if last := l.newest.Load(); last == nil || last.revision < modified {
		l.newest.Store(&landmark{key: string(key), revision: modified, sum: maphash.Bytes(l.seed, value)})
	}
}

// restart is for an index that was made anew.
func (l *landmarks) restart(newest *landmark) {
	l.newest.Store(newest)
	l.known.Store(newest)
}

// ask is a read by quorum: it gives the header that the log answers with. gone says why the log cannot be the one that
// the index was made from, as far as the landmark tells.
func (s *Store) ask(ctx context.Context) (header *etcdserverpb.ResponseHeader, gone string, err error) {
	l := &s.landmarks
	m, next := l.known.Load(), l.newest.Load()
	header, gone, err = s.askFor(ctx, m)
	if err != nil {
		next = l.newest.Load()
	}
	if gone == "" && (err == nil || !l.failed) {
		l.known.CompareAndSwap(m, next) // unless a new list has come meanwhile
	}
	l.failed = err != nil
	return header, gone, err
}

func (s *Store) askFor(ctx context.Context, m *landmark) (header *etcdserverpb.ResponseHeader, gone string, err error) {
	count := clientv3.OpGet(s.options.Prefix, clientv3.WithCountOnly())
	if m == nil {
		resp, err := s.log.requests.Txn(ctx).Then(count).Commit()
		if err != nil {
			return nil, "", err
		}
		return resp.Header, "", nil
	}
	resp, err := s.log.requests.Txn(ctx).Then(count, clientv3.OpGet(m.key, clientv3.WithRev(m.revision))).Commit()
	compacted := errors.Is(err, rpctypes.ErrCompacted)
	switch {
	case errors.Is(err, rpctypes.ErrFutureRev):
		return nil, fmt.Sprintf("the log does not reach revision %d any more", m.revision), nil
	case compacted: // what the key is now may still tell
		resp, err = s.log.requests.Txn(ctx).Then(count, clientv3.OpGet(m.key)).Commit()
	}
	if err != nil {
		return nil, "", err
	}
	found := resp.Responses[1].GetResponseRange().Kvs
	switch {
	case len(found) == 0 && compacted, len(found) > 0 && found[0].ModRevision > m.revision: // it was deleted, or written, since
	case len(found) == 0 || found[0].ModRevision != m.revision || maphash.Bytes(s.landmarks.seed, found[0].Value) != m.sum:
		return nil, fmt.Sprintf("the log has another history: %s was written at revision %d", m.key, m.revision), nil
	}
	return resp.Header, "", nil
}
