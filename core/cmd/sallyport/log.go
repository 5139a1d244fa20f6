//go:build unix

package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"
)

// logger writes lines of text to w, from that level on.
func logger(w io.Writer, level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("--log-level: %q is not debug, info, warn or error", level)
	}
	return slog.New(newLineHandler(w, &slog.HandlerOptions{Level: l})), nil
}

// lineHandler writes what slog.TextHandler writes, and makes the lines itself
// whose values are ASCII, numbers and yes or no: each request has such a line,
// which would cost it more than its permission check. Everything else, and what
// a logger with attributes of its own says, is left to the TextHandler.
type lineHandler struct {
	*slog.TextHandler
	w *oneWriter
}

func newLineHandler(w io.Writer, o *slog.HandlerOptions) lineHandler {
	one := &oneWriter{w: w}
	return lineHandler{slog.NewTextHandler(one, o), one}
}

// oneWriter has one line written at a time, whoever made it.
type oneWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (o *oneWriter) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.w.Write(b)
}

var lines = sync.Pool{New: func() any { return new(line) }}

// maxLine is the longest line whose memory is used again.
const maxLine = 16 << 10

func (h lineHandler) Handle(ctx context.Context, r slog.Record) error {
	l := lines.Get().(*line)
	l.b, l.odd = l.b[:0], r.Time.IsZero() || r.Time.Year() < 0 || r.Time.Year() > 9999
	var err error
	if l.record(&r); l.odd {
		err = h.TextHandler.Handle(ctx, r)
	} else {
		_, err = h.w.Write(l.b)
	}
	if cap(l.b) <= maxLine {
		lines.Put(l)
	}
	return err
}

// line is a line of text that is being made. odd means that something in it is
// not for us.
type line struct {
	b   []byte
	odd bool
}

func (l *line) record(r *slog.Record) {
	l.b = append(l.b, slog.TimeKey+"="...)
	at := len(l.b)
	// A tenth of a millisecond keeps zeros from being cut off, and goes again.
	l.b = r.Time.Round(0).Truncate(time.Millisecond).Add(time.Millisecond/10).AppendFormat(l.b, time.RFC3339Nano)
	const millis = len("2006-01-02T15:04:05.000")
	l.b = append(l.b[:at+millis], l.b[at+millis+1:]...)
	l.b = append(l.b, " "+slog.LevelKey+"="...)
	l.text(r.Level.String())
	l.b = append(l.b, " "+slog.MessageKey+"="...)
	l.text(r.Message)
	r.Attrs(l.attr)
	l.b = append(l.b, '\n')
}

// attr adds one attribute, and reports whether to go on.
func (l *line) attr(a slog.Attr) bool {
	l.b = append(l.b, ' ')
	l.text(a.Key)
	l.b = append(l.b, '=')
	switch v := a.Value; v.Kind() {
	case slog.KindString:
		l.text(v.String())
	case slog.KindInt64:
		l.b = strconv.AppendInt(l.b, v.Int64(), 10)
	case slog.KindFloat64:
		l.b = strconv.AppendFloat(l.b, v.Float64(), 'g', -1, 64)
	case slog.KindBool:
		l.b = strconv.AppendBool(l.b, v.Bool())
	default:
		l.odd = true
	}
	return !l.odd
}

// text adds s, in quotes where it would not read as one value.
func (l *line) text(s string) {
	quote := s == ""
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			l.odd = true
			return
		}
		quote = quote || s[i] <= ' ' || s[i] == '=' || s[i] == '"'
	}
	if quote {
		l.b = strconv.AppendQuote(l.b, s)
		return
	}
	l.b = append(l.b, s...)
}
