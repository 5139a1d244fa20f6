package pluginhost

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/boot"
)

// startError is a failed start that already says what happened, as the rest of
// a sentence about the plugin.
type startError struct{ msg string }

func (e *startError) Error() string { return e.msg }

// explain says what a failed start was, as the rest of a sentence that begins
// with the plugin's name.
func (pr *process) explain(err error, timeout time.Duration) string {
	if e, ok := errors.AsType[*startError](err); ok {
		return e.msg
	}
	if e, ok := errors.AsType[*trustError](err); ok {
		return e.Error()
	}
	p := pr.program
	if p == nil || p.ID() == "" { // no process came to be
		return "could not be started: " + startHint(err)
	}
	select {
	case <-p.dead: // its last words may not have been read yet
		waitClosed(p.ended, stopGrace)
	default:
	}
	if line, ok := p.firstLine(); ok && !isHandshake(line) {
		return fmt.Sprintf("printed %q to stdout before the handshake; log to stderr", shorten(line))
	} else if ok {
		if version := strings.Split(line, "|")[1]; version != strconv.Itoa(boot.Protocol) {
			return fmt.Sprintf("speaks protocol %s, this gateway speaks %d", shorten(version), boot.Protocol)
		}
	}
	_, shook := p.firstLine()
	switch {
	case !waitClosed(p.ended, stopGrace) || shook && p.killedByUs():
		return "failed to start: " + shorten(err.Error())
	case !p.killedByUs():
		if hint := p.advice(); hint != "" {
			return hint
		}
		return p.exitReason(" at once")
	case time.Since(pr.started) < timeout:
		return "closed its stdout before the handshake"
	}
	msg := fmt.Sprintf("did not finish its handshake in %s", timeout)
	if line := p.stderr.reason(); line != "" {
		msg += "; the last it said was: " + shorten(line)
	}
	return msg
}

// hintLines is how long a hint counts as what the program ended of.
const hintLines = 25

// advice says what to do when the program seems to have ended of a file that it
// may not open, "" else. The lock is held.
func (s *stderrLog) advice() string {
	if s.hint != "" && (s.crash == "" && s.since < hintLines || denied(s.crash) != "") {
		return s.hint
	}
	return ""
}

func (p *program) advice() string {
	p.stderr.mu.Lock()
	defer p.stderr.mu.Unlock()
	return p.stderr.advice()
}

func isHandshake(line string) bool {
	parts := strings.Split(strings.TrimSpace(line), "|")
	if len(parts) < 4 {
		return false
	}
	_, err := strconv.Atoi(parts[0])
	_, err2 := strconv.Atoi(parts[1])
	return err == nil && err2 == nil
}

func startHint(err error) string {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return "permission denied; make the file executable for the gateway's user (chmod +x), on a file system mounted without noexec"
	case errors.Is(err, syscall.ENOEXEC):
		return "it is not a program for this machine (exec format error)"
	case errors.Is(err, fs.ErrNotExist):
		return "the file, or the interpreter its first line names, does not exist"
	}
	return shorten(err.Error())
}

// denials are the forms in which programs say that they could not open a file:
// Go, Python, its importer, Node, and the dynamic loader. The first group is
// the path or the name.
var denials = []struct {
	form *regexp.Regexp
	hint func(name string) string
}{
	{regexp.MustCompile(`[Pp]ermission denied: '(/[^']+)'`), mayNotOpen},
	{regexp.MustCompile(`can't open file '(/[^']+)': \[Errno 13\]`), mayNotOpen},
	{regexp.MustCompile(`EACCES: permission denied, \w+ '(/[^']+)'`), mayNotOpen},
	{regexp.MustCompile(`(?:open|stat|fork/exec) (/[^:"]+): (?:permission denied|operation not permitted)`), mayNotOpen},
	{regexp.MustCompile(`(/\S+): cannot open shared object file: Permission denied`), mayNotOpen},
	{regexp.MustCompile(`libraries: ([^/\s]+): cannot open shared object file`), func(name string) string {
		return fmt.Sprintf("needs the library %s, which is in no directory that it may read; %s", name, nameDirectory)
	}},
	{regexp.MustCompile(`ModuleNotFoundError: No module named '([^']+)'`), func(name string) string {
		return fmt.Sprintf("cannot import the Python module %q: it is in no directory that the plugin may read. Install it into the plugin's .venv, or %s", name, nameDirectory)
	}},
	{regexp.MustCompile(`Cannot find (?:module|package) '([^']+)'`), func(name string) string {
		return fmt.Sprintf("cannot load the Node module %q: it is in no directory that the plugin may read. Install it into the plugin's node_modules, or %s", name, nameDirectory)
	}},
}

const nameDirectory = "name the directory that has it in the manifest's requires.read and add the plugin again, or run: sallyport plugin add --read DIRECTORY"

// mayNotOpen says what to do about a path that exists: it is to be read. To
// make one is nothing that a plugin is ever allowed.
func mayNotOpen(path string) string {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return fmt.Sprintf("may not make %s: plugins write no files", path)
	}
	return fmt.Sprintf("may not read %[1]s; name it in the manifest's requires.read and add the plugin again, or run: sallyport plugin add --read %[1]s", path)
}

// denied says, as the rest of a sentence about the plugin, what to do about a
// line of its output that tells of a file it may not open; "" for other lines.
func denied(line string) string {
	if !strings.Contains(line, "denied") && !strings.Contains(line, "not permitted") && !strings.Contains(line, "Errno 13") &&
		!strings.Contains(line, "shared object") && !strings.Contains(line, "No module") && !strings.Contains(line, "Cannot find") {
		return ""
	}
	for _, d := range denials {
		if m := d.form.FindStringSubmatch(line); m != nil {
			return d.hint(shorten(m[1]))
		}
	}
	return ""
}
