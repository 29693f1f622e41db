package gateway

import (
	"fmt"

	"github.com/go-json-experiment/json/jsontext"

	"usher"
	"usher/participants"
	"usher/rooms"
	"usher/tenant"
)

// addedParticipant is the answer to an add: the seed's fields, and a few again at the top for clients that read them there.
type addedParticipant struct{ participants.Added }

// AppendJSON writes the answer.
func (a addedParticipant) AppendJSON(b []byte) []byte {
	o := usher.JSONInto(b)
	o.Value("participant", a.Encoded)
	o.Plain("participant_id", string(a.Participant.ID))
	o.String("role", a.Participant.Role)
	o.Within("room", a.Room.AppendJSON)
	o.Bool("room_created", a.RoomCreated)
	o.Value("tenant_config", a.Tenant.ClientConfig)
	appendTokens(&o, a.Tokens)
	o.Time("expires_at", usher.At(a.Tokens.AccessExpiresAt))
	o.Bool("should_start_recording", a.Decision.Elected)
	o.Within("recording_decision", a.Decision.AppendJSON)
	return o.End()
}

const tokenType = "Bearer"

func (g *Gateway) addParticipant(c *call, ref rooms.Ref) (answer, error) {
	request, err := decode[participants.NewParticipant](c)
	if err != nil {
		return answer{}, err
	}
	attempt, err := c.attempt()
	if err != nil {
		return answer{}, err
	}
	added, err := g.Participants.Add(c.Context(), c.caller.tenant.ID, ref, request, attempt)
	if err != nil {
		return answer{}, err
	}
	if !added.Replayed {
		c.joined = 1
	}
	return answer{status: 201, body: &addedParticipant{added}}.orReplayed(added.Replayed), nil
}

func (g *Gateway) listParticipants(c *call, ref rooms.Ref) (answer, error) {
	page, err := pageOf(c.query)
	if err != nil {
		return answer{}, err
	}
	active, err := boolOf(c.query, "active")
	if err != nil {
		return answer{}, err
	}
	if err := g.waitRevision(c, page.pin); err != nil {
		return answer{}, err
	}
	listed, err := g.Participants.List(c.caller.tenant.ID, ref, participants.Query{
		Active: active, After: participants.ID(page.after), Pin: page.pin, Limit: page.size,
	})
	if err != nil {
		return answer{}, err
	}
	return ok((*participantList)(&listed)), nil
}

// participantList is a list of participants that are JSON already.
type participantList participants.Page

// AppendJSON writes the answer.
func (p *participantList) AppendJSON(b []byte) []byte {
	page := (*participants.Page)(p)
	b = page.AppendJSON(append(b, `{"participants":`...))
	if p.More {
		b = fmt.Appendf(b, `,"next_page_token":%q`, nextPage(p.Pin, string(p.Last)))
	}
	return append(b, '}')
}

func (g *Gateway) removeParticipant(c *call, ref rooms.Ref, id participants.ID) (answer, error) {
	ban, err := banOf(c.query.Get("ban_seconds"))
	if err != nil {
		return answer{}, err
	}
	return noContent(), g.Participants.Remove(c.Context(), c.caller.tenant.ID, ref, id, ban)
}

func (g *Gateway) getParticipant(c *call, ref rooms.Ref, id participants.ID) (answer, error) {
	found, err := g.Participants.Get(c.caller.tenant.ID, ref, id)
	return ok(jsontext.Value(found)), err
}

func (g *Gateway) leave(c *call, ref rooms.Ref, id participants.ID) (answer, error) {
	return noContent(), g.Participants.Leave(c.Context(), c.caller.tenant.ID, ref, id)
}

func (g *Gateway) heartbeat(c *call, ref rooms.Ref, id participants.ID) (answer, error) {
	return noContent(), g.Participants.Heartbeat(c.caller.tenant.ID, ref, id)
}

// seatTokens is the answer to a refresh.
type seatTokens tenant.Tokens

// AppendJSON writes the answer.
func (t *seatTokens) AppendJSON(b []byte) []byte {
	o := usher.JSONInto(b)
	appendTokens(&o, tenant.Tokens(*t))
	return o.End()
}

// appendTokens writes the members that every answer with tokens has.
func appendTokens(o *usher.JSONObject, t tenant.Tokens) {
	o.Plain("access_token", t.Media)
	o.Plain("refresh_token", t.Refresh)
	o.Plain("token_type", tokenType)
	o.Int("expires_in", int64(t.ExpiresIn.Seconds()))
	o.Plain("auth_token", t.API)
}

func (g *Gateway) refreshTokens(c *call, ref rooms.Ref, id participants.ID) (answer, error) {
	tokens, err := g.Participants.Refresh(c.caller.tenant.ID, ref, id)
	if err != nil {
		return answer{}, err
	}
	return ok((*seatTokens)(&tokens)), nil
}
