package pluginhost

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"time"
)

// What a plugin process may have of things that the kernel counts for all
// processes of a user together, or not at all.
const (
	guardEvery  = 250 * time.Millisecond
	guardClose  = 50 * time.Millisecond // for who uses more than half of its memory
	socketMost  = 256                   // entries of its directory
	connsLinger = 30 * time.Second      // for which a process may keep its end of a connection that the gateway has closed

	// beyondLimit is what a process may use above its memory: the stack of its
	// first thread and code that it made are none that the limit counts.
	beyondLimit = 128 << 20
)

// usage is what a process has at the moment.
type usage struct {
	threads int
	memory  int64 // bytes that are its own wherever they are, with the tables of its pages
}

// conns are the gateway's connections to a process, each of which is a
// descriptor there.
type conns struct {
	// most gives the largest number since it was asked for last; nil as long as
	// there can be none. Guard alone asks.
	most atomic.Pointer[func() int]

	lately [2]int // the largest of this time of connsLinger, and of the one before
	since  time.Time
}

// allowed is how many descriptors a process may have: those that are its own,
// and one for each connection that there is, or was within connsLinger.
func (c *conns) allowed(at time.Time) int {
	if at.Sub(c.since) >= connsLinger {
		c.lately, c.since = [2]int{0, c.lately[0]}, at
	}
	if most := c.most.Load(); most != nil {
		c.lately[0] = max(c.lately[0], (*most)())
	}
	return openFiles + max(c.lately[0], c.lately[1])
}

// guard ends the process when it floods the machine with threads, the file
// system with empty files, the kernel with sockets and pipes, or the memory with
// pages that it writes and then declares constant, which the kernel's limit
// counts no more. It returns when the process is dead.
func (p *program) guard() {
	// Landlock knows the directory by its inode, which the kernel forgets when
	// memory is short and nobody holds it: then the process could not read what
	// /proc says of itself any more. Elsewhere there is no such directory.
	if self, err := os.Open(fmt.Sprintf("/proc/%d", p.pid)); err == nil {
		defer self.Close()
	}
	interval := guardEvery
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-p.dead:
			return
		case <-tick.C:
		}
		used, excess := p.excess()
		if excess != "" {
			p.stderr.blame(excess)
			_ = p.Kill(context.Background())
			return
		}
		if every := p.watchEvery(used); every != interval {
			tick.Reset(every)
			interval = every
		}
	}
}

// watchEvery is how often to look at a process that uses so much memory.
func (p *program) watchEvery(used int64) time.Duration {
	if p.memory > 0 && used > p.memory/2 {
		return guardClose
	}
	return guardEvery
}

// excess says, as the rest of a sentence about the plugin, what the process has
// too much of, and how much memory that of its processes uses that has most.
func (p *program) excess() (used int64, reason string) {
	own := usageOf(p.pid)
	if own.threads > threads {
		return own.memory, fmt.Sprintf("it had %d threads; at most %d are possible", own.threads, threads)
	}
	used = own.memory
	if p.guardFiles {
		has := filesOf(p.pid) // before the connections are counted: no new one is too many
		if has > p.conns.allowed(time.Now()) {
			return used, fmt.Sprintf("it had %d files and sockets open; %d beside the gateway's connections to it are possible", has, openFiles)
		}
	}
	if p.programs {
		for _, pid := range groupOf(p.pid) {
			used = max(used, usageOf(pid).memory)
		}
	}
	if p.memory > 0 && used > p.memory+beyondLimit {
		return used, fmt.Sprintf("it used %d MiB of memory; %d MiB were accepted (requires.memory)", used>>20, p.memory>>20)
	}
	dir, err := os.Open(p.cmd.Dir)
	if err != nil { // removed
		return used, ""
	}
	defer dir.Close()
	if names, _ := dir.Readdirnames(socketMost + 1); len(names) > socketMost {
		return used, fmt.Sprintf("it made more than %d files; plugins write none", socketMost)
	}
	return used, ""
}

// blame makes reason what the process ended of.
func (s *stderrLog) blame(reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.crash = reason
}
