package plugintest

import (
	"context"
	"encoding/json"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/golden"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

const (
	largeBytes = golden.Large    // of arguments and answers
	sideBySide = 32              // calls
	stopWithin = 5 * time.Second // from cancel to return; the promise is one second, the rest is for loaded machines
)

// toolChecks are the checks that need no expectation of their own.
type toolChecks struct {
	client  tool.Tool
	watched *watched
}

// toolRules are checked with every dialogue that opens functions, in this order.
var toolRules = []struct {
	name  string
	check func(*toolChecks, testing.TB, *toolDialogue)
}{
	{"functions", (*toolChecks).functions},
	{"concurrent", (*toolChecks).concurrent},
	{"canceled", (*toolChecks).canceled},
	{"large", (*toolChecks).large},
	{"bad arguments", (*toolChecks).badArguments},
	{"host errors", (*toolChecks).hostErrors},
}

// functions checks what Open gave.
func (c *toolChecks) functions(t testing.TB, d *toolDialogue) {
	t.Helper()
	for _, wrong := range golden.CheckFunctions(d.Declarations, d.Functions) {
		t.Errorf("%s", wrong.Text)
	}
	d.replayed(t, c.client)
}

// concurrent plays the dialogue many times at once.
func (c *toolChecks) concurrent(t testing.TB, d *toolDialogue) {
	t.Helper()
	together(sideBySide, func(int) { d.replayed(t, c.client) })
}

// canceled cancels Open and each function while the Host does not answer, and
// waits for the author's code to return.
func (c *toolChecks) canceled(t testing.TB, d *toolDialogue) {
	t.Helper()
	c.cancel(t, "Open", func(ctx context.Context, h *tool.Host) { _, _ = c.client.Open(ctx, d.Declarations, h) })
	for _, call := range d.Sample() {
		c.cancel(t, "Call of "+call.Function, func(ctx context.Context, h *tool.Host) { _, _ = c.client.Call(ctx, call, h) })
	}
}

func (c *toolChecks) cancel(t testing.TB, what string, f func(ctx context.Context, h *tool.Host)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	asked := make(chan struct{})
	h := tool.NewHost(golden.Unanswering(sync.OnceFunc(func() { close(asked) })))
	returned := make(chan struct{})
	go func() {
		defer close(returned)
		f(ctx, h)
	}()
	for entered := false; !entered; { // on a loaded machine the call takes its time to arrive
		select {
		case <-returned:
			entered = true
		case <-time.After(5 * time.Millisecond):
			entered = c.watched.inside.Load() > 0
		}
	}
	select {
	case <-asked: // the author waits for the Host
	case <-returned: // or did not need it
	case <-time.After(time.Second): // or does something else for long
	}
	cancel()
	deadline := time.After(stopWithin)
	for c.watched.inside.Load() > 0 {
		select {
		case <-c.watched.left:
		case <-deadline:
			t.Errorf("%s did not return within %v of the cancellation of its context", what, stopWithin)
			<-returned
			return
		}
	}
	<-returned
}

// large gives each function 4 MiB of arguments, and then answers of 4 MiB.
func (c *toolChecks) large(t testing.TB, d *toolDialogue) {
	t.Helper()
	denied := tool.NewHost(golden.Refusing(apierror.Invalid))
	flood := tool.NewHost(golden.Flooding())
	for _, call := range d.Sample() {
		if _, err := c.client.Call(t.Context(), call, flood); !golden.Tolerable(err) {
			t.Errorf("%s: with a Host that answers with 4 MiB: %v", call.Function, err)
		}
		call.Arguments = golden.Inflate(call.Arguments)
		if _, err := c.client.Call(t.Context(), call, denied); !golden.Tolerable(err) {
			t.Errorf("%s: with 4 MiB of arguments: %v", call.Function, err)
		}
	}
}

// badArguments gives each function what its own schema refuses.
func (c *toolChecks) badArguments(t testing.TB, d *toolDialogue) {
	t.Helper()
	h := tool.NewHost(golden.Refusing(apierror.Invalid))
	for i, call := range d.Sample() {
		schema, err := golden.CompileSchema(d.Functions[i].Parameters)
		if err != nil {
			continue // functions has said so
		}
		for _, bad := range golden.BadArguments {
			if golden.Accepts(schema, bad) {
				continue
			}
			call.Arguments = json.RawMessage(bad)
			r, err := c.client.Call(t.Context(), call, h)
			switch {
			case !golden.Tolerable(err):
				t.Errorf("%s: arguments %q give an error the model cannot act on: %v", call.Function, bad, err)
			case err == nil && !r.IsError:
				t.Errorf("%s: arguments %q are accepted, though the function's parameters refuse them", call.Function, bad)
			case err == nil && golden.ResultText(r) == "":
				t.Errorf("%s: arguments %q give an error without a text", call.Function, bad)
			}
		}
	}
}

// hostErrors lets the Host fail with each code. Whatever the tool makes of it
// must not be an internal error, unless the Host's was.
func (c *toolChecks) hostErrors(t testing.TB, d *toolDialogue) {
	t.Helper()
	for _, code := range apierror.Codes {
		if code == apierror.Internal || code == apierror.Unavailable {
			continue
		}
		h := tool.NewHost(golden.Refusing(code))
		if _, err := c.client.Open(t.Context(), d.Declarations, h); !golden.Tolerable(err) {
			t.Errorf("Open: the Host fails with %s, the tool with %v", code, err)
		}
		for _, call := range d.Sample() {
			if _, err := c.client.Call(t.Context(), call, h); !golden.Tolerable(err) {
				t.Errorf("%s: the Host fails with %s, the tool with %v", call.Function, code, err)
			}
		}
	}
}
