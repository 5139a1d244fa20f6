package pluginhost

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"github.com/sallyport-gateway/sallyport/sdk/boot"
	"github.com/sallyport-gateway/sallyport/sdk/confine"
)

// Worker is a program of the gateway's own that works on what is not trusted,
// and is confined for that as plugins are.
type Worker struct {
	Launcher   string // as in Config
	Unconfined bool   // as in Config
	Path       string // of the program; "" is the one that runs now
	Args       []string
	Policy     confine.Policy // what it keeps; the program and its libraries are added
	Socket     *os.File       // its descriptor 3; it stays the caller's
}

// maxWorkerFiles is how many descriptors a worker may have open.
const maxWorkerFiles = 1024

// Start starts the worker with nothing in its environment, in a session of its
// own, and with stderr going where told.
func (w Worker) Start(stderr *os.File) (*exec.Cmd, error) {
	launcher := cmp.Or(w.Launcher, DefaultLauncher())
	if err := checkLauncher(launcher); err != nil {
		return nil, err
	}
	if w.Path == "" {
		var err error
		if w.Path, err = os.Executable(); err != nil {
			return nil, fmt.Errorf("where is this program: %w", err)
		}
	}
	program := confine.Program{Path: w.Path, Args: append([]string{w.Path}, w.Args...), Policy: w.Policy}
	p := &program.Policy
	p.OwnUser, p.AllowUnconfined = true, w.Unconfined
	p.MaxOpenFiles = cmp.Or(p.MaxOpenFiles, maxWorkerFiles)
	p.MaxProcesses = cmp.Or(p.MaxProcesses, processes(threads))
	file, err := os.Open(w.Path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	loader, err := loaderOf(file)
	if err != nil {
		return nil, err
	}
	read := harmless
	if loader != "" {
		p.ExecFiles = append(p.ExecFiles, loader)
		read = append(read[:len(read):len(read)], libraries...)
	}
	for _, path := range existing(read...) {
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			p.ReadDirs = append(p.ReadDirs, path)
		} else if err == nil {
			p.ReadFiles = append(p.ReadFiles, path)
		}
	}

	cmd := exec.Command(launcher)
	cmd.Env, cmd.Dir, cmd.Stderr = []string{}, "/", stderr
	if w.Unconfined {
		cmd.Env = append(cmd.Env, boot.EnvUnconfined+"=allow")
	}
	if runtime.GOOS != "linux" {
		return startFree(cmd, w)
	}
	// The launcher reads 3, executes 4, and hands on 5.
	program.Descriptor, program.Keep = programDescriptor, []int{programDescriptor + 1}
	said, err := policyFile("", program)
	if err != nil {
		return nil, err
	}
	defer said.Close()
	cmd.ExtraFiles = []*os.File{said, file, w.Socket}
	return cmd, startOwn(cmd)
}

// startFree starts a worker where nothing confines it, if that is accepted.
func startFree(cmd *exec.Cmd, w Worker) (*exec.Cmd, error) {
	if !w.Unconfined {
		return nil, fmt.Errorf("a worker cannot be confined on %s, and unconfined is not set to allow", runtime.GOOS)
	}
	free := exec.Command(w.Path, w.Args...)
	free.Env, free.Dir, free.Stderr, free.ExtraFiles = cmd.Env, cmd.Dir, cmd.Stderr, []*os.File{w.Socket}
	return free, startOwn(free)
}

// startOwn starts cmd in a session of its own, which signals of the gateway's
// terminal do not reach.
func startOwn(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd.Start()
}
