package tenant

import (
	"context"
	"iter"

	"usher"
	"usher/store"
)

// What happens to a tenant as a whole takes one write here, and is in force with it. What follows in many records, the
// ending of its rooms and the taking away of all that it had, is left to the sweep: it works in bounded steps, and goes
// on where it was when a process dies.

// ErrSuspended refuses a credential of a suspended tenant.
func ErrSuspended() error { return usher.Errorf(usher.CodeTenantSuspended, "The tenant is suspended.") }

// Suspension is the request to suspend a tenant.
type Suspension struct {
	Rooms string `json:"rooms"` // "stay" or "end"; empty means stay
}

// What becomes of a suspended tenant's rooms.
const (
	RoomsStay = "stay"
	RoomsEnd  = "end"
)

// Validate lists what is wrong with the request.
func (n *Suspension) Validate() []usher.FieldError {
	switch n.Rooms {
	case "":
		n.Rooms = RoomsStay
	case RoomsStay, RoomsEnd:
	default:
		return []usher.FieldError{{Field: "rooms", Message: "must be stay or end"}}
	}
	return nil
}

// Suspend has every credential of the tenant refused, those of its participants included, from the moment it returns.
func (s *Service) Suspend(ctx context.Context, id ID, n Suspension, by Actor) (Tenant, error) {
	return s.change(ctx, id, Removing, func(tx *store.Tx, t Tenant) (Tenant, error) {
		ends := n.Rooms == RoomsEnd
		if t.Status == StatusSuspended && t.EndRooms == ends {
			return t, nil
		}
		t.Status, t.EndRooms = StatusSuspended, ends
		t.keep(tx)
		return t, record(tx, id, by, s.now(), "tenant.suspend", "", detail{"rooms": n.Rooms})
	})
}

// Resume has the tenant served again.
func (s *Service) Resume(ctx context.Context, id ID, by Actor) (Tenant, error) {
	return s.change(ctx, id, Removing, func(tx *store.Tx, t Tenant) (Tenant, error) {
		if t.Status == StatusActive {
			return t, nil
		}
		t.Status, t.EndRooms = StatusActive, false
		t.keep(tx)
		return t, record(tx, id, by, s.now(), "tenant.resume", "", nil)
	})
}

// Delete takes the tenant away: when it returns, nothing of it exists for any caller. The sweep removes its records.
func (s *Service) Delete(ctx context.Context, id ID, by Actor) error {
	_, err := s.change(ctx, id, Removing, func(tx *store.Tx, t Tenant) (Tenant, error) {
		t.Status = statusDeleting
		t.keep(tx)
		return t, record(tx, operatorLog, by, s.now(), "tenant.delete", string(id), detail{"name": t.Name})
	})
	return err
}

// Deleting yields the tenants that were deleted and of which there are records still.
func Deleting(r store.Reader) iter.Seq[ID] {
	return func(yield func(ID) bool) {
		for row := range tenants.Scan(r, "", "") {
			if row.Value.record.Status == statusDeleting && !yield(row.Value.record.ID) {
				return
			}
		}
	}
}

// Forget takes away up to limit records that this package keeps of a deleted tenant, and the tenant's own record last. It
// says whether there are more.
func Forget(tx *store.Tx, id ID, limit int) (more bool) {
	forgotten := 0
	for ref := range keyRefs.Scan(tx, string(id)+"/", "") {
		if forgotten += 2; forgotten > limit {
			return true
		}
		APIKeys.Delete(tx, ref.Value.Hash)
		keyRefs.Delete(tx, ref.Path)
	}
	for _, table := range []string{keyUses.Name, SigningKeys.Name, Idempotencies.Name, versions.Name, auditLog.Name} {
		deleted, more := tx.DeleteUnder(table, string(id)+"/", limit-forgotten)
		if forgotten += deleted; more || forgotten >= limit {
			return true
		}
	}
	tenants.Delete(tx, string(id))
	return false
}
