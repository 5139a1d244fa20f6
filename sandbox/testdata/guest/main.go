//go:build wasip1

// Command guest is the guest of the tests: it runs programs of one command a
// line, so that what a worker does can be seen without a real interpreter.
package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
	"unsafe"
)

var (
	input []byte
	vars  = map[string]string{}
	kept  [][]byte
)

//go:wasmimport sbx tick
func tick()

//go:wasmexport sbx_keep
func keep() { tick() }

//go:wasmexport sbx_init
func start() int32 {
	run("set warm 1\nnothing")
	vars = map[string]string{}
	runtime.GC()
	return 0
}

//go:wasmexport sbx_buf
func buffer(n int32) unsafe.Pointer {
	if len(input) < int(n)+1 {
		input = make([]byte, n+1)
	}
	return unsafe.Pointer(&input[0])
}

//go:wasmexport sbx_exec
func exec(n int32) int32 { return run(string(input[:n])) }

//go:wasmexport sbx_trust
func trust(int32) {}

var sum int

func run(code string) int32 {
	for line := range strings.Lines(code) {
		name, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		arg, more, _ := strings.Cut(rest, " ")
		n, _ := strconv.Atoi(arg)
		switch name {
		case "print":
			fmt.Println(rest)
		case "complain":
			fmt.Fprintln(os.Stderr, rest)
		case "set":
			vars[arg] = more
		case "get":
			fmt.Println(vars[arg])
		case "loop":
			for {
				sum++
			}
		case "work": // that much
			for range n {
				sum++
			}
		case "sleep":
			time.Sleep(time.Duration(n) * time.Millisecond)
		case "keep": // MiB
			b := make([]byte, n<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			kept = append(kept, b)
		case "flood":
			for range n {
				fmt.Println(strings.Repeat("x", 1023))
			}
		case "write":
			if err := os.WriteFile(arg, []byte(more), 0o600); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
		case "cat":
			b, err := os.ReadFile(arg)
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
			os.Stdout.Write(b)
		case "size":
			f, err := os.Open(arg)
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
			size, _ := f.Seek(0, io.SeekEnd)
			f.Close()
			fmt.Println(size)
		case "exit":
			os.Exit(n)
		case "fail":
			return 1
		case "crash":
			var p *int
			*p = 1
		}
	}
	return 0
}

func main() {}
