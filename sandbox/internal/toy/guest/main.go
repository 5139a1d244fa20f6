//go:build wasip1

// The toy guest: a reactor with the doors of a real guest and a language of a
// few commands, one a line, each of which tries one thing.
package main

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

func main() {}

var (
	buffer  []byte
	vars    = map[string]string{}
	kept    [][]byte
	files   []*os.File
	signals [3]uint32 // what sbx_intr_addrs tells: tripped, is_tripped, bits
	out     []byte
	trusted = uint32(9)
	sink    uint64
)

//go:wasmimport sbx tick
func tick()

//go:wasmimport sbx call
func hostCall(p, n, out, size uint32) int32

//go:wasmexport sbx_keep
func keep() { tick() }

//go:wasmexport sbx_init
func start() int32 {
	// Each frame costs the host a native one, outside the guest's memory.
	debug.SetMaxStack(8 << 20)
	vars["born"] = "in the snapshot"
	run("print x", io.Discard)
	runtime.GC()
	return 0
}

//go:wasmexport sbx_buf
func buf(n int32) int32 {
	if n < 0 || n > 16<<20 {
		return 0
	}
	if int(n)+1 > len(buffer) {
		buffer = make([]byte, n+1)
	}
	return int32(uintptr(unsafe.Pointer(&buffer[0])))
}

//go:wasmexport sbx_trust
func trust(n int32) { trusted = uint32(n) }

//go:wasmexport sbx_intr_addrs
func interruptAddresses() int32 {
	addresses = [3]uint32{address(&signals[0]), address(&signals[1]), address(&signals[2])}
	return int32(address(&addresses[0]))
}

var addresses [3]uint32

func address(p *uint32) uint32 { return uint32(uintptr(unsafe.Pointer(p))) }

var errInterrupted = errors.New("interrupted")

// pending says whether the host asked to stop, as the evaluation loop of an
// interpreter would.
//
//go:noinline
func pending() bool {
	if signals[0] == 1 && signals[1] == 1 && signals[2]&2 != 0 {
		signals = [3]uint32{}
		return true
	}
	return false
}

