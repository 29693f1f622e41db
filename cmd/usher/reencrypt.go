package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"usher/observability"
	"usher/store"
	"usher/tenant"
)

func reencryptCommand() *cobra.Command {
	var o options
	c := &cobra.Command{
		Use: "reencrypt", Short: "Seal every tenant's signing key under the first master key of the file",
		Long: "The last step but one of a rotation of the master key: after it no signing key needs the old one, which may then be\n" +
			"removed from the file. Every replica must have loaded the new one before, which is looked at: they read the file when they\n" +
			"start. It talks to etcd itself, and can be repeated when it was cut short. With an embedded etcd, stop usher first.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := fromEnvironment(c); err != nil {
				return err
			}
			if err := o.checkEtcd(); err != nil {
				return err
			}
			return reencrypt(c.Context(), o)
		},
	}
	o.logFlags(c.Flags())
	return c
}

func reencrypt(ctx context.Context, o options) (err error) {
	logger := observability.NewLogger(os.Stderr, observability.LogText, slog.LevelWarn, nil)
	masterKeys, unlock, err := prepare(&o)
	if err != nil {
		return err
	}
	defer unlock()
	certs := newKeeper(nil)
	defer certs.close()
	etcd, err := openLog(ctx, o, certs, logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, etcd.Close()) }()
	log, err := openStore(ctx, o, etcd, store.Options{Logger: logger})
	if err != nil {
		return err
	}
	defer log.Close()
	tenants := tenant.New(log, masterKeys, "", time.Now, nil) // it issues nothing
	if err := informed(ctx, tenants, o.MasterKeyFile); err != nil {
		return err
	}
	done, err := tenants.Reencrypt(ctx, func(done, of int) { fmt.Printf("\r%d of %d signing keys", done, of) })
	if done > 0 {
		fmt.Println()
	}
	if err != nil {
		return fmt.Errorf("re-encrypt: %w", err)
	}
	fmt.Printf("%d signing keys re-encrypted. All are sealed under the first master key of %s now.\n", done, o.MasterKeyFile)
	return nil
}

// informed makes sure that every replica can read what is about to be sealed. One that has just ended may count for a while.
func informed(ctx context.Context, tenants *tenant.Service, file string) error {
	for deadline := time.Now().Add(store.ReplicaLease + 2*time.Second); ; {
		lacking := tenants.Uninformed()
		if len(lacking) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			hosts := make([]string, len(lacking))
			for i, r := range lacking {
				hosts[i] = fmt.Sprintf("%s (running since %s)", r.Host, r.Since.Format(time.RFC3339))
			}
			return fmt.Errorf("nothing was re-encrypted: these replicas have not loaded the first key of %s, and could not sign any more: %s; restart them with the same file first",
				file, strings.Join(hosts, ", "))
		}
		select {
		case <-time.After(time.Second / 4):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
