package gateway

import (
	"usher/store"
)

// What entitles a caller is looked at twice: when its request comes in, on the newest state that this replica has, and
// again when a change of it is decided, on the state that the change is compared on. So nothing is written on the
// strength of what was taken back, on whichever replica that was.

// bind has every change that the call makes decided under what entitles its caller.
func (g *Gateway) bind(c *call) {
	if reads(c.Method) {
		return
	}
	c.request.Holds, c.request.Who, c.request.TakesAway = c.holds, c.who, c.route.takesAway
	c.ctx = c.request.With(c.ctx)
}

// holds refuses a change whose caller may not make it any more.
func (c *call) holds(tx *store.Tx) error {
	switch c.caller.credential {
	case apiKey, serviceJWT:
		return c.caller.standing.Holds(tx, c.gateway().Now())
	case seatJWT:
		if c.route.access.grant == "" {
			return nil // what concerns its own seat alone is for it also when it has left
		}
		return c.caller.seat.Holds(tx, c.route.access.grant)
	case operatorKey, noCredential: // the key is the process's own
	}
	return nil
}

func (c *call) gateway() *Gateway { return c.resource.gateway }

// who names the caller for the log.
func (c *call) who() string {
	who := string(c.caller.credential)
	switch c.caller.credential {
	case apiKey, serviceJWT:
		who += " " + string(c.caller.key.ID)
	case seatJWT:
		who += " " + string(c.caller.seat.Participant)
	case operatorKey, noCredential:
	}
	return who + " of " + string(c.caller.tenant.ID) + ", request " + c.id
}
