package faults

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// TestAFullLog: etcd reaches its quota while everybody writes. Reads go on; what is refused is not in the log; and when
// it has room again all is as before.
func TestAFullLog(t *testing.T) {
	b := newBench(t, clusterOptions{quota: 16 << 20})
	b.work.traffic(200, 5*time.Second)
	ballast := strings.Repeat("x", 256<<10)
	if !until(time.Minute, func() bool { return errors.Is(b.put("/elsewhere/ballast", ballast), rpctypes.ErrNoSpace) }) {
		t.Fatal("etcd is not full")
	}
	b.work.traffic(300, 5*time.Second)
	b.refuses(t)
	ctx, cancel := within(clientTimeout)
	defer cancel()
	b.compact(t)
	for _, m := range b.cluster.members {
		if _, err := b.cluster.client.Defragment(ctx, m.client); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.cluster.client.AlarmDisarm(ctx, &clientv3.AlarmMember{}); err != nil {
		t.Fatal(err)
	}
	b.settle(t)
}

// refuses makes sure that every gateway answers reads and refuses writes.
func (b *bench) refuses(t *testing.T) {
	t.Helper()
	s := b.work.schools[0]
	for _, g := range b.gateways {
		read := b.work.ask(s.key, &call{kind: readKind, gateway: g, method: "GET", path: "/api/v1/rooms", school: s})
		if read.status != http.StatusOK {
			t.Errorf("a read is answered %s", read)
		}
		write := b.work.registry.write(b.work, g)
		if write.status != http.StatusServiceUnavailable {
			t.Errorf("a write is answered %s", write)
		}
	}
}

// TestFullDisks: the disks of all members are full while everybody writes, and the members die of it. With room again
// and started again, they and the gateways have everything that was acknowledged.
func TestFullDisks(t *testing.T) {
	if *runFor == 0 {
		t.Skip("it takes minutes: give -faults.for, for instance 30s")
	}
	var disks []string
	for i := range 3 {
		disk := filepath.Join(t.TempDir(), fmt.Sprint("disk", i))
		if err := os.Mkdir(disk, 0o700); err != nil {
			t.Fatal(err)
		}
		// etcd takes two segments of its WAL, of 64 MB each, before it writes anything.
		if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=200m"); err != nil {
			t.Skipf("a disk of its own for each member takes the right to mount one: %v", err)
		}
		t.Cleanup(func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) })
		disks = append(disks, disk)
	}
	b := newBench(t, clusterOptions{data: func(i int) string { return disks[i] }})
	b.work.traffic(200, 5*time.Second)
	for _, disk := range disks {
		fill(t, filepath.Join(disk, "ballast"))
	}
	value := strings.Repeat("x", 64<<10)
	if !until(time.Minute, func() bool {
		_ = b.put("/elsewhere/ballast", value)
		return !b.cluster.members[0].running() || !b.cluster.members[1].running() || !b.cluster.members[2].running()
	}) {
		t.Fatal("no member has noticed that its disk is full")
	}
	b.work.traffic(300, 8*time.Second)
	dead := 0
	for i, m := range b.cluster.members {
		if !m.running() {
			dead++
		}
		if err := os.Remove(filepath.Join(disks[i], "ballast")); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d members have died of it", dead)
	b.startMembers(t)
	b.settle(t)
}

// fill writes until the disk is full.
func fill(t *testing.T, path string) {
	t.Helper()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	block := bytes.Repeat([]byte("x"), 1<<16)
	for ; err == nil; _, err = file.Write(block) {
		continue
	}
	for err = nil; err == nil; _, err = file.Write(block[:1]) { // and what is left of the last page
		continue
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}
