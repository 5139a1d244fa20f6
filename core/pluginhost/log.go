package pluginhost

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

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
// Of a plugin that says more than its share the rest is counted, not logged.
//
// go-plugin can do this too, but its reader trusts the types of the JSON
// members: a plugin that logs {"@message": 1} would crash the gateway.
type stderrLog struct {
	log *slog.Logger

	mu     sync.Mutex
	share  share
	crash  string // first line of a Go crash
	last   string // last line that may say why: a warning, an error, or text that is no log line
	unread string // last line that was not logged, which may say why too
	wrote  bool   // anything but empty lines

	hint  string // what to do about a file that it may not open, see denied
	since int    // lines since then
}

func newStderrLog(log *slog.Logger) *stderrLog { return &stderrLog{log: log} }

func (s *stderrLog) line(line string) {
	if strings.TrimSpace(line) == "" {
		return
	}
	s.mu.Lock()
	s.wrote = true
	if s.crash == "" && (strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ")) {
		s.crash = line
	}
	crashed := s.crash != ""
	s.since++
	if hint := denied(line); hint != "" {
		if hint != s.hint {
			s.log.Warn("plugin " + hint)
		}
		s.hint, s.since = hint, 0
	}
	if !s.admit(len(line)) {
		s.unread = line
		s.mu.Unlock()
		return
	}
	level, msg, attrs, plain := parseLogLine(line)
	if crashed && level == slog.LevelDebug {
		level = slog.LevelError // the stack below
	}
	if plain || level >= slog.LevelWarn {
		s.last, s.unread = msg, ""
	}
	s.mu.Unlock()
	s.log.LogAttrs(context.Background(), level, msg, attrs...)
}

// stdout logs a line that the plugin printed where it should not.
func (s *stderrLog) stdout(line string) {
	s.mu.Lock()
	ok := s.admit(len(line))
	s.mu.Unlock()
	if ok {
		s.log.Warn("plugin printed to stdout; it should log to stderr", "line", line)
	}
}

// admit reports whether a line is logged, and tells from time to time how many
// were not. The lock is held.
func (s *stderrLog) admit(size int) bool {
	ok, dropped := s.share.admit(time.Now(), size)
	if dropped > 0 {
		s.told(dropped)
	}
	return ok
}

func (s *stderrLog) told(dropped int) {
	s.log.Warn(fmt.Sprintf("%d lines dropped: the plugin logs more than %d a second", dropped, linesPerSecond))
}

// end tells of lines that were dropped last.
func (s *stderrLog) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.share.dropped > 0 {
		s.told(s.share.dropped)
		s.share.dropped = 0
	}
}

// reason is the line that best explains the end of the process; "" if there is
// none.
func (s *stderrLog) reason() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if hint := s.advice(); hint != "" {
		return "it " + hint
	}
	if s.crash != "" {
		return s.crash
	}
	if s.unread != "" {
		if level, msg, _, plain := parseLogLine(s.unread); plain || level >= slog.LevelWarn {
			return msg
		}
	}
	return s.last
}

// silent reports whether nothing was written.
func (s *stderrLog) silent() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.wrote
}

// What a plugin may log. A longer line counts as several.
const (
	linesPerSecond = 200
	linesAtOnce    = 400
	lineBytes      = 1 << 10
	dropsTold      = time.Second // how often dropped lines are told of
)

// share is a plugin's share of the log, as a bucket that fills with time.
type share struct {
	used    float64 // lines, of linesAtOnce
	last    time.Time
	dropped int // since it was last told
	since   time.Time
}

// admit reports whether a line of size bytes may be logged, and how many were
// dropped when it is time to tell.
func (s *share) admit(now time.Time, size int) (ok bool, dropped int) {
	s.used = max(0, s.used-now.Sub(s.last).Seconds()*linesPerSecond)
	s.last = now
	if s.dropped > 0 && now.Sub(s.since) >= dropsTold {
		dropped, s.dropped = s.dropped, 0
	}
	if cost := 1 + float64(size/lineBytes); s.used+cost <= linesAtOnce {
		s.used += cost
		return true, dropped
	}
	if s.dropped == 0 {
		s.since = now
	}
	s.dropped++
	return false, dropped
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
