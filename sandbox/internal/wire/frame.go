// Package wire is what the process that uses the sandbox and its workers say to
// each other over a socketpair: frames of bounded size, many sessions at once.
// The one rule: whatever comes from a worker may be written by model code that
// has taken it over, so that reading it costs bounded memory and work and fails
// with ErrMalformed at worst.
//
// A message is one frame, or several of the same kind, session and call of
// which all but the last have More. Frames of different messages may take
// turns, so that an interrupt passes a long program. Descriptors go to workers
// only.
package wire

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// A Kind says what a message means.
type Kind uint8

// To a worker.
const (
	KindSetup     Kind = 1 + iota // Setup; once, as the first
	KindOpen                      // Open: a session begins
	KindExec                      // Exec: a call begins, which is answered by one KindResult or KindError
	KindRead                      // name of a file in tmp, of a trusted session: KindData until KindResult
	KindInterrupt                 // the call is to end, its state kept
	KindKill                      // the call is to end
	KindClose                     // the session ends; answered by KindClosed
	KindAdmit                     // the call, which was asleep, may go on
)

// From a worker.
const (
	KindReady  Kind = 0x81 + iota // Ready; once, as the first
	KindFailed                    // instead of KindReady: text that says why
	KindResult                    // Result of a call
	KindError                     // text: the call did not take place
	KindData                      // a part of a file; single frames
	KindClosed                    // nothing of the session is left
	KindAsleep                    // the call only waits for time to pass
	KindAwake                     // it no longer does, and waits for KindAdmit
)

// MaxPayload is the most bytes of one frame's payload. A frame with More and
// without descriptors is exactly as long.
const MaxPayload = 64 << 10

// Nap is how long a call sleeps before a worker says so.
const Nap = 20 * time.Millisecond

// MaxFiles is the most descriptors beside one frame.
const MaxFiles = 16

const (
	headerSize = 16
	flagMore   = 1
)

// ErrMalformed says that the peer did not keep to the protocol.
var ErrMalformed = errors.New("malformed frame")

// Frame is a frame as it is on the wire.
type Frame struct {
	Kind    Kind
	More    bool
	Files   int // descriptors beside it
	Session uint32
	Call    uint32
	Payload []byte // valid until the next frame is read
}

// appendHeader writes the header of f, whose payload has n bytes.
func appendHeader(b []byte, f Frame, n int) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(n))
	var flags byte
	if f.More {
		flags = flagMore
	}
	b = append(b, byte(f.Kind), flags, byte(f.Files), 0)
	b = binary.LittleEndian.AppendUint32(b, f.Session)
	return binary.LittleEndian.AppendUint32(b, f.Call)
}

// Reader reads frames.
type Reader struct {
	r   *bufio.Reader
	buf []byte
}

// NewReader reads frames from r.
func NewReader(r io.Reader) *Reader {
	return &Reader{r: bufio.NewReaderSize(r, 16<<10)}
}

// Wait returns when there is something for Next to read, and fails when that is
// the end.
func (r *Reader) Wait() error {
	_, err := r.r.Peek(1)
	return err
}

// Next reads a frame. It fails with io.EOF between two frames, and with
// ErrMalformed when the bytes are none.
func (r *Reader) Next() (Frame, error) {
	head, err := r.r.Peek(headerSize)
	if err != nil {
		if errors.Is(err, io.EOF) && len(head) > 0 {
			err = fmt.Errorf("%w: it ends in its header", ErrMalformed)
		}
		return Frame{}, err
	}
	n := binary.LittleEndian.Uint32(head)
	f := Frame{
		Kind: Kind(head[4]), More: head[5]&flagMore != 0, Files: int(head[6]),
		Session: binary.LittleEndian.Uint32(head[8:]), Call: binary.LittleEndian.Uint32(head[12:]),
	}
	switch {
	case head[5]&^flagMore != 0 || head[7] != 0:
		return Frame{}, fmt.Errorf("%w: unknown flags", ErrMalformed)
	case n > MaxPayload:
		return Frame{}, fmt.Errorf("%w: payload of %d bytes", ErrMalformed, n)
	case f.Files > MaxFiles:
		return Frame{}, fmt.Errorf("%w: %d descriptors", ErrMalformed, f.Files)
	case f.More && n != MaxPayload && f.Files == 0:
		return Frame{}, fmt.Errorf("%w: a part of %d bytes", ErrMalformed, n)
	}
	r.r.Discard(headerSize) // it was peeked at
	if cap(r.buf) < int(n) {
		r.buf = make([]byte, max(int(n), 4<<10))
	}
	f.Payload = r.buf[:n]
	if _, err := io.ReadFull(r.r, f.Payload); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("%w: it ends in its payload", ErrMalformed)
		}
		return Frame{}, err
	}
	return f, nil
}