//go:wasmexport sbx_exec
func exec(n int32) int32 {
	for line := range strings.Lines(string(buffer[:n])) {
		if err := run(strings.TrimSpace(line), os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return 0
}

func run(line string, w io.Writer) error {
	f := strings.Fields(line)
	if len(f) == 0 {
		return nil
	}
	arg := func(i int) string {
		if i < len(f) {
			return f[i]
		}
		return ""
	}
	num := func(i int) int { n, _ := strconv.Atoi(arg(i)); return n }
	switch f[0] {
	case "print":
		_, err := fmt.Fprintln(w, strings.Join(f[1:], " "))
		return err
	case "set":
		vars[arg(1)] = arg(2)
	case "get":
		fmt.Fprintln(w, vars[arg(1)])
	case "trusted":
		fmt.Fprintln(w, trusted)
	case "flood": // bytes to stdout, and the same number to stderr
		b := make([]byte, num(1))
		os.Stdout.Write(b)
		os.Stderr.Write(b)
	case "spin": // for ever, ends when asked
		for i := uint64(0); ; i++ {
			if sink += i; i%1000 == 0 && pending() {
				return errInterrupted
			}
		}
	case "deaf": // for ever
		for i := uint64(0); ; i++ {
			sink += i
		}
	case "count": // a loop of n steps
		for i := range uint64(num(1)) {
			sink += i * i
		}
		fmt.Fprintln(w, "counted")
	case "copy": // for ever, large copies with few loop heads
		a, b := make([]byte, 32<<20), make([]byte, 32<<20)
		for {
			copy(a, b)
		}
	case "random": // for ever, large wishes to the host
		b := make([]byte, 32<<20)
		for {
			rand.Read(b)
		}
	case "calls": // for ever, nothing but calls into the host
		for {
			time.Now()
		}
	case "sleep":
		sleep(num(1))
		if pending() {
			return errInterrupted
		}
	case "alloc": // MiB, kept
		for range num(1) {
			b := make([]byte, 1<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			kept = append(kept, b)
		}
	case "dirty": // KiB, written and kept
		b := make([]byte, num(1)<<10)
		for i := range b {
			b[i] = 1
		}
		kept = append(kept, b)
	case "recurse":
		fmt.Fprintln(w, recurse(1<<40))
	case "exit":
		os.Exit(num(1))
	case "panic":
		panic("as asked")
	case "fault":
		*(*int)(unsafe.Pointer(uintptr(0xfffffff0))) = 1
	case "write": // path, bytes
		return os.WriteFile(arg(1), make([]byte, num(2)), 0o666)
	case "fill": // path, text
		return os.WriteFile(arg(1), []byte(arg(2)), 0o666)
	case "read":
		b, err := os.ReadFile(arg(1))
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%d %.60s\n", len(b), b)
	case "ls":
		names, err := os.ReadDir(arg(1))
		if err != nil {
			return err
		}
		for _, n := range names {
			fmt.Fprintln(w, n.Name())
		}
	case "rm":
		return os.Remove(arg(1))
	case "mkdir":
		return os.Mkdir(arg(1), 0o777)
	case "mv":
		return os.Rename(arg(1), arg(2))
	case "ln":
		return os.Link(arg(1), arg(2))
	case "symlink":
		return os.Symlink(arg(1), arg(2))
	case "files": // n small files
		for i := range num(1) {
			if err := os.WriteFile(fmt.Sprintf("/tmp/f%d", i), nil, 0o666); err != nil {
				return fmt.Errorf("file %d: %w", i, err)
			}
		}
	case "open": // n times the same file, kept open
		for i := range num(1) {
			fd, err := os.OpenFile("/tmp/open", os.O_CREATE|os.O_RDWR, 0o666)
			if err != nil {
				return fmt.Errorf("file %d: %w", i, err)
			}
			files = append(files, fd)
		}
	case "unlinked": // files of n bytes, removed while open
		for i := 0; ; i++ {
			fd, err := os.Create("/tmp/gone")
			if err != nil {
				return fmt.Errorf("file %d: %w", i, err)
			}
			files = append(files, fd)
			if _, err := fd.Write(make([]byte, num(1))); err != nil {
				return fmt.Errorf("file %d: %w", i, err)
			}
			os.Remove("/tmp/gone")
		}
	case "closeall":
		for _, fd := range files {
			fd.Close()
		}
		files = nil
	case "socket":
		fd, err := syscall.Socket(2, 1, 0)
		return fmt.Errorf("socket %d: %w", fd, err)
	case "env":
		fmt.Fprintln(w, len(os.Environ()), len(os.Args))
	case "stdin":
		n, err := os.Stdin.Read(make([]byte, 1))
		fmt.Fprintln(w, n, err)
	case "ask":
		q := []byte(strings.Join(f[1:], " "))
		n := hostCall(uint32(uintptr(unsafe.Pointer(unsafe.SliceData(q)))), uint32(len(q)), 0, 0)
		if n < 0 {
			return errors.New("refused")
		}
		answer := make([]byte, n+1)
		n = hostCall(0, 0, uint32(uintptr(unsafe.Pointer(&answer[0]))), uint32(n))
		fmt.Fprintf(w, "%s\n", answer[:max(n, 0)])
	case "rand":
		b := make([]byte, 8)
		rand.Read(b)
		fmt.Fprintf(w, "%x\n", b)
	case "sql": // what the SQL guest answers
		fmt.Fprintln(w, strings.TrimSpace(line[3:]))
	default:
		// statements of a session's own, such as ATTACH
		if !strings.HasSuffix(line, ";") {
			return fmt.Errorf("no command %q", f[0])
		}
	}
	return nil
}

//go:wasmimport wasi_snapshot_preview1 poll_oneoff
func pollOneoff(in, out unsafe.Pointer, n uint32, got unsafe.Pointer) uint32

// sleep waits once; time.Sleep would wait again when it is woken early.
func sleep(ms int) {
	in, out := make([]byte, 48), make([]byte, 32)
	binary.LittleEndian.PutUint32(in[16:], 1) // the monotonic clock
	binary.LittleEndian.PutUint64(in[24:], uint64(ms)*1e6)
	var got uint32
	pollOneoff(unsafe.Pointer(&in[0]), unsafe.Pointer(&out[0]), 1, unsafe.Pointer(&got))
}

//go:noinline
func recurse(n uint64) uint64 {
	if n == 0 {
		return 1
	}
	return recurse(n-1) + n
}
