package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is a child that is measured.
type process struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
	log string // path of what it writes to stderr
	ops string // host:port of the operations port, of a gateway
}

// start runs the program with what it logs in the directory.
func start(ctx context.Context, dir, name, program string, args ...string) (*process, error) {
	log, err := os.Create(filepath.Join(dir, name+".log"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }() // the child has its own
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stderr, cmd.Dir = log, dir
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return &process{cmd: cmd, in: in, out: bufio.NewReaderSize(out, 1<<20), log: log.Name()}, nil
}

// child starts this program again, as what the name says.
func child(ctx context.Context, dir, name string, args ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return start(ctx, dir, name, self, append([]string{childFlag, name}, args...)...)
}

// cpu is how much CPU the process has used since it started, of all its threads and in both modes.
func (p *process) cpu() time.Duration {
	// The clock of another process, as clock_getcpuclockid(3) makes it: the complement of its id, and CPUCLOCK_SCHED.
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^p.cmd.Process.Pid)<<3|2, &t); err != nil {
		return 0 // it has ended, and whoever waits for its answer will learn it
	}
	return time.Duration(t.Nano())
}

// stop ends the process and waits for it.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	kill := time.AfterFunc(30*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer kill.Stop()
	_ = p.cmd.Wait() // by the signal just sent
}

// tell writes a value as a line of JSON.
func (p *process) tell(v any) error { return json.NewEncoder(p.in).Encode(v) }

// hear reads a line of JSON; a child that has ended says why in its log.
func (p *process) hear(v any) error {
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		last, _ := os.ReadFile(p.log)
		return fmt.Errorf("%s has ended: %w\n%s", filepath.Base(p.log), err, tail(last, 2000))
	}
	return json.Unmarshal(line, v)
}

func tail(b []byte, n int) []byte { return b[max(0, len(b)-n):] }

// answerTo is the other end of ask: a child that reads questions from stdin, as lines of JSON, and writes an answer to each.
func answerTo[Q, A any](answer func(Q) (A, error)) error {
	questions, answers := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var q Q
		if err := questions.Decode(&q); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		a, err := answer(q)
		if err != nil {
			return err
		}
		if err := answers.Encode(a); err != nil {
			return err
		}
	}
}

// ask sends a question and waits for the answer.
func ask[A any](p *process, question any) (answer A, err error) {
	if err := p.tell(question); err != nil {
		return answer, err
	}
	return answer, p.hear(&answer)
}
