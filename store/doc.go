// Package store is the log and the index, and the way between them.
//
// etcd is the log: what it has committed has happened. memdb is the index: every replica holds all records in memory,
// fed by one watch, and answers every read from there. Writing is deciding on a snapshot of the index and committing by
// compare:
//
//	Commit ─▶ writer: gather ─▶ group by aggregate ─▶ decide ─▶ one etcd transaction ─▶ the watch shows it ─▶ answer
//
// A record is one key. Below the prefix (by default /usher/v1/) a key reads table/path, for example
//
//	/usher/v1/rooms/tenant_01j…/room_01j…   {"id":"room_01j…","name":"CS101 Lecture","status":"active",…}
//
// What a table holds is the business of the package that declares it (see Table); this package knows keys, bytes and
// revisions only. Nothing above it imports etcd or memdb.
//
// Files, in the order in which a write travels: writer.go (batch, decide, commit), tx.go (what a decision sees and
// changes), etcd.go (the log, embedded or a cluster), commiterror.go (what an error leaves open), follow.go (list, then
// watch), index.go (apply, revision, waiters), rows.go and bucket.go (how rows lie in memdb), state.go (STARTING, READY,
// STALE), history.go (whether it is still the same log), members.go and endpoints.go (which members of etcd are well, and
// so used).
package store
