package provider

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"sync/atomic"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// Accept asks the plugin to read a client's request. A Dialogue whose reply will
// not be written should be closed: it is an io.Closer. One that is forgotten is
// closed when the garbage collector finds it.
func (c *Client) Accept(ctx context.Context, r ClientRequest) (Dialogue, error) {
	if ctx.Err() != nil {
		return nil, canceled(ctx)
	}
	begun := time.Now()
	cc, err := c.conn(ctx)
	if err != nil {
		return nil, err
	}
	h, again, err := cc.accept(ctx, r)
	if err != nil {
		c.release(cc, again)
		return nil, c.explain(ctx, err)
	}
	d := &dialogue{asked: h.Asked, short: h.Short}
	d.hold(c, cc, begun)
	switch {
	case h.Op == Embed && h.Embeds:
		return &embedDialogue{d}, nil
	case h.Op == CountTokens && h.Counts:
		return &countDialogue{d}, nil
	}
	return d, nil
}

// accept sends ACCEPT and reads the answer. again says that the connection can
// serve another dialogue although this one failed.
func (cc *clientConn) accept(ctx context.Context, r ClientRequest) (h dialogueHead, again bool, err error) {
	b := appendAccept(appendHeader(cc.out[:0], frameAccept, 0), r)
	payload, again, err := cc.ask(ctx, b, r.Body, frameDialogue)
	if err != nil {
		return h, again, err
	}
	h, err = parseDialogue(payload)
	return h, false, err
}

// dialogue is one client's request under way.
type dialogue struct {
	held
	asked Asked
	short bool // the plugin puts back texts that are left out
}

type (
	embedDialogue struct{ *dialogue }
	countDialogue struct{ *dialogue }
)

var (
	_ Dialogue    = (*dialogue)(nil)
	_ io.Closer   = (*dialogue)(nil)
	_ EmbedWriter = (*embedDialogue)(nil)
	_ CountWriter = (*countDialogue)(nil)
)

func (d *dialogue) Asked() Asked { return d.asked }

// Write reads events in the caller's goroutine and writes to w in one of its
// own, which has ended when Write returns; what is no stream and fits into a
// buffer needs none. Each write to w holds one or several of the plugin's.
func (d *dialogue) Write(ctx context.Context, events iter.Seq2[openresponses.Event, error], w io.Writer) error {
	return d.run(ctx, w, func(in *inward) error {
		events(in.take)
		switch {
		case in.left:
			return in.leftWith
		case !in.terminal:
			return in.fail(apierror.New(apierror.UpstreamFailed, "The reply stopped before its end; try again."))
		}
		return in.last(frameInEnd)
	})
}

func (d *embedDialogue) WriteEmbed(ctx context.Context, vectors [][]float32, usage *openresponses.Usage, w io.Writer) error {
	return d.run(ctx, w, func(in *inward) error {
		head, body, err := appendVectors(vectors, usage)
		if err != nil {
			return in.fail(err)
		}
		return in.last(frameEmbedIn, head, body)
	})
}

func (d *countDialogue) WriteCount(ctx context.Context, tokens int64, w io.Writer) error {
	return d.run(ctx, w, func(in *inward) error {
		j, err := json.Marshal(countBody{tokens})
		if err != nil {
			return in.fail(err)
		}
		return in.last(frameCountIn, j)
	})
}

// run has the reply written: send gives the plugin what to write, and what comes
// back goes to w.
func (d *dialogue) run(ctx context.Context, w io.Writer, send func(*inward) error) (err error) {
	if written := d.client.cfg.Written; written != nil {
		defer func() { written(d.begun, err) }()
	}
	cc := d.take()
	if cc == nil {
		return apierror.Wrap(apierror.Internal, errors.New("dialogue used twice, or closed"), "The gateway met an internal error.")
	}
	again := false // set when the connection has come to rest
	defer func() { d.client.release(cc, again) }()
	stop := context.AfterFunc(ctx, cc.cut)
	defer stop()

	in := newInward(cc, w, d.asked.Stream)
	back := &in.back
	if d.short {
		in.texts = &cc.texts
	}
	if in.stream {
		in.read()
	}
	defer func() {
		if !in.ended { // nor will it
			cc.interrupt()
		}
		if in.reading {
			<-back.done
		}
	}()
	err = send(in)
	if err == nil && !in.ended { // the plugin wanted no more
		err = in.last(frameInEnd)
	}
	if err != nil {
		cc.interrupt()
	}
	cc.plugin.Add(1) // it has everything
	if in.reading {
		<-back.done
	} else {
		back.run()
	}
	cc.plugin.Add(1)
	again = err == nil && back.ended && stop()
	said, isSaid := errors.AsType[*pluginError](back.err)
	_, isOurs := errors.AsType[*apierror.Error](err)
	switch {
	case back.failed != nil:
		return back.failed
	case cc.stuck.Load() && !back.ended:
		return d.client.explain(ctx, errStuck)
	case isSaid && in.failed != nil && sameError(said.err, apierror.From(in.failed)):
		return in.failed
	case isOurs:
		return err
	case back.err != nil:
		return d.client.explain(ctx, back.err)
	case err != nil:
		return d.client.explain(ctx, err)
	}
	return nil
}

