package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
)

func configCommand() *cobra.Command {
	edit := verb("edit TENANT", "Edit the settings in $EDITOR, see what changes, and confirm", editConfig)
	edit.Flags().Bool("yes", false, "do not ask")
	apply := &cobra.Command{Use: "apply -f FILE", Short: "Make tenants and their settings what a file says", Args: cobra.NoArgs, RunE: applyConfig}
	apply.Flags().StringP("file", "f", "", "the file: tenants, each with id or name, and config")
	apply.Flags().Bool("dry-run", false, "show what would change, and change nothing")
	apply.Flags().Bool("prune", false, "return settings that the file does not name to their defaults")
	set := verb("set TENANT SETTING=VALUE", "Change one setting; an empty value returns it to its default", func(c *cobra.Command, u *client, args []string) error {
		key, text, ok := strings.Cut(args[1], "=")
		if !ok {
			return fmt.Errorf("%q is not SETTING=VALUE", args[1])
		}
		var value any
		if err := yaml.Unmarshal([]byte(text), &value); err != nil {
			return fmt.Errorf("%q is not a value: %w", text, err)
		}
		return u.done(c, patch, ofTenant(args[0], "/config"), map[string]any{key: value}, "set "+key+" of "+args[0])
	})
	set.Long = "Change one setting; an empty value returns it to its default.\n\n" +
		"Settings that protect the service have ceilings (usher tenant get). With the operator's key a value above becomes the tenant's own ceiling."
	return group("config", "Manage tenants' settings",
		verb("get TENANT", "Show the settings", func(c *cobra.Command, u *client, args []string) error {
			return u.show(c, get, ofTenant(args[0], "/config"), nil)
		}),
		set,
		edit, apply,
		verb("defaults", "Show the operator's defaults, and the ceilings in force", func(c *cobra.Command, u *client, _ []string) error {
			return u.show(c, get, "/api/v1/defaults", nil)
		}),
		verb("versions TENANT", "List the versions of the settings", func(c *cobra.Command, u *client, args []string) error {
			return u.showAll(c, ofTenant(args[0], "/config/versions"), "versions", columns{"version", "changed_at", "changed_by", "request_id", "diff"})
		}),
		verb("diff TENANT FROM TO", "Compare two versions", func(c *cobra.Command, u *client, args []string) error {
			r, err := u.call(c.Context(), get, ofTenant(args[0], "/config/versions/"+url.PathEscape(args[2])+"?compare="+url.QueryEscape(args[1])), nil)
			if err != nil {
				return err
			}
			return u.showDiff(r.body)
		}),
		verb("rollback TENANT VERSION", "Go back to a version", func(c *cobra.Command, u *client, args []string) error {
			return u.done(c, post, ofTenant(args[0], "/config/rollback"), map[string]jsontext.Value{"version": jsontext.Value(args[1])},
				"rolled "+args[0]+" back to version "+args[1])
		}),
	)
}

// trial is what the gateway says of a dry run.
type trial struct {
	Diff     []jsontext.Value `json:"diff,omitzero"`
	Affected []affected       `json:"affected_rooms,omitzero"`
	Total    int              `json:"affected_rooms_total,omitzero"`
}

type affected struct {
	Name    string   `json:"name"`
	Effects []string `json:"effects"`
}

// try asks what a patch would do.
func (u *client) try(ctx context.Context, tenant string, patched map[string]jsontext.Value, etag string) (t trial, err error) {
	r, err := u.call(ctx, patch, ofTenant(tenant, "/config?dry_run=true"), patched, "If-Match", etag)
	if err == nil {
		err = json.Unmarshal(r.body, &t)
	}
	return t, err
}

func (u *client) showDiff(body jsontext.Value) error {
	var t trial
	if err := json.Unmarshal(body, &t); err != nil {
		return err
	}
	return u.out.list(t.Diff, columns{"setting", "from", "to"})
}

// print shows a trial to a person.
func (t trial) print(u *client) error {
	if err := u.out.list(t.Diff, columns{"setting", "from", "to"}); err != nil {
		return err
	}
	for _, room := range t.Affected {
		if _, err := fmt.Fprintf(u.out.w, "room %s: %s\n", room.Name, strings.Join(room.Effects, "; ")); err != nil {
			return err
		}
	}
	if more := t.Total - len(t.Affected); more > 0 {
		if _, err := fmt.Fprintf(u.out.w, "and %d more rooms\n", more); err != nil {
			return err
		}
	}
	return nil
}

