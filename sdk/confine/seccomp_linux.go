//go:build linux && (amd64 || arm64)

package confine

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// always is refused to every confined process: other processes' memory and
// priority, leaving the process group, the kernel's larger interfaces, mounts,
// the clock, System V objects that any process of the user may open.
var always = []uint32{
	unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PROCESS_MADVISE, unix.SYS_PROCESS_MRELEASE,
	unix.SYS_PIDFD_OPEN, unix.SYS_PIDFD_GETFD, unix.SYS_PIDFD_SEND_SIGNAL, unix.SYS_KCMP,
	unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER,
	unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD, unix.SYS_FANOTIFY_INIT, unix.SYS_FANOTIFY_MARK,
	unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY,
	unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT, unix.SYS_MOVE_MOUNT, unix.SYS_OPEN_TREE, unix.SYS_OPEN_TREE_ATTR,
	unix.SYS_FSOPEN, unix.SYS_FSCONFIG, unix.SYS_FSMOUNT, unix.SYS_FSPICK, unix.SYS_MOUNT_SETATTR, unix.SYS_STATMOUNT, unix.SYS_LISTMOUNT,
	unix.SYS_UNSHARE, unix.SYS_SETNS, unix.SYS_LISTNS, unix.SYS_LSM_SET_SELF_ATTR, unix.SYS_NAME_TO_HANDLE_AT, unix.SYS_OPEN_BY_HANDLE_AT,
	unix.SYS_KEXEC_LOAD, unix.SYS_KEXEC_FILE_LOAD, unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE,
	unix.SYS_REBOOT, unix.SYS_SWAPON, unix.SYS_SWAPOFF, unix.SYS_ACCT, unix.SYS_QUOTACTL, unix.SYS_QUOTACTL_FD, unix.SYS_SYSLOG,
	unix.SYS_SETTIMEOFDAY, unix.SYS_CLOCK_SETTIME, unix.SYS_ADJTIMEX, unix.SYS_CLOCK_ADJTIME,
	unix.SYS_SETHOSTNAME, unix.SYS_SETDOMAINNAME, unix.SYS_VHANGUP, unix.SYS_PERSONALITY, unix.SYS_NFSSERVCTL, unix.SYS_LOOKUP_DCOOKIE,
	unix.SYS_SHMGET, unix.SYS_SHMAT, unix.SYS_SHMCTL, unix.SYS_SEMGET, unix.SYS_SEMCTL, unix.SYS_SEMOP, unix.SYS_SEMTIMEDOP,
	unix.SYS_SETPRIORITY, unix.SYS_IOPRIO_SET, unix.SYS_SCHED_SETAFFINITY, unix.SYS_SCHED_SETSCHEDULER, unix.SYS_SCHED_SETPARAM, unix.SYS_SCHED_SETATTR,
	unix.SYS_MIGRATE_PAGES, unix.SYS_MOVE_PAGES, unix.SYS_RT_SIGQUEUEINFO,
	unix.SYS_SETSID, unix.SYS_SETPGID, // whoever started the process ends its group
	unix.SYS_MSGGET, unix.SYS_MSGCTL, unix.SYS_MSGSND, unix.SYS_MSGRCV, unix.SYS_MQ_OPEN, unix.SYS_MQ_UNLINK,
}

// attributes change a file without opening it, which Landlock does not see.
// They are refused to a process that has nothing to write.
var attributes = []uint32{
	unix.SYS_FCHMOD, unix.SYS_FCHMODAT, unix.SYS_FCHMODAT2, unix.SYS_FCHOWN, unix.SYS_FCHOWNAT, unix.SYS_UTIMENSAT,
	unix.SYS_SETXATTR, unix.SYS_LSETXATTR, unix.SYS_FSETXATTR, unix.SYS_REMOVEXATTR, unix.SYS_LREMOVEXATTR, unix.SYS_FREMOVEXATTR,
	unix.SYS_SETXATTRAT, unix.SYS_REMOVEXATTRAT, unix.SYS_FILE_SETATTR,
	unix.SYS_TRUNCATE, unix.SYS_MKNODAT, unix.SYS_MKDIRAT, unix.SYS_SYMLINKAT, unix.SYS_LINKAT, unix.SYS_RENAMEAT2,
	unix.SYS_FALLOCATE, // takes room on the disk that no limit counts
}

