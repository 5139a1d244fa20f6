package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/golden"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// front is a dialogue with a client to check a plugin with: one of the author's.
type front struct {
	*golden.Front
	archive *golden.Archive
	asked   provider.Asked
	reply   string // the section reply; "" with accepted false when there is none

	accepted bool
	answered bool // there is a reply
}

func (f *front) name() string { return "the dialogue " + golden.FrontDir + "/" + f.archive.Name() }

// noFronts says why the checks of surfaces do not apply.
const noFronts = "the manifest has no surfaces"

// checkFronts plays the author's dialogues with clients.
func (c *checker) checkFronts(ctx context.Context) {
	if len(c.provider.Surfaces) == 0 {
		c.skip = noFronts
		return
	}
	for _, a := range c.frontArchives() {
		f, err := golden.ReadFront(a, c.provider)
		if err != nil {
			c.find("dialogue-unreadable", a.Path, err.Error())
			continue
		}
		c.fronts = append(c.fronts, &front{Front: f, archive: a})
	}
	if len(c.fronts) == 0 && !c.found {
		c.emptyBodies(ctx)
		c.skip = "only looked whether somebody is there: there is no dialogue in " + filepath.Join(c.cfg.Dir, golden.FrontDir)
		return
	}
	for _, f := range c.fronts {
		if !c.withTranslator(ctx, f.name(), func(ctx context.Context, tr *provider.Client) { c.playFront(ctx, tr, f) }) {
			return
		}
	}
}

// emptyBodies sends each surface an empty object, which is taken or refused.
func (c *checker) emptyBodies(ctx context.Context) {
	for _, s := range c.provider.Surfaces {
		r := provider.ClientRequest{Surface: s.Name, Route: s.Routes[0].Path, Model: "model-1", Body: []byte("{}")}
		sent := fmt.Sprintf("an empty object for %s%s", s.Base, r.Route)
		if !c.withTranslator(ctx, sent, func(ctx context.Context, tr *provider.Client) {
			d, err := tr.Accept(ctx, r)
			if err == nil {
				closeDialogue(d)
			} else if b := (golden.Wrong{What: "the body"}).CheckRefusal(err); b != nil && ctx.Err() == nil {
				c.find(b.Rule, sent, c.blame(b))
			}
		}) {
			return
		}
	}
}

func (c *checker) frontArchives() []*golden.Archive {
	if c.cfg.Dir == "" {
		return nil
	}
	as, err := golden.ReadDir(filepath.Join(c.cfg.Dir, golden.FrontDir))
	if err != nil && !errors.Is(err, golden.ErrNone) {
		c.find("dialogue-unreadable", c.cfg.Dir, err.Error())
	}
	return as
}

// playFront plays a dialogue and compares it with what the author expects.
func (c *checker) playFront(ctx context.Context, tr *provider.Client, f *front) {
	want := func(section, got string) {
		if ctx.Err() != nil {
			return
		}
		if text, ok := f.archive.Get(section); text != got || !ok && got != "" {
			c.find("golden-differs", f.name(), "section "+section+": "+difference(got, text))
		}
	}
	d, err := tr.Accept(ctx, f.Client)
	if err != nil {
		want("refused", golden.ErrorLine(err))
		if b := (golden.Wrong{What: "the body"}).CheckRefusal(err); b != nil {
			c.find(b.Rule, f.name(), c.blame(b))
		}
		return
	}
	f.asked, f.accepted = d.Asked(), true
	want("refused", "")
	asked, request, err := golden.AskedText(f.asked)
	if err != nil {
		c.find("asked-request", f.name(), err.Error())
		return
	}
	want("asked", asked)
	want("request", request)
	for _, b := range f.CheckAsked(f.asked) {
		c.find(b.Rule, f.name(), b.Text)
	}
	if f.answered = f.answers(); !f.answered {
		closeDialogue(d)
		return
	}
	w := f.Answer(ctx, d, golden.Pace{})
	if ctx.Err() != nil {
		return
	}
	f.reply = f.ReplyText(w)
	want("reply", f.reply)
	if w.Err != nil {
		want("failed", golden.ErrorLine(w.Err))
	}
	for _, b := range f.CheckWritten(f.asked, w, f.Failure) {
		c.find(b.Rule, f.name(), b.Text)
	}
}

// answers reports whether the file says what the model answers.
func (f *front) answers() bool {
	return slices.ContainsFunc([]string{"events", "count", "vectors"}, func(s string) bool { _, ok := f.archive.Get(s); return ok })
}

// closeDialogue gives up a dialogue that is not to be written.
func closeDialogue(d provider.Dialogue) {
	if c, ok := d.(interface{ Close() error }); ok {
		_ = c.Close() // it is of no more use
	}
}

// written are the dialogues whose reply was written, of op generate only or of
// any, at most n of them; 0 means all.
func (c *checker) written(generate bool, n int) []*front {
	var fs []*front
	for _, f := range c.fronts {
		if f.answered && (!generate || f.asked.Op == provider.Generate) && (n == 0 || len(fs) < n) {
			fs = append(fs, f)
		}
	}
	if len(fs) == 0 {
		c.skip = "no dialogue with a client has a reply"
		if len(c.provider.Surfaces) == 0 {
			c.skip = noFronts
		}
	}
	return fs
}

