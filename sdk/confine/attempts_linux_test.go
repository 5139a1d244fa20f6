//go:build linux && (amd64 || arm64)

package confine

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// attempts are what a child tries, by name.
func attempts(r room) map[string]func() error {
	dial := func(network, addr string) func() error {
		return func() error {
			c, err := net.DialTimeout(network, addr, time.Second)
			if err == nil {
				c.Close()
			}
			return err
		}
	}
	raw := func(nr uintptr, args ...uintptr) func() error {
		return func() error {
			var a [6]uintptr
			copy(a[:], args)
			if _, _, errno := unix.Syscall6(nr, a[0], a[1], a[2], a[3], a[4], a[5]); errno != 0 {
				return errno
			}
			return nil
		}
	}
	read := func(path string) func() error {
		return func() error { _, err := os.ReadFile(path); return err }
	}
	return map[string]func() error{
		"read allowed":    read(r.Allowed),
		"read other":      read(r.Other),
		"read passwd":     read("/etc/passwd"),
		"read parent":     read(fmt.Sprintf("/proc/%d/environ", r.Parent)),
		"list":            func() error { _, err := os.ReadDir(r.Dir); return err },
		"write allowed":   func() error { _, err := os.OpenFile(r.Allowed, os.O_WRONLY, 0); return err },
		"write beside":    func() error { return os.WriteFile(filepath.Join(r.Dir, "new"), nil, 0o600) },
		"write tmp":       func() error { return os.WriteFile(filepath.Join(os.TempDir(), "confine-test-new"), nil, 0o600) },
		"truncate":        func() error { return os.Truncate(r.Other, 0) },
		"chmod":           func() error { return os.Chmod(r.Other, 0o644) },
		"remove":          func() error { return os.Remove(filepath.Join(r.Dir, "expendable")) },
		"mkdir":           func() error { return os.Mkdir(filepath.Join(r.Dir, "dir"), 0o700) },
		"connect tcp":     dial("tcp", r.TCP),
		"connect udp":     dial("udp", r.TCP),
		"listen unix":     func() error { return listen("unix", filepath.Join(r.Dir, "s")) },
		"listen abstract": func() error { return listen("unix", "@confine-test-"+strconv.Itoa(os.Getpid())) },
		"listen tcp":      func() error { return listen("tcp", "127.0.0.1:0") },
		"connect unix":    dial("unix", r.Socket),
		"datagrams":       func() error { _, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM, 0); return err },
		"stream pair":     func() error { _, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0); return err },
		"shared memory": func() error {
			_, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
			return err
		},
		"memory as a stack": func() error {
			_, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_GROWSDOWN)
			return err
		},
		"2 GiB": func() error {
			_, err := unix.Mmap(-1, 0, 2<<30, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
			return err
		},
		"empty file": func() error { return os.WriteFile(filepath.Join(r.Dir, "empty"), nil, 0o600) },
		"full file": func() error {
			signal.Ignore(unix.SIGXFSZ)
			return os.WriteFile(filepath.Join(r.Dir, "full"), []byte("x"), 0o600)
		},
		"file without a name": func() error {
			fd, err := unix.Open(r.Dir, unix.O_TMPFILE|unix.O_RDWR, 0o600)
			if err == nil {
				unix.Close(fd)
			}
			return err
		},
		"room on the disk": func() error {
			f, err := os.Create(filepath.Join(r.Dir, "room"))
			if err != nil {
				return err
			}
			defer f.Close()
			return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, 4096)
		},
		"buffer of a socket": func() error {
			pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
			if err != nil {
				return err
			}
			return unix.SetsockoptInt(pair[0], unix.SOL_SOCKET, unix.SO_SNDBUF, 1<<20)
		},
		"outlive the parent": func() error { return unix.Prctl(unix.PR_SET_PDEATHSIG, 0, 0, 0, 0) },
		"own group":          func() error { return unix.Setpgid(0, 0) },
		"priority":           func() error { return unix.Setpriority(unix.PRIO_PROCESS, 0, 19) },
		"exec self": func() error {
			cmd := exec.Command(r.Self)
			cmd.Env = []string{roleVar + "=hello"}
			// As os/exec would open the null device to write.
			cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stderr, os.Stderr
			return cmd.Run()
		},
		"exec shell": func() error {
			cmd := exec.Command("/bin/sh", "-c", "exit 0")
			cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stderr, os.Stderr
			return cmd.Run()
		},
		"ptrace":         func() error { return unix.PtraceSeize(r.Parent) },
		"read memory":    raw(unix.SYS_PROCESS_VM_READV, uintptr(r.Parent)),
		"signal parent":  func() error { return unix.Kill(r.Parent, 0) },
		"pidfd":          func() error { _, err := unix.PidfdOpen(r.Parent, 0); return err },
		"io_uring":       raw(unix.SYS_IO_URING_SETUP, 1),
		"bpf":            raw(unix.SYS_BPF, 0),
		"keyring":        raw(unix.SYS_KEYCTL, 0),
		"userfaultfd":    raw(unix.SYS_USERFAULTFD, 0),
		"perf":           raw(unix.SYS_PERF_EVENT_OPEN, 0),
		"user namespace": func() error { return unix.Unshare(unix.CLONE_NEWUSER) },
		"mount":          func() error { return unix.Mount("none", r.Dir, "tmpfs", 0, "") },
		"memory file":    func() error { _, err := unix.MemfdCreate("x", 0); return err },
		"more capabilities than files need": func() error {
			hdr, data := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, [2]unix.CapUserData{}
			if err := unix.Capget(&hdr, &data[0]); err != nil {
				return err
			}
			if (data[0].Permitted|data[0].Inheritable)&^keptCapabilities|data[1].Permitted == 0 {
				return unix.EPERM
			}
			return nil
		},
		"signal own group": func() error { return unix.Kill(0, 0) },
	}
}

func listen(network, addr string) error {
	l, err := net.Listen(network, addr)
	if err == nil {
		l.Close()
	}
	return err
}
