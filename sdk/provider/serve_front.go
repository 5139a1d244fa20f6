package provider

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// dialogue serves one ACCEPT, of n bytes. An error means that the connection is
// of no more use.
func (sc *serverConn) dialogue(n int) error {
	accept, err := sc.r.payload(n) // the body is the author's
	if err != nil {
		return err
	}
	ctx, cancel := sc.watcher.watch(sc)
	defer cancel()
	defer sc.watcher.leave(sc)

	r, err := parseAccept(accept)
	if err != nil {
		return err
	}
	d, err := sc.accept(ctx, r)
	if err != nil {
		return sc.fail(ctx, err)
	}
	b, err := appendDialogue(sc.scratch[:0], d)
	sc.scratch = keep(b)
	if err == nil {
		err = sc.w.last(frameDialogue, b)
	}
	if err != nil {
		closeUnused(d)
		return sc.fail(ctx, err)
	}
	in := &input{r: sc.r, w: sc.w}
	if in.next(); in.err != nil {
		closeUnused(d)
		return in.err // closed: the gateway gave the dialogue up
	}
	if err := sc.reply(ctx, d, in); err != nil {
		if err := sc.fail(ctx, err); err != nil {
			return err
		}
	} else if err := sc.end(frameDone); err != nil {
		return err
	}
	return in.drain()
}

func closeUnused(d Dialogue) {
	if c, ok := d.(io.Closer); ok {
		c.Close()
	}
}

// accept runs the author's Accept.
func (sc *serverConn) accept(ctx context.Context, r ClientRequest) (d Dialogue, err error) {
	defer survive(&err)
	d, err = sc.front.Accept(ctx, r)
	if err == nil && d == nil {
		err = errors.New("Accept returned neither a Dialogue nor an error")
	}
	return d, err
}

// reply runs the author's writer for what comes in.
func (sc *serverConn) reply(ctx context.Context, d Dialogue, in *input) (err error) {
	defer survive(&err)
	w := outWriter{sc.w}
	switch in.t {
	case frameCountIn:
		cw, ok := d.(CountWriter)
		if !ok {
			return errors.New("the dialogue writes no counts")
		}
		b, err := in.payload()
		if err != nil {
			return err
		}
		var c countBody
		if err := json.Unmarshal(b, &c); err != nil {
			return in.broken(&frameError{"count: " + err.Error()})
		}
		return cw.WriteCount(ctx, c.Tokens, w)
	case frameEmbedIn:
		ew, ok := d.(EmbedWriter)
		if !ok {
			return errors.New("the dialogue writes no vectors")
		}
		b, err := in.payload()
		if err != nil {
			return err
		}
		vs, usage, err := parseVectors(b)
		if err != nil {
			return in.broken(err)
		}
		return ew.WriteEmbed(ctx, vs, usage, w)
	}
	return d.Write(ctx, in.events(), w)
}

// outWriter sends what the author writes to the client, each Write as one frame.
type outWriter struct{ w *frameWriter }

func (o outWriter) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := o.w.frame(frameOut, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// input is what the gateway has the author write. Before a read that would wait
// what was written so far is sent.
type input struct {
	r     *frameReader
	w     *frameWriter
	t     frameType // of the frame whose head was read
	n     int       // length of its payload, as far as it was not read
	ended bool      // the last frame of the input was begun
	err   error     // what happened to the connection; nil as long as it goes on
	texts texts
}

// next reads the head of the next frame of the input.
func (in *input) next() {
	if !in.r.buffered() {
		if in.err = in.w.flush(); in.err != nil {
			return
		}
	}
	t, n, err := in.r.head()
	switch {
	case err != nil:
		in.err = midFrame(err)
		return
	case t == frameIn:
	case t == frameInErr, t == frameInEnd, t == frameCountIn, t == frameEmbedIn:
		in.ended = true
	default:
		in.err = unexpected(t, "among what is to be written")
		return
	}
	in.t, in.n = t, n
}

// payload reads the payload of the present frame. It is good until the next.
func (in *input) payload() ([]byte, error) {
	n := in.n
	in.n = 0
	b, err := in.r.borrow(n)
	if err != nil {
		in.err = err
	}
	return b, err
}

// broken notes that the connection cannot be used any more.
func (in *input) broken(err error) error {
	in.err = err
	return err
}

// events are the events that the gateway has the author write; the head of the
// first frame was read. A connection that ends among them is an error of the
// sequence.
func (in *input) events() iter.Seq2[openresponses.Event, error] {
	return func(yield func(openresponses.Event, error) bool) {
		for first := true; ; first = false {
			if !first {
				in.next()
			}
			ev, err := in.event()
			switch {
			case in.err != nil:
				yield(openresponses.Event{}, apierror.Wrap(apierror.Canceled, in.err, "The request was cancelled."))
				return
			case err != nil:
				yield(openresponses.Event{}, err)
				return
			case in.ended:
				return
			}
			if !yield(ev, nil) {
				return
			}
		}
	}
}

// event reads the present frame: an event, or the error that the events end in.
// What goes wrong with the connection is left in in.err.
func (in *input) event() (ev openresponses.Event, err error) {
	if in.err != nil || in.t == frameInEnd {
		return ev, nil
	}
	b, err := in.payload()
	switch {
	case err != nil:
		return ev, err
	case in.t == frameInErr:
		err := parseInErr(b)
		if _, broken := errors.AsType[*frameError](err); broken {
			in.err = err
		}
		return ev, err
	case in.t != frameIn || len(b) == 0:
		return ev, in.broken(unexpected(in.t, "among events"))
	}
	if ev, err = in.texts.parseEvent(b); err != nil {
		return ev, in.broken(err)
	}
	ev.More = in.r.follows(frameIn)
	return ev, nil
}

// drain passes over what the author did not read, so that the connection is at
// rest.
func (in *input) drain() error {
	for in.err == nil {
		if in.err = in.r.skip(in.n); in.err != nil {
			break
		}
		if in.n = 0; in.ended {
			return nil
		}
		in.next()
	}
	return in.err
}
