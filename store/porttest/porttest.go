// Package porttest gives tests addresses for processes that have to be told where to listen.
package porttest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
)

// The kernel gives ports from 32768 on to whoever asks for any: one that was free a moment ago may be taken by then, or be
// given twice. Out of its reach a port stays free, also for a process that comes back after it was killed.
const first, ports = 12_000, 20_000

var (
	mu    sync.Mutex
	given = make(map[int]bool) // guarded by mu
)

// Free is an address of this machine on which nobody listens, and which no other call in this process has given.
func Free(t testing.TB) string {
	t.Helper()
	mu.Lock()
	defer mu.Unlock()
	for range 100 {
		port := first + rand.IntN(ports)
		if given[port] {
			continue
		}
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		given[port] = true
		return l.Addr().String()
	}
	t.Fatal("no port is free")
	return ""
}
