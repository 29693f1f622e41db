package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// machine is where the figures come from, and from what.
type machine struct {
	Cores     int    `json:"cores"`
	Processor string `json:"processor,omitempty"`
	Memory    uint64 `json:"memory_bytes,omitempty"`
	System    string `json:"system"` // and architecture
	Kernel    string `json:"kernel,omitempty"`
	Go        string `json:"go"`
	Usher     string `json:"usher"`            // what usher version prints
	Commit    string `json:"commit,omitempty"` // of the source; "-dirty" when it was changed since
}

// String is for a person.
func (m machine) String() string {
	return fmt.Sprintf("%d cores (%s), %.0f GiB, %s, kernel %s, %s", m.Cores, m.Processor, float64(m.Memory)/(1<<30), m.System, m.Kernel, m.Go)
}

// thisMachine asks the system, and the program that is measured.
func thisMachine(ctx context.Context, usher string) (machine, error) {
	m := machine{Cores: runtime.NumCPU(), System: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version(), Processor: "unknown"}
	version, err := exec.CommandContext(ctx, usher, "version").Output()
	if err != nil {
		return m, fmt.Errorf("ask usher for its version: %w", err)
	}
	m.Usher = strings.TrimSpace(string(version))
	commit, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty", "--abbrev=12").Output()
	if err == nil { // otherwise it is not a checkout
		m.Commit = strings.TrimSpace(string(commit))
	}
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return m, fmt.Errorf("ask for the kernel: %w", err)
	}
	m.Kernel = unix.ByteSliceToString(name.Release[:])
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return m, fmt.Errorf("ask for the memory: %w", err)
	}
	m.Memory = info.Totalram * uint64(info.Unit)
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return m, err
	}
	for line := range strings.Lines(string(text)) {
		if what, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(what) == "model name" {
			m.Processor = strings.TrimSpace(value)
			break
		}
	}
	return m, nil
}
