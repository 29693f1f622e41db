package gateway

import (
	"usher"
	"usher/tenant"
)

type keyList struct {
	Keys []tenant.KeyView `json:"keys"`
}

type createdKey struct {
	Key    tenant.KeyView `json:"key"`
	APIKey string         `json:"api_key"` // shown here and never again
}

func createdKeyOf(key tenant.APIKey, secret tenant.Secret) answer {
	return answer{status: 201, body: createdKey{Key: key.View(usher.Time{}), APIKey: secret.Reveal()}}
}

func (g *Gateway) createKey(c *call, id tenant.ID) (answer, error) {
	request, err := decode[tenant.NewKey](c)
	if err != nil {
		return answer{}, err
	}
	key, secret, err := g.Tenants.CreateKey(c.Context(), id, request, c.actor())
	return createdKeyOf(key, secret), err
}

func (g *Gateway) listKeys(_ *call, id tenant.ID) (answer, error) {
	keys, err := g.Tenants.Keys(id)
	return ok(keyList{Keys: keys}), err
}

// pathKey is the API key that the path names.
func (c *call) pathKey() (tenant.KeyID, error) {
	s, err := c.segment("key_id")
	if err != nil {
		return "", err
	}
	id, known := tenant.ParseKeyID(s)
	if !known {
		return "", usher.Errorf(usher.CodeKeyNotFound, "There is no API key of this id.")
	}
	return id, nil
}

func (g *Gateway) revokeKey(c *call, id tenant.ID) (answer, error) {
	key, err := c.pathKey()
	if err != nil {
		return answer{}, err
	}
	return noContent(), g.Tenants.RevokeKey(c.Context(), id, key, c.actor())
}

func (g *Gateway) rotateKey(c *call, id tenant.ID) (answer, error) {
	old, err := c.pathKey()
	if err != nil {
		return answer{}, err
	}
	request, err := decodeOptional[tenant.Rotation](c)
	if err != nil {
		return answer{}, err
	}
	key, secret, err := g.Tenants.RotateKey(c.Context(), id, old, request, c.actor())
	return createdKeyOf(key, secret), err
}

func (g *Gateway) rotateMainKey(c *call, id tenant.ID) (answer, error) {
	request, err := decodeOptional[tenant.Rotation](c)
	if err != nil {
		return answer{}, err
	}
	key, secret, err := g.Tenants.RotateMainKey(c.Context(), id, request, c.actor())
	return createdKeyOf(key, secret), err
}
