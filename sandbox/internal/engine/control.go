package engine

import (
	"sync/atomic"
	"time"
)

// Cause says why an execution was stopped.
type Cause uint32

// The causes. None means that the program ended by itself.
const (
	None   Cause = iota
	Time         // the wall time was used up
	CPU          // the processor time was used up
	Caller       // the caller does not wait any more, or said so
	Closed       // the session is closing
	Memory       // the guest ended after it was refused more memory
	Crash        // the guest trapped: a stack overflow, a fault of its own
	Exit         // the guest left by itself, and its state with it
)

func (c Cause) String() string {
	return [...]string{"", "time", "cpu", "caller", "closed", "memory", "crash", "exit"}[c]
}

// Control stops one execution. Its methods may be called by any goroutine, also
// after the execution ended, when they do nothing.
//
// They only set flags: the guest looks at them at its next check, on its own
// goroutine, which is the only one that ever touches the guest.
type Control struct {
	MaxCPU time.Duration // of the execution; 0 means no limit
	Grace  time.Duration // between a soft stop and a hard one, in CPU time

	kill atomic.Uint32 // Cause
	soft atomic.Uint32 // Cause
	wake chan struct{}
}

// NewControl makes the control of one execution.
func NewControl() *Control { return &Control{wake: make(chan struct{}, 1)} }

// Interrupt asks the guest to stop what it does and to keep its state. A guest
// without a way to be asked is killed.
func (c *Control) Interrupt(why Cause) {
	c.soft.CompareAndSwap(0, uint32(why))
	c.alert()
}

// Kill ends the guest. Its state is gone.
func (c *Control) Kill(why Cause) {
	c.kill.CompareAndSwap(0, uint32(why))
	c.alert()
}

func (c *Control) alert() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Killed is the cause of the first Kill, None without one.
func (c *Control) Killed() Cause { return Cause(c.kill.Load()) }
