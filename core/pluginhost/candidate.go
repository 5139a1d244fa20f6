package pluginhost

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/sallyport-gateway/sallyport/core/pluginlock"
)

// Candidate is a plugin that nobody added yet: what its entry in a list will
// say, but for the description.
type Candidate struct {
	Root  string // the directory that its file or directory is in
	Entry pluginlock.Plugin
}

// Find makes a Candidate of a file, or of a directory with an executable called
// "plugin". A script's interpreter is the one its first line names, unless
// interpreter names another.
func Find(path, interpreter string) (*Candidate, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	c := &Candidate{Root: filepath.Dir(path)}
	c.Entry.Main = filepath.Base(path)
	program := path
	if info.IsDir() {
		c.Entry.Main += "/" + pluginlock.MainName
		program = filepath.Join(path, pluginlock.MainName)
		if info, err = os.Stat(program); err != nil {
			return nil, fmt.Errorf("%s: a plugin that is a directory needs an executable called %q in it", path, pluginlock.MainName)
		}
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", program)
	}
	if !executable(info) {
		return nil, fmt.Errorf("%s is not executable: chmod +x it", program)
	}
	if c.Entry.Files, err = pluginlock.Survey(c.Root, c.Entry.Main); err != nil {
		return nil, err
	}
	if c.Entry.Interpreter, err = interpreterOf(program, interpreter); err != nil {
		return nil, fmt.Errorf("%s: %w", program, err)
	}
	if len(c.Entry.Interpreter) > 0 {
		if c.Entry.Read, err = interpreterDirs(c.Entry.Interpreter[0]); err != nil {
			return nil, fmt.Errorf("%s: %w", program, err)
		}
	}
	return c, nil
}

// Path is the plugin's file or directory.
func (c *Candidate) Path() string { return filepath.Join(c.Root, c.Entry.Top()) }

// Describe runs `describe`, confined as the plugin will be, and keeps what it
// prints in the entry.
func (c *Candidate) Describe(ctx context.Context, cfg Config, log *slog.Logger) (Described, error) {
	run, err := newRunDir(cfg.RunDir)
	if err != nil {
		return Described{}, err
	}
	defer run.close()
	s := newStarter()
	defer s.close()
	return c.describe(ctx, run, s, cfg, log)
}

func (c *Candidate) describe(ctx context.Context, run *runDir, s *starter, cfg Config, log *slog.Logger) (Described, error) {
	i := &image{run: run, root: c.Root, entry: c.Entry}
	defer i.drop()
	l, err := i.open()
	if err != nil {
		return Described{}, err
	}
	defer l.close()
	dir, err := run.process()
	if err != nil {
		return Described{}, err
	}
	defer os.RemoveAll(dir)
	cmd, err := mortalCommand(cfg.Launcher, l.launch(Launch{Args: []string{"describe"}, Dir: dir}), cfg.Unconfined)
	if err != nil {
		return Described{}, c.about(err)
	}
	out, err := describe(ctx, s, cmd, log.With("plugin", c.Entry.Top()))
	if err != nil {
		return Described{}, c.about(err)
	}
	if err := l.check(); err != nil {
		return Described{}, err
	}
	d, err := ParseDescription(out)
	if err != nil {
		return Described{}, fmt.Errorf("%s %w", c.Path(), err)
	}
	c.Entry.Description = out
	return d, nil
}

// about puts the plugin's path before an error.
func (c *Candidate) about(err error) error {
	if _, ok := errors.AsType[*startError](err); ok { // the rest of a sentence
		return fmt.Errorf("%s %w", c.Path(), err)
	}
	return fmt.Errorf("%s: %w", c.Path(), err)
}

// interpreterOf finds what runs the program: nothing for one of its own, else
// the interpreter that its first line or the operator names.
func interpreterOf(program, named string) ([]string, error) {
	f, err := os.Open(program)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	line, err := bufio.NewReaderSize(io.LimitReader(f, 512), 512).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	shebang, script := strings.CutPrefix(line, "#!")
	if !script {
		if runtime.GOOS == "linux" && !strings.HasPrefix(line, "\x7fELF") {
			return nil, errors.New("is no program for this machine, and no script with #! in its first line")
		}
		if named != "" {
			return nil, errors.New("is a program and needs no interpreter; leave out --interpreter")
		}
		return nil, nil
	}
	words := strings.Fields(shebang)
	if len(words) == 0 {
		return nil, errors.New(`its first line names no interpreter after the #! sign`)
	}
	if filepath.Base(words[0]) == "env" {
		words = words[1:]
		if len(words) > 0 && words[0] == "-S" {
			words = words[1:]
		}
		if len(words) == 0 || strings.HasPrefix(words[0], "-") || strings.Contains(words[0], "=") {
			return nil, fmt.Errorf("its first line %q is not understood; name the interpreter with --interpreter", strings.TrimSpace(line))
		}
	}
	// What the operator named or has installed may be a script that chooses; one
	// that the author gives would be run here, unconfined.
	mayChoose := named != "" || !strings.ContainsRune(words[0], '/')
	if named == "" {
		if named = environmentOf(filepath.Dir(program), words[0]); named != "" {
			mayChoose = false
		}
	}
	words[0], err = findInterpreter(cmp.Or(named, words[0]), mayChoose)
	return words, err
}

// environmentOf is the interpreter of the virtual environment that a Python
// program has beside it, or that is active: there the packages it imports are.
// A program that names its interpreter by a path gets this very one, so only an
// environment of the same.
func environmentOf(dir, name string) string {
	if !strings.HasPrefix(filepath.Base(name), "python") {
		return ""
	}
	for _, env := range []string{filepath.Join(dir, ".venv"), filepath.Join(dir, "venv"), os.Getenv("VIRTUAL_ENV")} {
		if env == "" {
			continue
		}
		for _, python := range []string{filepath.Base(name), "python3", "python"} {
			path := filepath.Join(env, "bin", python)
			if info, err := os.Stat(path); err == nil && executable(info) && (!strings.ContainsRune(name, '/') || sameProgram(path, name)) {
				return path
			}
		}
	}
	return ""
}

// sameProgram reports whether two paths lead to one file.
func sameProgram(a, b string) bool {
	x, err := filepath.EvalSymlinks(a)
	y, err2 := filepath.EvalSymlinks(b)
	return err == nil && err2 == nil && x == y
}

// findInterpreter makes a name or path absolute. Links stay: Python finds its
// environment by the name it is called by. In the place of a script that chooses
// among installed versions comes the program that it chooses, if mayChoose.
func findInterpreter(name string, mayChoose bool) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("its interpreter %q is not there; install it, or name another one with --interpreter", name)
	}
	if path, err = filepath.Abs(path); err != nil || !isScript(path) {
		return path, err
	}
	question := map[string][]string{"python": {"-c", "import sys; print(sys.executable)"}, "node": {"-p", "process.execPath"}}
	for language, args := range question {
		if !mayChoose || !strings.HasPrefix(filepath.Base(path), language) {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), describeWait)
		defer cancel()
		out, err := exec.CommandContext(ctx, path, args...).Output()
		if real := strings.TrimSpace(string(out)); err == nil && filepath.IsAbs(real) && !isScript(real) {
			return filepath.Clean(real), nil
		}
	}
	return "", fmt.Errorf("its interpreter %s is a script itself; name the program that it starts with --interpreter", path)
}

func isScript(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	head := make([]byte, 2)
	_, err = io.ReadFull(f, head)
	return err == nil && string(head) == "#!"
}
