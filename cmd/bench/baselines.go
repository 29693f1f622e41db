package main

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
)

// bare is a server that does nothing but what must be done: it reads the body, signs, and writes bytes that are ready.
type bare struct {
	Bytes      int // of the answer
	Signatures int // Ed25519, of as many bytes as a token has
	Signed     int // bytes that are signed each time
	// Log, when not empty, is the directory of an etcd that it has in its process, as Usher has: each request is answered
	// when a record of it is committed. Then it is the floor: what a gateway costs that does nothing else, with the signatures
	// of crypto/ed25519.
	Log string
}

// serveBare is the child that serves a bare.
func serveBare(args []string) error {
	var b bare
	if err := json.Unmarshal([]byte(args[0]), &b); err != nil {
		return err
	}
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return err
	}
	commit := func() <-chan error { return nil }
	if b.Log != "" {
		etcd, err := embedded(b.Log, "")
		if err != nil {
			return err
		}
		defer etcd.Close()
		commit = gathering(v3client.New(etcd.Server))
	}
	answer, payload, size := []byte(strings.Repeat("x", b.Bytes)), make([]byte, b.Signed), strconv.Itoa(b.Bytes)
	fmt.Printf("%q\n", listener.Addr())
	return http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err != nil {
			panic(http.ErrAbortHandler)
		}
		committed := commit()
		for range b.Signatures {
			_ = ed25519.Sign(key, payload)
		}
		if committed != nil {
			if err := <-committed; err != nil {
				panic(http.ErrAbortHandler)
			}
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", size)
		_, _ = w.Write(answer) // who has gone does not count
	}))
}

// gathering gives what commits a record, with all that come while a transaction is under way in the next one.
func gathering(client *clientv3.Client) func() <-chan error {
	waiting := make(chan chan error, 4096)
	go func() { // as long as the process
		value := strings.Repeat("x", recordBytes)
		for number := 0; ; {
			all := []chan error{<-waiting}
			for len(all) < 64 && len(waiting) > 0 { // of two operations each, within etcd's 128
				all = append(all, <-waiting)
			}
			parts := make([]clientv3.Op, len(all))
			for i := range parts {
				number++
				compares, put := creation(fmt.Sprintf("/usher/v1/participants/%012d", number), value)
				parts[i] = clientv3.OpTxn(compares, []clientv3.Op{put}, nil)
			}
			resp, err := client.Txn(context.Background()).Then(parts...).Commit()
			for i, one := range all {
				if err == nil && !resp.Responses[i].GetResponseTxn().Succeeded {
					one <- errors.New("the compare failed")
					continue
				}
				one <- err
			}
		}
	}()
	return func() <-chan error {
		committed := make(chan error, 1)
		waiting <- committed
		return committed
	}
}

// recordBytes is about what a participant's record has.
const recordBytes = 400

// creation is what an add does at least: two compares and a put.
func creation(key, value string) (compares []clientv3.Cmp, put clientv3.Op) {
	return []clientv3.Cmp{
		clientv3.Compare(clientv3.ModRevision("/usher/v1/rooms/one"), "=", 0),
		clientv3.Compare(clientv3.ModRevision(key), "=", 0),
	}, clientv3.OpPut(key, value)
}

// signing asks for raw Ed25519 signatures, one after another.
type signing struct {
	For   time.Duration
	Bytes int
}

// serveSignatures is the child that signs.
func serveSignatures([]string) error {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return err
	}
	return answerTo(func(q signing) (int, error) {
		payload, end, n := make([]byte, q.Bytes), time.Now().Add(q.For), 0
		for ; time.Now().Before(end); n++ {
			_ = ed25519.Sign(key, payload)
		}
		return n, nil
	})
}

// transactions asks for raw transactions, of two compares and a put, from as many callers as are in flight.
type transactions struct {
	For      time.Duration
	InFlight int
	Bytes    int // of the value
}

// serveTransactions is the child that has an etcd in its process, as Usher has, and calls it with nothing around.
func serveTransactions(args []string) error {
	etcd, err := embedded(args[0], "")
	if err != nil {
		return err
	}
	defer etcd.Close()
	client := v3client.New(etcd.Server)
	var number atomic.Int64
	return answerTo(func(q transactions) (int64, error) {
		value, end := strings.Repeat("x", q.Bytes), time.Now().Add(q.For)
		var callers sync.WaitGroup
		var done atomic.Int64
		failures := make(chan error, q.InFlight)
		for range q.InFlight {
			callers.Go(func() {
				for time.Now().Before(end) {
					key := fmt.Sprintf("/usher/v1/participants/%012d", number.Add(1))
					compares, put := creation(key, value)
					resp, err := client.Txn(context.Background()).If(compares...).Then(put).Commit()
					if err == nil && !resp.Succeeded {
						err = fmt.Errorf("the compare of %s failed", key)
					}
					if err != nil {
						failures <- err
						return
					}
					done.Add(1)
				}
			})
		}
		callers.Wait()
		close(failures)
		return done.Load(), <-failures
	})
}

// embedded starts an etcd with what the gateway's own has: fsync, a quota and periodic compaction.
func embedded(dir, listen string) (*embed.Etcd, error) {
	c := embed.NewConfig()
	c.Name, c.Dir, c.LogLevel, c.LogOutputs = "bench", dir, "error", []string{"stderr"}
	c.QuotaBackendBytes, c.MaxTxnOps = 8<<30, 128
	c.AutoCompactionMode, c.AutoCompactionRetention = "periodic", "10m"
	peer := url.URL{Scheme: "http", Host: "127.0.0.1:0"} // a name in the member list; nothing listens
	c.ListenPeerUrls, c.AdvertisePeerUrls, c.ListenClientUrls, c.AdvertiseClientUrls = nil, []url.URL{peer}, nil, nil
	if listen != "" {
		client, err := url.Parse(listen)
		if err != nil {
			return nil, err
		}
		c.ListenClientUrls, c.AdvertiseClientUrls = []url.URL{*client}, []url.URL{*client}
	}
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	etcd, err := embed.StartEtcd(c)
	if err != nil {
		return nil, err
	}
	select {
	case <-etcd.Server.ReadyNotify():
		return etcd, nil
	case <-time.After(time.Minute):
		etcd.Close()
		return nil, fmt.Errorf("etcd in %s did not start", dir)
	}
}
