package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/golden"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

const (
	sideBySide = 32              // calls
	stopWithin = 5 * time.Second // from cancel to the end; the promise is one second, the rest is for loaded machines
	maxResult  = 2 * golden.Large
)

// toolCase is a dialogue to check a tool with: one of the author's, or one made
// up from the manifest.
type toolCase struct {
	*golden.ToolDialogue
	scripted bool // Host calls go by the dialogue's script
}

// name of the dialogue, for reports.
func (t *toolCase) name() string {
	if t.Path == "" {
		return "a declaration made from the manifest"
	}
	return t.Name()
}

// host gives a Host for one run of the dialogue. What does not go by its script
// is told to complain.
func (c *checker) host(t *toolCase, complain func(format string, args ...any)) (*tool.Host, *golden.Script, error) {
	if !t.scripted {
		return tool.NewHost(sampleHost(c.cfg.Targets)), nil, nil
	}
	s, err := golden.NewScript(t.Host, complain)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", t.Path, err)
	}
	return tool.NewHost(s.Service()), s, nil
}

// checkTools plays the author's dialogues, or opens a declaration that is made
// up.
func (c *checker) checkTools(ctx context.Context) {
	p := c.process(ctx)
	if p == nil {
		return
	}
	as := c.archives("declarations", "host", "opened", "call", "result")
	for _, a := range as {
		d, err := golden.ReadTool(a)
		if err != nil {
			c.find("dialogue-unreadable", a.Path, err.Error())
			continue
		}
		t := &toolCase{ToolDialogue: d, scripted: true}
		if !c.playTool(ctx, p, t) {
			return
		}
		c.tools = append(c.tools, t)
	}
	if len(as) == 0 {
		t := c.madeUpTool(ctx, p)
		if t == nil {
			return
		}
		c.tools = append(c.tools, t)
	}
}

// playTool plays a dialogue and compares. It reports whether the process is
// still there.
func (c *checker) playTool(ctx context.Context, p *process, t *toolCase) bool {
	var wrong complaints
	complain := func(format string, args ...any) { wrong.add("the dialogue "+t.name(), format, args...) }
	h, script, err := c.host(t, complain)
	if err != nil {
		c.find("dialogue-unreadable", t.Path, err.Error())
		return true
	}
	ctx, cancel := c.within(ctx)
	defer cancel()
	err = t.Play(ctx, tool.NewClient(p.conn), h, func(i int, got any) {
		c.answer(ctx, p, "the dialogue "+t.name(), got)
		if same, text, err := t.Same(i, got); err != nil || !same {
			complain("section %s: %s", t.Sections[i].Name, difference(text, t.Sections[i].Text))
		}
	})
	if err != nil {
		complain("%v", err)
	} else if script != nil {
		script.Finished()
	}
	if !c.alive("the dialogue " + t.name()) {
		return false
	}
	for _, w := range wrong.list {
		c.find("golden-differs", w[0], w[1])
	}
	return true
}

// alive reports whether the process is still there; its end is a finding.
func (c *checker) alive(sent string) bool {
	if c.proc != nil && c.proc.waitEnded(0) {
		c.crashed(sent)
		return false
	}
	return c.proc != nil
}

// answer looks for what no answer may be: missing, or one that shows that the
// process ended.
func (c *checker) answer(ctx context.Context, p *process, sent string, got any) {
	var err error
	if f, ok := got.(golden.Failure); ok {
		err = f.Error
	}
	if !c.answered(ctx, p, sent, err) {
		r, _ := got.(tool.Result) // of an Open there is no size
		c.size(sent, r, err)
	}
}

// answered does the same for an error, and reports whether it was one of these.
func (c *checker) answered(ctx context.Context, p *process, sent string, err error) bool {
	switch {
	case err == nil:
		return false
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		c.find("no-answer", sent, fmt.Sprintf("nothing within %v", c.cfg.Patience))
		return true
	case apierror.Is(err, apierror.Unavailable) && p.waitEnded(lostWait):
		c.crashed(sent)
		return true
	}
	return false
}

