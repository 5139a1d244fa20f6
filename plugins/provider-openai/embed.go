package main

import (
	"context"
	"errors"
	"io"

	"github.com/valyala/fastjson"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
	"github.com/sallyport-gateway/sallyport/sdk/provider/dialogue"
)

// embedBody is POST embeddings.
type embedBody struct {
	Model          string   `json:"model"`
	Input          []string `json:"input"`
	Dimensions     int      `json:"dimensions,omitempty"`
	EncodingFormat string   `json:"encoding_format"`
}

// DecodeEmbed reads the vectors, in the order of the inputs.
func (x *exchange) DecodeEmbed(_ context.Context, r provider.Reply) ([][]float32, *or.Usage, error) {
	if r.Status < 200 || r.Status > 299 {
		return nil, nil, refused(r)
	}
	b, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err == nil {
		var v *fastjson.Value
		if v, err = fastjson.ParseBytes(dialogue.Mend(b)); err == nil {
			return vectors(v)
		}
	}
	return nil, nil, apierror.Wrap(apierror.UpstreamFailed, err, "The provider's embeddings cannot be read. Try again.")
}

func vectors(v *fastjson.Value) ([][]float32, *or.Usage, error) {
	data := v.GetArray("data")
	out := make([][]float32, len(data))
	for i, d := range data {
		at := i
		if n := d.Get("index"); n != nil {
			at = n.GetInt()
		}
		if at < 0 || at >= len(out) || out[at] != nil {
			return nil, nil, apierror.Wrap(apierror.UpstreamFailed, errors.New("index out of order"), "The provider's embeddings cannot be read. Try again.")
		}
		numbers := d.GetArray("embedding")
		out[at] = make([]float32, len(numbers))
		for j, n := range numbers {
			out[at][j] = float32(n.GetFloat64())
		}
	}
	u := or.Usage{Input: max(0, v.GetInt64("usage", "prompt_tokens"))}
	return out, &u, nil
}
