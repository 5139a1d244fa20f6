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

func apply(p Policy) (Report, error) { return applyBefore(p, start{}) }

// applyBefore is apply in a launcher, which starts a program with st.
func applyBefore(p Policy, st start) (Report, error) {
	r := probe()
	if (r.Landlock == 0 || !r.Seccomp) && !p.AllowUnconfined {
		return r, fmt.Errorf("confine: this kernel cannot narrow a process: %s", r)
	}
	// The filter is made before anything is given up: nothing of it may fail
	// half way.
	prog := filter(p, os.Getpid(), st)

	// no_new_privs belongs to a thread; the filter below hands it to all.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return r, fmt.Errorf("confine: no_new_privs: %w", err)
	}
	if err := limit(p); err != nil {
		return r, fmt.Errorf("confine: %w", err)
	}
	changed := false
	if p.OwnUser {
		var err error
		if changed, err = ownUser(); err != nil {
			return r, fmt.Errorf("confine: user: %w", err)
		}
	}
	if err := dropCapabilities(changed); err != nil {
		return r, fmt.Errorf("confine: capabilities: %w", err)
	}
	if r.Landlock > 0 {
		if err := restrict(p); err != nil {
			return r, fmt.Errorf("confine: landlock: %w", err)
		}
	}
	if !p.Exec && len(p.ExecFiles) == 0 {
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
		if err := lower(l.resource, uint64(l.value)); err != nil {
			return fmt.Errorf("limit of %s: %w", l.name, err)
		}
	}
	if p.MaxFileSize != 0 {
		if err := lower(unix.RLIMIT_FSIZE, uint64(max(p.MaxFileSize, 0))); err != nil {
			return fmt.Errorf("limit of file size: %w", err)
		}
	}
	if p.MaxMemory > 0 { // the kernel counts stacks apart
		if err := lower(unix.RLIMIT_STACK, maxStack); err != nil {
			return fmt.Errorf("limit of the stack: %w", err)
		}
	}
	// A core file would hold what the process has read.
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("limit of core files: %w", err)
	}
	return nil
}

// maxStack is how large the stack of a first thread may become.
const maxStack = 64 << 20

// lower sets both limits of a resource to v, or leaves them where they are lower.
func lower(resource int, v uint64) error {
	var old unix.Rlimit
	if err := unix.Getrlimit(resource, &old); err != nil {
		return err
	}
	return unix.Setrlimit(resource, &unix.Rlimit{Cur: min(v, old.Cur), Max: min(v, old.Max)})
}

// keptCapabilities let a process of root use the files it is given whoever
// owns them. All others go: several open what Landlock closes, such as the
// memory of other processes. No_new_privs keeps a started program from getting
// them back.
const keptCapabilities = 1<<unix.CAP_CHOWN | 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_DAC_READ_SEARCH | 1<<unix.CAP_FOWNER | 1<<unix.CAP_FSETID

func dropCapabilities(ownUser bool) error {
	hdr, data := &unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, new([2]unix.CapUserData)
	if err := unix.Capget(hdr, &data[0]); err != nil {
		return err
	}
	kept := uint32(keptCapabilities)
	if ownUser {
		kept = 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_DAC_READ_SEARCH
	}
	data[0].Permitted &= kept
	data[0].Effective &= kept
	data[0].Inheritable = 0
	if ownUser { // who is not root has only these after starting a program
		data[0].Inheritable = data[0].Permitted
	}
	data[1] = unix.CapUserData{}
	// Capabilities belong to a thread; psx reaches all of them.
	_, _, errno := psx.Syscall3(unix.SYS_CAPSET, uintptr(unsafe.Pointer(hdr)), uintptr(unsafe.Pointer(&data[0])), 0)
	runtime.KeepAlive(hdr)
	if errno != 0 {
		runtime.KeepAlive(data)
		return errno
	}
	for c := range uintptr(unix.CAP_LAST_CAP + 1) {
		if data[0].Inheritable&(1<<c) == 0 { // those there are have numbers below 32
			continue
		}
		if _, _, errno := psx.Syscall6(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, c, 0, 0, 0); errno != 0 {
			return errno
		}
	}
	return nil
}

// firstOwnUser is added to a process id to make the user id of OwnUser. The
// numbers are above those that containers and services are given.
const firstOwnUser = 1_900_000_000

const noSetuidFixup = 1<<2 | 1<<3 // SECBIT_NO_SETUID_FIXUP and its lock

// ownUser makes a process of root one of a user of its own, which keeps its
// capabilities. It does nothing when the process may not do that, or when what
// started it could then no longer end it.
func ownUser() (changed bool, err error) {
	const needed = 1<<unix.CAP_SETPCAP | 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID | 1<<unix.CAP_KILL | 1<<unix.CAP_DAC_OVERRIDE
	hdr, data := &unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, new([2]unix.CapUserData)
	if err := unix.Capget(hdr, &data[0]); err != nil {
		return false, err
	}
	if unix.Geteuid() != 0 || data[0].Effective&needed != needed {
		return false, nil
	}
	id := uintptr(firstOwnUser + os.Getpid())
	calls := []struct {
		nr          uintptr
		a1, a2, a3  uintptr
		mayNotExist bool
	}{
		// Capabilities stay, and count for access(2) too.
		{unix.SYS_PRCTL, unix.PR_SET_SECUREBITS, noSetuidFixup, 0, false},
		{unix.SYS_SETGROUPS, 0, 0, 0, false},
		{unix.SYS_SETRESGID, id, id, id, true}, // a container may map few ids
		{unix.SYS_SETRESUID, id, id, id, true},
	}
	for _, c := range calls {
		_, _, errno := psx.Syscall3(c.nr, c.a1, c.a2, c.a3)
		if errno == unix.EINVAL && c.mayNotExist {
			return false, nil
		}
		if errno != 0 {
			return false, errno
		}
	}
	return true, nil
}

const (
	readFile  landlock.AccessFSSet = llsys.AccessFSReadFile
	readDir   landlock.AccessFSSet = llsys.AccessFSReadFile | llsys.AccessFSReadDir
	execute   landlock.AccessFSSet = llsys.AccessFSExecute
	writeFile landlock.AccessFSSet = llsys.AccessFSWriteFile | llsys.AccessFSTruncate
	write     landlock.AccessFSSet = readDir | llsys.AccessFSWriteFile | llsys.AccessFSTruncate | llsys.AccessFSRemoveDir | llsys.AccessFSRemoveFile |
		llsys.AccessFSMakeDir | llsys.AccessFSMakeReg | llsys.AccessFSMakeSock | llsys.AccessFSMakeFifo | llsys.AccessFSMakeSym
	makeSockets landlock.AccessFSSet = readDir | llsys.AccessFSWriteFile | llsys.AccessFSRemoveFile | llsys.AccessFSMakeReg | llsys.AccessFSMakeSock
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
	}{
		{files, false, p.ReadFiles}, {readFile | writeFile, false, p.WriteFiles}, {readFile | execute, false, p.ExecFiles}, {dirs, true, p.ReadDirs},
		{makeSockets, true, p.SocketDirs}, {writable, true, p.WriteDirs},
	} {
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
