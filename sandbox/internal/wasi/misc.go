package wasi

import (
	"crypto/rand"
	"math"
	"runtime"
	"time"
)

// argsSizesGet answers for arguments and for the environment: there are none.
func argsSizesGet(c *call) Errno {
	if errno := c.put32(c.u32(0), 0); errno != 0 {
		return errno
	}
	return c.put32(c.u32(1), 0)
}

func argsGet(*call) Errno { return 0 }

// clockResolution is coarse on purpose: a finer clock would help a guest to
// measure the processor's caches.
const clockResolution = time.Microsecond

// Clock numbers of WASI preview 1; processor time is not told.
const (
	clockWall = iota
	clockMonotonic
)

func clockResGet(c *call) Errno {
	if c.u32(0) > clockMonotonic {
		return EINVAL
	}
	return c.put64(c.u32(1), uint64(clockResolution))
}

func clockTimeGet(c *call) Errno {
	now, errno := c.clock(c.u32(0))
	if errno != 0 {
		return errno
	}
	return c.put64(c.u32(2), uint64(now))
}

// uptime is what the monotonic clock shows at the start of a session: more than
// while the snapshot was made, so that no guest sees time go back.
const uptime = time.Hour

func (p *Proc) clock(id uint32) (int64, Errno) {
	if p.frozen != nil && id <= clockMonotonic {
		p.frozen.passed += clockResolution
		if id == clockWall {
			return p.frozen.wall().UnixNano(), 0
		}
		return int64(p.frozen.passed), 0
	}
	switch id {
	case clockWall:
		return time.Now().Truncate(clockResolution).UnixNano(), 0
	case clockMonotonic:
		return int64((time.Since(p.start) + uptime).Truncate(clockResolution)), 0
	}
	return 0, EINVAL
}

// randomGet fills guest memory from the host's generator, a piece at a time so
// that a large wish does not outlive a kill.
func randomGet(c *call) Errno {
	b, ok := c.mem.Read(c.u32(0), c.u32(1))
	if !ok {
		return EFAULT
	}
	for len(b) > 0 {
		n := min(len(b), 64<<10)
		read := rand.Read
		if c.frozen != nil {
			read = c.frozen.random.Read
		}
		if _, err := read(b[:n]); err != nil {
			return EIO
		}
		b = b[n:]
		c.enter(int64(n) >> (costShift - 2))
	}
	return 0
}

func schedYield(*call) Errno {
	runtime.Gosched()
	return 0
}

const (
	subscriptionSize  = 48
	eventSize         = 32
	maxSubscriptions  = 64
	maxSleep          = time.Hour
	subscriptionClock = 0
	absoluteTime      = 1
)

// pollOneoff waits for the earliest of several clocks. Files are always ready.
func pollOneoff(c *call) Errno {
	in, out, count := c.u32(0), c.u32(1), c.u32(2)
	if count == 0 || count > maxSubscriptions {
		return EINVAL
	}
	subs, ok := c.mem.Read(in, count*subscriptionSize)
	if !ok {
		return EFAULT
	}
	if _, ok := c.mem.Read(out, count*eventSize); !ok {
		return EFAULT
	}
	wait := int64(math.MaxInt64)
	due := make([]int64, count) // time until each one, in nanoseconds
	events := make([]byte, 0, count*eventSize)
	var errnos [maxSubscriptions]Errno
	for i := range due {
		s := subs[i*subscriptionSize:]
		if s[8] != subscriptionClock {
			wait = 0
			continue
		}
		due[i], errnos[i] = c.until(le.Uint32(s[16:]), le.Uint64(s[24:]), le.Uint16(s[40:]))
		wait = min(wait, due[i])
	}
	var seen []byte
	seen = append(seen, subs...) // the events may be written over the subscriptions
	if wait > 0 && c.frozen != nil {
		c.frozen.passed += time.Duration(min(wait, int64(maxSleep)))
	} else if wait > 0 {
		c.host.Sleep(time.Duration(min(wait, int64(maxSleep))))
		c.enter(0)
	}
	for i := range due {
		if due[i] > wait {
			continue
		}
		s := seen[i*subscriptionSize:]
		var e [eventSize]byte
		copy(e[:8], s[:8]) // what the guest calls it
		le.PutUint16(e[8:], uint16(errnos[i]))
		e[10] = s[8]
		events = append(events, e[:]...)
	}
	c.mem.Write(out, events)
	return c.put32(c.u32(3), uint32(len(events)/eventSize))
}

// until returns how long it is to a time on a clock, at least 0.
func (c *call) until(id uint32, at uint64, flags uint16) (int64, Errno) {
	now, errno := c.clock(id)
	if errno != 0 {
		return 0, errno
	}
	d := int64(min(at, math.MaxInt64))
	if flags&absoluteTime != 0 {
		d -= now
	}
	return max(d, 0), 0
}
