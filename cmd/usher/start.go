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

// secrets are what the process holds outside the log.
type secrets struct {
	masterKeys  *token.MasterKeys
	operatorKey tenant.Secret
	made        bool // the operator key was made by this start
}

// prepare makes the data directory this process's own and finds the keys, or makes them on a first start. An external
// etcd needs no directory. unlock must be called at the end.
func prepare(o *options) (s secrets, unlock func(), err error) {
	unlock = func() {}
	if len(o.EtcdEndpoints) == 0 {
		if unlock, err = lockDataDir(o); err != nil {
			return s, func() {}, err
		}
		if o.MasterKeyFile == "" {
			o.MasterKeyFile = o.inDataDir("master-key")
			if err = token.CreateMasterKeyFile(o.MasterKeyFile); err != nil && !errors.Is(err, fs.ErrExist) {
				return s, unlock, fmt.Errorf("make the master key: %w", err)
			}
		}
	}
	if s.masterKeys, err = token.LoadMasterKeys(o.MasterKeyFile); err != nil {
		return s, unlock, fmt.Errorf("read the master key (--master-key-file): %w", err)
	}
	s.operatorKey = tenant.OperatorKey(o.OperatorKey)
	if o.OperatorKey == "" {
		s.operatorKey, s.made, err = keptOperatorKey(o.inDataDir("operator-key"))
	}
	return s, unlock, err
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

// keptOperatorKey reads the key that an earlier start made, or makes it.
func keptOperatorKey(path string) (key tenant.Secret, made bool, err error) {
	text, err := os.ReadFile(path)
	if err == nil {
		return tenant.OperatorKey(strings.TrimSpace(string(text))), false, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return key, false, fmt.Errorf("read the operator key: %w", err)
	}
	key = tenant.NewOperatorKey()
	if err := os.WriteFile(path, []byte(key.Reveal()+"\n"), 0o600); err != nil {
		return key, false, fmt.Errorf("keep the operator key: %w", err)
	}
	return key, true, nil
}

// welcome tells a person at a terminal what to do next. On the first start of an embedded log that is a tenant to try
// things with, and a command that works as printed.
func welcome(ctx context.Context, o options, s secrets, tenants *tenant.Service, addr, ops net.Addr) error {
	fmt.Printf("usher serves on %s://%s (operations on %s://%s)\n", o.scheme(), addr, schemeOf(o.OpsTLS), ops)
	if first, _, _ := tenants.List("", 0, 1); len(o.EtcdEndpoints) > 0 || len(first) > 0 {
		return nil
	}
	demo, key, err := tenants.Create(ctx, tenant.NewTenant{Name: "demo"}, tenant.Actor{By: tenant.ByOperator, RequestID: "first-start"})
	if err != nil {
		return fmt.Errorf("make the tenant demo: %w", err)
	}
	fmt.Printf("\nFirst start: made the tenant demo (%s). Its API key is shown only this once.\n\n", demo.ID)
	if s.made {
		fmt.Printf("  operator key  %s\n", s.operatorKey.Reveal())
	}
	fmt.Printf("  API key       %s\n\nTake a seat in a room:\n\n", key.Reveal())
	fmt.Printf("  curl -sS %s://%s/api/v1/rooms/CS101%%20Lecture/participants \\\n"+
		"    -H 'X-API-Key: %s' -H 'Content-Type: application/json' \\\n"+
		"    -d '{\"display_name\": \"John Doe\", \"external_user_id\": \"user_123\", \"role\": \"participant\"}'\n\n", o.scheme(), addr, key.Reveal())
	return nil
}
