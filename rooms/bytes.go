package rooms

import (
	"usher"
	"usher/store"
	"usher/tenant"
)

// Bytes is what is kept of a room: itself, its seats, bans and repeats. A room sets aside more than it has, out of its
// tenant's account, so that most of what happens in it touches the room alone.
type Bytes struct {
	Stored  int64 `json:"stored"`           // at most; never more than what is set aside
	Aside   int64 `json:"aside"`            // out of the account
	Repeats int64 `json:"repeats,omitzero"` // of what is stored, requests under an Idempotency-Key: they may outlive the room
}

func (b Bytes) appendJSON(to []byte) []byte {
	o := usher.JSONInto(to)
	o.Int("stored", b.Stored)
	o.Int("aside", b.Aside)
	if b.Repeats != 0 {
		o.Int("repeats", b.Repeats)
	}
	return o.End()
}

const (
	leastAhead = 4 << 10   // bytes that a room sets aside at once, and more the more it has
	mostUnused = 128 << 10 // bytes set aside and not used that a room keeps
)

// Keep writes a room that was decided on, and gives it back as it is kept; created says that it is new, and then counts it
// and gives it its name. It is the last thing that a decision writes: whatever the decision has made grow is the room's,
// and refused with usher.CodeQuotaExceeded where the tenant may not keep so much for the purpose. A room that had ended
// before is never written again.
func Keep(tx *store.Tx, t tenant.ID, room Room, created bool, p tenant.Purpose) (Room, error) {
	at := Path(t, room.ID)
	if created && room.Name != string(room.ID) {
		Names.Put(tx, namePath(t, room.Name), Naming{RoomID: room.ID})
	}
	ends := false
	if room.Status == Ended {
		before, known := Rooms.Get(tx, at)
		ends = known && before.Value.Status != Ended
	}
	room.Bytes.Stored += tx.Growth() + Rooms.Growth(tx, at, room)
	if ends { // what outlives the room is the tenant's own from now on; its account has it already
		room.Bytes.Stored -= room.Bytes.Repeats
		room.Bytes.Aside -= room.Bytes.Repeats
		room.Bytes.Repeats = 0
	}
	if need := room.Bytes.Stored - room.Bytes.Aside; created || ends || need > 0 || need < -mostUnused {
		account := tenant.AccountOf(tx, t)
		owner, err := tenant.Find(tx, t)
		if err != nil {
			return room, err
		}
		ahead := int64(0)
		if p == tenant.Adding {
			ahead = max(leastAhead, room.Bytes.Stored/2)
		}
		after, drawn, refused := account.Draw(need, ahead, owner.Settings, p)
		if refused != nil {
			return room, refused
		}
		room.Bytes.Aside += drawn
		switch {
		case created:
			after.Rooms++
		case ends:
			after.Rooms--
		}
		tenant.Accounts.Put(tx, string(t), after)
	}
	Rooms.Put(tx, at, room)
	return room, nil
}

// forget takes the room's record and its name away, when nothing else is left of it, and gives back what it has set aside.
func forget(tx *store.Tx, t tenant.ID, room Room) {
	Rooms.Delete(tx, Path(t, room.ID))
	dropName(tx, t, room)
	account := tenant.AccountOf(tx, t)
	account.Bytes -= room.Bytes.Aside
	tenant.Accounts.Put(tx, string(t), account)
}
