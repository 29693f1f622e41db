package rooms

import (
	"context"
	"net/url"
	"time"

	"usher"
	"usher/store"
	"usher/tenant"
)

// Ban keeps a user out of a room for a time. It belongs to the room, not to its name: a later room of the same name has
// bans of its own.
type Ban struct {
	ExternalUserID string     `json:"external_user_id"`
	BannedAt       usher.Time `json:"banned_at"`
	ExpiresAt      usher.Time `json:"expires_at"`
}

// MaxBan is the longest ban.
const MaxBan = 365 * 24 * time.Hour

// Bans is the table of bans: {tenant}/{room}/{external user id, URL-escaped}. Whoever writes a ban writes the room's
// record in the same change.
var Bans = store.Table[Ban]{Name: "bans", GuardedBy: GuardedByRoom, Decode: decodeJSON[Ban], Encode: encodeJSON[Ban]}

func banPath(t tenant.ID, room ID, user string) string {
	return Path(t, room) + "/" + url.PathEscape(user)
}

// PutBan bans the user from the room for the time; a ban that lasts longer stays.
func PutBan(tx *store.Tx, t tenant.ID, room ID, user string, lasts time.Duration, now time.Time) {
	ban := Ban{ExternalUserID: user, BannedAt: usher.At(now), ExpiresAt: usher.At(now.Add(lasts))}
	if BannedUntil(tx, t, room, user).After(ban.ExpiresAt.Time) {
		return
	}
	Bans.Put(tx, banPath(t, room, user), ban)
}

// BannedUntil is until when the user is banned from the room; it may be past, and is zero for one who never was.
func BannedUntil(r store.Reader, t tenant.ID, room ID, user string) usher.Time {
	if user == "" {
		return usher.Time{}
	}
	row, ok := Bans.Get(r, banPath(t, room, user))
	if !ok {
		return usher.Time{}
	}
	return row.Value.ExpiresAt
}

// ErrBanned refuses a banned user.
func ErrBanned(until usher.Time) *usher.Error {
	return usher.Errorf(usher.CodeParticipantBanned, "The user is banned from this room until %s.", until.Format(time.RFC3339)).
		With("banned_until", until)
}

// BanPage is a part of a list of bans.
type BanPage struct {
	Bans []Ban
	More bool
	Last string // the path, below the room, of the last one
	Pin  int64
}

// ListBans gives the bans of the room that are in force, in the order of their users' ids. Pages are pinned as those of
// List.
func (s *Service) ListBans(t tenant.ID, ref Ref, after string, pin int64, limit int) (BanPage, error) {
	snapshot := s.log.Snapshot()
	room, err := Find(snapshot, t, ref)
	if err != nil {
		return BanPage{}, err
	}
	page := BanPage{Bans: []Ban{}, Pin: pin}
	if page.Pin == 0 {
		page.Pin = snapshot.Revision()
	}
	prefix, now := Path(t, room.ID)+"/", s.now()
	for row := range Bans.Scan(snapshot, prefix, prefix+after) {
		if row.Created > page.Pin || !now.Before(row.Value.ExpiresAt.Time) {
			continue
		}
		if len(page.Bans) == limit {
			page.More = true
			break
		}
		page.Bans = append(page.Bans, row.Value)
		page.Last = row.Path[len(prefix):]
	}
	return page, nil
}

// LiftBan ends the ban of the user, or of all when user is empty. Lifting what is no ban changes nothing.
func (s *Service) LiftBan(ctx context.Context, t tenant.ID, ref Ref, user string) error {
	for more := true; more; {
		var err error
		more, err = store.Commit(ctx, s.log, store.Change[bool]{
			Aggregates: func(snapshot *store.Snapshot) []store.Key { return Aggregates(snapshot, t, ref) },
			Decide: func(tx *store.Tx) (bool, error) {
				room, err := Find(tx, t, ref)
				if err != nil {
					return false, err
				}
				lifted, more := liftBans(tx, t, room.ID, user)
				if lifted && room.Status != Ended { // whose record stays as its end has left it; nobody enters it anyway
					_, err = Keep(tx, t, room, false, tenant.Removing)
				}
				return more, err
			},
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// liftBans takes away the ban of the user or, in steps, of all, and says whether there was one and whether there are more.
func liftBans(tx *store.Tx, t tenant.ID, room ID, user string) (lifted, more bool) {
	if user == "" {
		n, more := tx.DeleteUnder(Bans.Name, Path(t, room)+"/", deleteStep)
		return n > 0, more
	}
	if BannedUntil(tx, t, room, user).IsZero() {
		return false, false
	}
	Bans.Delete(tx, banPath(t, room, user))
	return true, false
}
