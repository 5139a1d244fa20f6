package boot

import (
	"bufio"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// stdout keeps the handshake apart from what the author prints. The real
// stdout becomes a private descriptor that only go-plugin writes to; descriptor
// 1, which prints of earlier-made loggers and of C code go to, becomes a pipe
// whose lines are logged with a hint.
type stdout struct {
	real, pipe *os.File
	wg         sync.WaitGroup
}

func protectStdout() (*stdout, error) {
	fd, err := unix.FcntlInt(1, unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	if err := unix.Dup2(int(w.Fd()), 1); err != nil {
		unix.Close(fd)
		r.Close()
		w.Close()
		return nil, err
	}
	s := &stdout{real: os.NewFile(uintptr(fd), "stdout"), pipe: w}
	os.Stdout = s.real // go-plugin prints the handshake there, then puts a pipe of its own in its place
	s.wg.Go(func() { logPrints(r) })
	return s, nil
}

// close lets the logging of prints come to its end.
func (s *stdout) close() {
	s.pipe.Close()
	unix.Dup2(2, 1) // descriptor 1 was the other writer of the pipe
	s.wg.Wait()
	s.real.Close()
}

func logPrints(r *os.File) {
	defer r.Close()
	lines := bufio.NewReaderSize(r, 8<<10)
	for {
		line, _, err := lines.ReadLine() // a line longer than the buffer comes in pieces
		if err != nil {
			return
		}
		slog.Warn("plugin printed to stdout; log to stderr instead", "line", string(line))
	}
}

// setLogger makes slog's default logger, and with it the log package, write
// the JSON lines that the gateway reads from a plugin's stderr.
func setLogger(w io.Writer) {
	slog.SetDefault(slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) > 0 {
				return a
			}
			switch a.Key {
			case slog.TimeKey:
				return slog.String("@timestamp", a.Value.Time().Format("2006-01-02T15:04:05.000000Z07:00"))
			case slog.LevelKey:
				return slog.String("@level", strings.ToLower(a.Value.String()))
			case slog.MessageKey:
				return slog.Attr{Key: "@message", Value: a.Value}
			}
			return a
		},
	})))
}
