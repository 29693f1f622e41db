package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"usher"
)

// retryAfter is what a caller is told to wait when the log cannot be written: about the length of an election.
const retryAfter = 2 * time.Second

// commitError tells what is known of a transaction that brought an error: refused for sure, or of unknown fate.
func (s *Store) commitError(ctx context.Context, groups []*group, parts []compiled, err error) *usher.Error {
	if refusedForSure(err) || (errors.Is(err, rpctypes.ErrNoSpace) && s.notApplied(ctx, groups, parts)) {
		return &usher.Error{Code: usher.CodeUnavailable, RetryAfter: retryAfter, Err: fmt.Errorf("commit: %w", err),
			Detail: "The write was not done: the log cannot be written now. Try again."}
	}
	return &usher.Error{Code: usher.CodeOutcomeUnknown, RetryAfter: retryAfter, Err: fmt.Errorf("commit: %w", err),
		Detail: "The write was sent and its outcome is not known. Read before you repeat it."}
}

// notApplied proves, after an answer that leaves it open, that a transaction has written nothing: each of its groups
// would have changed a record that it compares, and all of those are as they were.
//
// NOSPACE leaves it open. Most transactions that get it were not applied, but the one with which etcd found that it is
// full was (quotaApplierV3.Txn in etcd's server/etcdserver/apply).
func (s *Store) notApplied(ctx context.Context, groups []*group, parts []compiled) bool {
	for _, g := range groups {
		if !g.changesWhatItCompares() {
			return false
		}
	}
	held, _, err := s.confirm(ctx, parts)
	return err == nil && !slices.Contains(held, false)
}

// changesWhatItCompares holds when the group leaves a trace in its own guards.
func (g *group) changesWhatItCompares() bool {
	for _, key := range g.tx.order {
		if _, guarded := g.tx.guards[key]; guarded && g.tx.changes[key].row != nil {
			return true
		}
	}
	return len(g.tx.order) == 0
}

// refusedForSure holds for errors that etcd gives before it proposes a transaction, or instead of applying it. Every
// other error, a timeout above all, leaves the outcome open.
func refusedForSure(err error) bool {
	for _, refused := range []error{
		rpctypes.ErrNoLeader, rpctypes.ErrNotCapable, rpctypes.ErrTooManyRequests,
		rpctypes.ErrRequestTooLarge, rpctypes.ErrTooManyOps, rpctypes.ErrDuplicateKey, rpctypes.ErrPermissionDenied,
		rpctypes.ErrInvalidAuthToken, rpctypes.ErrAuthOldRevision, rpctypes.ErrUserEmpty, rpctypes.ErrCorrupt,
	} {
		if errors.Is(err, refused) {
			return true
		}
	}
	// A connection that could not be made carried nothing.
	s, ok := status.FromError(err)
	return ok && s.Code() == codes.Unavailable && strings.Contains(s.Message(), "Error while dialing")
}
