package faults

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// process is a program that the bench runs, kills and starts again.
type process struct {
	name, binary string
	args         []string
	log          string // path of what it writes
	cmd          *exec.Cmd
	pid          atomic.Int64  // while it runs, or has
	exited       chan struct{} // closed when it has ended
}

func (p *process) start() error {
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }()
	p.cmd = exec.Command(p.binary, p.args...)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // nothing is left of a bench that dies
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	p.pid.Store(int64(p.cmd.Process.Pid))
	exited, cmd := make(chan struct{}), p.cmd
	p.exited = exited
	go func() { // ends with the process
		defer close(exited)
		_ = cmd.Wait()
	}()
	return nil
}

// running says whether it has not ended.
func (p *process) running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return p.cmd != nil
	}
}

func (p *process) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// kill ends it as a power cut would, and waits until it is gone.
func (p *process) kill() {
	if p.cmd == nil {
		return
	}
	p.signal(syscall.SIGKILL)
	<-p.exited
}

// wrote says whether the words are in what it wrote.
func (p *process) wrote(words string) bool {
	text, err := os.ReadFile(p.log)
	return err != nil || strings.Contains(string(text), words)
}

// tail is the end of what it wrote, but for the lines of single requests.
func (p *process) tail(lines int) string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	all := slices.DeleteFunc(strings.Split(strings.TrimSpace(string(text)), "\n"), func(line string) bool {
		return strings.Contains(line, " msg=request ") || strings.Contains(line, "took too long") || strings.Contains(line, "request stats")
	})
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// build compiles a package into a program; dir is the module that it is looked up in.
func build(dir, name, pkg string, flags ...string) (string, error) {
	path := filepath.Join(programs, name)
	c := exec.Command("go", append(append([]string{"build"}, flags...), "-o", path, pkg)...)
	c.Dir = dir
	if out, err := c.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", pkg, err, out)
	}
	return path, nil
}

// until waits for something to become true, and says whether it did.
func until(patience time.Duration, is func() bool) bool {
	for deadline := time.Now().Add(patience); !is(); {
		if time.Now().After(deadline) {
			return false
		}
		<-time.After(20 * time.Millisecond)
	}
	return true
}
