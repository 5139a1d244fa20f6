package provider

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"sync"
	"time"
)

// The frame format of the translators' data plane. sdk/proto/README.md
// describes it for authors in other languages; the two must agree.

// MaxFrame is the longest payload of a frame, in bytes: a body of 32 MiB with
// room for what is around it.
const MaxFrame = 36 << 20

// frameVersion is the version of the format that this sdk speaks.
const frameVersion = 1

// frameHeader is the length of u32 length and u8 type.
const frameHeader = 5

type frameType uint8

const (
	frameHello  frameType = 1 // gateway → plugin: u8 version, token
	frameReq    frameType = 2 // gateway → plugin: head, request
	frameUpHead frameType = 3 // gateway → plugin: status and headers of the reply
	frameUpData frameType = 4 // gateway → plugin: bytes of the reply
	frameUpEOF  frameType = 5 // gateway → plugin: the reply ended, or was cut

	frameAccept  frameType = 6  // gateway → plugin: head, body of a client's request
	frameIn      frameType = 7  // gateway → plugin: u8 flags, event to write for the client
	frameInErr   frameType = 8  // gateway → plugin: apierror; the events end in it
	frameInEnd   frameType = 9  // gateway → plugin: the events ended
	frameCountIn frameType = 10 // gateway → plugin: token count to write
	frameEmbedIn frameType = 11 // gateway → plugin: head, vectors to write

	frameUpReq frameType = 16 // plugin → gateway: head, body of the request to make
	frameEvent frameType = 17 // plugin → gateway: u8 flags, event
	frameErr   frameType = 18 // plugin → gateway: apierror; ends the exchange
	frameDone  frameType = 19 // plugin → gateway: ends the exchange
	frameEmbed frameType = 20 // plugin → gateway: head, vectors
	frameCount frameType = 21 // plugin → gateway: token count

	frameDialogue frameType = 22 // plugin → gateway: head, inner request that the client's became
	frameOut      frameType = 23 // plugin → gateway: bytes for the client
)

// Flags of an EVENT and of an IN frame.
const (
	eventUsage    = 1 << 0 // the event carries usage
	eventTerminal = 1 << 1 // the event is the last one
	eventShort    = 1 << 2 // texts that the deltas said are left out; see texts
)

// Sizes of the buffers of one connection.
const (
	readBuffer  = 32 << 10
	writeBuffer = 32 << 10
	growStep    = 1 << 20 // a long payload is read in steps, so that a length alone allocates little
)

// flushDelay is how long a frame may lie in the gateway's write buffer.
const flushDelay = time.Millisecond

// frameReader reads frames. It is used by one goroutine.
type frameReader struct {
	br   *bufio.Reader
	max  int
	lent int // bytes handed out by borrow, still in br
}

func newFrameReader(r io.Reader) *frameReader {
	return &frameReader{br: bufio.NewReaderSize(r, readBuffer), max: MaxFrame}
}

// buffered reports whether a read of the next frame would find bytes without
// waiting.
func (r *frameReader) buffered() bool { return r.br.Buffered() > r.lent }

// head reads the type and the length of the next frame. The error is io.EOF
// only between two frames.
func (r *frameReader) head() (frameType, int, error) {
	r.br.Discard(r.lent) // cannot fail: they are buffered
	r.lent = 0
	h, err := r.br.Peek(frameHeader)
	if err != nil {
		if err == io.EOF && len(h) > 0 {
			err = io.ErrUnexpectedEOF
		}
		return 0, 0, err
	}
	n, t := binary.BigEndian.Uint32(h), frameType(h[4])
	if int64(n) > int64(r.max) {
		return 0, 0, &frameError{fmt.Sprintf("frame of type %d claims %d bytes, more than %d", t, n, r.max)}
	}
	r.br.Discard(frameHeader)
	return t, int(n), nil
}

// payload reads the n bytes after a head into memory of their own.
func (r *frameReader) payload(n int) ([]byte, error) {
	b := make([]byte, min(n, growStep))
	at := 0
	for {
		if _, err := io.ReadFull(r.br, b[at:]); err != nil {
			return nil, midFrame(err)
		}
		at = len(b)
		if at == n {
			return b, nil
		}
		grown := make([]byte, min(n, 2*at))
		copy(grown, b)
		b = grown
	}
}

// borrow reads the n bytes after a head where they lie, when they fit: they are
// good until the next head.
func (r *frameReader) borrow(n int) ([]byte, error) {
	if n > r.br.Size() {
		return r.payload(n)
	}
	b, err := r.br.Peek(n)
	r.lent = len(b)
	return b, midFrame(err)
}

