package gateway

import (
	"bytes"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"

	"usher"
	"usher/participants"
	"usher/rooms"
	"usher/tenant"
)

// addedParticipant is the answer to an add: the seed's fields, and a few again at the top for clients that read them there.
type addedParticipant struct {
	Participant          participants.Participant `json:"participant"`
	ParticipantID        participants.ID          `json:"participant_id"`
	Role                 string                   `json:"role"`
	Room                 rooms.Room               `json:"room"`
	RoomCreated          bool                     `json:"room_created"`
	TenantConfig         jsontext.Value           `json:"tenant_config"`
	AccessToken          string                   `json:"access_token"`
	RefreshToken         string                   `json:"refresh_token"`
	TokenType            string                   `json:"token_type"`
	ExpiresIn            int                      `json:"expires_in"`
	ExpiresAt            usher.Time               `json:"expires_at"`
	AuthToken            string                   `json:"auth_token"`
	ShouldStartRecording bool                     `json:"should_start_recording"`
	RecordingDecision    rooms.Decision           `json:"recording_decision"`
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
	return answer{status: 201, body: addedParticipant{
		Participant: added.Participant, ParticipantID: added.Participant.ID, Role: added.Participant.Role,
		Room: added.Room, RoomCreated: added.RoomCreated, TenantConfig: added.Tenant.ClientConfig,
		AccessToken: added.Tokens.Media, RefreshToken: added.Tokens.Refresh, AuthToken: added.Tokens.API,
		TokenType: tokenType, ExpiresIn: int(added.Tokens.ExpiresIn.Seconds()), ExpiresAt: usher.At(added.Tokens.AccessExpiresAt),
		ShouldStartRecording: added.Decision.Elected, RecordingDecision: added.Decision,
	}}.orReplayed(added.Replayed), nil
}

func (g *Gateway) listParticipants(c *call, ref rooms.Ref) (answer, error) {
	query := c.URL.Query()
	page, err := pageOf(query)
	if err != nil {
		return answer{}, err
	}
	active, err := boolOf(query, "active")
	if err != nil {
		return answer{}, err
	}
	listed, err := g.Participants.List(c.Context(), c.caller.tenant.ID, ref, participants.Query{
		Active: active, After: participants.ID(page.after), Pin: page.pin, Limit: page.size,
	})
	if err != nil {
		return answer{}, err
	}
	return ok(joinParticipants(listed)), nil
}

// joinParticipants writes a list from participants that are JSON already.
func joinParticipants(p participants.Page) jsontext.Value {
	size := 64
	for _, encoded := range p.Participants {
		size += len(encoded) + 1
	}
	list := bytes.NewBuffer(make([]byte, 0, size))
	list.WriteString(`{"participants":[`)
	for i, encoded := range p.Participants {
		if i > 0 {
			list.WriteByte(',')
		}
		list.Write(encoded)
	}
	list.WriteByte(']')
	if p.More {
		fmt.Fprintf(list, `,"next_page_token":%q`, nextPage(p.Pin, string(p.Last)))
	}
	list.WriteByte('}')
	return list.Bytes()
}

func (g *Gateway) removeParticipant(c *call, ref rooms.Ref, id participants.ID) (answer, error) {
	ban, err := banOf(c.URL.Query().Get("ban_seconds"))
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
type seatTokens struct {
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int    `json:"expires_in"`
	AuthToken    string `json:"auth_token"`
}

func tokensOf(t tenant.Tokens) seatTokens {
	return seatTokens{
		AccessToken: t.Media, RefreshToken: t.Refresh, AuthToken: t.API, TokenType: tokenType, ExpiresIn: int(t.ExpiresIn.Seconds()),
	}
}

func (g *Gateway) refreshTokens(c *call, ref rooms.Ref, id participants.ID) (answer, error) {
	tokens, err := g.Participants.Refresh(c.caller.tenant.ID, ref, id)
	if err != nil {
		return answer{}, err
	}
	return ok(tokensOf(tokens)), nil
}
