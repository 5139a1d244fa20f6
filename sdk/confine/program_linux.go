//go:build linux && (amd64 || arm64)

package confine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// expendable makes the program one of the first that the kernel ends when
// memory is short; its launcher's parent should live on.
const expendable = "500"

func become(p Program) error {
	pol := p.Policy
	pol.ExecFiles = slices.Clone(pol.ExecFiles)
	if p.Descriptor > 0 {
		pol.ExecFiles = append(pol.ExecFiles, "/proc/self/fd/"+strconv.Itoa(p.Descriptor))
	}
	path, argv, envp, err := execArguments(p)
	if err != nil {
		return err
	}
	// Not every system lets a process say that.
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte(expendable), 0)

	// The thread that executes hands what it has to the program.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	st, err := newStart()
	if err != nil {
		return err
	}
	if _, err := applyBefore(pol, st); err != nil {
		return err
	}
	if p.Parent > 0 {
		// Changing the user took it away, and it belongs to a thread.
		if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
			return fmt.Errorf("confine: end with the parent: %w", err)
		}
		if os.Getppid() != p.Parent {
			return errors.New("confine: the parent has ended")
		}
	}
	if err := unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil && err != unix.ENOSYS {
		return fmt.Errorf("confine: close descriptors: %w", err)
	}
	if err := keep(p); err != nil {
		return fmt.Errorf("confine: descriptors: %w", err)
	}
	at, flags := unix.AT_FDCWD, 0
	if p.Descriptor > 0 {
		at, flags = p.Descriptor, unix.AT_EMPTY_PATH
	}
	_, _, errno := unix.Syscall6(unix.SYS_EXECVEAT, withHigh(st.first, at), uintptr(unsafe.Pointer(path)),
		uintptr(unsafe.Pointer(&argv[0])), uintptr(unsafe.Pointer(&envp[0])), withHigh(st.second, flags), 0)
	return &os.PathError{Op: "execute", Path: p.Path, Err: errno}
}

// keep gives the program its descriptors.
func keep(p Program) error {
	for i, fd := range p.Keep {
		if to := 3 + i; fd < 3+len(p.Keep) || p.Descriptor == to {
			return fmt.Errorf("%d cannot become %d: something else that is needed is there", fd, to)
		} else if err := unix.Dup3(fd, to, 0); err != nil {
			return err
		}
	}
	return nil
}

// newStart makes one that nobody guesses.
func newStart() (start, error) {
	b := make([]byte, 8)
	if _, err := unix.Getrandom(b, 0); err != nil { // so few bytes come whole
		return start{}, fmt.Errorf("confine: random number: %w", err)
	}
	return start{binary.NativeEndian.Uint32(b), binary.NativeEndian.Uint32(b[4:])}, nil
}

// withHigh is an int argument with another high half, which the kernel does not
// look at.
func withHigh(high uint32, low int) uintptr { return uintptr(high)<<32 | uintptr(uint32(low)) }

func execArguments(p Program) (path *byte, argv, envp []*byte, err error) {
	name := p.Path
	if p.Descriptor > 0 {
		name = ""
	}
	if path, err = unix.BytePtrFromString(name); err != nil {
		return nil, nil, nil, err
	}
	for _, l := range []struct {
		to   *[]*byte
		from []string
	}{{&argv, p.Args}, {&envp, os.Environ()}} {
		for _, s := range l.from {
			b, err := unix.BytePtrFromString(s)
			if err != nil {
				return nil, nil, nil, fmt.Errorf("confine: argument %q: %w", s, err)
			}
			*l.to = append(*l.to, b)
		}
		*l.to = append(*l.to, nil)
	}
	return path, argv, envp, nil
}
