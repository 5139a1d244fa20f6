//go:build wasip1

// Command guest is the shell as a WebAssembly reactor. It is built for wasip1
// only, and its exports are the guest interface that package engine drives.
package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"unsafe"

	"github.com/sallyport-gateway/sallyport/sandbox/guests/shell/args"
	"github.com/sallyport-gateway/sallyport/sandbox/guests/shell/sh"
)

// softMemory makes the collector work harder before the guest's memory ends.
const softMemory = 160 << 20

var (
	shell  *sh.Shell
	input  []byte
	seeded bool // a program has run
)

// tick is called by the checks that the build puts into every loop; here it
// only has to exist.
//
//go:wasmimport sbx tick
func tick()

//go:wasmexport sbx_keep
func keep() { tick() }

// start makes the shell; it runs once, before the memory is taken as the image.
//
//go:wasmexport sbx_init
func start() int32 {
	if !args.Set {
		return 3
	}
	debug.SetMemoryLimit(softMemory)
	debug.SetMaxStack(16 << 20) // the shell's own limit of nesting is below it
	debug.SetTraceback("none")  // what ends the guest is one line, not the stacks of the shell
	s, err := sh.New("/tmp", os.Stdout, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if st := s.Run(context.Background(), "x=$(echo a | sed s/a/b/ | awk '{print $1}' | grep -c b | jq .); unset x"); st != 0 {
		return 2
	}
	shell = s
	runtime.GC()
	debug.FreeOSMemory()
	return 0
}

// buffer returns where the next program is written to.
//
//go:wasmexport sbx_buf
func buffer(n int32) unsafe.Pointer {
	if n < 0 || n > 64<<20 {
		return nil
	}
	if len(input) < int(n)+1 {
		input = make([]byte, n+1)
	}
	return unsafe.Pointer(&input[0])
}

// exec runs the program in the buffer and returns its exit status.
//
//go:wasmexport sbx_exec
func exec(n int32) int32 {
	if shell == nil || n < 0 || int(n) > len(input) {
		return -1
	}
	ctx := context.Background()
	if !seeded {
		seeded = true
		if err := shell.Seed(ctx); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return -1
		}
	}
	return int32(shell.Run(ctx, string(input[:n])))
}

func main() {}
