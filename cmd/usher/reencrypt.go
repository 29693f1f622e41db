package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
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
			"removed from the file. Every replica must know the new one before, and reads the file only when it starts. It talks to\n" +
			"etcd itself, and can be repeated when it was cut short. With an embedded etcd, stop usher first.",
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
