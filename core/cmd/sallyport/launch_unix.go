//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"
)

// become puts the program into the place of this one: its signals and its exit
// code need no passing on.
func become(path string, argv, env []string) error {
	return &os.PathError{Op: "start", Path: path, Err: syscall.Exec(path, argv, env)}
}

// signals catches what is for the child. An interrupt from the terminal comes
// to the child as well, so that it is not sent on.
func signals() (stop func(), pass func(p *os.Process, ended <-chan struct{})) {
	c := make(chan os.Signal, 4)
	signal.Notify(c, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2)
	interactive := term.IsTerminal(int(os.Stdin.Fd()))
	return func() { signal.Stop(c) }, func(p *os.Process, ended <-chan struct{}) {
		for {
			select {
			case s := <-c:
				if !interactive || s != syscall.SIGINT && s != syscall.SIGQUIT {
					p.Signal(s)
				}
			case <-ended:
				return
			}
		}
	}
}

// codeOf is the exit code as a shell tells it.
func codeOf(s *os.ProcessState) int {
	if w, ok := s.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return 128 + int(w.Signal())
	}
	return s.ExitCode()
}