// errBrokenOff is what the events of a dialogue end in that breaks off.
var errBrokenOff = apierror.New(apierror.UpstreamFailed, "The provider broke off.")

// checkFrontErrors ends the events of each dialogue in an error at many places.
func (c *checker) checkFrontErrors(ctx context.Context) {
	for _, f := range c.written(true, 0) {
		for n := 0; n < len(f.Events); n += max(1, len(f.Events)/cutPoints) {
			sent := fmt.Sprintf("%s, its events ending in an error after %d", f.name(), n)
			if !c.withTranslator(ctx, sent, func(ctx context.Context, tr *provider.Client) {
				w, asked := c.answerFront(ctx, tr, f, golden.Pace{Only: n, Error: errBrokenOff})
				if w == nil || ctx.Err() != nil {
					return
				}
				for _, b := range f.CheckWritten(asked, w, errBrokenOff) {
					c.find(b.Rule, sent, b.Text)
				}
			}) {
				return
			}
		}
	}
}

// answerFront has a dialogue anew; nil when the request was not taken this time.
func (c *checker) answerFront(ctx context.Context, tr *provider.Client, f *front, p golden.Pace) (*golden.Written, provider.Asked) {
	d, err := tr.Accept(ctx, f.Client)
	if err != nil {
		if ctx.Err() == nil {
			c.find("golden-differs", f.name()+", another time", "Accept: "+c.blame(err))
		}
		return nil, provider.Asked{}
	}
	return f.Answer(ctx, d, p), d.Asked()
}

// spoiltBodies bounds how many wrong bodies are sent of each dialogue.
const spoiltBodies = 120

// checkFrontBodies sends bodies that no client should send.
func (c *checker) checkFrontBodies(ctx context.Context) {
	if len(c.fronts) == 0 {
		c.skip = "there are no dialogues with clients"
		if len(c.provider.Surfaces) == 0 {
			c.skip = noFronts
		}
		return
	}
	for _, f := range c.fronts {
		if !f.accepted {
			continue
		}
		all := f.WrongBodies()
		for i := 0; i < len(all); i += max(1, len(all)/spoiltBodies) {
			bad := all[i]
			r := f.Client
			r.Body = bad.Body
			sent := fmt.Sprintf("%s, %s: %s", f.name(), bad.What, cut(string(bad.Body), 300))
			if !c.withTranslator(ctx, sent, func(ctx context.Context, tr *provider.Client) {
				d, err := tr.Accept(ctx, r)
				switch {
				case ctx.Err() != nil || !c.alive(sent):
				case err != nil:
					if b := bad.CheckRefusal(err); b != nil {
						c.find(b.Rule, sent, c.blame(b))
					}
				default:
					for _, b := range f.CheckAsked(d.Asked()) {
						c.find(b.Rule, sent, b.Text)
					}
					closeDialogue(d)
				}
			}) {
				return
			}
		}
	}
}

// frontPause is long enough for a clock that counts seconds to move on.
const frontPause = 1100 * time.Millisecond

// checkFrontPace has the events come slowly: what is written does not depend on
// when.
func (c *checker) checkFrontPace(ctx context.Context) {
	fs := c.written(true, 0)
	for i, f := range fs {
		pace := golden.Pace{Wait: 3 * time.Millisecond}
		if i == 0 {
			pace.First, pace.Wait = frontPause, frontPause/time.Duration(max(1, len(f.Events)))
		}
		sent := f.name() + ", its events coming slowly"
		if !c.withTranslator(ctx, sent, func(ctx context.Context, tr *provider.Client) {
			w, _ := c.answerFront(ctx, tr, f, pace)
			if w == nil || ctx.Err() != nil {
				return
			}
			if got := f.ReplyText(w); got != f.reply {
				c.find("front-timing", sent, "other bytes than at once: "+difference(got, f.reply))
			}
		}) {
			return
		}
	}
}

// checkFrontsTogether has each dialogue many times at once, and different ones
// side by side.
func (c *checker) checkFrontsTogether(ctx context.Context) {
	fs := c.written(false, 16)
	if len(fs) == 0 {
		return
	}
	sent := fmt.Sprintf("%d dialogues with clients, %d times at once", len(fs), sideBySide)
	c.withTranslator(ctx, sent, func(ctx context.Context, tr *provider.Client) {
		var wrong complaints
		together(sideBySide, func(i int) {
			for k := range fs {
				f := fs[(i+k)%len(fs)]
				d, err := tr.Accept(ctx, f.Client)
				if err != nil {
					if ctx.Err() == nil {
						wrong.add(f.name()+", with others side by side", "%v", err)
					}
					return
				}
				if got := f.ReplyText(f.Answer(ctx, d, golden.Pace{})); got != f.reply && ctx.Err() == nil {
					wrong.add(f.name()+", with others side by side", "%s", difference(got, f.reply))
					return
				}
			}
		})
		if !c.alive(sent) {
			return
		}
		for _, w := range wrong.list {
			c.find("calls-mixed", w[0], w[1])
		}
	})
}

