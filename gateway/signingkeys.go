package gateway

import (
	"usher"
	"usher/tenant"
	"usher/tenant/token"
)

type signingKeyView struct {
	KID          string          `json:"kid"`
	Algorithm    token.Algorithm `json:"alg"`
	State        tenant.KeyState `json:"state"`
	CreatedAt    usher.Time      `json:"created_at"`
	ActiveFrom   usher.Time      `json:"active_from"`
	RetiringFrom usher.Time      `json:"retiring_from,omitzero"`
	NotAfter     usher.Time      `json:"not_after,omitzero"`
	Holders      int             `json:"participants_at_most"` // who may hold a live token of it
}

type signingKeyList struct {
	SigningKeys []signingKeyView `json:"signing_keys"`
}

// viewOfSigningKey counts who may hold a live token of the key: whoever was in a room before another key took over, for
// as long as such a token lives.
func (g *Gateway) viewOfSigningKey(id tenant.ID, k tenant.SigningKey) signingKeyView {
	v := signingKeyView{KID: k.KID, Algorithm: k.Algorithm, State: g.Tenants.StateOf(k), CreatedAt: k.CreatedAt,
		ActiveFrom: k.ActiveFrom, RetiringFrom: k.RetiringFrom, NotAfter: k.NotAfter}
	if v.State == tenant.KeyActive || v.State == tenant.KeyRetiring {
		v.Holders = g.Participants.CountJoinedBefore(id, k.RetiringFrom)
	}
	return v
}

func (g *Gateway) rotateSigningKey(c *call, id tenant.ID) (answer, error) {
	request, err := decodeOptional[tenant.KeyRotation](c)
	if err != nil {
		return answer{}, err
	}
	key, err := g.Tenants.RotateSigningKey(c.Context(), id, request, c.actor())
	if err != nil {
		return answer{}, err
	}
	return answer{status: 201, body: g.viewOfSigningKey(id, key)}, nil
}

func (g *Gateway) listSigningKeys(_ *call, id tenant.ID) (answer, error) {
	keys, err := g.Tenants.ListSigningKeys(id)
	list := signingKeyList{SigningKeys: make([]signingKeyView, len(keys))}
	for i, k := range keys {
		list.SigningKeys[i] = g.viewOfSigningKey(id, k)
	}
	return ok(list), err
}

func (g *Gateway) deleteSigningKey(c *call, id tenant.ID) (answer, error) {
	kid, err := c.segment("kid")
	if err != nil {
		return answer{}, err
	}
	force, err := boolOf(c.query, "force")
	if err != nil {
		return answer{}, err
	}
	return noContent(), g.Tenants.DeleteSigningKey(c.Context(), id, kid, force, c.actor())
}
