package pluginhost

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// Launch is one start of a plugin program.
type Launch struct {
	Kind, Name string   // of the plugin; empty before it is described
	Path       string   // of the program
	Args       []string // without the program's name
	Principal  string   // for whom alone the process works; "" for everybody
}

// Command builds the command of a Launch. The host fills in environment,
// working directory, standard streams and process group afterwards.
//
// This is where a launcher that narrows the process before it runs the program,
// and the execution of a file that was verified, have their place.
type Command func(Launch) (*exec.Cmd, error)

func plainCommand(l Launch) (*exec.Cmd, error) { return exec.Command(l.Path, l.Args...), nil }

// passed are the variables of the gateway's environment that a plugin gets.
// Everything else may hold a secret.
var passed = []string{"PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ"}

// environment is what a plugin's environment is made of, besides go-plugin's
// own variables.
func environment(tmp string) []string {
	env := []string{"TMPDIR=" + tmp}
	for _, name := range passed {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// starter starts processes from one thread that lives as long as they may. The
// kernel sends the parent-death signal when the thread that forked ends, not
// the process; a thread of the Go runtime may end at any time.
type starter struct {
	start chan startRequest
	done  chan struct{}
}

type startRequest struct {
	cmd *exec.Cmd
	err chan error
}

func newStarter() *starter {
	s := &starter{start: make(chan startRequest), done: make(chan struct{})}
	go s.loop()
	return s
}

func (s *starter) loop() {
	defer close(s.done)
	runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
	for r := range s.start {
		r.err <- r.cmd.Start()
	}
}

func (s *starter) run(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true // signals of the gateway's terminal do not reach it, and its children can be ended with it
	dieWithParent(cmd.SysProcAttr)
	r := startRequest{cmd, make(chan error, 1)}
	s.start <- r
	return <-r.err
}

// close ends the thread. No process may be left.
func (s *starter) close() {
	close(s.start)
	<-s.done
}

// killGroup ends a process and the children it left in its group. It must not
// be called after the process was waited for, when its number may be another's.
func killGroup(pid int) error {
	err := syscall.Kill(-pid, syscall.SIGKILL)
	if errors.Is(err, syscall.ESRCH) {
		return nil
	}
	return err
}
