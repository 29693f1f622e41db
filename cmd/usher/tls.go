package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"strings"
	"sync"
	"time"

	"usher/cmd/usher/certificates"
)

// lookInterval is how often the files of certificates are looked at.
const lookInterval = time.Second

// keeper has certificates read again when their files change, until it is closed.
type keeper struct {
	seen    *observed // nil for who is not watched
	ctx     context.Context
	stop    context.CancelFunc
	running sync.WaitGroup
}

func newKeeper(seen *observed) *keeper {
	k := &keeper{seen: seen}
	k.ctx, k.stop = context.WithCancel(context.Background())
	return k
}

func (k *keeper) close() {
	k.stop()
	k.running.Wait()
}

// load reads the files, which the flags name, and watches them. The metrics call the certificate and the authorities by their names.
func (k *keeper) load(files certificates.Files, flags, name, certificate, authority string) (*certificates.Set, error) {
	set, err := certificates.Load(files, time.Now)
	if err != nil {
		return nil, fmt.Errorf("read the certificates of %s (%s): %w", name, flags, err)
	}
	if k.seen == nil {
		return set, nil
	}
	show := func() {
		if c := set.Certificate(); c != nil {
			k.seen.metrics.Certificate(certificate, c)
		}
		if c := set.Authority(); c != nil {
			k.seen.metrics.Certificate(authority, c)
		}
	}
	show()
	k.seen.metrics.Renewals(name)
	k.running.Go(func() { // ends with close
		set.Watch(k.ctx, lookInterval, func(err error) {
			k.seen.metrics.Renewal(name, err)
			if err != nil {
				k.seen.logger.Error("new certificates are no good; the old ones stay in force", "of", name, "error", err)
				return
			}
			show()
			k.seen.logger.Info("certificates were renewed", "of", name)
		})
	})
	return set, nil
}

// apiTLS is the TLS of the API's port, and of the operations port; nil for a port that speaks plain HTTP.
func (k *keeper) apiTLS(o options) (api, ops *tls.Config, err error) {
	if o.TLSCert == "" {
		return nil, nil, nil
	}
	least, err := certificates.ParseVersion(o.TLSMinVersion)
	if err != nil {
		return nil, nil, err
	}
	set, err := k.load(certificates.Files{Cert: o.TLSCert, Key: o.TLSKey, CA: o.TLSClientCA}, "--tls-cert-file, --tls-key-file, --tls-client-ca-file", "api", "api", "api_client_ca")
	if err != nil {
		return nil, nil, err
	}
	if o.OpsTLS {
		ops = set.Server(least, false)
	}
	return set.Server(least, true), ops, nil
}

// etcdTLS gives the TLS of the next connection to etcd; nil when nothing asks for TLS.
func (k *keeper) etcdTLS(o options) (func() *tls.Config, error) {
	secure := o.EtcdCA != "" || o.EtcdCert != ""
	for _, endpoint := range o.EtcdEndpoints {
		secure = secure || strings.HasPrefix(endpoint, "https://")
	}
	if !secure {
		return nil, nil
	}
	set, err := k.load(certificates.Files{Cert: o.EtcdCert, Key: o.EtcdKey, CA: o.EtcdCA}, "--etcd-cert-file, --etcd-key-file, --etcd-ca-file", "etcd", "etcd_client", "etcd_ca")
	if err != nil {
		return nil, err
	}
	return set.Client, nil
}
