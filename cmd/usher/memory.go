package main

import (
	"log/slog"
	"os"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// gcPercent is how much garbage may gather, against what lives, before it is collected. Most of what lives here is the
// index, which stays: with Go's own 100 it is looked through again so often that a tenth of an add is spent on it. The
// price is memory, up to four times the index; near the container's limit Go collects more often again, and goes on.
const gcPercent = 300

// useMemory has the garbage collector keep to the container's memory limit. GOGC and GOMEMLIMIT override it.
func useMemory(logger *slog.Logger) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if _, err := memlimit.Set(); err != nil { // without a cgroup there is none to keep to
		logger.Debug("the container's memory limit is not known", "error", err)
	}
}
