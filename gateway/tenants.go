package gateway

import (
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"usher"
	"usher/tenant"
)

type tenantView struct {
	ID        tenant.ID       `json:"id"`
	Name      string          `json:"name"`
	Status    tenant.Status   `json:"status"`
	Config    jsontext.Value  `json:"config"`
	Ceilings  tenant.Ceilings `json:"ceilings"` // in force for it
	CreatedAt usher.Time      `json:"created_at"`
}

func viewOf(t tenant.Tenant) tenantView {
	return tenantView{ID: t.ID, Name: t.Name, Status: t.Status, Config: t.Document, Ceilings: t.InForce, CreatedAt: t.CreatedAt}
}

type createdTenant struct {
	Tenant tenantView `json:"tenant"`
	APIKey string     `json:"api_key"`
}

func (g *Gateway) createTenant(c *call) (answer, error) {
	request, err := decode[tenant.NewTenant](c)
	if err != nil {
		return answer{}, err
	}
	t, key, err := g.Tenants.Create(c.Context(), request, c.actor())
	if err != nil {
		return answer{}, err
	}
	return created("/api/v1/tenants/"+string(t.ID), createdTenant{Tenant: viewOf(t), APIKey: key.Reveal()}), nil
}

type tenantList struct {
	Tenants       []tenantView `json:"tenants"`
	NextPageToken string       `json:"next_page_token,omitzero"`
}

func (g *Gateway) listTenants(c *call) (answer, error) {
	page, err := pageOf(c.query)
	if err != nil {
		return answer{}, err
	}
	tenants, more, pin := g.Tenants.List(tenant.ID(page.after), page.pin, page.size)
	list := tenantList{Tenants: make([]tenantView, len(tenants))}
	for i, t := range tenants {
		list.Tenants[i] = viewOf(t)
	}
	if more {
		list.NextPageToken = nextPage(pin, string(tenants[len(tenants)-1].ID))
	}
	return ok(list), nil
}

// pathTenant is the tenant that the path names.
func (c *call) pathTenant() (tenant.ID, error) {
	s, err := c.segment("id")
	if err != nil {
		return "", err
	}
	id, known := tenant.ParseID(s)
	if !known {
		return "", errNoTenant()
	}
	return id, nil
}

func (g *Gateway) getTenant(_ *call, id tenant.ID) (answer, error) {
	t, err := g.Tenants.Get(id)
	return ok(viewOf(t)), err
}

func (g *Gateway) updateTenant(c *call, id tenant.ID) (answer, error) {
	request, err := decode[tenant.Update](c, mergePatch)
	if err != nil {
		return answer{}, err
	}
	t, err := g.Tenants.Update(c.Context(), id, request, c.actor())
	return ok(viewOf(t)), err
}

func (g *Gateway) suspendTenant(c *call, id tenant.ID) (answer, error) {
	request, err := decodeOptional[tenant.Suspension](c)
	if err != nil {
		return answer{}, err
	}
	t, err := g.Tenants.Suspend(c.Context(), id, request, c.actor())
	return ok(viewOf(t)), err
}

func (g *Gateway) resumeTenant(c *call, id tenant.ID) (answer, error) {
	t, err := g.Tenants.Resume(c.Context(), id, c.actor())
	return ok(viewOf(t)), err
}

func (g *Gateway) deleteTenant(c *call, id tenant.ID) (answer, error) {
	return noContent(), g.Tenants.Delete(c.Context(), id, c.actor())
}

// jwksLifetime is for how long a verifier may keep the keys: a new key is published at least this long before it signs.
var jwksLifetime = "public, max-age=" + strconv.Itoa(int(tenant.KeySetLifetime.Seconds()))

func (g *Gateway) getJWKS(c *call, id tenant.ID) (answer, error) {
	keys, err := g.Tenants.JWKS(id)
	if err != nil {
		return answer{}, err
	}
	return newDocument("application/json", keys).fetch(c, jwksLifetime), nil
}

// discovery is what verifiers need to know of the tenant as an issuer (OpenID Connect Discovery 1.0, section 3). Usher
// issues tokens to seats, not to people who log in, so there are no endpoints of a login.
type discovery struct {
	Issuer     string   `json:"issuer"`
	JWKSURI    string   `json:"jwks_uri"`
	Algorithms []string `json:"id_token_signing_alg_values_supported"`
}

func (g *Gateway) getDiscovery(c *call, id tenant.ID) (answer, error) {
	algorithms, err := g.Tenants.Algorithms(id)
	if err != nil {
		return answer{}, err
	}
	issuer := g.Tenants.Issuer(id)
	body, err := json.Marshal(discovery{Issuer: issuer, JWKSURI: issuer + "/.well-known/jwks.json", Algorithms: algorithms})
	if err != nil {
		return answer{}, usher.Internal(err, "encode the discovery document")
	}
	return newDocument("application/json", body).fetch(c, jwksLifetime), nil
}
