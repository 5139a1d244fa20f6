package pluginhost

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"

	hclog "github.com/hashicorp/go-hclog"
)

const (
	maxLine  = 8 << 10 // a longer line of output is logged in pieces
	maxAttrs = 32      // of one log line of a plugin
)

// eachLine calls f for every line of r, without its end. Longer lines come in
// pieces.
func eachLine(r io.Reader, f func(line string)) {
	lines := bufio.NewReaderSize(r, maxLine)
	for {
		line, _, err := lines.ReadLine()
		if err != nil {
			return
		}
		f(string(line))
	}
}

// stderrLog turns the lines of a plugin's stderr into log records: JSON in
// hclog's form keeps level and attributes, a Go crash is an error, any other
// line a debug message. It remembers what best says why the process ended.
//
// go-plugin can do this too, but its reader trusts the types of the JSON
// members: a plugin that logs {"@message": 1} would crash the gateway.
type stderrLog struct {
	log *slog.Logger

	mu    sync.Mutex
	crash string // first line of a Go crash
	last  string // last line that may say why: a warning, an error, or text that is no log line
	wrote bool   // anything but empty lines
}

func (s *stderrLog) line(line string) {
	if strings.TrimSpace(line) == "" {
		return
	}
	level, msg, attrs, plain := parseLogLine(line)
	s.mu.Lock()
	if s.crash == "" && (strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ")) {
		s.crash = line
	}
	if s.crash != "" && level == slog.LevelDebug {
		level = slog.LevelError // the stack below
	}
	s.wrote = true
	if plain || level >= slog.LevelWarn {
		s.last = msg
	}
	s.mu.Unlock()
	s.log.LogAttrs(context.Background(), level, msg, attrs...)
}

// reason is the line that best explains the end of the process; "" if there is
// none.
func (s *stderrLog) reason() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.crash != "" {
		return s.crash
	}
	return s.last
}

// silent reports whether nothing was written.
func (s *stderrLog) silent() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.wrote
}

// parseLogLine reads a line in hclog's form; plain is any other.
func parseLogLine(line string) (level slog.Level, msg string, attrs []slog.Attr, plain bool) {
	if !strings.HasPrefix(line, "{") {
		return slog.LevelDebug, line, nil, true
	}
	var m map[string]any
	d := json.NewDecoder(bytes.NewReader([]byte(line)))
	d.UseNumber()
	if d.Decode(&m) != nil {
		return slog.LevelDebug, line, nil, true
	}
	msg, ok := m["@message"].(string)
	if !ok {
		return slog.LevelDebug, line, nil, true
	}
	name, _ := m["@level"].(string)
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if strings.HasPrefix(k, "@") || len(attrs) == maxAttrs {
			continue
		}
		attrs = append(attrs, slog.Any(k, m[k]))
	}
	return levelOf(name), msg, attrs, false
}

func levelOf(name string) slog.Level {
	switch strings.ToLower(name) {
	case "error":
		return slog.LevelError
	case "warn":
		return slog.LevelWarn
	case "info":
		return slog.LevelInfo
	}
	return slog.LevelDebug
}

// lineWriter gives whole lines of what is written to it to f.
type lineWriter struct {
	f   func(line string)
	buf []byte
}

func (w *lineWriter) Write(p []byte) (int, error) {
	w.buf = append(w.buf, p...)
	for {
		i := bytes.IndexByte(w.buf, '\n')
		if i < 0 && len(w.buf) < maxLine {
			return len(p), nil
		}
		end, skip := i, i+1
		if i < 0 {
			end, skip = len(w.buf), len(w.buf)
		}
		w.f(string(w.buf[:end]))
		w.buf = append(w.buf[:0], w.buf[skip:]...)
	}
}

// hclogSink brings what go-plugin itself logs into the gateway's log, as
// details: the host says what matters in its own words.
type hclogSink struct{ log *slog.Logger }

func (s hclogSink) Accept(_ string, level hclog.Level, msg string, args ...any) {
	if level <= hclog.Trace {
		return
	}
	s.log.Debug("go-plugin: "+msg, args...)
}

func newHclog(log *slog.Logger) hclog.Logger {
	l := hclog.NewInterceptLogger(&hclog.LoggerOptions{Level: hclog.Debug, Output: io.Discard})
	l.RegisterSink(hclogSink{log})
	return l
}
