package gateway

import (
	"strconv"
	"time"

	"usher"
	"usher/rooms"
)

type banList struct {
	Bans          []rooms.Ban `json:"bans"`
	NextPageToken string      `json:"next_page_token,omitzero"`
}

func (g *Gateway) listBans(c *call, ref rooms.Ref) (answer, error) {
	page, err := pageOf(c.query)
	if err != nil {
		return answer{}, err
	}
	listed, err := g.Rooms.ListBans(c.caller.tenant.ID, ref, page.after, page.pin, page.size)
	if err != nil {
		return answer{}, err
	}
	list := banList{Bans: listed.Bans}
	if listed.More {
		list.NextPageToken = nextPage(listed.Pin, listed.Last)
	}
	return ok(list), nil
}

func (g *Gateway) liftBans(c *call, ref rooms.Ref) (answer, error) {
	return noContent(), g.Rooms.LiftBan(c.Context(), c.caller.tenant.ID, ref, c.query.Get("external_user_id"))
}

// banOf reads the query parameter ban_seconds; none bans nobody.
func banOf(s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	seconds, err := strconv.Atoi(s)
	if err != nil || !isBan(seconds) {
		return 0, usher.Invalid(errBanSeconds())
	}
	return banSeconds(&seconds), nil
}

func isBan(seconds int) bool { return seconds >= 1 && seconds <= int(rooms.MaxBan/time.Second) }

func errBanSeconds() usher.FieldError {
	return usher.FieldError{Field: "ban_seconds", Message: "must be between 1 and " + strconv.Itoa(int(rooms.MaxBan/time.Second))}
}

func banSeconds(n *int) time.Duration {
	if n == nil {
		return 0
	}
	return time.Duration(*n) * time.Second
}
