package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"

	"github.com/gofrs/flock"

	"usher/tenant"
	"usher/tenant/token"
)

// prepare makes the data directory this process's own and finds the master keys, or makes one on a first start. An
// external etcd needs no directory. unlock must be called at the end.
func prepare(o *options) (keys *token.MasterKeys, unlock func(), err error) {
	unlock = func() {}
	if len(o.EtcdEndpoints) == 0 {
		if unlock, err = lockDataDir(o); err != nil {
			return nil, func() {}, err
		}
		if o.MasterKeyFile == "" {
			o.MasterKeyFile = o.inDataDir("master-key")
			if err = makeMasterKey(o); err != nil {
				return nil, unlock, err
			}
		}
	}
	if keys, err = token.LoadMasterKeys(o.MasterKeyFile); err != nil {
		return nil, unlock, fmt.Errorf("read the master key (--master-key-file): %w", err)
	}
	return keys, unlock, nil
}

// makeMasterKey makes one where there is none. Where data was written already, with one that is lost, another would help nobody.
func makeMasterKey(o *options) error {
	_, noKey := os.Stat(o.MasterKeyFile)
	_, noData := os.Stat(o.embeddedDir())
	if errors.Is(noKey, fs.ErrNotExist) && noData == nil {
		return fmt.Errorf("%s has data, but its master key, %s, is gone: put it back from your copy, or name one with --master-key-file; without it the signing keys cannot be read", o.DataDir, o.MasterKeyFile)
	}
	if err := token.CreateMasterKeyFile(o.MasterKeyFile); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make the master key: %w", err)
	}
	return nil
}

// lockDataDir keeps a second process out, which etcd would let wait in silence.
func lockDataDir(o *options) (unlock func(), err error) {
	if err := os.MkdirAll(o.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make the data directory (--data-dir): %w", err)
	}
	lock := flock.New(o.inDataDir("lock"))
	locked, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("cannot use the data directory (--data-dir): %w", err)
	}
	if !locked {
		return nil, fmt.Errorf("the data directory %s is in use by another usher; stop it, or choose another with --data-dir", o.DataDir)
	}
	return func() { _ = lock.Unlock() }, nil // the system takes the lock back anyway when the process ends
}

// operatorKeyFile is where the operator's key is kept; "" where it was given.
func (o *options) operatorKeyFile() string {
	if o.OperatorKey != "" {
		return ""
	}
	return o.inDataDir("operator-key")
}

// findOperatorKey is the one that was given, or that an earlier start has made, or it is made now.
func findOperatorKey(o options) (key tenant.Secret, err error) {
	path := o.operatorKeyFile()
	if path == "" {
		return tenant.OperatorKey(o.OperatorKey), nil
	}
	text, err := os.ReadFile(path)
	if err == nil {
		return tenant.OperatorKey(strings.TrimSpace(string(text))), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return key, fmt.Errorf("read the operator key: %w", err)
	}
	key = tenant.NewOperatorKey()
	if err := os.WriteFile(path, []byte(key.Reveal()+"\n"), 0o600); err != nil {
		return key, fmt.Errorf("keep the operator key: %w", err)
	}
	return key, nil
}

// welcome tells a person at a terminal what to do next. On the first start of an embedded log that is a tenant to try
// things with, and a command that works as printed.
func welcome(ctx context.Context, o options, operatorKey tenant.Secret, tenants *tenant.Service, addr, ops net.Addr) error {
	fmt.Printf("usher serves on %s://%s (operations on %s://%s)\n", o.scheme(), addr, schemeOf(o.OpsTLS), ops)
	if path := o.operatorKeyFile(); path != "" {
		fmt.Printf("the operator key is in %s\n", path)
	}
	if first, _, _ := tenants.List("", 0, 1); len(o.EtcdEndpoints) > 0 || len(first) > 0 {
		return nil
	}
	demo, key, err := tenants.Create(ctx, tenant.NewTenant{Name: "demo"}, tenant.Actor{By: tenant.ByOperator, RequestID: "first-start"})
	if err != nil {
		return fmt.Errorf("make the tenant demo: %w", err)
	}
	fmt.Printf("\nFirst start: made the tenant demo (%s). Its API key is shown only this once.\n\n", demo.ID)
	if o.operatorKeyFile() != "" {
		fmt.Printf("  operator key  %s\n", operatorKey.Reveal())
	}
	fmt.Printf("  API key       %s\n\nTake a seat in a room:\n\n", key.Reveal())
	fmt.Printf("  curl -sS %s://%s/api/v1/rooms/CS101%%20Lecture/participants \\\n"+
		"    -H 'X-API-Key: %s' -H 'Content-Type: application/json' \\\n"+
		"    -d '{\"display_name\": \"John Doe\", \"external_user_id\": \"user_123\", \"role\": \"participant\"}'\n\n", o.scheme(), addr, key.Reveal())
	return nil
}
