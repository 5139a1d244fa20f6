package conformance

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"

	"github.com/sallyport-gateway/sallyport/sdk/golden"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

const (
	splitPoints = 64 // single split points that are tried of each reply
	splitSeeds  = 8  // random splits
	cutPoints   = 40
)

// replied are the turns whose reply was decoded, at most n of them; 0 means
// all.
func (c *checker) replied(n int) []*turn {
	var ts []*turn
	for _, t := range c.turns {
		if t.decodes() && t.Header != nil && (n == 0 || len(ts) < n) {
			ts = append(ts, t)
		}
	}
	if len(ts) == 0 {
		c.skip = "no dialogue has a reply: record one with `sallyport plugin record`"
		if c.provider.Offline {
			c.skip = "the translator is offline, so there are no replies"
		}
	}
	return ts
}

// checkSplits decodes each reply in other pieces.
func (c *checker) checkSplits(ctx context.Context) {
	for _, t := range c.replied(0) {
		want := t.full.Text()
		if !c.withTranslator(ctx, t.name()+", its reply in pieces", func(ctx context.Context, tr *provider.Client) {
			try := func(how string, body []byte, sizes func() int) bool {
				got := once(ctx, tr, t, &golden.Pieces{Rest: body, Sizes: sizes, End: t.End()}).Text()
				if got == want || ctx.Err() != nil {
					return true
				}
				c.find("split-dependent", t.name()+", its reply "+how, "other events than from the whole: "+difference(got, want))
				return false
			}
			c.split(t, try)
		}) {
			return
		}
	}
}

func (c *checker) split(t *turn, try func(how string, body []byte, sizes func() int) bool) {
	if !try("byte by byte", t.Body, func() int { return 1 }) {
		return
	}
	for at := 1; at < len(t.Body); at += max(1, len(t.Body)/splitPoints) {
		first := at
		if !try(fmt.Sprintf("split at byte %d", at), t.Body, func() int { n := first; first = len(t.Body); return n }) {
			return
		}
	}
	for seed := range uint64(splitSeeds) {
		r := rand.New(rand.NewPCG(seed, uint64(len(t.Body))))
		if !try(fmt.Sprintf("split at random, seed %d", seed), t.Body, func() int { return 1 + r.IntN(40) }) {
			return
		}
	}
	if t.Stream() { // both ends of a line are legal
		try("with CRLF at the ends of its lines", bytes.ReplaceAll(t.Body, []byte("\n"), []byte("\r\n")), nil)
	}
}

// checkCut cuts each reply off at many places. A part may not be taken for the
// whole.
func (c *checker) checkCut(ctx context.Context) {
	for _, t := range c.replied(0) {
		if !c.withTranslator(ctx, t.name()+", its reply cut", func(ctx context.Context, tr *provider.Client) {
			for at := 0; at < len(t.Body); at += max(1, len(t.Body)/cutPoints) {
				for _, end := range []error{io.EOF, io.ErrUnexpectedEOF} {
					sent := fmt.Sprintf("%s, its reply ending at byte %d of %d with %v", t.name(), at, len(t.Body), end)
					got := once(ctx, tr, t, &golden.Pieces{Rest: t.Body[:at], End: end})
					switch {
					case ctx.Err() != nil || !c.alive(sent):
						return
					case got.Completed() && !golden.SameItems(got, t.full):
						c.find("cut-as-complete", sent, "a completed turn: "+got.Text())
						return
					case got.Broken != nil:
						c.find(got.Broken.Rule, sent, c.blame(got.Broken))
						return
					}
				}
			}
		}) {
			return
		}
	}
}

// garbage is what providers, and the proxies before them, send.
var garbage = []struct {
	status int
	typ    string
	body   string
}{
	{200, "application/json", ""},
	{200, "application/json", "{"},
	{200, "application/json", "null"},
	{200, "application/json", "[]"},
	{200, "application/json", "7"},
	{200, "application/json", `{"choices":[],"content":null,"output":{},"candidates":"x","usage":[]}`},
	{200, "text/event-stream", "data: {\n\ndata: null\n\ndata: [1]\n\n"},
	{200, "text/event-stream", "event: \x00\xff\ndata: \xff\xfe\n\n: c\n\ndata: \"x\"\n\n"},
	{200, "text/html", "<html><body>Welcome to the proxy. Please log in.</body></html>"},
	{204, "", ""},
	{400, "application/json", `{"error":"text"}`},
	{401, "application/json", `{"error":{"message":7,"type":[]}}`},
	{429, "text/plain", "slow down"},
	{500, "text/html", "<h1>Internal Server Error</h1>"},
	{502, "application/json", "null"},
	{999, "application/json", `{"error":null}`},
}

