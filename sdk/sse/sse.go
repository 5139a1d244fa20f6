// Package sse reads a stream of server-sent events, as model providers send
// them. A reader keeps no event: the bytes it hands out are valid until the
// next one is read, so that a stream costs no allocation per event.
package sse

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
)

// MaxEvent is how many bytes of data one event may have: a whole answer that a
// provider sends as a single event fits, an endless line does not.
const MaxEvent = 32 << 20

// keep is how many bytes of buffer stay for the next event.
const keep = 1 << 20

// ErrTooLong is the error for an event or line of more than MaxEvent bytes.
var ErrTooLong = fmt.Errorf("server-sent event is longer than %d bytes", MaxEvent)

// Event is one event. Both members are valid until the next call of Next.
type Event struct {
	Name []byte // the `event` field; empty if not given
	Data []byte // the `data` fields, joined by line feeds
}

// Reader reads events. Fields other than event and data, and comments, are
// passed over.
type Reader struct {
	in   *bufio.Reader
	long []byte // a line longer than in's buffer
	name []byte
	data []byte
}

// NewReader reads events from r.
func NewReader(r io.Reader) *Reader { return &Reader{in: bufio.NewReaderSize(r, 16<<10)} }

// Next returns the next event that has data. At the end of the stream it
// returns io.EOF; data that was not ended by an empty line is still an event
// when the stream ended in io.EOF, and dropped when it was cut by any other
// error, which is returned. When ctx has ended it returns its cause, also
// while nothing but comments comes; a Read that hangs is the caller's to end.
func (r *Reader) Next(ctx context.Context) (Event, error) {
	r.name, r.data = r.name[:0], r.data[:0]
	if cap(r.data) > keep {
		r.data = nil // of a large event, which are rare
	}
	if cap(r.long) > keep {
		r.long = nil
	}
	some := false
	for {
		if ctx.Err() != nil {
			return Event{}, context.Cause(ctx)
		}
		line, long, err := r.line()
		if err != nil && !errors.Is(err, io.EOF) {
			return Event{}, err
		}
		if len(line) == 0 {
			if some {
				return Event{Name: r.name, Data: r.data}, nil
			}
			if err != nil {
				return Event{}, io.EOF
			}
			r.name = r.name[:0]
			continue
		}
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "data":
			if some {
				r.data = append(r.data, '\n')
			}
			if len(r.data)+len(value) > MaxEvent {
				return Event{}, ErrTooLong
			}
			if long && !some { // a large event is kept once, not twice
				r.data, r.long = value, r.data
			} else {
				r.data = append(r.data, value...)
			}
			some = true
		case "event":
			r.name = append(r.name[:0], value...)
		}
		if err != nil { // the last line had no line end
			if some {
				return Event{Name: r.name, Data: r.data}, nil
			}
			return Event{}, io.EOF
		}
	}
}

// line returns the next line without its end, and whether it lies in r.long;
// with io.EOF it may still hold the bytes after the last line end.
func (r *Reader) line() (line []byte, long bool, err error) {
	line, err = r.in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		r.long = r.long[:0]
		for errors.Is(err, bufio.ErrBufferFull) {
			if len(r.long)+len(line) > MaxEvent {
				return nil, false, ErrTooLong
			}
			r.long = append(r.long, line...)
			line, err = r.in.ReadSlice('\n')
		}
		r.long = append(r.long, line...)
		line, long = r.long, true
	}
	line = bytes.TrimSuffix(line, []byte("\n"))
	return bytes.TrimSuffix(line, []byte("\r")), long, err
}
