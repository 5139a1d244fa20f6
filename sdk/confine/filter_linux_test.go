//go:build linux && (amd64 || arm64)

package confine

import (
	"encoding/binary"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// judge runs the filter of p over one system call.
func judge(t *testing.T, p Policy, arch, nr uint32, args ...uint64) uint32 {
	t.Helper()
	return judgeStart(t, p, start{}, arch, nr, args...)
}

// judgeStart is judge for the filter of a launcher.
func judgeStart(t *testing.T, p Policy, st start, arch, nr uint32, args ...uint64) uint32 {
	t.Helper()
	var ins []bpf.Instruction
	for _, f := range filter(p, 4242, st) {
		ins = append(ins, bpf.RawInstruction{Op: f.Code, Jt: f.Jt, Jf: f.Jf, K: f.K}.Disassemble())
	}
	vm, err := bpf.NewVM(ins)
	if err != nil {
		t.Fatalf("filter is not a program: %v", err)
	}
	// The machine loads big endian words; the kernel's are little endian, so
	// that the low half of an argument comes first.
	data := make([]byte, 64)
	binary.BigEndian.PutUint32(data[offNumber:], nr)
	binary.BigEndian.PutUint32(data[offArch:], arch)
	for i, a := range args {
		binary.BigEndian.PutUint32(data[offArgs+8*i:], uint32(a))
		binary.BigEndian.PutUint32(data[offArgs+8*i+4:], uint32(a>>32))
	}
	v, err := vm.Run(data)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(v)
}

func TestFilter(t *testing.T) {
	t.Parallel()
	none, unixOnly, net := Policy{}, Policy{Unix: true}, Policy{Network: true}
	exec, writes := Policy{Exec: true}, Policy{WriteDirs: []string{"/x"}}
	listens, sockets := Policy{Listen: true}, Policy{SocketDirs: []string{"/x"}}
	becomes, memory := Policy{ExecFiles: []string{"/x"}}, Policy{MaxMemory: 1, Exec: true}
	tests := []struct {
		rule   string
		policy Policy
		nr     uint32
		args   []uint64
		want   uint32
	}{
		{"read", none, unix.SYS_READ, nil, retAllow},
		{"socket inet", none, unix.SYS_SOCKET, []uint64{unix.AF_INET}, retEPERM},
		{"socket unix", none, unix.SYS_SOCKET, []uint64{unix.AF_UNIX}, retEPERM},
		{"socket unix when wanted", unixOnly, unix.SYS_SOCKET, []uint64{unix.AF_UNIX}, retAllow},
		{"socket inet beside unix", unixOnly, unix.SYS_SOCKET, []uint64{unix.AF_INET6}, retEPERM},
		{"socket netlink beside unix", unixOnly, unix.SYS_SOCKET, []uint64{unix.AF_NETLINK}, retEPERM},
		{"socket hidden in the high half", unixOnly, unix.SYS_SOCKET, []uint64{1<<32 | unix.AF_INET}, retEPERM},
		{"socket pair", none, unix.SYS_SOCKETPAIR, []uint64{unix.AF_UNIX}, retEPERM},
		{"socket inet when wanted", net, unix.SYS_SOCKET, []uint64{unix.AF_INET}, retAllow},
		{"ptrace", exec, unix.SYS_PTRACE, nil, retEPERM},
		{"ptrace beside network", net, unix.SYS_PTRACE, nil, retEPERM},
		{"clone3", exec, unix.SYS_CLONE3, nil, retENOSYS},
		{"clone a thread", none, unix.SYS_CLONE, []uint64{unix.CLONE_VM | unix.CLONE_THREAD}, retAllow},
		{"clone a process", none, unix.SYS_CLONE, []uint64{uint64(unix.SIGCHLD)}, retEPERM},
		{"clone a process when wanted", exec, unix.SYS_CLONE, []uint64{uint64(unix.SIGCHLD)}, retAllow},
		{"clone a user namespace", exec, unix.SYS_CLONE, []uint64{unix.CLONE_NEWUSER | uint64(unix.SIGCHLD)}, retEPERM},
		{"clone a thread with a namespace", none, unix.SYS_CLONE, []uint64{unix.CLONE_THREAD | unix.CLONE_NEWNET}, retEPERM},
		{"execve", none, unix.SYS_EXECVE, nil, retEPERM},
		{"execve when wanted", exec, unix.SYS_EXECVE, nil, retAllow},
		{"execveat", none, unix.SYS_EXECVEAT, nil, retEPERM},
		{"execveat of a file that may be executed", becomes, unix.SYS_EXECVEAT, nil, retAllow},
		{"clone a process to execute it in", becomes, unix.SYS_CLONE, []uint64{uint64(unix.SIGCHLD)}, retEPERM},
		{"stream socket to listen", listens, unix.SYS_SOCKET, []uint64{unix.AF_UNIX, unix.SOCK_STREAM | unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK}, retAllow},
		{"stream socket of the internet", listens, unix.SYS_SOCKET, []uint64{unix.AF_INET, unix.SOCK_STREAM}, retEPERM},
		{"datagram socket", listens, unix.SYS_SOCKET, []uint64{unix.AF_UNIX, unix.SOCK_DGRAM}, retEPERM},
		{"packet socket", listens, unix.SYS_SOCKET, []uint64{unix.AF_UNIX, unix.SOCK_SEQPACKET}, retEPERM},
		{"pair of streams", listens, unix.SYS_SOCKETPAIR, []uint64{unix.AF_UNIX, unix.SOCK_STREAM}, retAllow},
		{"pair of datagram sockets", listens, unix.SYS_SOCKETPAIR, []uint64{unix.AF_UNIX, unix.SOCK_DGRAM}, retEPERM},
		{"connect", listens, unix.SYS_CONNECT, nil, retEPERM},
		{"accept", listens, unix.SYS_ACCEPT4, nil, retAllow},
		{"connect with sockets of the family", unixOnly, unix.SYS_CONNECT, nil, retAllow},
		{"shared memory without a limit", none, unix.SYS_MMAP, []uint64{0, 0, 0, unix.MAP_SHARED | unix.MAP_ANONYMOUS}, retAllow},
		{"shared memory", memory, unix.SYS_MMAP, []uint64{0, 0, 0, unix.MAP_SHARED | unix.MAP_ANONYMOUS | unix.MAP_NORESERVE}, retEPERM},
		{"shared memory, validated", memory, unix.SYS_MMAP, []uint64{0, 0, 0, unix.MAP_SHARED_VALIDATE | unix.MAP_ANONYMOUS}, retEPERM},
		{"stack that the limit does not count", memory, unix.SYS_MMAP, []uint64{0, 0, 0, unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | unix.MAP_GROWSDOWN}, retEPERM},
		{"private memory", memory, unix.SYS_MMAP, []uint64{0, 0, 0, unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | unix.MAP_STACK}, retAllow},
		{"shared mapping of a file", memory, unix.SYS_MMAP, []uint64{0, 0, 0, unix.MAP_SHARED}, retAllow},
		{"memory file without exec", none, unix.SYS_MEMFD_CREATE, nil, retEPERM},
		{"memory file when wanted", Policy{MemoryFiles: true}, unix.SYS_MEMFD_CREATE, nil, retAllow},
		{"memory file when wanted beside a limit", Policy{MemoryFiles: true, MaxMemory: 1}, unix.SYS_MEMFD_CREATE, nil, retEPERM},
		{"memory file beside a limit", memory, unix.SYS_MEMFD_CREATE, nil, retEPERM},
		{"memory file", exec, unix.SYS_MEMFD_CREATE, nil, retAllow},
		{"leave the process group", exec, unix.SYS_SETPGID, nil, retEPERM},
		{"leave the session", exec, unix.SYS_SETSID, nil, retEPERM},
		{"limits of another beside programs", exec, unix.SYS_PRLIMIT64, []uint64{1}, retEPERM},
		{"priority of another", exec, unix.SYS_SETPRIORITY, nil, retEPERM},
		{"chmod beside programs", exec, unix.SYS_FCHMODAT, nil, retEPERM},
		{"chmod beside sockets", sockets, unix.SYS_FCHMODAT, nil, retEPERM},
		{"remove a socket", sockets, unix.SYS_UNLINKAT, nil, retAllow},
		{"remove", none, unix.SYS_UNLINKAT, nil, retEPERM},
		{"link beside sockets", sockets, unix.SYS_SYMLINKAT, nil, retEPERM},
		{"make a file to find a name", sockets, unix.SYS_OPENAT, []uint64{0, 0, unix.O_RDWR | unix.O_CREAT}, retAllow},
		{"signal itself", none, unix.SYS_TGKILL, []uint64{4242, 4243, 23}, retAllow},
		{"signal another", none, unix.SYS_TGKILL, []uint64{1, 1, 9}, retEPERM},
		{"kill another", none, unix.SYS_KILL, []uint64{1, 9}, retEPERM},
		{"kill a group", none, unix.SYS_KILL, []uint64{^uint64(0), 9}, retEPERM},
		{"limits of another", none, unix.SYS_PRLIMIT64, []uint64{1}, retEPERM},
		{"own limits", none, unix.SYS_PRLIMIT64, []uint64{0}, retAllow},
		{"open to read", none, unix.SYS_OPENAT, []uint64{0, 0, unix.O_RDONLY | unix.O_CLOEXEC}, retAllow},
		{"open to write", none, unix.SYS_OPENAT, []uint64{0, 0, unix.O_WRONLY}, retEPERM},
		{"open to truncate", none, unix.SYS_OPENAT, []uint64{0, 0, unix.O_RDONLY | unix.O_TRUNC}, retEPERM},
		{"open to write when wanted", writes, unix.SYS_OPENAT, []uint64{0, 0, unix.O_RDWR | unix.O_CREAT}, retAllow},
		{"openat2", none, unix.SYS_OPENAT2, nil, retENOSYS},
		{"openat2 beside sockets", sockets, unix.SYS_OPENAT2, nil, retENOSYS},
		{"file without a name", sockets, unix.SYS_OPENAT, []uint64{0, 0, unix.O_RDWR | unix.O_TMPFILE}, retEPERM},
		{"open a directory", sockets, unix.SYS_OPENAT, []uint64{0, 0, unix.O_RDONLY | unix.O_DIRECTORY}, retAllow},
		{"file without a name when writing", writes, unix.SYS_OPENAT, []uint64{0, 0, unix.O_RDWR | unix.O_TMPFILE}, retAllow},
		{"room on the disk", sockets, unix.SYS_FALLOCATE, []uint64{3, unix.FALLOC_FL_KEEP_SIZE}, retEPERM},
		{"room on the disk when writing", writes, unix.SYS_FALLOCATE, nil, retAllow},
		{"room on the disk by ioctl", sockets, unix.SYS_IOCTL, []uint64{3, 0x4030582a}, retEPERM},
		{"flags of a file by ioctl", sockets, unix.SYS_IOCTL, []uint64{3, unix.FS_IOC_SETFLAGS}, retEPERM},
		{"copy of a file by ioctl", sockets, unix.SYS_IOCTL, []uint64{3, unix.FICLONE}, retEPERM},
		{"descriptor that does not wait", sockets, unix.SYS_IOCTL, []uint64{3, 0x5421}, retAllow}, // FIONBIO
		{"flags of a file when writing", writes, unix.SYS_IOCTL, []uint64{3, unix.FS_IOC_SETFLAGS}, retAllow},
		{"attribute", sockets, unix.SYS_SETXATTRAT, nil, retEPERM},
		{"removed attribute", sockets, unix.SYS_REMOVEXATTRAT, nil, retEPERM},
		{"flags of a file", exec, unix.SYS_FILE_SETATTR, nil, retEPERM},
		{"mount for a tree", exec, unix.SYS_OPEN_TREE_ATTR, nil, retEPERM},
		{"list of mounts", net, unix.SYS_LISTMOUNT, nil, retEPERM},
		{"highest known call", none, lastKnown, nil, retAllow},
		{"call that is not known", none, lastKnown + 1, nil, retENOSYS},
		{"call that is not known beside programs", exec, 999, nil, retENOSYS},
		{"pages for a pipe", memory, unix.SYS_VMSPLICE, nil, retEPERM},
		{"buffer of a socket", listens, unix.SYS_SETSOCKOPT, []uint64{3, unix.SOL_SOCKET, unix.SO_SNDBUF}, retEPERM},
		{"buffer of a socket, forced", listens, unix.SYS_SETSOCKOPT, []uint64{3, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE}, retEPERM},
		{"option of a socket", listens, unix.SYS_SETSOCKOPT, []uint64{3, unix.SOL_SOCKET, unix.SO_REUSEADDR}, retAllow},
		{"option of a protocol", listens, unix.SYS_SETSOCKOPT, []uint64{3, unix.SOL_TCP, unix.SO_SNDBUF}, retAllow},
		{"outlive the parent", exec, unix.SYS_PRCTL, []uint64{unix.PR_SET_PDEATHSIG, 0}, retEPERM},
		{"outlive the parent by a signal that can be ignored", none, unix.SYS_PRCTL, []uint64{unix.PR_SET_PDEATHSIG, uint64(unix.SIGTERM)}, retEPERM},
		{"end with the parent", exec, unix.SYS_PRCTL, []uint64{unix.PR_SET_PDEATHSIG, uint64(unix.SIGKILL)}, retAllow},
		{"invite a tracer", exec, unix.SYS_PRCTL, []uint64{unix.PR_SET_PTRACER, 1}, retEPERM},
		{"name a thread", none, unix.SYS_PRCTL, []uint64{unix.PR_SET_NAME}, retAllow},
		{"chmod", none, unix.SYS_FCHMODAT, nil, retEPERM},
		{"chmod when writing", writes, unix.SYS_FCHMODAT, nil, retAllow},
		{"characters into a terminal", exec, unix.SYS_IOCTL, []uint64{0, tiocsti}, retEPERM},
		{"size of a terminal", none, unix.SYS_IOCTL, []uint64{0, unix.TIOCGWINSZ}, retAllow},
	}
	for _, tt := range tests {
		if got := judge(t, tt.policy, auditArch, tt.nr, tt.args...); got != tt.want {
			t.Errorf("%s: filter answers %#x, want %#x", tt.rule, got, tt.want)
		}
	}
}

// Numbers of another table would pass a list made for this one.
func TestFilterForeignNumbers(t *testing.T) {
	t.Parallel()
	for _, p := range []Policy{{}, {Exec: true}, {Network: true}} {
		if got := judge(t, p, unix.AUDIT_ARCH_I386, 11); got != retKill {
			t.Errorf("i386 call: filter answers %#x, want %#x", got, retKill)
		}
		if foreignBit == 0 {
			continue
		}
		if got := judge(t, p, auditArch, foreignBit|unix.SYS_EXECVE); got != retENOSYS {
			t.Errorf("x32 call: filter answers %#x, want %#x", got, retENOSYS)
		}
	}
}

// Only the launcher knows how to start the program; what starts more programs
// needs no such thing.
func TestFilterStartsOnce(t *testing.T) {
	t.Parallel()
	st := start{0xdeadbeef, 42}
	becomes := Policy{ExecFiles: []string{"/x"}}
	at := unix.AT_FDCWD
	right := []uint64{uint64(withHigh(st.first, at)), 0, 0, 0, uint64(withHigh(st.second, unix.AT_EMPTY_PATH))}
	tests := []struct {
		what   string
		policy Policy
		nr     uint32
		args   []uint64
		want   uint32
	}{
		{"the start", becomes, unix.SYS_EXECVEAT, right, retAllow},
		{"another start", becomes, unix.SYS_EXECVEAT, []uint64{uint64(uint32(at)), 0, 0, 0, unix.AT_EMPTY_PATH}, retEPERM},
		{"half of it", becomes, unix.SYS_EXECVEAT, []uint64{right[0]}, retEPERM},
		{"the other half", becomes, unix.SYS_EXECVEAT, []uint64{0, 0, 0, 0, right[4]}, retEPERM},
		{"the older call", becomes, unix.SYS_EXECVE, right, retEPERM},
		{"with programs", Policy{Exec: true}, unix.SYS_EXECVE, nil, retAllow},
	}
	for _, tt := range tests {
		if got := judgeStart(t, tt.policy, st, auditArch, tt.nr, tt.args...); got != tt.want {
			t.Errorf("%s: filter answers %#x, want %#x", tt.what, got, tt.want)
		}
	}
}