// checkGarbage answers with what is no reply of the provider.
func (c *checker) checkGarbage(ctx context.Context) {
	if c.provider.Offline {
		c.skip = "the translator is offline, so there are no replies"
		return
	}
	ts := c.replied(3)
	if len(ts) == 0 {
		c.skip = ""
		ts = []*turn{c.madeUpTurn()}
	}
	noise := make([]byte, 3000)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	for _, t := range ts {
		cases := garbage
		for _, typ := range []string{"application/json", "text/event-stream"} {
			cases = append(cases[:len(cases):len(cases)], struct {
				status int
				typ    string
				body   string
			}{200, typ, string(noise)})
		}
		for _, g := range cases {
			reply := *t.Turn
			reply.Status, reply.Header, reply.Body, reply.Cut = g.status, http.Header{"Content-Type": {g.typ}}, []byte(g.body), false
			sent := fmt.Sprintf("%s, answered with status %d, Content-Type %q, %q", t.name(), g.status, g.typ, cut(g.body, 100))
			if !c.withTranslator(ctx, sent, func(ctx context.Context, tr *provider.Client) {
				got := once(ctx, tr, &turn{Turn: &reply}, &golden.Pieces{Rest: reply.Body, End: io.EOF})
				switch {
				case ctx.Err() != nil || !c.alive(sent):
				case got.Broken != nil && got.Broken.Rule == "error-code":
					c.find("error-code", sent, c.blame(got.Broken))
				case got.Broken != nil:
					c.find("garbage-reply", sent, got.Broken.Text)
				case got.Completed() && len(got.Acc.Items()) == 0 && len(g.body) < 20 && g.status == 200 && g.typ == "application/json":
					c.find("garbage-reply", sent, "a completed turn without any output: "+got.Text())
				case got.Completed() && g.status >= 400:
					c.find("garbage-reply", sent, "a completed turn: "+got.Text())
				}
			}) {
				return
			}
		}
	}
}

// checkTurnsTogether decodes each dialogue many times at once, and different
// ones side by side.
func (c *checker) checkTurnsTogether(ctx context.Context) {
	var ts []*turn
	for _, t := range c.turns {
		if t.decodes() && len(ts) < 16 {
			ts = append(ts, t)
		}
	}
	if len(ts) == 0 {
		c.skip = "no dialogue has a reply"
		return
	}
	sent := fmt.Sprintf("%d dialogues, %d times at once", len(ts), sideBySide)
	c.withTranslator(ctx, sent, func(ctx context.Context, tr *provider.Client) {
		var wrong complaints
		together(sideBySide, func(i int) {
			for k := range ts {
				t := ts[(i+k)%len(ts)]
				got := once(ctx, tr, t, &golden.Pieces{Rest: t.Body, End: t.End()}).Text()
				if want := t.full.Text(); got != want && ctx.Err() == nil {
					wrong.add(t.name()+", with others side by side", "%s", difference(got, want))
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

// checkLargeTurns asks with 4 MiB, and answers with 4 MiB of nothing.
func (c *checker) checkLargeTurns(ctx context.Context) {
	base := c.madeUpTurn()
	if len(c.turns) > 0 && c.turns[0].archive != nil {
		base.Turn.Turn.Account, base.Turn.Turn.Model = c.turns[0].Turn.Turn.Account, c.turns[0].Turn.Turn.Model
	}
	base.Turn.Turn.Request.Input = []openresponses.Item{openresponses.Text("user", strings.Repeat("a", golden.Large))}
	base.Status, base.Header = 200, http.Header{"Content-Type": {"text/event-stream"}}
	sent := "a request of 4 MiB"
	c.withTranslator(ctx, sent, func(ctx context.Context, tr *provider.Client) {
		ex, err := tr.Begin(ctx, base.Turn.Turn)
		switch {
		case ctx.Err() != nil || !c.alive(sent):
			return
		case !golden.Tolerable(err):
			c.find("large-input", sent, c.blame(err))
			return
		case err != nil:
			return
		}
		if up := ex.Upstream(); up != nil && len(up.Body) < golden.Large && len(up.Lost) == 0 {
			c.find("large-input", sent, fmt.Sprintf("a request to the provider of %d bytes, and nothing in lost", len(up.Body)))
		}
		if ex.Upstream() == nil {
			closeExchange(ex)
			return
		}
		body := strings.Repeat(": nothing\n\n", golden.Large/11)
		sent = "a reply of 4 MiB of comments"
		got := golden.Decode(ctx, ex, base.ReplyOf(strings.NewReader(body)))
		if ctx.Err() == nil && c.alive(sent) && got.Broken != nil {
			c.find("large-input", sent, got.Broken.Text)
		}
	})
}
