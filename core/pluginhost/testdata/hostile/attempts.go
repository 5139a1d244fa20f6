//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// try makes every attempt. The names say what was tried.
func try(t targets, fds []int) map[string]string {
	out := make(map[string]string)
	add := func(name string, err error) { out[name] = verdict(err) }
	proc := func(name string) string { return fmt.Sprintf("/proc/%d/%s", t.Gateway, name) }

	add("tcp", dial("tcp", t.TCP))
	add("udp", exchange(t.UDP))
	add("dns", lookup(t.UDP))
	add("tcp listen", func() error { l, err := net.Listen("tcp", "127.0.0.1:0"); return closed(l, err) }())
	for i, s := range t.Sockets {
		add(fmt.Sprintf("socket %d", i), dial("unix", s))
		add(fmt.Sprintf("datagram %d", i), datagram(s))
	}
	for _, name := range []string{"environ", "maps", "cmdline", "status", "mem"} {
		add("gateway "+name, read(proc(name)))
	}
	add("gateway descriptors", list(proc("fd")))
	add("gateway descriptor", func() error { _, err := os.Readlink(proc("fd/2")); return err }())
	add("gateway open file", read(proc("fd/0")))
	add("gateway memory", peek(t.Gateway))
	add("gateway signal", unix.Kill(t.Gateway, 0))
	add("gateway ptrace", seize(t.Gateway))
	add("gateway pidfd", pidfd(t.Gateway))
	add("gateway limits", unix.Prlimit(t.Gateway, unix.RLIMIT_CORE, nil, new(unix.Rlimit)))
	add("gateway priority", priority(t.Gateway))
	add("environment", holds(strings.Join(os.Environ(), "\n"), t.Canary))
	add("descriptors", func() error {
		if len(fds) == 0 {
			return unix.EPERM
		}
		return nil
	}())

	for i, path := range t.Read {
		add(fmt.Sprintf("read %d", i), read(path))
	}
	for i, path := range t.Write {
		add(fmt.Sprintf("write %d", i), write(path))
	}
	add("data directory", list(t.Data))
	add("read lock", read(t.Lock))
	add("read other plugin", read(t.Other))
	add("write own program", write(t.Own))
	add("write own process", write("/proc/self/exe"))
	add("replace own program", os.Rename(t.Own, t.Own+"-"))
	add("chmod", os.Chmod(t.Lock, 0o644))
	add("mode by attribute", accessList(t.Lock))
	add("run other plugin", exec.Command(t.Other, "describe").Run())
	add("shell", exec.Command("/bin/sh", "-c", "exit 0").Run())
	add("file in own directory", write(filepath.Join(os.TempDir(), "big")))
	add("link in own directory", os.Symlink("/etc/passwd", filepath.Join(os.TempDir(), "link")))
	add("room on the disk", room())
	add("file without a name", func() error {
		fd, err := unix.Open(os.TempDir(), unix.O_TMPFILE|unix.O_RDWR, 0o600)
		if err == nil {
			unix.Close(fd)
		}
		return err
	}())
	add("shared memory file", write("/dev/shm/sallyport-hostile"))

	add("memory", memory(unix.MAP_PRIVATE))
	add("shared memory", memory(unix.MAP_SHARED))
	add("memory as a stack", memory(unix.MAP_PRIVATE|unix.MAP_GROWSDOWN))
	add("memory file", memoryFile())
	add("tables of pages", func() error {
		m, err := unix.Mmap(-1, 0, 1<<40, unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
		if err == nil {
			unix.Munmap(m)
		}
		return err
	}())
	add("system v memory", sysv())
	add("memory of a socket", socketBuffer())
	add("memory of a pipe", pipePages())
	add("outlive the gateway", unix.Prctl(unix.PR_SET_PDEATHSIG, 0, 0, 0, 0))
	add("processes", processes(20))
	add("leave the group", func() error { return unix.Setpgid(0, 0) }())
	return out
}

func closed(c interface{ Close() error }, err error) error {
	if err == nil {
		c.Close()
	}
	return err
}

func dial(network, addr string) error {
	c, err := net.DialTimeout(network, addr, 2*time.Second)
	return closed(c, err)
}

func exchange(addr string) error {
	c, err := net.Dial("udp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(2 * time.Second))
	if _, err := c.Write([]byte("ping")); err != nil {
		return err
	}
	_, err = c.Read(make([]byte, 16))
	return err
}

func lookup(server string) error {
	var refused error
	r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, "udp", server)
		refused = err
		return c, err
	}}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_, err := r.LookupHost(ctx, "secret.sallyport.test.")
	if refused != nil {
		return refused
	}
	return err
}

