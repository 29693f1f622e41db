package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"usher/gateway"
	"usher/gateway/operations"
	"usher/observability"
	"usher/participants"
	"usher/rooms"
	"usher/store"
	"usher/tenant"
)

func command() *cobra.Command {
	var o options
	serve := func(c *cobra.Command, _ []string) error {
		if err := fromEnvironment(c); err != nil {
			return err
		}
		if err := o.check(); err != nil {
			return err
		}
		return run(c.Context(), o)
	}
	root := &cobra.Command{
		Use: "usher", Short: "The multi-tenant gateway in front of live rooms",
		Long:         "usher alone is usher serve: it starts the gateway, with an etcd of its own unless --etcd-endpoints names one.",
		SilenceUsage: true, SilenceErrors: true, Args: noCommand, RunE: serve,
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return fmt.Errorf("%w; see %s --help", err, c.CommandPath()) })
	o.flags(root.Flags())
	child := &cobra.Command{Use: "serve", Short: "Start the gateway", Args: cobra.NoArgs, RunE: serve}
	o.flags(child.Flags())
	root.SetOut(os.Stdout) // cobra prints to stderr otherwise
	root.AddCommand(manageCommands()...)
	root.AddCommand(child, reencryptCommand(), &cobra.Command{Use: "version", Short: "Print the version", Args: cobra.NoArgs, Run: func(c *cobra.Command, _ []string) {
		c.Println(version())
	}})
	return root
}

// stamped is the version of a release, set by its build: -ldflags "-X main.stamped=v1.2.3".
var stamped string

func version() string {
	b := observability.ReadBuild(stamped)
	return strings.TrimSpace("usher " + b.Version + " " + runtime.Version() + " " + b.Revision)
}

// dialPause is how long it waits to try again where etcd does not answer.
const dialPause = time.Second

// run builds the house from the ground up, serves until the context ends, and takes it down again.
func run(ctx context.Context, o options) (err error) {
	seen, err := observe(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, seen.close()) }()
	logger := seen.logger
	useMemory(logger)

	// The ports first: whoever starts a second one by mistake learns it before anything is touched.
	var ports net.ListenConfig
	api, err := ports.Listen(ctx, "tcp", o.Listen)
	if err != nil {
		return fmt.Errorf("cannot listen on %s (--listen): %w", o.Listen, cause(err))
	}
	defer func() { _ = api.Close() }() // closed already, when it was served
	ops, err := ports.Listen(ctx, "tcp", o.OpsListen)
	if err != nil {
		return fmt.Errorf("cannot listen on %s (--ops-listen): %w", o.OpsListen, cause(err))
	}
	defer func() { _ = ops.Close() }()

	masterKeys, unlock, err := prepare(&o)
	if err != nil {
		return err
	}
	defer unlock()
	operatorKey, err := findOperatorKey(o)
	if err != nil {
		return err
	}
	certs := newKeeper(seen)
	defer certs.close()
	apiTLS, opsTLS, err := certs.apiTLS(o)
	if err != nil {
		return err
	}
	board := operations.New(operations.Options{
		Metrics: seen.metrics, Level: seen.level, Recent: seen.notices, Logger: logger, Version: seen.build.Version,
	})
	proxies, err := o.trustedProxies()
	if err != nil {
		return err
	}
	bounded := &perAddress{Listener: api, most: o.MaxPerAddress, exempt: proxies, refused: refusedConnections(seen.metrics)}
	front, ctx := openFront(ctx, o, logger, port{listener: bounded, tls: apiTLS, handler: gateway.Starting(), open: seen.metrics.Connections()},
		port{listener: ops, tls: opsTLS}, board)
	defer func() { err = errors.Join(err, front.close()) }()
	etcd, err := openLog(ctx, o, certs, logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, etcd.Close()) }()

	log, err := openStore(ctx, o, etcd, store.Options{Logger: logger, Metrics: seen.metrics, Tracer: seen.tracing.Tracer()})
	if err != nil {
		return err
	}
	defer log.Close()
	tenants := tenant.New(log, masterKeys, o.IssuerURL, time.Now, seen.metrics)
	if err := tenants.CheckMasterKeys(); err != nil {
		return fmt.Errorf("the master key file %s is not the one this data was written with; put that back from your copy, or name it with --master-key-file: %w", o.MasterKeyFile, err)
	}
	live, seats := rooms.New(log, time.Now), participants.New(log, tenants, time.Now, seen.metrics)
	stopBackground, err := background(ctx, o, log, tenants, live, seats, masterKeys.IDs(), seen)
	defer stopBackground()
	if err != nil {
		return err
	}
	g := gateway.New(gateway.Options{
		Log: log, Tenants: tenants, Rooms: live, Participants: seats,
		OperatorKey: operatorKey, Logger: logger, MaxStaleness: o.MaxStaleness, TrustedProxies: proxies,
		MaxCPUWait: o.MaxCPUWait, AnonymousPerSecond: o.AnonymousPerSecond, AnonymousBurst: o.AnonymousBurst, BodyMemory: o.BodyMemory,
		Metrics: seen.metrics, MaxTenantSeries: o.MaxTenantSeries,
	})
	front.api.open(seen.traced(g, proxies))
	board.Follow(log)
	if err := welcome(ctx, o, operatorKey, tenants, api.Addr(), ops.Addr()); err != nil {
		return errors.Join(err, front.close()) // before what it answers from
	}
	return front.drain(ctx)
}

