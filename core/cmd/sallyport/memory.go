package main

import (
	"os"
	"runtime/debug"
)

// limitMemory makes the collector work harder near this size, so that a burst
// of large requests does not double the heap. GOMEMLIMIT overrules it.
func limitMemory() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(512 << 20)
	}
}
