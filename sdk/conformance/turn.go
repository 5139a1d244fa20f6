package conformance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/golden"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// turn is a dialogue to check a translator with: one of the author's, or one
// made up.
type turn struct {
	*golden.Turn
	archive *golden.Archive // nil when it is made up
	full    *golden.Outcome // of the whole reply; nil when there is none
}

func (t *turn) name() string {
	if t.archive == nil {
		return "a plain request"
	}
	return "the dialogue " + t.archive.Name()
}

// decodes reports whether the turn ends in events, which most checks are about.
func (t *turn) decodes() bool { return t.full != nil }

// translator is the plugin as the gateway sees it. It ends with its process.
func (c *checker) translator(p *process) *provider.Client {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.client != nil {
		return p.client
	}
	p.client = provider.NewClient(provider.ClientConfig{
		Name: c.report.Name, Dial: provider.Dialer(p.conn, p.pid, p.dir),
		Gone: func(cause error) error {
			if p.waitEnded(lostWait) {
				return apierror.Wrap(apierror.Unavailable, cause, "The process %s.", p.exit())
			}
			return apierror.Wrap(apierror.Unavailable, cause, "The plugin closed its connection in the middle of an exchange.")
		},
	})
	return p.client
}

// checkTurns plays the author's dialogues, or asks something that is made up.
func (c *checker) checkTurns(ctx context.Context) {
	for _, a := range c.archives("turn", "request", "upstream", "lost", "reply", "events") {
		t, err := golden.ReadTurn(a)
		if err != nil {
			c.find("dialogue-unreadable", a.Path, err.Error())
			continue
		}
		c.turns = append(c.turns, &turn{Turn: t, archive: a})
	}
	if len(c.turns) == 0 {
		c.turns = append(c.turns, c.madeUpTurn())
	}
	for _, t := range c.turns {
		if !c.withTranslator(ctx, t.name(), func(ctx context.Context, tr *provider.Client) { c.playTurn(ctx, tr, t) }) {
			return
		}
	}
}

// madeUpTurn asks for something plain. Of its reply nothing is known but that
// it is none of the provider's.
func (c *checker) madeUpTurn() *turn {
	stream := true
	return &turn{Turn: &golden.Turn{Turn: provider.Turn{
		Op: provider.Generate, Model: "model-1", Account: provider.Account{Name: "kit", Settings: c.cfg.Settings},
		Request: &openresponses.Request{Model: "model-1", Input: []openresponses.Item{openresponses.Text("user", "Say hello.")}, Stream: stream},
	}}}
}

// withTranslator runs f against a living process, within the patience for one
// answer. It reports whether the process lived on.
func (c *checker) withTranslator(ctx context.Context, sent string, f func(context.Context, *provider.Client)) bool {
	p := c.process(ctx)
	if p == nil {
		return false
	}
	tr := c.translator(p)
	within, cancel := c.within(ctx)
	defer cancel()
	f(within, tr)
	if errors.Is(within.Err(), context.DeadlineExceeded) {
		c.find("no-answer", sent, fmt.Sprintf("not ended after %v", c.cfg.Patience))
		c.stopProcess()
		return false
	}
	return c.alive(sent)
}

// playTurn plays a dialogue and compares it with what the author expects.
func (c *checker) playTurn(ctx context.Context, tr provider.Translator, t *turn) {
	want := func(section, got string) {
		if t.archive == nil || ctx.Err() != nil {
			return
		}
		if text, ok := t.archive.Get(section); text != got || !ok && got != "" {
			c.find("golden-differs", t.name(), "section "+section+": "+difference(got, text))
		}
	}
	ex, err := tr.Begin(ctx, t.Turn.Turn)
	if err != nil {
		if t.archive == nil && !golden.Tolerable(err) {
			c.find("begin-fails", t.name(), c.blame(err))
		}
		want("events", golden.ErrorLine(err))
		return
	}
	up := ex.Upstream()
	if up != nil {
		for _, b := range golden.CheckUpstream(up) {
			c.find(b.Rule, t.name(), b.Text)
		}
		want("upstream", golden.UpstreamText(up))
		want("lost", golden.Lines(up.Lost))
	} else if !c.provider.Offline {
		c.find("data-plane", t.name(), "the exchange wants no HTTP request, which only a manifest with offline may do")
	}
	if up != nil && t.Header == nil {
		closeExchange(ex)
		if t.archive != nil {
			c.find("dialogue-unreadable", t.archive.Path, "section reply is missing")
		}
		return
	}
	switch t.Turn.Turn.Op {
	case provider.CountTokens, provider.Embed:
		want("events", c.values(ctx, t, ex))
		return
	}
	full := golden.Decode(ctx, ex, t.Reply(t.Body))
	if ctx.Err() != nil {
		return
	}
	if full.Broken != nil {
		c.find(full.Broken.Rule, t.name()+" with its whole reply", full.Broken.Text+"\n"+full.Text())
	}
	want("events", full.Text())
	t.full = full
	if full.Completed() && meters(c.provider.Meter, t.Body) && full.Last.Usage == nil {
		c.find("usage-missing", t.name()+" with its whole reply", "the last event is "+full.Lines[len(full.Lines)-1])
	}
}

