//go:build linux && (amd64 || arm64)

package confine

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"time"
	"unsafe"

	"github.com/landlock-lsm/go-landlock/landlock"
	llsys "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/psx"
)

// gaps says from which version of Landlock on a hole is closed. A hole that
// the seccomp filter closes as well is not listed.
var gaps = []struct {
	version int
	missing string
}{
	{1, "no Landlock: files and TCP are limited by the rights of the user only"},
	{2, "Landlock 1: links between directories that may be written are refused altogether"},
	{3, "Landlock below 3: a file that the user may write can be truncated by opening it"},
	{4, "Landlock below 4: TCP is limited by the seccomp filter only"},
	{6, "Landlock below 6: signals and abstract sockets reach other processes of the user"},
}

func probe() Report {
	r := Report{NoNewPrivs: true}
	if v, err := llsys.LandlockGetABIVersion(); err == nil {
		r.Landlock = v
	}
	for _, g := range gaps {
		if r.Landlock < g.version {
			r.Missing = append(r.Missing, g.missing)
			break
		}
	}
	// The call names an operation with a null filter: EFAULT says that the
	// operation exists.
	_, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, 0)
	r.Seccomp = errno == unix.EFAULT
	if !r.Seccomp {
		r.Missing = append(r.Missing, "no seccomp filters: sockets and kernel interfaces are not limited")
	}
	return r
}

func apply(p Policy) (Report, error) {
	r := probe()
	if (r.Landlock == 0 || !r.Seccomp) && !p.AllowUnconfined {
		return r, fmt.Errorf("confine: this kernel cannot narrow a process: %s", r)
	}
	// The filter is made before anything is given up: nothing of it may fail
	// half way.
	prog := filter(p, os.Getpid())

	// no_new_privs belongs to a thread; the filter below hands it to all.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return r, fmt.Errorf("confine: no_new_privs: %w", err)
	}
	if err := limit(p); err != nil {
		return r, fmt.Errorf("confine: %w", err)
	}
	if err := dropCapabilities(); err != nil {
		return r, fmt.Errorf("confine: capabilities: %w", err)
	}
	if r.Landlock > 0 {
		if err := restrict(p); err != nil {
			return r, fmt.Errorf("confine: landlock: %w", err)
		}
	}
	if !p.Exec {
		// Against other processes of the user. Starting a program resets it.
		if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
			return r, fmt.Errorf("confine: not dumpable: %w", err)
		}
	}
	if r.Seccomp {
		if err := install(prog); err != nil {
			return r, fmt.Errorf("confine: seccomp: %w", err)
		}
	}
	return r, nil
}

func limit(p Policy) error {
	limits := []struct {
		name     string
		resource int
		value    int64
	}{
		{"memory", unix.RLIMIT_DATA, p.MaxMemory},
		{"address space", unix.RLIMIT_AS, p.MaxAddressSpace},
		{"file size", unix.RLIMIT_FSIZE, p.MaxFileSize},
		{"open files", unix.RLIMIT_NOFILE, int64(p.MaxOpenFiles)},
		{"processes", unix.RLIMIT_NPROC, int64(p.MaxProcesses)},
		{"processor time", unix.RLIMIT_CPU, int64(math.Ceil(float64(p.MaxCPU) / float64(time.Second)))},
	}
	for _, l := range limits {
		if l.value < 0 {
			return fmt.Errorf("limit of %s: %d is negative", l.name, l.value)
		}
		if l.value == 0 {
			continue
		}
		var old unix.Rlimit
		if err := unix.Getrlimit(l.resource, &old); err != nil {
			return fmt.Errorf("limit of %s: %w", l.name, err)
		}
		v := min(uint64(l.value), old.Max)
		if err := unix.Setrlimit(l.resource, &unix.Rlimit{Cur: v, Max: v}); err != nil {
			return fmt.Errorf("limit of %s: %w", l.name, err)
		}
	}
	// A core file would hold what the process has read.
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("limit of core files: %w", err)
	}
	return nil
}

// keptCapabilities let a process of root use the files it is given whoever
// owns them. All others go: several open what Landlock closes, such as the
// memory of other processes. No_new_privs keeps a started program from getting
// them back.
const keptCapabilities = 1<<unix.CAP_CHOWN | 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_DAC_READ_SEARCH | 1<<unix.CAP_FOWNER | 1<<unix.CAP_FSETID

func dropCapabilities() error {
	hdr, data := &unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, new([2]unix.CapUserData)
	if err := unix.Capget(hdr, &data[0]); err != nil {
		return err
	}
	data[0].Permitted &= keptCapabilities
	data[0].Effective &= keptCapabilities
	data[0].Inheritable = 0
	data[1] = unix.CapUserData{}
	// Capabilities belong to a thread; psx reaches all of them.
	_, _, errno := psx.Syscall3(unix.SYS_CAPSET, uintptr(unsafe.Pointer(hdr)), uintptr(unsafe.Pointer(&data[0])), 0)
	runtime.KeepAlive(hdr)
	runtime.KeepAlive(data)
	if errno != 0 {
		return errno
	}
	return nil
}

const (
	readFile landlock.AccessFSSet = llsys.AccessFSReadFile
	readDir  landlock.AccessFSSet = llsys.AccessFSReadFile | llsys.AccessFSReadDir
	execute  landlock.AccessFSSet = llsys.AccessFSExecute
	write    landlock.AccessFSSet = readDir | llsys.AccessFSWriteFile | llsys.AccessFSTruncate | llsys.AccessFSRemoveDir | llsys.AccessFSRemoveFile |
		llsys.AccessFSMakeDir | llsys.AccessFSMakeReg | llsys.AccessFSMakeSock | llsys.AccessFSMakeFifo | llsys.AccessFSMakeSym
)

// restrict applies Landlock with the best version there is: the caller has
// made sure that there is one.
func restrict(p Policy) error {
	cfg := landlock.V11
	if p.Network {
		cfg.HandledAccessNet = 0
	}
	files, dirs, writable := readFile, readDir, write
	if p.Exec {
		files, dirs = files|execute, dirs|execute
	}
	if p.Unix {
		writable |= llsys.AccessFSResolveUnix
	}
	var rules []landlock.Rule
	for _, g := range []struct {
		rights landlock.AccessFSSet
		dir    bool
		paths  []string
	}{{files, false, p.ReadFiles}, {dirs, true, p.ReadDirs}, {writable, true, p.WriteDirs}} {
		for _, path := range g.paths {
			fi, err := os.Stat(path)
			if err != nil {
				return err
			}
			// A right given on a directory reaches everything below it, so
			// that the two must not be mixed up.
			if fi.IsDir() != g.dir {
				return fmt.Errorf("%q: directory is %t, want %t", path, fi.IsDir(), g.dir)
			}
			rules = append(rules, landlock.PathAccess(g.rights, path))
		}
	}
	return cfg.BestEffort().Restrict(rules...)
}