// madeUpTool opens a declaration that fits the manifest. Without the author's
// dialogues that is all the kit can do.
func (c *checker) madeUpTool(ctx context.Context, p *process) *toolCase {
	t := &toolCase{ToolDialogue: &golden.ToolDialogue{Archive: &golden.Archive{}, Declarations: []tool.Declaration{declaration(c.tool)}}}
	ctx, cancel := c.within(ctx)
	defer cancel()
	spec, _ := json.Marshal(t.Declarations) // of strings and numbers
	sent := "Open " + string(spec)
	h := tool.NewHost(sampleHost(c.cfg.Targets))
	client := tool.NewClient(p.conn)
	o, err := client.Open(ctx, t.Declarations, h)
	if c.answered(ctx, p, sent, err) {
		return nil
	}
	if err != nil {
		if !golden.Tolerable(err) {
			c.find("open-fails", sent, c.blame(err))
		} else {
			c.skip = "the made-up declaration was refused (" + err.Error() + "): write a dialogue, so that functions can be checked"
		}
		return t
	}
	t.Functions = o.Functions
	for _, f := range o.Functions {
		call := tool.Call{ID: "call_1", Function: f.Name, Arguments: arguments(f.Parameters), State: f.State, Attempt: 1}
		t.Calls = append(t.Calls, golden.CallOf{Call: call})
		r, err := client.Call(ctx, call, h)
		sent := fmt.Sprintf("Call %s %s", f.Name, call.Arguments)
		if c.answered(ctx, p, sent, err) {
			return t
		}
		if !golden.Tolerable(err) {
			c.find("error-without-code", sent, c.blame(err))
		}
		c.size(sent, r, err)
	}
	return t
}

// size looks at how large a result is.
func (c *checker) size(sent string, r tool.Result, err error) {
	n := len(golden.ResultText(r)) + len(r.Structured)
	switch {
	case apierror.Is(err, apierror.TooLarge) && strings.HasPrefix(err.Error(), "The answer of the tool"), // the sdk's own refusal
		apierror.Is(err, apierror.TooLarge) && strings.HasPrefix(err.Error(), "A message to or from"):
		c.find("result-oversize", sent, err.Error())
	case n > maxResult:
		c.find("result-oversize", sent, fmt.Sprintf("a result of %d bytes", n))
	}
}

// opened are the dialogues that gave functions, at most three of them.
func (c *checker) opened() []*toolCase {
	var ts []*toolCase
	for _, t := range c.tools {
		if len(t.Functions) > 0 && len(ts) < 3 {
			ts = append(ts, t)
		}
	}
	if len(ts) == 0 {
		c.skip = "no dialogue opened a function"
	}
	return ts
}

// checkFunctions checks what Open gave, and that it gives it again.
func (c *checker) checkFunctions(ctx context.Context) {
	ts := c.opened()
	p := c.process(ctx)
	if p == nil {
		return
	}
	for _, t := range ts {
		for _, b := range golden.CheckFunctions(t.Declarations, t.Functions) {
			c.find(b.Rule, "Open of "+t.name(), b.Text)
		}
		h, _, err := c.host(t, func(string, ...any) {})
		if err != nil {
			continue
		}
		within, cancel := c.within(ctx)
		o, err := tool.NewClient(p.conn).Open(within, t.Declarations, h)
		c.answered(within, p, "Open of "+t.name()+", another time", err)
		cancel()
		first, _ := golden.Pretty(t.Functions) // what was JSON is JSON
		again, _ := golden.Pretty(o.Functions)
		if err != nil {
			again = []byte(err.Error())
		}
		if string(first) != string(again) && c.alive("Open of "+t.name()) {
			c.find("open-unstable", "Open of "+t.name()+", another time", difference(string(again), string(first)))
		}
	}
}

