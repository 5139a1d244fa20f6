package pluginhost

import (
	"errors"
	"fmt"
	"io/fs"
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
	p := pr.program
	if p == nil || p.ID() == "" { // no process came to be
		return "could not be started: " + startHint(err)
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