// background starts what runs beside the requests, and returns when this replica is counted among those that may answer
// somebody. stop stops it and waits: the sweep ends with the context already, so that another replica takes over, and
// heartbeats are written, and this replica counted, for as long as requests are answered.
func background(ctx context.Context, o options, log *store.Store, tenants *tenant.Service, live *rooms.Service, seats *participants.Service,
	masterKeys []string, seen *observed) (stop func(), err error) {
	logger := seen.logger
	sweeper := &participants.Sweeper{Log: log, Tenants: tenants, Rooms: live, Participants: seats, Logger: logger, Metrics: seen.metrics}
	serving, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	running.Go(func() { sweeper.Run(ctx) })
	registered := make(chan struct{})
	running.Go(func() { log.Register(serving, seen.build.Version, masterKeys, func() { close(registered) }) })
	running.Go(func() {
		tenants.KeepKeyUses(serving, func(err error) { logger.Warn("the uses of API keys could not be written", "error", err) })
	})
	running.Go(func() {
		seats.KeepPresence(serving, func(err error) { logger.Warn("heartbeats could not be written yet", "error", err) })
	})
	stop = func() {
		cancel()
		running.Wait()
	}
	starting, over := context.WithTimeout(ctx, o.StartTimeout)
	defer over()
	select {
	case <-registered:
		return stop, nil
	case <-starting.Done():
		return stop, fmt.Errorf("register this replica in etcd: %w", starting.Err())
	}
}

// openLog starts the embedded etcd, or connects to the cluster with the certificates that are kept.
func openLog(ctx context.Context, o options, certs *keeper, logger *slog.Logger) (*store.Log, error) {
	if len(o.EtcdEndpoints) == 0 {
		return store.Embed(ctx, store.EmbedOptions{
			Dir: o.embeddedDir(), ListenClient: o.EtcdListen, MaxTxnOps: o.EtcdMaxTxnOps, Logger: logger,
		})
	}
	config, err := certs.etcdTLS(o)
	if err != nil {
		return nil, err
	}
	return dial(ctx, o.StartTimeout, store.DialOptions{
		Endpoints: o.EtcdEndpoints, TLS: config, Username: o.EtcdUser, Password: o.EtcdPassword, Logger: logger, Tracing: certs.seen.provider(),
	})
}

// dial tries for as long as a start may take: a cluster that comes up beside this process, or elects a leader, is not a
// reason to die.
func dial(ctx context.Context, patience time.Duration, o store.DialOptions) (*store.Log, error) {
	for deadline := time.Now().Add(patience); ; {
		log, err := store.Dial(ctx, o)
		if err == nil || ctx.Err() != nil || time.Now().Add(dialPause).After(deadline) {
			return log, err
		}
		o.Logger.Warn("etcd does not answer yet; trying again", "until", deadline.UTC().Format(time.RFC3339), "error", err)
		select {
		case <-time.After(dialPause):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// openStore follows the log, and returns when all of it is in the index.
func openStore(ctx context.Context, o options, etcd *store.Log, as store.Options) (*store.Store, error) {
	tables := append(append(tenant.Definitions(), rooms.Definitions()...), participants.Definitions()...)
	as.Prefix, as.MaxTxnOps, as.MaxStaleness = o.EtcdPrefix, o.EtcdMaxTxnOps, o.MaxStaleness
	log, err := store.Open(etcd, as, tables...)
	if err != nil {
		return nil, err
	}
	starting, cancel := context.WithTimeout(ctx, o.StartTimeout)
	defer cancel()
	if err := log.WaitReady(starting); err != nil {
		log.Close()
		return nil, err
	}
	return log, nil
}

// cause is the last error of the chain: what the operating system said, without how we got there.
func cause(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}
