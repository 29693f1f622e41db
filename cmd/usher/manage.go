package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"
)

// The commands for operators and tenants against a running gateway. Each is one call, or a list of calls, and shows the
// answer; what may be done is the gateway's to say.

const (
	get    = http.MethodGet
	post   = http.MethodPost
	patch  = http.MethodPatch
	remove = http.MethodDelete
)

// manageCommands are the groups, one for each resource.
func manageCommands() []*cobra.Command {
	groups := []*cobra.Command{tenantCommand(), keyCommand(), configCommand(), signingKeyCommand(), roomCommand(), participantCommand(), checkCommand()}
	for _, group := range groups {
		f := group.PersistentFlags()
		f.String("url", "", "the gateway's URL (USHER_URL; default "+defaultURL+")")
		f.String("profile", "", "the profile to use, from "+"$"+configVariable+" or usher/config.yaml in the user's configuration directory")
		f.String("ca-file", "", "authorities (PEM) that the gateway's certificate is checked against (USHER_CA_FILE; default: the system's)")
		f.String("cert-file", "", "certificate to show to the gateway (PEM; USHER_CERT_FILE)")
		f.String("key-file", "", "key of that certificate (PEM; USHER_KEY_FILE)")
		f.String("server-name", "", "name that the gateway's certificate must have (USHER_SERVER_NAME; default: the host of the URL)")
		f.StringP("output", "o", "table", "table, json or yaml")
		if group.Long == "" {
			group.Long = group.Short + "."
		}
		group.Long += "\n\nThe key to call with is USHER_OPERATOR_KEY, USHER_API_KEY, or in the profile:\n\n" +
			"  current: prod\n  profiles:\n    prod:\n      url: https://usher.example.com\n      operator_key_file: /run/secrets/usher-operator-key\n" +
			"      # or operator_key, api_key, api_key_file"
	}
	return groups
}

func group(name, short string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: name, Short: short, Args: noCommand, RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	c.AddCommand(commands...)
	return c
}

// verb is a command of exactly the arguments that use names after the verb.
func verb(use, short string, run func(c *cobra.Command, u *client, args []string) error) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Args: exactly(strings.Fields(use)[1:]), RunE: func(c *cobra.Command, args []string) error {
		u, err := newClient(c)
		if err != nil {
			return err
		}
		return run(c, u, args)
	}}
}

// exactly wants an argument for each name, and says which is missing.
func exactly(names []string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return fmt.Errorf("%s is missing: %s", names[len(args)], c.UseLine())
		case len(args) > len(names):
			return fmt.Errorf("%q is too much: %s", args[len(names)], c.UseLine())
		}
		return nil
	}
}

// noCommand is for a group, whose arguments are the names of its commands: an argument that gets here is none of them.
func noCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	c.SuggestionsMinimumDistance = 2 // letters that may be wrong
	if like := c.SuggestionsFor(args[0]); len(like) > 0 {
		return fmt.Errorf("unknown command %q of %s; did you mean %s?", args[0], c.CommandPath(), strings.Join(like, " or "))
	}
	return fmt.Errorf("unknown command %q of %s; see %[2]s --help", args[0], c.CommandPath())
}

// show calls and shows the answer.
func (u *client) show(c *cobra.Command, method, path string, body any) error {
	r, err := u.call(c.Context(), method, path, body)
	if err != nil {
		return err
	}
	return u.out.one(r.body)
}

func (u *client) showAll(c *cobra.Command, path, member string, shown columns) error {
	entries, err := u.all(c.Context(), path, member)
	if err != nil {
		return err
	}
	return u.out.list(entries, shown)
}

// done says in a table's place that something was done.
func (u *client) done(c *cobra.Command, method, path string, body any, said string) error {
	if _, err := u.call(c.Context(), method, path, body); err != nil {
		return err
	}
	if u.out.format == "table" {
		c.Println(said)
	}
	return nil
}

func ofTenant(id, rest string) string { return "/api/v1/tenants/" + url.PathEscape(id) + rest }

