//go:build cgo && !linux

package main

import (
	"os"
	"syscall"
)

func ownProgram() (string, error) { return os.Executable() }

// dieWithThread has no equal here: a child sees the end of its request pipe.
func dieWithThread() *syscall.SysProcAttr { return nil }
