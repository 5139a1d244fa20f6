//go:build cgo

package main

import "syscall"

// ownProgram is the file this process runs, also when another one has its name
// by now.
func ownProgram() (string, error) { return "/proc/self/exe", nil }

func dieWithThread() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