// values decodes a count, or vectors, in the form of the section events.
func (c *checker) values(ctx context.Context, t *turn, ex provider.Exchange) string {
	var got any
	var err error
	switch ex := ex.(type) {
	case provider.CountDecoder:
		var n int64
		n, err = ex.DecodeCount(ctx, t.Reply(t.Body))
		got = map[string]any{"tokens": n}
	case provider.EmbedDecoder:
		vectors, usage, eerr := ex.DecodeEmbed(ctx, t.Reply(t.Body))
		got, err = map[string]any{"vectors": vectors, "usage": usage}, eerr
	default:
		c.find("data-plane", t.name(), fmt.Sprintf("UP_REQ does not say that the exchange of an operation %s decodes its answer", t.Turn.Turn.Op))
		return ""
	}
	if err != nil {
		return golden.ErrorLine(err)
	}
	return line(got)
}

// once begins a turn anew and decodes what body gives.
func once(ctx context.Context, tr provider.Translator, t *turn, body io.Reader) *golden.Outcome {
	ex, err := tr.Begin(ctx, t.Turn.Turn)
	if err != nil {
		return &golden.Outcome{Err: err}
	}
	if t.Header == nil {
		return golden.Decode(ctx, ex, provider.Reply{})
	}
	return golden.Decode(ctx, ex, t.ReplyOf(body))
}

// closeExchange gives up an exchange that is not to be decoded.
func closeExchange(ex provider.Exchange) {
	if c, ok := ex.(io.Closer); ok {
		_ = c.Close() // it is of no more use
	}
}

// checkLost asks for things that few providers have a place for. What is not in
// the request to the provider must be in the list of what was lost.
func (c *checker) checkLost(ctx context.Context) {
	if c.provider.Offline {
		c.skip = "the translator makes no HTTP request"
		return
	}
	request := `{"model":"model-1","stream":true,"input":[{"type":"message","role":"user","content":[` +
		`{"type":"input_text","text":"Look: KITTEXT"},` +
		`{"type":"input_image","image_url":"data:image/png;base64,S0lUSU1BR0U="},` +
		`{"type":"input_file","filename":"kit.pdf","file_data":"data:application/pdf;base64,S0lURklMRQ=="}]}]}`
	r, err := openresponses.ParseRequest([]byte(request))
	if err != nil {
		c.skip = "the request could not be made: " + err.Error()
		return
	}
	account := provider.Account{Name: "kit", Settings: c.cfg.Settings}
	if len(c.turns) > 0 {
		account = c.turns[0].Turn.Turn.Account
	}
	marks := []struct{ mark, field string }{
		{"KITTEXT", "input[0].content[0]"}, {"S0lUSU1BR0U=", "input[0].content[1]"}, {"S0lURklMRQ==", "input[0].content[2]"},
	}
	c.withTranslator(ctx, request, func(ctx context.Context, tr *provider.Client) {
		ex, err := tr.Begin(ctx, provider.Turn{Op: provider.Generate, Model: "model-1", Account: account, Request: r})
		if err != nil {
			if !golden.Tolerable(err) && ctx.Err() == nil {
				c.find("begin-fails", request, c.blame(err))
			}
			return // refused by name, which is as good
		}
		defer closeExchange(ex)
		up := ex.Upstream()
		if up == nil {
			return
		}
		for _, m := range marks {
			listed := func(l string) bool { return strings.HasPrefix(l, m.field) || l == "input[0]" || l == "input" }
			found := false
			for _, l := range up.Lost {
				found = found || listed(l)
			}
			if !found && !strings.Contains(string(up.Body), m.mark) {
				c.find("lost-unlisted", request, fmt.Sprintf("%s is neither in the request to the provider nor in lost, which is %q", m.field, up.Lost))
			}
		}
	})
}
