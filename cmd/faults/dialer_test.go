package faults

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// dialer is the name of the member that has made a connection; "" when it is none of them. Members do not say on every
// connection who they are, so the kernel is asked whose socket is at the other end.
func dialer(accepted net.Conn, among []*member) string {
	if len(among) == 0 {
		return ""
	}
	for range looksAtKernel {
		inode := inodeAt(accepted.RemoteAddr().(*net.TCPAddr))
		for _, m := range among {
			if holds(int(m.pid.Load()), inode) {
				return m.name
			}
		}
	}
	return ""
}

// looksAtKernel is how often the kernel is asked: its tables come in pieces, and leave out what moves between two of them
// while other connections come and go.
const looksAtKernel = 3

// inodeAt is the inode of the TCP socket that is bound to the address, an IPv4 one; "" when there is none any more.
// See proc_pid_net(5).
func inodeAt(address *net.TCPAddr) string {
	ip := address.IP.To4()
	want := fmt.Sprintf("%02X%02X%02X%02X:%04X", ip[3], ip[2], ip[1], ip[0], address.Port)
	table, _ := os.ReadFile("/proc/net/tcp")
	for line := range strings.Lines(string(table)) {
		const local, inode = 1, 9
		if fields := strings.Fields(line); len(fields) > inode && fields[local] == want {
			return fields[inode]
		}
	}
	return ""
}

// holds says whether the process has the socket open.
func holds(pid int, inode string) bool {
	open, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	return slices.ContainsFunc(open, func(path string) bool {
		to, err := os.Readlink(path)
		return err == nil && to == "socket:["+inode+"]"
	})
}

// TestTheDialerIsFound: this process dials, and another one has not.
func TestTheDialerIsFound(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	made, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = made.Close() }()
	taken, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	us, another := &member{process: process{name: "us"}}, &member{process: process{name: "another"}}
	us.pid.Store(int64(os.Getpid()))
	another.pid.Store(int64(os.Getppid()))
	if name := dialer(taken, []*member{another, us}); name != "us" {
		t.Errorf("%q has made the connection", name)
	}
	if name := dialer(taken, []*member{another}); name != "" {
		t.Errorf("%q has made the connection", name)
	}
}
