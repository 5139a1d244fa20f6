package main

import (
	"context"
	"io"

	"github.com/valyala/fastjson"

	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

var _ provider.CountDecoder = (*exchange)(nil)

// counted is what of a request is counted: what the model would read.
func (m *messagesRequest) counted() *messagesRequest {
	return &messagesRequest{Model: m.Model, System: m.System, Messages: m.Messages, Tools: m.Tools, ToolChoice: m.ToolChoice, Thinking: m.Thinking}
}

// DecodeCount reads the reply to v1/messages/count_tokens.
func (x *exchange) DecodeCount(ctx context.Context, r provider.Reply) (int64, error) {
	if r.Status < 200 || r.Status > 299 {
		return 0, refused(r)
	}
	d := &decoder{x: x, requestID: r.Header.Get("request-id")}
	b, err := io.ReadAll(io.LimitReader(r.Body, maxError))
	switch {
	case ctx.Err() != nil:
		return 0, canceled(ctx)
	case err != nil:
		return 0, d.failed(err, "The connection to the provider broke before the reply was complete. Try again.")
	}
	v, err := fastjson.ParseBytes(b)
	if err != nil {
		return 0, d.failed(err, "The provider's reply is not JSON. Try again.")
	}
	n := v.Get("input_tokens")
	if n == nil || n.Type() != fastjson.TypeNumber || n.GetInt64() < 0 {
		return 0, d.failed(nil, "The provider's reply has no count of tokens. Try again.")
	}
	return n.GetInt64(), nil
}
