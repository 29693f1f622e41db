package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"usher/tenant/token"
)

// etcd is the real server as a process of its own: a member of a cluster, or a cluster of one.
type etcd struct {
	*process
	flags []string
	dir   string
	name  string
	url   string // for clients
}

// etcds starts a cluster of so many, and returns when each answers.
func (h *harness) etcds(name string, members int) (cluster []*etcd, err error) {
	if h.etcd == "" {
		h.say("building etcd")
		if h.etcd, err = h.build("go.etcd.io/etcd/server/v3"); err != nil {
			return nil, err
		}
	}
	var peers []string
	for i := range members {
		var ports [2]string
		for j := range ports {
			if ports[j], err = freePort(h.ctx); err != nil {
				return nil, err
			}
		}
		e := &etcd{dir: filepath.Join(h.dir, name), name: fmt.Sprintf("%s-%d", name, i), url: "http://" + ports[0]}
		peer := "http://" + ports[1]
		e.flags = []string{
			"--name", e.name, "--data-dir", filepath.Join(e.dir, e.name), "--log-level", "error",
			"--listen-client-urls", e.url, "--advertise-client-urls", e.url, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
			"--quota-backend-bytes", fmt.Sprint(8 << 30), "--auto-compaction-mode", "periodic", "--auto-compaction-retention", "10m",
		}
		cluster, peers = append(cluster, e), append(peers, e.name+"="+peer)
		if err := os.MkdirAll(e.dir, 0o700); err != nil {
			return nil, err
		}
	}
	for _, e := range cluster {
		e.flags = append(e.flags, "--initial-cluster", strings.Join(peers, ","))
		if e.process, err = start(h.ctx, e.dir, e.name, h.etcd, e.flags...); err != nil {
			return nil, err
		}
	}
	for _, e := range cluster {
		if err := h.healthy(e); err != nil {
			return nil, err
		}
	}
	return cluster, nil
}

// again starts a member that was stopped.
func (h *harness) again(e *etcd) (err error) {
	if e.process, err = start(h.ctx, e.dir, e.name, h.etcd, e.flags...); err != nil {
		return err
	}
	return h.healthy(e)
}

// healthy waits until the member has a leader and answers.
func (h *harness) healthy(e *etcd) error { return h.answers(e.url+"/health", e.log) }

// answers waits until a process that has started answers; what it logs says why if it does not.
func (h *harness) answers(url, log string) error {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		if _, err := get(h.ctx, url); err == nil {
			return nil
		}
		select {
		case <-h.ctx.Done():
			return h.ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
	last, _ := os.ReadFile(log)
	return fmt.Errorf("%s does not answer\n%s", url, tail(last, 2000))
}

func stopAll(cluster []*etcd) {
	for _, e := range cluster {
		if e.process != nil {
			e.stop()
		}
	}
}

// on starts a gateway that uses the cluster.
func (h *harness) on(cluster []*etcd, name string) (*gateway, error) {
	var urls []string
	for _, e := range cluster {
		urls = append(urls, e.url)
	}
	keys := filepath.Join(cluster[0].dir, "master-key")
	if err := token.CreateMasterKeyFile(keys); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return h.gateway(name, "--etcd-endpoints", strings.Join(urls, ","), "--master-key-file", keys)
}