// removals are refused to a process that does not even make sockets.
var removals = []uint32{unix.SYS_UNLINKAT}

// programs put another program in the place of the process.
var programs = []uint32{unix.SYS_EXECVE, unix.SYS_EXECVEAT}

// memoryFiles are memory that no limit counts, and programs that no rule names.
var memoryFiles = []uint32{unix.SYS_MEMFD_CREATE, unix.SYS_MEMFD_SECRET}

// lastKnown is the highest system call that these lists were made with. What
// came later may undo any of them.
const lastKnown = unix.SYS_RSEQ_SLICE_YIELD

const (
	cloneThread     = unix.CLONE_THREAD
	cloneNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWTIME
	opensForWrite   = unix.O_WRONLY | unix.O_RDWR | unix.O_CREAT | unix.O_TRUNC
	sharedMemory    = unix.MAP_SHARED | unix.MAP_ANONYMOUS // also MAP_SHARED_VALIDATE, which has the bit of MAP_SHARED
	socketType      = 0xf                                  // of the second argument of socket; the rest are flags
	nameless        = unix.O_TMPFILE &^ unix.O_DIRECTORY   // makes a file without a name
	tiocsti         = 0x5412                               // puts characters into the terminal's input
	tioclinux       = 0x541c                               // pastes on a console

	ioctlType  = 0xff00 // of a command of ioctl: whose it is
	ioctlFiles = 'f' << 8
	ioctlXFS   = 'X' << 8
	ioctlBtrfs = 0x94 << 8

	retAllow = uint32(unix.SECCOMP_RET_ALLOW)
	retKill  = uint32(unix.SECCOMP_RET_KILL_PROCESS)
	retEPERM = uint32(unix.SECCOMP_RET_ERRNO) | uint32(unix.EPERM)
	// ENOSYS makes C libraries fall back on the older call, which is checked.
	retENOSYS = uint32(unix.SECCOMP_RET_ERRNO) | uint32(unix.ENOSYS)

	offNumber = 0 // offsets in struct seccomp_data
	offArch   = 4
	offArgs   = 16
)

// program is a classic BPF program under construction. Every rule is a short
// block that a non-matching call skips, so that no jump is long.
type program []unix.SockFilter

func (p *program) add(code uint16, jt, jf uint8, k uint32) {
	*p = append(*p, unix.SockFilter{Code: code, Jt: jt, Jf: jf, K: k})
}

func (p *program) load(off uint32) { p.add(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, 0, 0, off) }
func (p *program) ret(v uint32)    { p.add(unix.BPF_RET|unix.BPF_K, 0, 0, v) }

// refuse answers call number nr with v. The number is in the accumulator.
func (p *program) refuse(nr, v uint32) {
	p.add(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, 0, 1, nr)
	p.ret(v)
}

func (p *program) refuseAll(nrs []uint32, v uint32) {
	for _, nr := range nrs {
		p.refuse(nr, v)
	}
}

// when applies test to the low half of argument arg of call nr: test gets
// the value in the accumulator and must return for every value.
func (p *program) when(nr uint32, arg int, test func(*program)) {
	var body program
	body.load(uint32(offArgs + 8*arg)) // little endian on both architectures
	test(&body)
	p.add(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, 0, uint8(len(body)), nr)
	*p = append(*p, body...)
}

// equal refuses unless the value is one of vs.
func equal(vs ...uint32) func(*program) {
	return func(p *program) {
		for _, v := range vs {
			p.add(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, 0, 1, v)
			p.ret(retAllow)
		}
		p.ret(retEPERM)
	}
}

// differ refuses when the value is one of vs.
func differ(vs ...uint32) func(*program) {
	return func(p *program) {
		for _, v := range vs {
			p.refuse(v, retEPERM)
		}
		p.ret(retAllow)
	}
}