func editConfig(c *cobra.Command, u *client, args []string) error {
	before, err := u.call(c.Context(), get, ofTenant(args[0], "/config"), nil)
	if err != nil {
		return err
	}
	text, err := asYAML(before.body)
	if err != nil {
		return err
	}
	edited, err := inEditor(c, text)
	if err != nil {
		return err
	}
	patched, err := changed(before.body, edited)
	if err != nil {
		return err
	}
	if len(patched) == 0 {
		c.Println("nothing was changed")
		return nil
	}
	t, err := u.try(c.Context(), args[0], patched, before.etag)
	if err != nil {
		return err
	}
	if err := t.print(u); err != nil {
		return err
	}
	if sure, err := c.Flags().GetBool("yes"); err != nil || (!sure && !confirmed(c)) {
		return errors.New("nothing was changed")
	}
	if _, err := u.call(c.Context(), patch, ofTenant(args[0], "/config"), patched, "If-Match", before.etag); err != nil {
		return err
	}
	c.Println("changed")
	return nil
}

// inEditor has a person edit a text.
func inEditor(c *cobra.Command, text []byte) ([]byte, error) {
	editor := os.Getenv("EDITOR")
	if editor == "" {
		return nil, errors.New("set EDITOR to the editor to use")
	}
	file, err := os.CreateTemp("", "usher-*.yaml")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.Remove(file.Name()) }()
	if _, err := file.Write(text); err != nil {
		return nil, err
	}
	if err := file.Close(); err != nil {
		return nil, err
	}
	run := exec.CommandContext(c.Context(), "sh", "-c", editor+` "$1"`, "sh", file.Name()) // EDITOR may have arguments
	run.Stdin, run.Stdout, run.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := run.Run(); err != nil {
		return nil, fmt.Errorf("the editor %s failed, and nothing was changed: %w", editor, err)
	}
	return os.ReadFile(file.Name())
}

// changed is a merge patch from the document to the edited YAML. A setting that was taken out goes back to its default.
func changed(before jsontext.Value, edited []byte) (map[string]jsontext.Value, error) {
	after, err := settingsIn(edited)
	if err != nil {
		return nil, err
	}
	var was map[string]jsontext.Value
	if err := json.Unmarshal(before, &was); err != nil {
		return nil, err
	}
	patched := make(map[string]jsontext.Value)
	for key, value := range after {
		if same, err := equal(was[key], value); err != nil || !same {
			patched[key] = value
		}
	}
	for key := range was {
		if _, there := after[key]; !there {
			patched[key] = jsontext.Value("null")
		}
	}
	return patched, withoutLost(patched, was)
}

// withoutLost has roles that were taken out taken away: a merge patch keeps what it does not name.
func withoutLost(patched, was map[string]jsontext.Value) error {
	if patched["roles"].Kind() != '{' {
		return nil
	}
	var before, after map[string]jsontext.Value
	if err := errors.Join(json.Unmarshal(was["roles"], &before), json.Unmarshal(patched["roles"], &after)); err != nil {
		return err
	}
	for role := range before {
		if _, there := after[role]; !there {
			after[role] = jsontext.Value("null")
		}
	}
	encoded, err := json.Marshal(after, json.Deterministic(true))
	patched["roles"] = encoded
	return err
}

// settingsIn reads settings from YAML, each as JSON.
func settingsIn(text []byte) (map[string]jsontext.Value, error) {
	var read map[string]any
	if err := yaml.Unmarshal(text, &read); err != nil {
		return nil, fmt.Errorf("this is not YAML: %w", err)
	}
	settings := make(map[string]jsontext.Value, len(read))
	for key, value := range read {
		encoded, err := json.Marshal(value, json.Deterministic(true))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		settings[key] = encoded
	}
	return settings, nil
}

func equal(a, b jsontext.Value) (bool, error) {
	if len(a) == 0 {
		return false, nil
	}
	a, b = a.Clone(), b.Clone()
	if err := errors.Join(a.Canonicalize(), b.Canonicalize()); err != nil {
		return false, err
	}
	return bytes.Equal(a, b), nil
}

func confirmed(c *cobra.Command) bool {
	c.Print("Change this? [y/N] ")
	line, err := bufio.NewReader(c.InOrStdin()).ReadString('\n')
	return err == nil && strings.EqualFold(strings.TrimSpace(line), "y")
}
