//go:build !unix

package main

import (
	"os"
	"os/signal"
)

// become runs the program in the place of this one, which waits for it.
func become(path string, argv, env []string) error { return child(path, argv[1:], env) }

// signals keeps an interrupt from ending this process: the console sends it to
// the child as well.
func signals() (stop func(), pass func(p *os.Process, ended <-chan struct{})) {
	c := make(chan os.Signal, 4)
	signal.Notify(c, os.Interrupt)
	return func() { signal.Stop(c) }, func(_ *os.Process, ended <-chan struct{}) { <-ended }
}

func codeOf(s *os.ProcessState) int { return s.ExitCode() }
