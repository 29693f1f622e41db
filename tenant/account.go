package tenant

import (
	"context"
	"slices"

	"usher"
	"usher/store"
)

// Account is what a tenant has as a whole: what its limits are held against.
type Account struct {
	Rooms int   `json:"rooms"` // that have not ended
	Bytes int64 `json:"bytes"` // that are kept for it, or set aside for its rooms
}

// Accounts is the table of accounts: {tenant}.
//
// Every record of a tenant counts in its account: keys and values as etcd has them, and what they will need when what they
// tell of ends (store.Table.Size). A room sets bytes aside for itself and goes to the account only when it needs more, so
// that a tenant's rooms do not wait for each other.
var Accounts = store.Table[Account]{
	Name: "accounts", Aggregate: true, Size: func(Account) int { return accountBytes },
	Decode: decodeJSON[Account], Encode: encodeJSON[Account],
}

// accountBytes is more than an account's record takes.
const accountBytes = 64

// AccountOf is the tenant's account.
func AccountOf(r store.Reader, t ID) Account {
	if row, ok := Accounts.Get(r, string(t)); ok {
		return row.Value
	}
	return Account{}
}

// Purpose is what bytes are wanted for. What takes away goes on when what adds is refused, so the last bytes are kept for
// it.
type Purpose int

// The purposes.
const (
	Adding   Purpose = iota // up to 15/16 of max_stored_bytes
	Banning                 // up to 31/32
	Removing                // is never refused: it adds next to nothing, and less than what has made it necessary
)

// limit is how many bytes the tenant may have for the purpose.
func (p Purpose) limit(s Settings) int64 {
	most := int64(s.MaxStoredBytes)
	switch p {
	case Adding:
		return most - most/16
	case Banning:
		return most - most/32
	case Removing:
	}
	return 1 << 62
}

// maxAhead is how many bytes are set aside for a room at once beyond what it needs.
const maxAhead = 64 << 10

// Draw takes bytes out of what the tenant may still have: as many as are needed or none, and up to ahead more, the fewer
// the less there is left.
func (a Account) Draw(need, ahead int64, s Settings, p Purpose) (after Account, drawn int64, refused *usher.Error) {
	if refused := a.refuses(need, s, p); refused != nil {
		return a, 0, refused
	}
	left := Adding.limit(s) - a.Bytes - need
	drawn = need + max(0, min(ahead, maxAhead, left/64))
	a.Bytes += drawn
	return a, drawn, nil
}

func (a Account) refuses(need int64, s Settings, p Purpose) *usher.Error {
	if need <= 0 || a.Bytes+need <= p.limit(s) {
		return nil
	}
	return usher.Errorf(usher.CodeQuotaExceeded,
		"The tenant's data has %d bytes, of the %d that max_stored_bytes allows. Delete rooms that have ended, or end some sooner (room_retention_hours).",
		a.Bytes, s.MaxStoredBytes).With("stored_bytes", a.Bytes).With("max_stored_bytes", s.MaxStoredBytes)
}

// write has decide change what is the tenant's beside its record: its keys, its audit log. The tenant's account moves with
// everything that is written so: it guards the keys, and counts what the change has made grow.
func write[D any](ctx context.Context, s *Service, t ID, p Purpose, compared []store.Key, decide func(*store.Tx) (D, error)) (D, error) {
	return store.Commit(ctx, s.log, store.Change[D]{
		Aggregates: func(*store.Snapshot) []store.Key { return append(slices.Clip(compared), Accounts.Key(string(t))) },
		What:       decide,
		Decide: func(tx *store.Tx) (D, error) {
			decision, err := decide(tx)
			if err != nil || !tx.Changed() {
				return decision, err
			}
			grown := tx.Growth()
			if grown == 0 {
				Accounts.Put(tx, string(t), AccountOf(tx, t))
			}
			return decision, Settle(tx, t, grown, p)
		},
	})
}

// setAside are bytes that are taken out of a tenant's account for its own record and what moves with it, its versions and
// their audit entries: most changes of settings then touch that record alone, and do not wait for what else grows.
type setAside struct {
	Stored int64 `json:"stored"` // never more than what is set aside
	Aside  int64 `json:"aside"`
}

// asideAhead is how many bytes are set aside at once.
const asideAhead = 16 << 10

// writeRecord has decide change the tenant's own record, and what moves with it.
func writeRecord[D any](ctx context.Context, s *Service, t ID, p Purpose, decide func(*store.Tx) (D, error)) (D, error) {
	return store.Commit(ctx, s.log, store.Change[D]{
		Aggregates: func(*store.Snapshot) []store.Key { return []store.Key{Aggregate(t)} },
		What:       decide,
		Decide: func(tx *store.Tx) (D, error) {
			decision, err := decide(tx)
			if err != nil || !tx.Changed() {
				return decision, err
			}
			return decision, settleRecord(tx, t, p)
		},
	})
}

// settleRecord puts what the decision has made grow on the tenant's record.
func settleRecord(tx *store.Tx, t ID, p Purpose) error {
	row, ok := tenants.Get(tx, string(t))
	if !ok {
		return Settle(tx, t, tx.Growth(), p)
	}
	record := row.Value.record
	record.Bytes.Stored += tx.Growth()
	if need := record.Bytes.Stored - record.Bytes.Aside; need > 0 {
		owner, err := row.Value.on(baselineOf(tx))
		if err != nil {
			return usher.Internal(err, "compile tenant %s", t)
		}
		account, drawn, refused := AccountOf(tx, t).Draw(need, asideAhead, owner.Settings, p)
		if refused != nil {
			return refused
		}
		record.Bytes.Aside += drawn
		Accounts.Put(tx, string(t), account)
	}
	tenants.Put(tx, string(t), row.Value.with(record))
	return nil
}

// Settle puts so many bytes more, or fewer, on the tenant's own account. It is the last thing that a decision writes.
func Settle(tx *store.Tx, t ID, grown int64, p Purpose) error {
	if grown == 0 {
		return nil
	}
	account := AccountOf(tx, t)
	if grown > 0 && p != Removing {
		owner, err := Find(tx, t)
		if err != nil {
			return err
		}
		if refused := account.refuses(grown, owner.Settings, p); refused != nil {
			return refused
		}
	}
	account.Bytes += grown
	Accounts.Put(tx, string(t), account)
	return nil
}

// purposeOf is what the actor's change is for: operators are not refused, since they are who can put it right.
func purposeOf(by Actor) Purpose {
	if by.By == ByOperator || by.By == bySchedule {
		return Removing
	}
	return Adding
}
