package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
)

// wanted is the file of apply.
type wanted struct {
	Tenants []wantedTenant `yaml:"tenants"`
}

type wantedTenant struct {
	ID     string         `yaml:"id"`
	Name   string         `yaml:"name"`
	Config map[string]any `yaml:"config"`
}

func applyConfig(c *cobra.Command, _ []string) error {
	path, err := c.Flags().GetString("file")
	if err != nil || path == "" {
		return errors.New("name the file with -f")
	}
	dry, err := c.Flags().GetBool("dry-run")
	if err != nil {
		return err
	}
	prune, err := c.Flags().GetBool("prune")
	if err != nil {
		return err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var file wanted
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(&file); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	u, err := newClient(c)
	if err != nil {
		return err
	}
	known, err := u.tenantsByName(c.Context())
	if err != nil {
		return err
	}
	all := make([]applied, 0, len(file.Tenants))
	for i, t := range file.Tenants {
		a, failed := u.applyOne(c.Context(), known, t, dry, prune)
		if failed != nil {
			err = fmt.Errorf("tenant %d (%s%s): %w", i+1, t.Name, t.ID, failed)
			break
		}
		all = append(all, a)
		if u.out.format == "table" { // as it goes: a person waits
			if err = a.print(u); err != nil {
				break
			}
		}
	}
	if u.out.format == "table" {
		return err
	}
	encoded, failed := json.Marshal(all) // also what was done before something failed: it may hold keys that are shown only once
	if failed == nil {
		failed = u.out.raw(encoded)
	}
	return errors.Join(err, failed)
}

// applied is what became of a tenant of the file.
type applied struct {
	Tenant  string `json:"tenant,omitzero"` // none when it would be created
	Name    string `json:"name,omitzero"`
	Outcome string `json:"outcome"` // created, changed or unchanged
	DryRun  bool   `json:"dry_run,omitzero"`
	APIKey  string `json:"api_key,omitzero"`
	trial
}

// print shows it to a person.
func (a applied) print(u *client) error {
	who, outcome := a.Tenant, a.Outcome
	if a.Outcome == "created" {
		who = a.Name
	}
	if a.DryRun && a.Outcome != "unchanged" {
		outcome = "would be " + outcome
	}
	if a.APIKey != "" {
		outcome += " as " + a.Tenant + ", with the API key " + a.APIKey
	}
	if _, err := fmt.Fprintf(u.out.w, "%s: %s\n", who, outcome); err != nil || len(a.Diff) == 0 {
		return err
	}
	return a.trial.print(u)
}

// applyOne makes one tenant what the file says; known are the ids of those that there are, by their names.
func (u *client) applyOne(ctx context.Context, known map[string][]string, t wantedTenant, dry, prune bool) (a applied, err error) {
	config := make(map[string]jsontext.Value, len(t.Config))
	for key, value := range t.Config {
		if config[key], err = json.Marshal(value, json.Deterministic(true)); err != nil {
			return a, fmt.Errorf("%s: %w", key, err)
		}
	}
	if t.ID == "" && t.Name == "" {
		return a, errors.New("it has neither id nor name")
	}
	ids := known[t.Name]
	switch {
	case t.ID != "":
		return u.change(ctx, t.ID, config, dry, prune)
	case len(ids) > 1:
		return a, fmt.Errorf("%d tenants are called %q; name this one by its id", len(ids), t.Name)
	case len(ids) == 1:
		return u.change(ctx, ids[0], config, dry, prune)
	case dry:
		return applied{Name: t.Name, Outcome: "created", DryRun: true}, nil
	}
	r, err := u.call(ctx, post, "/api/v1/tenants", map[string]any{"name": t.Name, "config": config})
	if err != nil {
		return a, err
	}
	return applied{Tenant: cell(r.body, "tenant.id"), Name: t.Name, Outcome: "created", APIKey: cell(r.body, "api_key")}, nil
}

// change makes the settings of a tenant that there is what the file says.
func (u *client) change(ctx context.Context, id string, config map[string]jsontext.Value, dry, prune bool) (a applied, err error) {
	now, err := u.call(ctx, get, ofTenant(id, "/config"), nil)
	if err != nil {
		return a, err
	}
	if prune {
		if err := addPruned(config, now.body); err != nil {
			return a, err
		}
	}
	a = applied{Tenant: id, Outcome: "unchanged", DryRun: dry}
	if a.trial, err = u.try(ctx, id, config, now.etag); err != nil || len(a.Diff) == 0 {
		return a, err
	}
	a.Outcome = "changed"
	if !dry {
		_, err = u.call(ctx, patch, ofTenant(id, "/config"), config, "If-Match", now.etag)
	}
	return a, err
}

func (u *client) tenantsByName(ctx context.Context) (map[string][]string, error) {
	entries, err := u.all(ctx, "/api/v1/tenants", "tenants")
	known := make(map[string][]string, len(entries))
	for _, entry := range entries {
		name := cell(entry, "name")
		known[name] = append(known[name], cell(entry, "id"))
	}
	return known, err
}

// addPruned has every setting that the file does not name return to its default, roles that it does not name included.
func addPruned(config map[string]jsontext.Value, now jsontext.Value) error {
	var was map[string]jsontext.Value
	if err := json.Unmarshal(now, &was); err != nil {
		return err
	}
	for key := range was {
		if _, named := config[key]; !named {
			config[key] = jsontext.Value("null")
		}
	}
	return withoutLost(config, was)
}
