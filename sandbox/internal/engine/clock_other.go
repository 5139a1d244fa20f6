//go:build !linux

package engine

import "time"

var started = time.Now()

// threadCPU counts the time on the clock where the system has no cheap way to
// ask for a thread's; waiting is left out by the caller.
func threadCPU() time.Duration { return time.Since(started) }
