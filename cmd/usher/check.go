package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"usher/tenant"
	"usher/tenant/token"
)

// checkCommand proves an installation from the outside, as a tenant's backend and a verifier of tokens would use it.
func checkCommand() *cobra.Command {
	return &cobra.Command{
		Use: "check", Short: "Take a seat and verify its token, to prove that an installation works", Args: cobra.NoArgs,
		Long: "It seats a participant, verifies its token against the tenant's published keys, looks for it in the list, and removes\n" +
			"it. With the operator key that is in a tenant made for it, which is deleted again; with an API key it is in the key's own.",
		RunE: func(c *cobra.Command, _ []string) error {
			u, err := newClient(c)
			if err != nil {
				return err
			}
			return u.check(c)
		},
	}
}

// checkSeat is what is read of a new seat.
type checkSeat struct {
	ParticipantID string `json:"participant_id"`
	AccessToken   string `json:"access_token"`
}

func (u *client) check(c *cobra.Command) (err error) {
	ctx, steps := c.Context(), []string{}
	step := func(format string, args ...any) {
		steps = append(steps, fmt.Sprintf(format, args...))
		if u.out.format == "table" {
			c.Println("ok  " + steps[len(steps)-1])
		}
	}
	defer func() { // also when a step has failed
		if u.out.format != "table" {
			encoded, failed := json.Marshal(map[string]any{"ok": err == nil, "steps": steps}, json.Deterministic(true))
			err = errors.Join(err, failed, u.out.raw(encoded))
		}
	}()
	backend := *u
	if !tenant.IsAPIKey(u.credential) {
		id, key, failed := u.madeTenant(ctx)
		if failed != nil {
			return fmt.Errorf("make a tenant: %w", failed)
		}
		defer func() { // also when a step has failed
			_, failed := u.call(context.WithoutCancel(ctx), remove, ofTenant(id, ""), nil)
			err = errors.Join(err, failed)
		}()
		backend.credential = key
		step("made the tenant %s, to be deleted again", id)
	}
	const room = "usher-check"
	r, err := backend.call(ctx, post, inRoom(room, "/participants"), map[string]string{"display_name": "usher check"})
	if err != nil {
		return fmt.Errorf("take a seat: %w", err)
	}
	var seat checkSeat
	if err := json.Unmarshal(r.body, &seat); err != nil {
		return fmt.Errorf("take a seat: %w", err)
	}
	step("took the seat %s", seat.ParticipantID)
	claims, err := backend.verified(ctx, seat.AccessToken)
	if err != nil {
		return fmt.Errorf("verify the token: %w", err)
	}
	step("verified its token, by the keys of %s", claims.Issuer)
	list, err := backend.call(ctx, http.MethodGet, inRoom(room, "/participants?active=true"), nil)
	if err != nil || !strings.Contains(string(list.body), seat.ParticipantID) {
		return errors.Join(errors.New("the participant is not in the list"), err)
	}
	if _, err := backend.call(ctx, remove, inRoom(room, "/participants/"+seat.ParticipantID), nil); err != nil {
		return fmt.Errorf("remove the participant: %w", err)
	}
	step("found it in the list, and removed it")
	return nil
}

func (u *client) madeTenant(ctx context.Context) (id, key string, err error) {
	r, err := u.call(ctx, post, "/api/v1/tenants", map[string]string{"name": "usher check"})
	if err != nil {
		return "", "", err
	}
	var made struct {
		Tenant struct {
			ID string `json:"id"`
		} `json:"tenant"`
		APIKey string `json:"api_key"`
	}
	err = json.Unmarshal(r.body, &made)
	return made.Tenant.ID, made.APIKey, err
}

// verified verifies a token as a media server does: by what the gateway publishes, and by nothing else.
func (u *client) verified(ctx context.Context, compact string) (token.Claims, error) {
	unverified, err := token.Parse(compact)
	if err != nil {
		return token.Claims{}, err
	}
	id := unverified.TenantID()
	r, err := u.call(ctx, http.MethodGet, ofTenant(id, "/.well-known/openid-configuration"), nil)
	if err != nil {
		return token.Claims{}, err
	}
	var discovery struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if err := json.Unmarshal(r.body, &discovery); err != nil {
		return token.Claims{}, err
	}
	published, err := url.Parse(discovery.JWKSURI)
	if err != nil {
		return token.Claims{}, err
	}
	// The path as it is published, at the address that is checked: the public one may not be reachable from here.
	if r, err = u.call(ctx, http.MethodGet, "/"+strings.TrimPrefix(published.EscapedPath(), "/"), nil); err != nil {
		return token.Claims{}, err
	}
	var set struct {
		Keys []jsontext.Value `json:"keys"`
	}
	if err := json.Unmarshal(r.body, &set); err != nil {
		return token.Claims{}, err
	}
	for _, encoded := range set.Keys {
		key, err := token.ParsePublicKey(encoded)
		if err == nil && key.KID() == unverified.KID() {
			return unverified.Verify(key, token.Expect{
				Issuer: discovery.Issuer, TenantID: id, Audiences: []token.Audience{token.AudienceMedia}, Now: time.Now(), Leeway: time.Minute,
			})
		}
	}
	return token.Claims{}, fmt.Errorf("its key %s is not among those that are published", unverified.KID())
}
