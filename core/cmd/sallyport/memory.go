//go:build unix

package main

import (
	"os"
	"runtime/debug"
)

// limitMemory lets the collector rest while the heap is small, where its
// default costs a quarter of the CPU of a streamed reply, and makes it work
// harder near the limit, so that a burst of large requests does not double the
// heap. GOGC and GOMEMLIMIT overrule it.
func limitMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(200)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(384 << 20)
	}
}
