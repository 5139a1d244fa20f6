package pluginhost

import (
	"context"
	"fmt"
	"os"
	"time"
)

// What a plugin process may have of things that the kernel counts for all
// processes of a user together, or not at all.
const (
	guardEvery = 250 * time.Millisecond
	socketMost = 256 // entries of its directory
)

// guard ends the process when it floods the machine with threads, or the file
// system with empty files. It returns when the process is dead.
func (p *program) guard() {
	// Landlock knows the directory by its inode, which the kernel forgets when
	// memory is short and nobody holds it: then the process could not read what
	// /proc says of itself any more. Elsewhere there is no such directory.
	if self, err := os.Open(fmt.Sprintf("/proc/%d", p.pid)); err == nil {
		defer self.Close()
	}
	tick := time.NewTicker(guardEvery)
	defer tick.Stop()
	for {
		select {
		case <-p.dead:
			return
		case <-tick.C:
		}
		if excess := p.excess(); excess != "" {
			p.stderr.blame(excess)
			_ = p.Kill(context.Background())
			return
		}
	}
}

// excess says, as the rest of a sentence about the plugin, what the process has
// too much of.
func (p *program) excess() string {
	if n := threadsOf(p.pid); n > threads {
		return fmt.Sprintf("it had %d threads; at most %d are possible", n, threads)
	}
	dir, err := os.Open(p.cmd.Dir)
	if err != nil { // removed
		return ""
	}
	defer dir.Close()
	if names, _ := dir.Readdirnames(socketMost + 1); len(names) > socketMost {
		return fmt.Sprintf("it made more than %d files; plugins write none", socketMost)
	}
	return ""
}

// blame makes reason what the process ended of.
func (s *stderrLog) blame(reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.crash = reason
}