// inward sends the plugin what it is to write for the client.
type inward struct {
	cc      *clientConn
	back    backward
	stream  bool
	reading bool   // back runs in a goroutine
	ended   bool   // the last frame was sent
	failed  error  // what the plugin was told instead of more events
	texts   *texts // nil when the plugin wants them all

	terminal bool  // the terminal event was sent
	left     bool  // take wants no more events
	leftWith error // what came of that
}

func newInward(cc *clientConn, w io.Writer, stream bool) *inward {
	if cc.in == nil {
		cc.in = &frameWriter{w: cc.c, buf: cc.out[:0]}
	}
	cc.in.delay = 0 // nothing leaves the plugin before it has everything
	if stream {
		cc.in.delay = flushDelay
	}
	return &inward{cc: cc, back: backward{cc: cc, w: w}, stream: stream}
}

// read begins to read what the plugin writes.
func (in *inward) read() {
	in.reading = true
	in.back.done = make(chan struct{})
	go func() {
		defer close(in.back.done)
		in.back.run()
	}()
}

// take sends what an iterator gives, and reports whether it wants more.
func (in *inward) take(ev openresponses.Event, err error) bool {
	switch {
	case in.left:
		return false
	case err != nil:
		in.leftWith = in.fail(err)
	default:
		in.terminal = in.terminal || ev.IsTerminal()
		in.leftWith = in.event(&ev, in.stream && !ev.More && !in.terminal)
	}
	in.left = err != nil || in.leftWith != nil || in.back.over.Load()
	return !in.left
}

// event sends an event, at once or with those behind it.
func (in *inward) event(ev *openresponses.Event, flush bool) error {
	b := in.texts.appendEvent(in.cc.put[:0], ev)
	in.cc.put = keep(b)
	return in.frame(frameIn, flush, b)
}

// fail sends the error that the events end in.
func (in *inward) fail(err error) error {
	in.failed = err
	j, merr := json.Marshal(apierror.From(err))
	if merr != nil {
		return merr
	}
	return in.last(frameInErr, j)
}

// last sends the last frame.
func (in *inward) last(t frameType, parts ...[]byte) error {
	err := in.frame(t, true, parts...)
	in.ended = err == nil
	return err
}

func (in *inward) frame(t frameType, flush bool, parts ...[]byte) error {
	if !in.reading && !in.cc.in.fits(parts) { // more than the plugin may take before it has written something
		in.read()
	}
	in.cc.plugin.Add(1)
	err := in.cc.in.add(t, flush, parts)
	in.cc.plugin.Add(1)
	if _, long := errors.AsType[*frameError](err); long {
		return apierror.Wrap(apierror.TooLarge, err, "The reply is too large: a part of it has more than %d bytes.", MaxFrame)
	}
	return err
}

// sameError reports whether an error came back as it went.
func sameError(a, b *apierror.Error) bool { return a.Code == b.Code && a.Message == b.Message }

// backward carries what the plugin writes to the client.
type backward struct {
	cc   *clientConn
	w    io.Writer
	over atomic.Bool // nothing more will be written

	done   chan struct{} // closed at the end, where run has a goroutine of its own
	ended  bool          // by DONE or ERR; this and the next two are valid after the end
	err    error         // what the plugin said, or what happened to the connection
	failed error         // of w
}

func (b *backward) run() {
	defer b.over.Store(true)
	for {
		t, n, err := b.cc.r.head()
		if err == nil && t == frameOut {
			err = b.out(n)
			if b.failed != nil {
				b.cc.interrupt() // nobody is there to read the rest
				return
			}
			if err == nil {
				continue
			}
		}
		if err != nil {
			b.err = midFrame(err)
			return
		}
		payload, err := b.cc.r.payload(n)
		switch {
		case err != nil:
			b.err = err
		case t == frameDone:
			b.ended = true
		case t == frameErr:
			b.err = parseErr(payload)
			_, b.ended = errors.AsType[*pluginError](b.err)
		default:
			b.err = unexpected(t, "among bytes for the client")
		}
		if b.err != nil && !b.ended {
			b.cc.interrupt()
		}
		return
	}
}

// out writes the present frame, of n bytes, and those that lie ready behind it.
func (b *backward) out(n int) error {
	r := b.cc.r
	p, err := r.borrow(n)
	if err != nil {
		return err
	}
	if r.follows(frameOut) {
		all := append(b.cc.got[:0], p...)
		for r.follows(frameOut) {
			if _, n, err = r.head(); err != nil {
				return err
			}
			if p, err = r.borrow(n); err != nil {
				return err
			}
			all = append(all, p...)
		}
		p, b.cc.got = all, all
	}
	b.cc.client.Add(1)
	_, b.failed = b.w.Write(p)
	b.cc.client.Add(1)
	return nil
}
