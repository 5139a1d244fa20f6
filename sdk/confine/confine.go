// Package confine narrows the process that calls it, for good, before it does
// something that is not trusted: reads a query, or becomes a plugin. It needs
// no privileges, and what it took away cannot be had back.
//
// # Isolation
//
// On Linux, Apply combines no_new_privs, resource limits, the loss of root's
// capabilities, Landlock (files, TCP, signals and abstract sockets) and a
// seccomp filter (sockets, other processes, kernel interfaces). All threads of
// the process are narrowed, those of C libraries included. Before version 8 of
// Landlock that needs /proc to be readable; see SystemDirs.
//
// What stays possible: asking whether a path exists (stat), reading file
// descriptors that are already open, filling a directory with empty files where
// sockets are made, and using up CPU and memory within the limits. The kernel
// does not count against MaxMemory what was written and is constant since, nor
// what waits in sockets: some 200 KiB for each of MaxOpenFiles. Close
// descriptors before, and watch the clock, the directory and the memory from
// outside.
//
// System calls that are newer than this package do not exist for a confined
// process.
//
// A launcher calls Become, which narrows the process and makes it a program
// that knows nothing of this.
package confine

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"
)

// Policy says what a process keeps. The zero value keeps nothing: no file, no
// socket, no new program; limits that are zero stay as they are.
type Policy struct {
	ReadFiles  []string // single files, symbolic links followed; each must exist
	ReadDirs   []string // directories with everything below them
	WriteDirs  []string // directories where files, links and sockets are made, written and removed
	WriteFiles []string // single files that are read and written

	// SocketDirs are directories where sockets are made and removed. Files can
	// be made there too, as some servers do to find a free name, but stay
	// empty when MaxFileSize is negative.
	SocketDirs []string
	// ExecFiles are single programs that are read and may take the place of
	// this process, which does not allow new processes: see Exec. In a launcher
	// they do so once: see Become.
	ExecFiles []string
	Exec      bool // programs among ReadFiles and ReadDirs may be started, in new processes too, which stay in the process group

	// MemoryFiles allows files that exist in memory only, which can be mapped and
	// passed on. They are memory that MaxMemory does not count, so the two do not
	// go together. With Exec they are allowed too.
	MemoryFiles bool

	Network bool // sockets of every family
	Unix    bool // sockets of the AF_UNIX family
	Listen  bool // AF_UNIX stream sockets that wait for connections; none can be made, and nothing sent to an address

	// OwnUser gives a process of root a user id that nobody else has, of which
	// MaxProcesses is held. It keeps the right to use the files it is given.
	// Others, and root where it may not change its user, stay who they are.
	OwnUser bool

	MaxMemory       int64         // bytes of private writable memory, the stacks of threads included (RLIMIT_DATA); memory that it does not count is refused
	MaxAddressSpace int64         // bytes of address space (RLIMIT_AS); unsuitable for Go programs, which reserve much
	MaxFileSize     int64         // bytes of a written file (RLIMIT_FSIZE); negative means that files stay empty
	MaxOpenFiles    int           // RLIMIT_NOFILE
	MaxProcesses    int           // processes and threads of this user id (RLIMIT_NPROC); not held for uid 0
	MaxCPU          time.Duration // of processor time, rounded up to seconds; then the kernel kills

	// AllowUnconfined accepts a system that grants less than asked. Apply then
	// reports in Report.Missing what it could not do, where it would fail.
	AllowUnconfined bool
}

// Report says what is in force after Apply, or would be after it.
type Report struct {
	Landlock   int      // version of the interface used; 0 without Landlock
	Seccomp    bool     // the system call filter
	NoNewPrivs bool     // set-user-id programs gain nothing
	Missing    []string // sentences: what this system does not grant, and what follows
}

// String is one line for a log.
func (r Report) String() string {
	s := fmt.Sprintf("landlock=%d seccomp=%t no_new_privs=%t", r.Landlock, r.Seccomp, r.NoNewPrivs)
	if len(r.Missing) > 0 {
		s += "; " + strings.Join(r.Missing, "; ")
	}
	return s
}

// LogValue makes a Report a group of attributes in slog.
func (r Report) LogValue() slog.Value {
	as := []slog.Attr{slog.Int("landlock", r.Landlock), slog.Bool("seccomp", r.Seccomp), slog.Bool("no_new_privs", r.NoNewPrivs)}
	if len(r.Missing) > 0 {
		as = append(as, slog.Any("missing", r.Missing))
	}
	return slog.GroupValue(as...)
}

// Full reports whether this system grants everything a Policy can ask.
func (r Report) Full() bool { return len(r.Missing) == 0 }

// Probe says what Apply can do on this system, without doing it.
func Probe() Report { return probe() }

// Apply narrows the current process to p. It fails, possibly with a part of p
// in force, when a path of p does not exist, or when the system lacks a part
// and p does not allow that; end the process then. Apply may be called again
// to narrow further, never to widen.
func Apply(p Policy) (Report, error) { return apply(p) }

// SystemDirs are the directories of this system that a dynamically linked
// program, or one that narrows itself further, has to read: libraries, and
// what the kernel says of processes and their limits. What /proc tells of
// processes outside, such as their environment, stays closed by Landlock.
func SystemDirs() []string {
	var dirs []string
	for _, d := range []string{"/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/proc", "/sys/fs/cgroup"} {
		if fi, err := os.Stat(d); err == nil && fi.IsDir() {
			dirs = append(dirs, d)
		}
	}
	return dirs
}