func tenantCommand() *cobra.Command {
	create := verb("create NAME", "Create a tenant; its API key is shown only here", func(c *cobra.Command, u *client, args []string) error {
		r, err := u.call(c.Context(), post, "/api/v1/tenants", map[string]string{"name": args[0]})
		if err != nil {
			return err
		}
		if u.out.format != "table" {
			return u.out.raw(r.body)
		}
		return u.out.list([]jsontext.Value{r.body}, columns{"tenant.id", "tenant.name", "api_key"})
	})
	suspend := verb("suspend TENANT", "Refuse every credential of a tenant", func(c *cobra.Command, u *client, args []string) error {
		rooms, err := c.Flags().GetString("rooms")
		if err != nil {
			return err
		}
		return u.done(c, post, ofTenant(args[0], "/suspend"), map[string]string{"rooms": rooms}, "suspended "+args[0])
	})
	suspend.Flags().String("rooms", "stay", "stay or end: what becomes of its live rooms")
	erase := verb("delete TENANT", "Delete a tenant and all that it has", func(c *cobra.Command, u *client, args []string) error {
		if sure, err := c.Flags().GetBool("yes"); err != nil || !sure {
			return errors.New("this cannot be undone: repeat it with --yes")
		}
		return u.done(c, remove, ofTenant(args[0], ""), nil, "deleted "+args[0])
	})
	erase.Flags().Bool("yes", false, "yes, delete it")
	return group("tenant", "Manage tenants",
		verb("list", "List tenants", func(c *cobra.Command, u *client, _ []string) error {
			return u.showAll(c, "/api/v1/tenants", "tenants", columns{"id", "name", "status", "created_at"})
		}),
		verb("get TENANT", "Show a tenant", func(c *cobra.Command, u *client, args []string) error {
			return u.show(c, get, ofTenant(args[0], ""), nil)
		}),
		create,
		verb("rename TENANT NAME", "Rename a tenant", func(c *cobra.Command, u *client, args []string) error {
			return u.done(c, patch, ofTenant(args[0], ""), map[string]string{"name": args[1]}, "renamed "+args[0])
		}),
		suspend,
		verb("resume TENANT", "Serve a suspended tenant again", func(c *cobra.Command, u *client, args []string) error {
			return u.done(c, post, ofTenant(args[0], "/resume"), nil, "resumed "+args[0])
		}),
		erase,
		verb("audit TENANT", "List the changes of a tenant", func(c *cobra.Command, u *client, args []string) error {
			return u.showAll(c, ofTenant(args[0], "/audit"), "entries", columns{"at", "by", "action", "target", "request_id"})
		}),
	)
}

func keyCommand() *cobra.Command {
	shown := columns{"key.id", "key.name", "key.scopes", "api_key"}
	create := verb("create TENANT NAME", "Create an API key; it is shown only here", func(c *cobra.Command, u *client, args []string) error {
		scopes, err := c.Flags().GetStringSlice("scopes")
		if err != nil {
			return err
		}
		cidrs, err := c.Flags().GetStringSlice("cidrs")
		if err != nil {
			return err
		}
		lasts, err := c.Flags().GetDuration("expires-in")
		if err != nil {
			return err
		}
		body := map[string]any{"name": args[1], "scopes": scopes, "cidrs": cidrs}
		if lasts > 0 {
			body["expires_at"] = time.Now().Add(lasts).UTC().Format(time.RFC3339)
		}
		return u.showKey(c, ofTenant(args[0], "/keys"), body, shown)
	})
	create.Flags().StringSlice("scopes", nil, "what it may do, comma-separated, e.g. participants:write,rooms:read")
	create.Flags().StringSlice("cidrs", nil, "networks that it may be used from, comma-separated")
	create.Flags().Duration("expires-in", 0, "after how long it ends, e.g. 720h; never without it")
	rotate := verb("rotate TENANT KEY", "Replace an API key; the new one is shown only here", func(c *cobra.Command, u *client, args []string) error {
		grace, err := c.Flags().GetDuration("grace")
		if err != nil {
			return err
		}
		return u.showKey(c, ofTenant(args[0], "/keys/"+url.PathEscape(args[1])+"/rotate"), map[string]int{"grace_seconds": int(grace.Seconds())}, shown)
	})
	rotate.Flags().Duration("grace", 0, "for how long the old key goes on; without it the old key is revoked, and every key that it has made")
	rotate.Long = "Replace an API key; the new one is shown only here.\n\nWith --grace, what the old key has made lives on. Called with an API key, the new key has no more than that key: not its scopes, nor its end, nor its networks."
	create.Long = "Create an API key; it is shown only here.\n\nCalled with an API key, the new key has no more than that key, ends no later, and dies with it."
	return group("key", "Manage API keys",
		verb("list TENANT", "List API keys", func(c *cobra.Command, u *client, args []string) error {
			return u.showAll(c, ofTenant(args[0], "/keys"), "keys", columns{"id", "name", "scopes", "cidrs", "created_at", "expires_at", "last_used_at", "made_by"})
		}),
		create, rotate,
		verb("revoke TENANT KEY", "Refuse an API key, and what it has made, from now on", func(c *cobra.Command, u *client, args []string) error {
			return u.done(c, remove, ofTenant(args[0], "/keys/"+url.PathEscape(args[1])), nil, "revoked "+args[1])
		}),
	)
}

func (u *client) showKey(c *cobra.Command, path string, body any, shown columns) error {
	r, err := u.call(c.Context(), post, path, body)
	if err != nil {
		return err
	}
	if u.out.format != "table" {
		return u.out.raw(r.body)
	}
	return u.out.list([]jsontext.Value{r.body}, shown)
}

