package main

import "syscall"

// block holds the thread it runs on for ever, in the kernel.
func block() {
	var p [2]int
	if syscall.Pipe(p[:]) == nil {
		_, _ = syscall.Read(p[0], make([]byte, 1))
	}
}
