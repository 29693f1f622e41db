package faults

import (
	"strconv"
	"sync"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// undecodable is a value that is no record.
const undecodable = "this is no JSON"

// ballast writes below the gateways' prefix, in a table that is none of theirs, one revision for each write.
func (b *bench) ballast(t *testing.T, revisions int) {
	t.Helper()
	const writers = 20
	var all sync.WaitGroup
	for i := range writers {
		all.Go(func() {
			for n := range revisions / writers {
				if err := b.put(prefix+"ballast/"+strconv.Itoa(i*revisions+n), "{}"); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}

func (b *bench) put(key, value string, options ...clientv3.OpOption) error {
	ctx, cancel := within(clientTimeout)
	defer cancel()
	_, err := b.cluster.client.Put(ctx, key, value, options...)
	return err
}
