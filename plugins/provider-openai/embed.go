package main

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"math"

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
func (x *exchange) DecodeEmbed(ctx context.Context, r provider.Reply) ([][]float32, *or.Usage, error) {
	if r.Status < 200 || r.Status > 299 {
		return nil, nil, refused(r)
	}
	g := &guard{load: &process, ctx: ctx}
	defer g.release()
	doc := dialogue.Open()
	defer doc.Close()
	v, err := parseWhole(doc, &counter{r.Body, g}, r.Header)
	switch {
	case errors.Is(err, errLoad):
		return nil, nil, errLoad
	case err != nil:
		return nil, nil, unreadable(err)
	}
	return vectors(v)
}

func unreadable(err error) error {
	return apierror.Wrap(apierror.UpstreamFailed, err, "The provider's embeddings cannot be read. Try again.")
}

// vector reads one vector: numbers, or base64 of numbers of four bytes,
// little-endian, which is a third of the size.
func vector(v *fastjson.Value) ([]float32, error) {
	if v == nil || v.Type() != fastjson.TypeString {
		numbers := v.GetArray()
		out := make([]float32, len(numbers))
		for i, n := range numbers {
			out[i] = float32(n.GetFloat64())
		}
		return out, nil
	}
	b, err := base64.StdEncoding.DecodeString(text(v))
	if err != nil || len(b)%4 != 0 {
		return nil, errors.New("a vector is no base64 of numbers")
	}
	out := make([]float32, len(b)/4)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return out, nil
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
			return nil, nil, unreadable(errors.New("index out of order"))
		}
		vec, err := vector(d.Get("embedding"))
		if err != nil {
			return nil, nil, unreadable(err)
		}
		out[at] = vec
	}
	u := or.Usage{Input: max(0, v.GetInt64("usage", "prompt_tokens"))}
	return out, &u, nil
}