// without refuses when the value has a bit of mask.
func without(mask uint32) func(*program) {
	return func(p *program) {
		p.add(unix.BPF_JMP|unix.BPF_JSET|unix.BPF_K, 0, 1, mask)
		p.ret(retEPERM)
		p.ret(retAllow)
	}
}

// start tells the start of the program in a launcher from every later one. It
// fills the halves of arguments that the kernel leaves aside, and nothing keeps
// it once the launcher is replaced. Zero means that there is no launcher.
type start struct{ first, second uint32 }

// filter writes the program for p, run by the process pid. A call of another
// architecture's table kills the process: its numbers mean other things.
func filter(p Policy, pid int, st start) program {
	var f program
	f.load(offArch)
	f.add(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, 1, 0, auditArch)
	f.ret(retKill)
	f.load(offNumber)
	if foreignBit != 0 {
		f.add(unix.BPF_JMP|unix.BPF_JGE|unix.BPF_K, 0, 1, foreignBit)
		f.ret(retENOSYS)
	}
	f.add(unix.BPF_JMP|unix.BPF_JGT|unix.BPF_K, 0, 1, lastKnown)
	f.ret(retENOSYS)
	f.refuseAll(always, retEPERM)
	f.refuseAll(archAlways, retEPERM)
	// Its flags are behind a pointer, out of a filter's sight.
	f.refuse(unix.SYS_CLONE3, retENOSYS)
	f.when(unix.SYS_PRCTL, 0, func(b *program) {
		b.refuse(unix.PR_SET_PTRACER, retEPERM)
		b.add(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, 1, 0, unix.PR_SET_PDEATHSIG)
		b.ret(retAllow)
		b.load(offArgs + 8)
		equal(uint32(unix.SIGKILL))(b) // nobody outlives who started it
	})

	f.sockets(p)
	if p.MaxMemory > 0 {
		// What RLIMIT_DATA does not count: shared memory, and mappings that
		// grow as stacks do.
		f.when(unix.SYS_MMAP, 3, func(b *program) {
			b.add(unix.BPF_JMP|unix.BPF_JSET|unix.BPF_K, 0, 1, unix.MAP_GROWSDOWN)
			b.ret(retEPERM)
			b.add(unix.BPF_ALU|unix.BPF_AND|unix.BPF_K, 0, 0, sharedMemory)
			differ(sharedMemory)(b)
		})
	}
	if !p.Exec && !p.MemoryFiles || p.MaxMemory > 0 {
		f.refuseAll(memoryFiles, retEPERM)
	}
	if p.MaxMemory > 0 { // a pipe keeps the pages when the process has them no more
		f.refuse(unix.SYS_VMSPLICE, retEPERM)
	}
	self := uint32(pid)
	f.when(unix.SYS_PRLIMIT64, 0, equal(0, self))
	f.files(p)
	if p.Exec {
		f.when(unix.SYS_CLONE, 0, without(cloneNamespaces))
		f.ret(retAllow)
		return f
	}
	// A new thread is one of this process and in no namespace of its own,
	// since the kernel refuses most of those flags beside CLONE_THREAD.
	f.when(unix.SYS_CLONE, 0, func(b *program) {
		b.add(unix.BPF_JMP|unix.BPF_JSET|unix.BPF_K, 0, 1, cloneNamespaces)
		b.ret(retEPERM)
		b.add(unix.BPF_JMP|unix.BPF_JSET|unix.BPF_K, 1, 0, cloneThread)
		b.ret(retEPERM)
		b.ret(retAllow)
	})
	f.refuseAll(archProcesses, retEPERM)
	f.refuse(unix.SYS_INOTIFY_ADD_WATCH, retEPERM)
	switch {
	case len(p.ExecFiles) == 0:
		f.refuseAll(programs, retEPERM)
	case st != start{}:
		// A program started by another thread than the first would not end
		// with its parent.
		f.refuse(unix.SYS_EXECVE, retEPERM)
		f.when(unix.SYS_EXECVEAT, 0, func(b *program) {
			b.load(offArgs + 4) // the high half of the first argument
			b.add(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, 1, 0, st.first)
			b.ret(retEPERM)
			b.load(offArgs + 8*4 + 4) // and of the last
			b.add(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, 1, 0, st.second)
			b.ret(retEPERM)
			b.ret(retAllow)
		})
	}
	// Not tkill: the threads are reached with it when Apply narrows a second
	// time.
	f.when(unix.SYS_KILL, 0, equal(self))
	f.when(unix.SYS_TGKILL, 0, equal(self))
	f.when(unix.SYS_RT_TGSIGQUEUEINFO, 0, equal(self))
	f.ret(retAllow)
	return f
}