// datagram sends to the path of a socket, which may refuse the kind: that it
// was reached counts.
func datagram(path string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	err = unix.Sendto(fd, []byte("x"), 0, &unix.SockaddrUnix{Name: path})
	if errors.Is(err, unix.EPROTOTYPE) {
		return nil
	}
	return err
}

func peek(pid int) error {
	var here, there byte
	local := []unix.Iovec{{Base: &here, Len: 1}}
	remote := []unix.RemoteIovec{{Base: uintptr(unsafe.Pointer(&there)), Len: 1}}
	_, err := unix.ProcessVMReadv(pid, local, remote, 0)
	if errors.Is(err, unix.EFAULT) { // it was let in, and nothing is there
		return nil
	}
	return err
}

func seize(pid int) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.PtraceSeize(pid); err != nil {
		return err
	}
	unix.PtraceInterrupt(pid)
	unix.Wait4(pid, nil, unix.WALL, nil)
	return unix.PtraceDetach(pid)
}

// priority sets the one that the process has.
func priority(pid int) error {
	p, err := unix.Getpriority(unix.PRIO_PROCESS, pid)
	if err != nil {
		return err
	}
	return unix.Setpriority(unix.PRIO_PROCESS, pid, 20-p)
}

func pidfd(pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return err
	}
	unix.Close(fd)
	return nil
}

func holds(where, what string) error {
	if strings.Contains(where, what) {
		return nil
	}
	return unix.EPERM
}

// memory wants 2 GiB and writes a little of it.
func memory(flags int) error {
	const size = 2 << 30
	m, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, flags|unix.MAP_ANONYMOUS)
	if err != nil {
		return err
	}
	defer unix.Munmap(m)
	m[0], m[size-1] = 1, 1
	return nil
}

func memoryFile() error {
	fd, err := unix.MemfdCreate("hostile", 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Ftruncate(fd, 2<<30)
}

func sysv() error {
	id, err := unix.SysvShmGet(unix.IPC_PRIVATE, 1<<20, unix.IPC_CREAT|0o600)
	if err != nil {
		return err
	}
	_, err = unix.SysvShmCtl(id, unix.IPC_RMID, nil)
	return err
}

// processes starts n of itself.
func processes(n int) error {
	var all []*exec.Cmd
	defer func() {
		for _, c := range all {
			c.Process.Kill()
			c.Wait()
		}
	}()
	for range n {
		c := exec.Command("/proc/self/exe", "nap")
		if err := c.Start(); err != nil {
			return err
		}
		all = append(all, c)
	}
	return nil
}

// flood takes as much as it gets, of memory no more than size, keeps it for a
// time, and says so when nobody stopped it.
func flood(what string, size int, hold time.Duration) string {
	switch what {
	case "threads":
		debug.SetMaxThreads(100_000)
		for range 1500 {
			go func() {
				runtime.LockOSThread()
				unix.Nanosleep(&unix.Timespec{Sec: 20}, nil)
			}()
		}
		time.Sleep(hold)
	case "files":
		for i := range 5000 {
			f, err := os.Create(filepath.Join(os.TempDir(), fmt.Sprint(i)))
			if err != nil {
				return verdict(err)
			}
			f.Close()
		}
		time.Sleep(hold)
	case "constant":
		// Memory that nothing can be written to is not counted as the process's.
		const block = 16 << 20
		for taken := 0; taken < size; taken += block {
			m, err := unix.Mmap(-1, 0, block, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
			if err != nil {
				return verdict(err)
			}
			for i := 0; i < block; i += 4096 {
				m[i] = 1
			}
			if err := unix.Mprotect(m, unix.PROT_READ); err != nil {
				return verdict(err)
			}
		}
		time.Sleep(hold)
	case "memory":
		var all [][]byte
		for range 200 {
			b := make([]byte, 10<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			all = append(all, b)
		}
		return fmt.Sprint(len(all), " blocks of memory")
	}
	return "done"
}