// checkBadArguments gives each function what its own parameters refuse.
func (c *checker) checkBadArguments(ctx context.Context) {
	ts := c.opened()
	for _, t := range ts {
		for i, call := range t.Sample() {
			schema, err := golden.CompileSchema(t.Functions[i].Parameters)
			if err != nil {
				continue // reported already
			}
			for _, bad := range golden.BadArguments {
				if golden.Accepts(schema, bad) {
					continue
				}
				call.Arguments = json.RawMessage(bad)
				sent := fmt.Sprintf("Call %s with arguments %s", call.Function, quoteEmpty(bad))
				r, err, ok := c.call(ctx, call, tool.NewHost(golden.Refusing(apierror.Invalid)), sent)
				switch {
				case !ok:
					return
				case !golden.Tolerable(err):
					c.find("bad-arguments", sent, c.blame(err))
				case err == nil && !r.IsError:
					c.find("bad-arguments-accepted", sent, "a result that is no error: "+cut(golden.ResultText(r), 200))
				case err == nil && golden.ResultText(r) == "":
					c.find("error-without-text", sent, "an error result without text")
				}
			}
			call.Arguments, call.Function = arguments(t.Functions[i].Parameters), "no_such_function"
			sent := "Call no_such_function"
			r, err, ok := c.call(ctx, call, tool.NewHost(golden.Refusing(apierror.Invalid)), sent)
			switch {
			case !ok:
				return
			case !golden.Tolerable(err):
				c.find("unknown-function", sent, c.blame(err))
			case err == nil && r.IsError && golden.ResultText(r) == "":
				c.find("error-without-text", sent, "an error result without text")
			}
		}
	}
}

func quoteEmpty(s string) string {
	if s == "" {
		return `"" (empty)`
	}
	return s
}

// call makes one call. It is not ok when the process, or the patience, ended.
func (c *checker) call(ctx context.Context, call tool.Call, h *tool.Host, sent string) (r tool.Result, err error, ok bool) {
	p := c.process(ctx)
	if p == nil {
		return r, nil, false
	}
	ctx, cancel := c.within(ctx)
	defer cancel()
	r, err = tool.NewClient(p.conn).Call(ctx, call, h)
	if c.answered(ctx, p, sent, err) || !c.alive(sent) {
		return r, err, false
	}
	c.size(sent, r, err)
	return r, err, true
}

// checkHostErrors lets the Host fail with each code. What the tool makes of it
// must not be an internal error.
func (c *checker) checkHostErrors(ctx context.Context) {
	ts := c.opened()
	for _, t := range ts {
		for _, code := range apierror.Codes {
			if code == apierror.Internal || code == apierror.Unavailable {
				continue
			}
			p := c.process(ctx)
			if p == nil {
				return
			}
			h := tool.NewHost(golden.Refusing(code))
			sent := fmt.Sprintf("Open of %s, with a Host whose every answer is the error %s", t.name(), code)
			within, cancel := c.within(ctx)
			_, err := tool.NewClient(p.conn).Open(within, t.Declarations, h)
			broken := c.answered(within, p, sent, err)
			cancel()
			if broken || !c.alive(sent) {
				return
			}
			if !golden.Tolerable(err) {
				c.find("error-without-code", sent, c.blame(err))
			}
			for _, call := range t.Sample() {
				sent := fmt.Sprintf("Call %s, with a Host whose every answer is the error %s", call.Function, code)
				_, err, ok := c.call(ctx, call, h, sent)
				if !ok {
					return
				}
				if !golden.Tolerable(err) {
					c.find("error-without-code", sent, c.blame(err))
				}
			}
		}
	}
}

// checkLargeCalls gives each function 4 MiB of arguments, and answers of 4 MiB.
func (c *checker) checkLargeCalls(ctx context.Context) {
	ts := c.opened()
	for _, t := range ts {
		for _, call := range t.Sample() {
			sent := fmt.Sprintf("Call %s, with a Host that answers with 4 MiB", call.Function)
			_, err, ok := c.call(ctx, call, tool.NewHost(golden.Flooding()), sent)
			if !ok {
				return
			}
			if !golden.Tolerable(err) {
				c.find("large-input", sent, c.blame(err))
			}
			call.Arguments = golden.Inflate(call.Arguments)
			sent = fmt.Sprintf("Call %s with 4 MiB of arguments", call.Function)
			if _, err, ok = c.call(ctx, call, tool.NewHost(golden.Refusing(apierror.Invalid)), sent); !ok {
				return
			}
			if !golden.Tolerable(err) {
				c.find("large-input", sent, c.blame(err))
			}
		}
	}
}

// targetsOf answers a tool's fetches from the handlers.
func targetsOf(targets map[string]http.Handler) func(context.Context, string, tool.Outbound) (*tool.Inbound, error) {
	return func(ctx context.Context, name string, r tool.Outbound) (*tool.Inbound, error) {
		h := targets[name]
		if h == nil {
			return nil, apierror.New(apierror.Unsupported, "The target %q is not bound.", name)
		}
		return serveTarget(ctx, h, r)
	}
}
