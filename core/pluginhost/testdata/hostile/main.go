//go:build linux

// Hostile is a plugin that tries everything it should not be able to do. Called
// as a tool, it answers with what each attempt gave; started with the argument
// "attempts", it does the same unconfined, reading its targets from stdin.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

// targets is what to try it on.
type targets struct {
	Gateway                int    // process id
	TCP, UDP               string // addresses of listeners; the second answers DNS
	Sockets                []string
	Read, Write            []string // files
	Own, Lock, Other, Data string   // its own program, plugins.lock, another plugin, the data directory
	Canary                 string   // part of the gateway's environment
}

func main() {
	signal.Ignore(unix.SIGXFSZ) // to see the error
	if len(os.Args) == 2 {
		switch os.Args[1] {
		case "nap":
			time.Sleep(20 * time.Second)
			return
		case "attempts":
			var t targets
			if err := json.NewDecoder(os.Stdin).Decode(&t); err != nil {
				panic(err)
			}
			json.NewEncoder(os.Stdout).Encode(try(t, openAtStart()))
			return
		case "flood-threads", "flood-files", "flood-constant":
			// The limit that a plugin has, only smaller, and twice as much taken.
			const limit = 256 << 20
			if err := unix.Setrlimit(unix.RLIMIT_DATA, &unix.Rlimit{Cur: limit, Max: limit}); err != nil {
				panic(err)
			}
			fmt.Println(flood(strings.TrimPrefix(os.Args[1], "flood-"), 2*limit, 0))
			return
		}
	}
	fds := openAtStart()
	tool.Serve(tool.Manifest{Type: "hostile", Version: "1.0.0"}, hostile{fds})
}

type hostile struct{ fds []int }

func (hostile) Open(context.Context, []tool.Declaration, *tool.Host) (tool.Opened, error) {
	return tool.Opened{}, nil
}

func (h hostile) Call(_ context.Context, c tool.Call, _ *tool.Host) (tool.Result, error) {
	switch c.Function {
	case "attempts":
		var t targets
		if err := json.Unmarshal(c.Arguments, &t); err != nil {
			return tool.Result{}, err
		}
		b, err := json.Marshal(try(t, h.fds))
		return tool.Text(string(b)), err
	case "become":
		err := syscall.Exec("/bin/sh", []string{"sh", "-c", "exit 0"}, nil)
		return tool.Text(verdict(err)), nil
	case "again":
		// A thread that is not the first forgets that it ends with its parent.
		err := syscall.Exec("/proc/self/exe", []string{"hostile", "nap"}, nil)
		return tool.Text(verdict(err)), nil
	}
	return tool.Text(flood(c.Function, 3<<30, 10*time.Second)), nil
}

// openAtStart lists the descriptors that the program got beside the standard
// streams.
func openAtStart() []int {
	var fds []int
	for fd := 3; fd < 256; fd++ {
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			fds = append(fds, fd)
		}
	}
	return fds
}

// verdict is "done", "refused", or the error where it is of another kind.
func verdict(err error) string {
	switch {
	case err == nil:
		return "done"
	case errors.Is(err, os.ErrPermission), errors.Is(err, unix.EPERM), errors.Is(err, unix.ENOSYS), errors.Is(err, unix.ENOMEM), errors.Is(err, unix.EFBIG),
		errors.Is(err, unix.ETXTBSY): // the program that runs
		return "refused"
	}
	return err.Error()
}

// read wants one byte of a file.
func read(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.Read(make([]byte, 1))
	if errors.Is(err, io.EOF) || errors.Is(err, unix.EIO) { // nothing is there, but it was let in
		return nil
	}
	return err
}

func list(path string) error { _, err := os.ReadDir(path); return err }

func write(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o700)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.Write(make([]byte, 1<<20))
	return err
}
