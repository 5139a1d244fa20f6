package pluginhost

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/sallyport-gateway/sallyport/core/pluginlock"
)

// image is the content of a plugin as its list says it is. Each start checks
// that the files are still those, and runs what was checked, not what has the
// same name a moment later: a program of one file is executed through the
// descriptor that was read, scripts and directories from a private copy that
// was checked while it was made.
type image struct {
	run   *runDir
	root  string // directory that the entry's paths are relative to
	entry pluginlock.Plugin

	trouble atomic.Pointer[string] // what the last check found wrong, nil if nothing

	mu      sync.Mutex
	copied  string // private copy, "" until it is needed
	users   int    // starts that are not closed
	dropped bool   // remove the copy when the last user is gone
}

// loaded is an image ready for one start. Close it when the process has ended.
type loaded struct {
	image *image
	path  string   // of the program
	file  *os.File // to execute, nil when path is in the private copy
	stamp pluginlock.Stamp
	files string // the private copy, "" for a program of one file
}

// trustError is a plugin whose files are not what was accepted.
type trustError struct{ err error }

func (e *trustError) Error() string { return "is not run: " + e.err.Error() }

func (e *trustError) Unwrap() error { return e.err }

// verify checks all files of the image and remembers the outcome.
func (i *image) verify() error {
	err := i.entry.Verify(i.root)
	i.note(err)
	return err
}

func (i *image) note(err error) {
	if err == nil {
		i.trouble.Store(nil)
		return
	}
	text := err.Error()
	i.trouble.Store(&text)
}

// wrong is what the last check found wrong, "" if nothing.
func (i *image) wrong() string {
	if text := i.trouble.Load(); text != nil {
		return *text
	}
	return ""
}

// load checks the image and makes it ready for a start. What is not what the
// list says is a *trustError.
func (i *image) load() (*loaded, error) {
	l, err := i.open()
	if err != nil {
		err = &trustError{err}
	}
	i.note(err)
	return l, err
}

func (i *image) open() (*loaded, error) {
	if i.entry.Dir() == "" && len(i.entry.Interpreter) == 0 {
		f, stamp, err := i.entry.Open(i.root)
		if err != nil {
			return nil, err
		}
		return &loaded{image: i, path: filepath.Join(i.root, i.entry.Main), file: f, stamp: stamp}, nil
	}
	if err := i.entry.Verify(i.root); err != nil {
		return nil, err
	}
	if err := checkInterpreter(i.entry.Interpreter); err != nil {
		return nil, err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.copied == "" {
		dir, err := i.run.process()
		if err != nil {
			return nil, err
		}
		if err := i.entry.Copy(i.root, dir); err != nil {
			os.RemoveAll(dir)
			return nil, err
		}
		i.copied = dir
	}
	i.users++
	return &loaded{image: i, path: filepath.Join(i.copied, filepath.FromSlash(i.entry.Main)), files: i.copied}, nil
}

// check tells, once the program runs, whether it is the one that load checked:
// between the two somebody may have written into the file.
func (l *loaded) check() error {
	if l.file == nil {
		return nil
	}
	if err := pluginlock.Unchanged(l.file, l.stamp); err != nil {
		return &trustError{err}
	}
	return nil
}

// runnable tells a program that the kernel would not execute.
func (l *loaded) runnable() error {
	if l.file == nil {
		return nil
	}
	info, err := l.file.Stat()
	if err == nil && !executable(info) {
		err = fmt.Errorf("could not be started: %s is not executable; chmod +x it", l.path)
	}
	return err
}

// launch fills in what the image decides of a start.
func (l *loaded) launch(to Launch) Launch {
	to.Path, to.File, to.Files = l.path, l.file, l.files
	to.Interpreter = l.image.entry.Interpreter
	to.Read = append(to.Read, l.image.entry.Read...)
	return to
}

func (l *loaded) close() {
	if l.file != nil {
		l.file.Close()
		return
	}
	l.image.leave()
}

func (i *image) leave() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.users--
	i.tidy()
}

// drop says that no new process will be started. The copy goes when the last
// one has ended.
func (i *image) drop() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.dropped = true
	i.tidy()
}

func (i *image) tidy() {
	if i.dropped && i.users == 0 && i.copied != "" {
		os.RemoveAll(i.copied)
		i.copied = ""
	}
}

// verifyAll checks the files of all plugins in the background, one after the
// other, so that an operator learns of a changed one before it is needed.
func (h *Host) verifyAll(ps []*plugin) {
	for _, p := range ps {
		if h.ctx.Err() != nil {
			return
		}
		if !p.usable() {
			continue
		}
		if err := p.image.verify(); err != nil {
			h.log.Error("plugin refused", "path", p.path, "reason", err)
		}
	}
}

// Problems has a sentence for every plugin that is not used, and for every one
// that could not be started again, after their files were checked.
func (h *Host) Problems() []string {
	h.verifying.Wait()
	h.mu.Lock()
	changed := make(map[string]bool)
	for _, p := range h.plugins {
		changed[p.path] = p.usable() && p.image.wrong() != ""
	}
	h.mu.Unlock()
	var lines []string
	for _, i := range h.Plugins() {
		if i.State == Refused || i.State == Unlisted || changed[i.Path] {
			lines = append(lines, fmt.Sprintf("plugin %s: %s", i.Name, i.LastError))
		}
	}
	return lines
}