// acceptFrame is the ACCEPT of a client's request; later adds a member of a
// later version.
func acceptFrame(r provider.ClientRequest, later bool) (frame, error) {
	h, err := json.Marshal(r)
	if later && err == nil {
		h = append(h[:len(h)-1], `,"member_of_a_later_version":{"x":[1]}}`...)
	}
	return frame{frameAccept, withHead(h, r.Body)}, err
}

// inFrames are the frames of all events, and the end of them.
func (f *front) inFrames() []frame {
	var fs []frame
	for _, ev := range f.Events {
		var flags byte
		if ev.Usage != nil {
			flags |= flagUsage
		}
		if ev.IsTerminal() {
			flags |= flagTerminal
		}
		fs = append(fs, frame{frameIn, ev.AppendJSON([]byte{flags})})
	}
	if f.Failure != nil {
		j, _ := json.Marshal(f.Failure) // of strings and numbers
		return append(fs, frame{frameInErr, j})
	}
	return append(fs, frame{typ: frameInEnd})
}

// checkFrontFrames does by hand what the sdk's client does: several dialogues on
// one connection, with members of a later version, and one that is given up.
func (c *checker) checkFrontFrames(ctx context.Context) {
	fs := c.written(true, 4)
	p := c.process(ctx)
	if len(fs) == 0 || p == nil {
		return
	}
	w, err := connect(ctx, p)
	if err != nil {
		c.find("data-plane", "OpenData and HELLO", err.Error())
		return
	}
	defer w.Close()
	for i, f := range fs {
		for _, later := range []bool{false, true} {
			sent, rule := f.name(), "data-plane"
			switch {
			case later:
				sent, rule = sent+", with members of a later version in the heads", "unknown-field-refused"
			case i > 0:
				sent, rule = sent+", on a connection that was used before", "connection-reuse"
			}
			out, err := w.dialogue(f, later, c.cfg.Patience)
			if err == nil && f.ReplyText(out) != f.reply {
				err = errors.New("other bytes: " + difference(f.ReplyText(out), f.reply))
			}
			if err != nil {
				c.find(rule, sent, err.Error())
				return
			}
			for _, b := range f.CheckWritten(f.asked, out, f.Failure) { // here each OUT frame is a Write
				c.find(b.Rule, sent, b.Text)
			}
		}
	}
	for _, begun := range []bool{false, true} {
		if !c.cancelFront(ctx, fs[0], begun) {
			return
		}
	}
}

// dialogue has a dialogue over w by hand.
func (w *wire) dialogue(f *front, later bool, patience time.Duration) (*golden.Written, error) {
	accept, err := acceptFrame(f.Client, later)
	if err == nil {
		err = w.send(accept)
	}
	if err != nil {
		return nil, err
	}
	if fr, err := w.next(patience); err != nil || fr.typ != frameDialogue {
		return nil, fmt.Errorf("in answer to ACCEPT a frame of type %d: %s (%v)", fr.typ, cut(string(fr.payload), 300), err)
	}
	if err := w.send(f.inFrames()...); err != nil {
		return nil, err
	}
	fs, err := w.results(patience)
	if err != nil {
		return nil, err
	}
	out := new(golden.Written)
	for _, fr := range fs {
		switch fr.typ {
		case frameOut:
			out.Writes = append(out.Writes, string(fr.payload))
		case frameDone:
		case frameErr:
			e := new(apierror.Error)
			if err := json.Unmarshal(fr.payload, e); err != nil {
				return nil, fmt.Errorf("ERR: %w", err)
			}
			out.Err = e
		default:
			return nil, fmt.Errorf("a frame of type %d among OUT frames", fr.typ)
		}
	}
	return out, nil
}

// cancelFront closes this side of a connection in the middle of a dialogue. The
// plugin should give up the dialogue, and with it its side.
func (c *checker) cancelFront(ctx context.Context, f *front, begun bool) bool {
	p := c.process(ctx)
	if p == nil {
		return false
	}
	w, err := connect(ctx, p)
	if err != nil {
		c.find("data-plane", "OpenData and HELLO", err.Error())
		return false
	}
	defer w.Close()
	sent := f.name() + ", its connection closed before the first event"
	accept, err := acceptFrame(f.Client, false)
	if err != nil || w.send(accept) != nil {
		return c.alive(sent)
	}
	if fr, err := w.next(c.cfg.Patience); err != nil || fr.typ != frameDialogue {
		return c.alive(sent)
	}
	if all := f.inFrames(); begun {
		sent = f.name() + ", its connection closed among the events"
		if err := w.send(all[:len(all)/2]...); err != nil {
			return c.alive(sent)
		}
	}
	if err := w.CloseWrite(); err != nil {
		return c.alive(sent)
	}
	if !w.closed(stopWithin) {
		c.find("ignores-cancel", sent, fmt.Sprintf("the plugin still holds the connection of the request %v later", stopWithin))
	}
	return c.alive(sent)
}
