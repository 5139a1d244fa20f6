package main

import (
	"context"
	"iter"
	"strconv"
	"strings"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
	"github.com/sallyport-gateway/sallyport/sdk/provider/dialogue"
)

type translator struct{}

// exchange is one turn. The answer is known when it begins; Decode tells it.
type exchange struct {
	reply reply
	usage or.Usage
	limit int // bytes of output; 0 means none
}

// reply is a text, or a call of one function.
type reply struct {
	text string
	call string // name of the function
	args string
	id   string
}

// bytesPerToken is how we estimate tokens.
const bytesPerToken = 4

// Begin decides what to answer.
func (translator) Begin(_ context.Context, t provider.Turn) (provider.Exchange, error) {
	if t.Op != provider.Generate || t.Request == nil {
		return nil, apierror.New(apierror.Unsupported, "The demo model cannot do %q. Choose a model of another provider for it.", t.Op)
	}
	body := t.Request.AppendJSON(nil)
	x := &exchange{reply: answer(t.Request), usage: or.Usage{Input: int64(len(body)+bytesPerToken-1) / bytesPerToken, Estimated: true}}
	if x.reply.call != "" {
		// The same request gives the same id, the next turn another one.
		x.reply.id = "call_" + dialogue.Digest(24, strconv.Itoa(len(t.Request.Input)), string(body))
	} else {
		x.reply.text = shaped(t.Request, x.reply.text)
	}
	if t.Request.MaxOutputTokens != nil && *t.Request.MaxOutputTokens < 1<<20 {
		x.limit = int(*t.Request.MaxOutputTokens) * bytesPerToken
	}
	return x, nil
}

// Upstream is nil: there is nobody to ask.
func (x *exchange) Upstream() *provider.Upstream { return nil }

// Decode tells the answer word by word.
func (x *exchange) Decode(ctx context.Context, _ provider.Reply) iter.Seq2[or.Event, error] {
	return func(yield func(or.Event, error) bool) {
		out := provider.NewOutput(yield)
		end := or.Terminal{Status: or.StatusCompleted, Model: "demo"}
		written := 0
		if x.reply.call != "" {
			written = len(x.reply.call) + len(x.reply.args)
			if !out.Call("0", x.reply.id, x.reply.call) || !out.Arguments("0", x.reply.args) || !out.CloseCall("0") {
				return
			}
		}
		for word := range strings.SplitAfterSeq(x.reply.text, " ") {
			if ctx.Err() != nil {
				out.Fail(apierror.Wrap(apierror.Canceled, context.Cause(ctx), "The request was canceled."))
				return
			}
			if x.limit > 0 && written+len(word) > x.limit {
				end.Status, end.Reason = or.StatusIncomplete, "max_output_tokens"
				break
			}
			written += len(word)
			if !out.Text(word) {
				return
			}
		}
		x.usage.Output = int64(written+bytesPerToken-1) / bytesPerToken
		out.Usage(x.usage)
		out.Finish(end)
	}
}
