package egress

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

const (
	maxErrorBody  = 256 << 10
	errorBodyWait = 10 * time.Second
	finishBytes   = 64 << 10
	finishWait    = 50 * time.Millisecond
)

// Body is a response's body: decompressed, bounded, and never silent for
// longer than the idle timeout. Read gives io.EOF when the service ended the
// body in good order, and otherwise an *Error of kind Idle, Cut, Canceled,
// TooLarge or Encoding. One goroutine reads it.
type Body struct {
	acc    *Account
	parent context.Context // the caller's; only its end is asked for
	ending ending
	raw    io.ReadCloser
	src    io.Reader
	scrub  scrubber // src, where the key is looked for
	idle   time.Duration
	wait   time.Duration // for the first byte: what is left of that bound
	begun  bool          // a byte came
	left   int64
	err    error // what every further Read gives

	// Who waits says until when; the timer looks now and then. To move the timer
	// for each piece of a stream would cost more than to read it.
	until atomic.Int64 // on the clock of started; 0 while nobody waits
	step  atomic.Int64 // how often the timer looks while nobody waits
	head  atomic.Bool  // the head is waited for: the timer ends that
	timer *time.Timer
}

// started is where the clock of Body.until begins.
var started = time.Now()

// await makes the Body of an answer that is asked for now, and bounds the wait
// for its head.
func (a *Account) await(parent context.Context) *Body {
	b := &Body{acc: a, parent: parent, idle: a.idle, left: a.maxBody}
	b.step.Store(int64(min(a.idle, 100*time.Millisecond)))
	b.head.Store(true)
	b.timer = time.AfterFunc(a.firstByte, b.look)
	return b
}

// answered ends the wait for the head, and reports whether it came in time.
func (b *Body) answered() bool { return b.head.CompareAndSwap(true, false) }

// ended is why the service's side was ended from here, nil while it was not.
func (b *Body) ended() error { return b.ending.why() }

// drop lets go of an answer that nobody reads.
func (b *Body) drop() {
	b.timer.Stop()
	b.ending.end(errClosed)
}

// open prepares the body of res for reading. Its first byte may take as long
// as wait: services send a head at once and then think.
func (b *Body) open(res *http.Response, wait time.Duration) error {
	a := b.acc
	b.raw, b.src, b.wait = res.Body, res.Body, max(wait, time.Millisecond)
	step := min(a.idle, max(b.wait, 100*time.Millisecond))
	b.step.Store(int64(step))
	if step < wait { // else the timer is early enough as it is
		b.timer.Reset(step)
	}
	enc := strings.ToLower(strings.TrimSpace(strings.Join(res.Header.Values("Content-Encoding"), ",")))
	switch enc {
	case "", "identity":
	case "gzip", "x-gzip", "deflate":
		// The reader is made at the first Read, which is under the timer:
		// making it reads the head of the compressed data.
		b.src = &inflater{from: res.Body, gzip: enc != "deflate"}
		res.Header.Del("Content-Encoding")
	default:
		b.Close()
		return &Error{Kind: Encoding, Account: a.name, Sent: true, Text: "the service compressed its response in a way that was not asked for"}
	}
	return nil
}

// Read reads the next piece.
func (b *Body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1] // one byte beyond shows that there is more
	}
	wait := b.idle
	if !b.begun {
		wait = b.wait
	}
	b.until.Store(int64(time.Since(started) + wait))
	n, err := b.src.Read(p)
	b.until.Store(0)
	b.begun = b.begun || n > 0
	if int64(n) > b.left {
		n, err = int(b.left), &Error{Kind: TooLarge, Account: b.acc.name, Sent: true,
			Text: "the service's response is longer than is accepted"}
	}
	b.left -= int64(n)
	if err != nil {
		b.err = b.failure(err)
		if b.err != io.EOF {
			b.ending.end(errClosed)
		}
	}
	return n, b.err
}

