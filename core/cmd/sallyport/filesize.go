//go:build unix

package main

import (
	"os/signal"
	"syscall"
)

// ignoreFileSizeSignal makes a write beyond the limit on file sizes (ulimit -f)
// an error, which the ledger and the tables know how to treat, and not the
// death of the process.
func ignoreFileSizeSignal() { signal.Ignore(syscall.SIGXFSZ) }