// sockets leaves the sockets that p has.
func (p *program) sockets(pol Policy) {
	switch {
	case pol.Network:
	case pol.Unix:
		p.when(unix.SYS_SOCKET, 0, equal(unix.AF_UNIX))
		p.when(unix.SYS_SOCKETPAIR, 0, equal(unix.AF_UNIX))
	case pol.Listen:
		// Of stream sockets only connect reaches an address. Landlock does not
		// know sockets that are files.
		for _, nr := range []uint32{unix.SYS_SOCKET, unix.SYS_SOCKETPAIR} {
			p.when(nr, 0, func(b *program) {
				b.add(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, 1, 0, unix.AF_UNIX)
				b.ret(retEPERM)
				b.load(offArgs + 8)
				b.add(unix.BPF_ALU|unix.BPF_AND|unix.BPF_K, 0, 0, socketType)
				equal(unix.SOCK_STREAM)(b)
			})
		}
		p.refuse(unix.SYS_CONNECT, retEPERM)
		// What waits in a socket is memory that no limit counts.
		p.when(unix.SYS_SETSOCKOPT, 1, func(b *program) {
			b.add(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, 1, 0, unix.SOL_SOCKET)
			b.ret(retAllow)
			b.load(offArgs + 16)
			differ(unix.SO_SNDBUF, unix.SO_RCVBUF, unix.SO_SNDBUFFORCE, unix.SO_RCVBUFFORCE)(b)
		})
	default:
		p.refuse(unix.SYS_SOCKET, retEPERM)
		p.refuse(unix.SYS_SOCKETPAIR, retEPERM)
	}
}

// files refuses what a process that writes no files has no use for.
func (p *program) files(pol Policy) {
	if len(pol.WriteDirs) > 0 {
		p.when(unix.SYS_IOCTL, 1, differ(tiocsti, tioclinux))
		return
	}
	p.when(unix.SYS_IOCTL, 1, func(b *program) {
		b.refuse(tiocsti, retEPERM)
		b.refuse(tioclinux, retEPERM)
		// Attributes and room on the disk by another way.
		b.add(unix.BPF_ALU|unix.BPF_AND|unix.BPF_K, 0, 0, ioctlType)
		differ(ioctlFiles, ioctlXFS, ioctlBtrfs)(b)
	})
	p.refuseAll(attributes, retEPERM)
	p.refuseAll(archAttributes, retEPERM)
	refused := uint32(nameless)
	if len(pol.SocketDirs) == 0 {
		p.refuseAll(removals, retEPERM)
		p.refuseAll(archRemovals, retEPERM)
		if len(pol.WriteFiles) == 0 {
			refused |= opensForWrite
		}
	}
	p.refuse(unix.SYS_OPENAT2, retENOSYS) // its flags are behind a pointer
	p.when(unix.SYS_OPENAT, 2, without(refused))
	if sysOpen != 0 {
		p.when(sysOpen, 1, without(refused))
	}
}

// install puts f before every system call of all threads.
func install(f program) error {
	fprog := unix.SockFprog{Len: uint16(len(f)), Filter: &f[0]}
	tid, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&fprog)))
	if errno != 0 {
		return errno
	}
	if tid != 0 { // a thread that already has another filter
		return unix.EBUSY
	}
	return nil
}