// look ends the service's side when it was waited for too long. Only the timer
// calls it, never twice at once.
func (b *Body) look() {
	until, now := time.Duration(b.until.Load()), time.Since(started)
	switch {
	case b.ended() != nil || b.parent.Err() != nil:
	case b.head.CompareAndSwap(true, false):
		b.ending.end(errFirstByte)
	case until == 0:
		b.timer.Reset(time.Duration(b.step.Load()))
	case now >= until:
		b.ending.end(errIdle)
	default:
		b.timer.Reset(until - now)
	}
}

// failure turns an error of the transport or of decompression into ours.
func (b *Body) failure(err error) error {
	if err == io.EOF {
		return err
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	e := &Error{Account: b.acc.name, Sent: true}
	var corrupt flate.CorruptInputError
	switch cause := b.ended(); {
	case b.parent.Err() != nil:
		e.Kind, e.Text, e.cause = Canceled, "the request was cancelled", b.parent.Err()
	case cause == errClosed:
		e.Kind, e.Text = Canceled, "the response was closed"
	case cause == errIdle && !b.begun:
		return b.acc.late()
	case cause == errIdle:
		e.Kind, e.After = Idle, b.idle
		e.Text = fmt.Sprintf("the service sent nothing more for %s", b.idle)
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum), errors.Is(err, zlib.ErrHeader),
		errors.Is(err, zlib.ErrChecksum), errors.As(err, &corrupt):
		e.Kind, e.Text = Encoding, "the service's compressed response is damaged"
	default:
		e.Kind, e.Text = Cut, "the service cut its response ("+reason(err, b.acc.known())+")"
	}
	return e
}

// Cancel ends the service's side at once, and with it a Read that waits. Any
// goroutine may call it; the owner still closes the body.
func (b *Body) Cancel() { b.ending.end(errClosed) }

// Close ends the response; when it was not read to its end, the service's
// side is cancelled too.
func (b *Body) Close() error {
	if b.err == nil {
		b.err = &Error{Kind: Canceled, Account: b.acc.name, Sent: true, Text: "the response was closed"}
	}
	b.drop()
	return b.raw.Close()
}

// Finish closes a response of which everything of interest was read. It gives
// the service a moment to end it in good order, so that the connection can be
// used again: at most 50 ms and 64 KiB.
func (b *Body) Finish() {
	if b.err == nil {
		b.idle, b.wait = finishWait, finishWait
		late := time.AfterFunc(finishWait, func() { b.ending.end(errIdle) })
		_, _ = io.CopyN(io.Discard, b, finishBytes) // how it ends does not matter any more
		late.Stop()
	}
	b.Close()
}

// slurp reads the body of an error answer whole, as far as it comes, and takes
// the key out of it: services repeat what they refuse.
func (b *Body) slurp(find *finder) {
	b.idle, b.wait = min(b.idle, errorBodyWait), min(b.wait, errorBodyWait)
	late := time.AfterFunc(errorBodyWait, func() { b.ending.end(errIdle) })
	defer late.Stop()
	// The key goes before the cut, or a part of it would stay at the cut. The
	// status says more than how its body ended.
	text, _ := io.ReadAll(io.LimitReader(find.reader(b), maxErrorBody))
	b.Close()
	b.src, b.err, b.left = bytes.NewReader(text), nil, int64(len(text))
}

// inflater decompresses gzip, or deflate in its zlib or raw form. Output is
// bounded by the Body around it.
type inflater struct {
	from io.Reader
	gzip bool
	r    io.Reader
}

func (f *inflater) Read(p []byte) (int, error) {
	if f.r == nil {
		if err := f.start(); err != nil {
			return 0, err
		}
	}
	return f.r.Read(p)
}

func (f *inflater) start() error {
	if f.gzip {
		r, err := gzip.NewReader(f.from)
		if err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		f.r = r
		return nil
	}
	var head [2]byte
	if _, err := io.ReadFull(f.from, head[:]); err != nil {
		return io.ErrUnexpectedEOF
	}
	whole := io.MultiReader(bytes.NewReader(head[:]), f.from)
	if head[0]&0x0f == 8 && (int(head[0])<<8|int(head[1]))%31 == 0 {
		r, err := zlib.NewReader(whole)
		if err != nil {
			return err
		}
		f.r = r
		return nil
	}
	f.r = flate.NewReader(whole)
	return nil
}