// follows reports whether a whole frame of type t lies ready behind the one that
// was borrowed.
func (r *frameReader) follows(t frameType) bool {
	n := r.br.Buffered() - r.lent - frameHeader
	if n < 0 {
		return false
	}
	b, err := r.br.Peek(r.lent + frameHeader)
	return err == nil && frameType(b[r.lent+4]) == t && int64(binary.BigEndian.Uint32(b[r.lent:])) <= int64(n)
}

// next reads a whole frame.
func (r *frameReader) next() (frameType, []byte, error) {
	t, n, err := r.head()
	if err != nil {
		return 0, nil, err
	}
	b, err := r.payload(n)
	return t, b, err
}

// skip passes over the n bytes after a head.
func (r *frameReader) skip(n int) error {
	_, err := r.br.Discard(n)
	return midFrame(err)
}

func midFrame(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// frameError is a breach of the format, as against a connection that ended.
type frameError struct{ msg string }

func (e *frameError) Error() string { return e.msg }

func unexpected(t frameType, when string) error {
	return &frameError{fmt.Sprintf("frame of type %d %s", t, when)}
}

// frameWriter writes frames. A frame is never split over two writes unless it is
// longer than the buffer: what does not fit behind other frames begins a write of
// its own. Frames wait in the buffer until flush, until the buffer is full, or for a delay: a timer costs as
// much as a write, since it wakes a thread, so who knows that a flush follows
// uses last.
type frameWriter struct {
	mu    sync.Mutex
	w     io.Writer
	buf   []byte
	err   error // first failed write; all later ones fail with it
	timer *time.Timer
	armed bool
	delay time.Duration // 0 means until flush
}

func newFrameWriter(w io.Writer) *frameWriter {
	return &frameWriter{w: w, buf: make([]byte, 0, writeBuffer), delay: flushDelay}
}

// frame adds one frame whose payload is the parts one after another.
func (w *frameWriter) frame(t frameType, parts ...[]byte) error { return w.add(t, false, parts) }

// last adds one frame and flushes.
func (w *frameWriter) last(t frameType, parts ...[]byte) error { return w.add(t, true, parts) }

func (w *frameWriter) add(t frameType, flush bool, parts [][]byte) error {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	if n > MaxFrame {
		return &frameError{fmt.Sprintf("frame of type %d has %d bytes, more than %d", t, n, MaxFrame)}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.buf)+frameHeader+n > cap(w.buf) {
		w.flushLocked()
	}
	if w.err != nil {
		return w.err
	}
	if frameHeader+n > cap(w.buf) {
		w.writeLong(t, n, parts)
		return w.err
	}
	if len(w.buf) == 0 && w.delay > 0 && !flush {
		w.arm()
	}
	w.buf = appendHeader(w.buf, t, n)
	for _, p := range parts {
		w.buf = append(w.buf, p...)
	}
	if flush {
		w.flushLocked()
	}
	return w.err
}

// fits reports whether a frame of these parts fits behind what is in the buffer.
func (w *frameWriter) fits(parts [][]byte) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(w.buf) + frameHeader
	for _, p := range parts {
		n += len(p)
	}
	return n <= cap(w.buf)
}

// writeLong writes a frame that is longer than the buffer, which is empty: what
// of it fits into that, and then part by part.
func (w *frameWriter) writeLong(t frameType, n int, parts [][]byte) {
	w.buf = appendHeader(w.buf, t, n)
	for ; len(parts[0]) <= cap(w.buf)-len(w.buf); parts = parts[1:] {
		w.buf = append(w.buf, parts[0]...)
	}
	w.flushLocked()
	for _, p := range parts {
		if w.err == nil {
			_, w.err = w.w.Write(p)
		}
	}
}

// waiting reports whether frames lie in the buffer and nobody is writing.
func (w *frameWriter) waiting() bool {
	if !w.mu.TryLock() {
		return false
	}
	defer w.mu.Unlock()
	return len(w.buf) > 0
}

func (w *frameWriter) arm() {
	w.armed = true
	if w.timer == nil {
		w.timer = time.AfterFunc(w.delay, func() { w.flush() })
		return
	}
	w.timer.Reset(w.delay)
}

// flush writes what waits in the buffer.
func (w *frameWriter) flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flushLocked()
	return w.err
}

// broken reports whether a write has failed.
func (w *frameWriter) broken() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err != nil
}

func (w *frameWriter) flushLocked() {
	if len(w.buf) == 0 || w.err != nil {
		return
	}
	if w.armed {
		w.timer.Stop()
		w.armed = false
	}
	_, w.err = w.w.Write(w.buf)
	w.buf = w.buf[:0]
}

func appendHeader(b []byte, t frameType, n int) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(n)), byte(t))
}