func signingKeyCommand() *cobra.Command {
	rotate := verb("rotate TENANT", "Replace the signing key, with overlap", func(c *cobra.Command, u *client, args []string) error {
		now, err := c.Flags().GetBool("immediately")
		if err != nil {
			return err
		}
		return u.show(c, post, ofTenant(args[0], "/signing-keys/rotate"), map[string]bool{"immediately": now})
	})
	rotate.Long = "Replace the signing key, with overlap.\n\nA tenant has 8 signing keys at most whose tokens may be in use, and rotates 20 times an hour at most."
	rotate.Flags().Bool("immediately", false, "have the new key sign at once, for when the old one is not safe any more")
	erase := verb("delete TENANT KID", "Delete a signing key, and with it every token that it has signed", func(c *cobra.Command, u *client, args []string) error {
		force, err := c.Flags().GetBool("force")
		if err != nil {
			return err
		}
		return u.done(c, remove, ofTenant(args[0], "/signing-keys/"+url.PathEscape(args[1])+"?force="+strconv.FormatBool(force)), nil, "deleted "+args[1])
	})
	erase.Flags().Bool("force", false, "also when it may have live tokens")
	return group("signing-key", "Manage the keys that sign tokens",
		verb("list TENANT", "List signing keys", func(c *cobra.Command, u *client, args []string) error {
			return u.showAll(c, ofTenant(args[0], "/signing-keys"), "signing_keys", columns{"kid", "alg", "state", "active_from", "not_after", "participants_at_most"})
		}),
		rotate, erase,
	)
}

func inRoom(ref, rest string) string { return "/api/v1/rooms/" + url.PathEscape(ref) + rest }

func roomCommand() *cobra.Command {
	list := verb("list", "List rooms", func(c *cobra.Command, u *client, _ []string) error {
		status, err := c.Flags().GetString("status")
		if err != nil {
			return err
		}
		return u.showAll(c, "/api/v1/rooms?status="+url.QueryEscape(status), "rooms", columns{"id", "name", "status", "participant_count", "locked", "recording.status", "created_at"})
	})
	list.Flags().String("status", "", "scheduled, active or ended")
	act := func(what, short string) *cobra.Command {
		return verb(what+" ROOM", short, func(c *cobra.Command, u *client, args []string) error {
			return u.show(c, post, inRoom(args[0], "/"+what), nil)
		})
	}
	g := group("room", "Manage rooms; ROOM is an id, a UUID or a name",
		list,
		verb("get ROOM", "Show a room", func(c *cobra.Command, u *client, args []string) error {
			return u.show(c, get, inRoom(args[0], ""), nil)
		}),
		verb("create NAME", "Create a room", func(c *cobra.Command, u *client, args []string) error {
			return u.show(c, post, "/api/v1/rooms", map[string]string{"name": args[0]})
		}),
		act("end", "End a room"), act("lock", "Admit moderators only"), act("unlock", "Admit everybody again"),
		verb("delete ROOM", "End a room and forget it", func(c *cobra.Command, u *client, args []string) error {
			return u.done(c, remove, inRoom(args[0], ""), nil, "deleted "+args[0])
		}),
		verb("bans ROOM", "List who is kept out", func(c *cobra.Command, u *client, args []string) error {
			return u.showAll(c, inRoom(args[0], "/bans"), "bans", columns{"external_user_id", "banned_at", "expires_at"})
		}),
	)
	g.PersistentFlags().String("tenant", "", "with the operator key: whose rooms")
	return g
}

func participantCommand() *cobra.Command {
	list := verb("list ROOM", "List participants", func(c *cobra.Command, u *client, args []string) error {
		everybody, err := c.Flags().GetBool("all")
		if err != nil {
			return err
		}
		return u.showAll(c, inRoom(args[0], "/participants?active="+strconv.FormatBool(!everybody)), "participants",
			columns{"id", "display_name", "external_user_id", "role", "joined_at", "left_at", "leave_reason"})
	})
	list.Flags().Bool("all", false, "also those who have left")
	add := verb("add ROOM NAME", "Seat a participant and show its tokens", func(c *cobra.Command, u *client, args []string) error {
		body := map[string]string{"display_name": args[1]}
		for flag, member := range map[string]string{"role": "role", "user": "external_user_id"} {
			value, err := c.Flags().GetString(flag)
			if err != nil {
				return err
			}
			if value != "" {
				body[member] = value
			}
		}
		return u.show(c, post, inRoom(args[0], "/participants"), body)
	})
	add.Flags().String("role", "", "its role")
	add.Flags().String("user", "", "its external_user_id")
	kick := verb("remove ROOM PARTICIPANT", "Take a participant out", func(c *cobra.Command, u *client, args []string) error {
		ban, err := c.Flags().GetDuration("ban")
		if err != nil {
			return err
		}
		path := inRoom(args[0], "/participants/"+url.PathEscape(args[1]))
		if ban > 0 {
			path += "?ban_seconds=" + strconv.Itoa(int(ban.Seconds()))
		}
		return u.done(c, remove, path, nil, "removed "+args[1])
	})
	kick.Flags().Duration("ban", 0, "for how long to keep its user out, e.g. 1h")
	g := group("participant", "Manage participants; ROOM is an id, a UUID or a name", list, add, kick)
	g.PersistentFlags().String("tenant", "", "with the operator key: whose room")
	return g
}
