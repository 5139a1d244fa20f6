package pluginhost

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/sallyport-gateway/sallyport/sdk/boot"
	"github.com/sallyport-gateway/sallyport/sdk/confine"
)

// Launch is one start of a plugin program.
type Launch struct {
	Kind, Name  string        // of the plugin; empty before it is described
	Path        string        // of the program, for messages; executed when File is nil
	File        *os.File      // the opened, verified program, executed whatever its name leads to; stays the caller's
	Interpreter []string      // runs Path when not empty: interpreter and its arguments
	Files       string        // directory of the private copy, readable; "" for a single file
	Args        []string      // without the program's name
	Principal   string        // for whom alone the process works; "" for everybody
	Requires    boot.Requires // accepted by the operator
	Read        []string      // accepted beside: interpreter's libraries, table locations of an engine; what does not exist is left out
	Dir         string        // working directory, temporary files and sockets of the process
}

// command builds the command of a launch as the host is configured.
func (h *Host) command(l Launch) (*exec.Cmd, error) {
	return mortalCommand(h.cfg.Launcher, l, h.cfg.Unconfined)
}

// mortalCommand is a ConfinedCommand whose process ends with this one. Only a
// starter may start it: the kernel ends the process with the thread that
// started it.
func mortalCommand(launcher string, l Launch, unconfined bool) (*exec.Cmd, error) {
	return confinedCommand(launcher, l, unconfined, os.Getpid())
}

// ConfinedCommand builds the command that starts a plugin through the launcher
// program, that of DefaultLauncher if "": confined to what l says, with a scrubbed environment to which
// variables may be added. Standard streams are the caller's to set, to pipes or
// terminals: the plugin can write to no file. ExtraFiles belong to the command
// and are to be closed once it was started. On a system
// that cannot confine, the plugin is not started unless unconfined is set.
func ConfinedCommand(launcher string, l Launch, unconfined bool) (*exec.Cmd, error) {
	return confinedCommand(launcher, l, unconfined, 0)
}

func confinedCommand(launcher string, l Launch, unconfined bool, parent int) (*exec.Cmd, error) {
	if launcher == "" {
		launcher = DefaultLauncher()
	}
	if err := checkLauncher(launcher); err != nil {
		return nil, &startError{"cannot be confined: " + err.Error()}
	}
	program := confine.Program{Path: l.Path, Args: append([]string{l.Path}, l.Args...), Parent: parent}
	file := l.File
	if len(l.Interpreter) > 0 {
		program.Path, file = l.Interpreter[0], nil
		program.Args = slices.Concat(l.Interpreter, []string{l.Path}, l.Args)
	} else if file == nil {
		f, err := os.Open(l.Path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		file = f
	}
	var err error
	if program.Policy, err = policy(l, file); err != nil {
		return nil, err
	}
	program.Policy.AllowUnconfined = unconfined

	cmd := exec.Command(launcher)
	cmd.Env, cmd.Dir = environment(l.Dir), l.Dir
	if unconfined {
		cmd.Env = append(cmd.Env, boot.EnvUnconfined+"=allow")
	}
	if file != nil && runtime.GOOS == "linux" {
		own, err := duplicate(file)
		if err != nil {
			return nil, err
		}
		program.Descriptor = programDescriptor
		cmd.ExtraFiles = []*os.File{nil, own}
	} else {
		cmd.ExtraFiles = []*os.File{nil}
	}
	if cmd.ExtraFiles[0], err = policyFile(l.Dir, program); err != nil {
		closeFiles(cmd.ExtraFiles)
		return nil, err
	}
	return cmd, nil
}

// launcherName is the file name of the launcher, core/cmd/sallyport-confine.
const launcherName = "sallyport-confine"

// DefaultLauncher is where the launcher belongs: beside the running program.
func DefaultLauncher() string {
	exe, err := os.Executable()
	if err == nil {
		exe, err = filepath.EvalSymlinks(exe)
	}
	if err != nil {
		return launcherName
	}
	return filepath.Join(filepath.Dir(exe), launcherName)
}

func checkLauncher(path string) error {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || !executable(info) {
		return fmt.Errorf("the launcher %s is missing, which confines plugins; it belongs beside the sallyport program, where `make build` puts it", path)
	}
	return nil
}

// Confinement says what this system grants plugins. It is an error when
// plugins could not be started: the launcher is missing, or the system cannot
// confine them and Unconfined is not set.
func (c Config) Confinement() (confine.Report, error) {
	granted := confine.Probe()
	launcher := c.Launcher
	if launcher == "" {
		launcher = DefaultLauncher()
	}
	if err := checkLauncher(launcher); err != nil {
		return granted, err
	}
	if (granted.Landlock == 0 || !granted.Seccomp) && !c.Unconfined {
		return granted, fmt.Errorf("plugins cannot be confined on this system: %s; to run them all the same, with every right of the gateway's user, write \"unconfined: allow\" into the configuration",
			strings.Join(granted.Missing, "; "))
	}
	return granted, nil
}

// programDescriptor is where the launcher finds the program; the policy has the
// number before it.
const programDescriptor = 4

// policyFile holds what the launcher reads. It has no name: whoever may look
// into the directory finds nothing.
func policyFile(dir string, p confine.Program) (*os.File, error) {
	f, err := os.CreateTemp(dir, "policy")
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	err = errors.Join(os.Remove(f.Name()), json.NewEncoder(f).Encode(p))
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("policy: %w", err)
	}
	return f, nil
}

func duplicate(f *os.File) (*os.File, error) {
	c, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	var dupErr error
	err = c.Control(func(n uintptr) { fd, dupErr = unix.FcntlInt(n, unix.F_DUPFD_CLOEXEC, 0) })
	if err = errors.Join(err, dupErr); err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		if f != nil {
			f.Close()
		}
	}
}

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
	// Unlocked at the end, so that the thread goes on: whatever else it forked
	// before it came here would be killed with it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for r := range s.start {
		r.err <- r.cmd.Start()
		closeFiles(r.cmd.ExtraFiles) // see ConfinedCommand
	}
}

func (s *starter) run(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	// A session of its own: signals of the gateway's terminal do not reach it, its
	// children can be ended with it, and where the kernel groups processes by
	// session for their processor time, its threads together have one share.
	cmd.SysProcAttr.Setsid = true
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
