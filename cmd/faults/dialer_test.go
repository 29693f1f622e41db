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
	inode := inodeOf(accepted.RemoteAddr().(*net.TCPAddr), accepted.LocalAddr().(*net.TCPAddr))
	for _, m := range among {
		if holds(int(m.pid.Load()), inode) {
			return m.name
		}
	}
	return ""
}

// inodeOf is the inode of the TCP socket at one end of a connection; "" when there is none any more. Both ends are looked
// for: the kernel gives a port again to who connects to somebody else, and one that has ended is in the table for a minute.
// See proc_pid_net(5).
func inodeOf(at, other *net.TCPAddr) string {
	table, _ := os.ReadFile("/proc/net/tcp")
	from, to := inTable(at), inTable(other)
	for line := range strings.Lines(string(table)) {
		const local, remote, inode = 1, 2, 9
		if fields := strings.Fields(line); len(fields) > inode && fields[local] == from && fields[remote] == to {
			return fields[inode]
		}
	}
	return ""
}

// inTable is an IPv4 address as the kernel's table has it.
func inTable(a *net.TCPAddr) string {
	ip := a.IP.To4()
	return fmt.Sprintf("%02X%02X%02X%02X:%04X", ip[3], ip[2], ip[1], ip[0], a.Port)
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
