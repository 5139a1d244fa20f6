package main

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"iter"
	"math"
	"strconv"

	"github.com/valyala/fastjson"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

var embedKnown = set("model", "input", "dimensions", "encoding_format", "user")

// embedTalk is a request of the embeddings API, and writes its reply.
type embedTalk struct {
	asked  provider.Asked
	base64 bool
}

// embedTalk reads POST embeddings.
func (r *reader) embedTalk(v *fastjson.Value) *embedTalk {
	e := &provider.EmbedRequest{Input: r.embedInput(v.Get("input"), member("input"))}
	if n := r.integer(v.Get("dimensions"), member("dimensions"), 1); n != nil {
		e.Dimensions = int(min(*n, 1<<20))
	}
	t := &embedTalk{asked: provider.Asked{Op: provider.Embed, Model: r.str(v.Get("model"), member("model")), Embed: e}}
	switch f := r.str(v.Get("encoding_format"), member("encoding_format")); f {
	case "", "float":
	case "base64":
		t.base64 = true
	default:
		r.fail(apierror.Invalid, member("encoding_format"), "encoding_format is %q; it must be float or base64.", clip(f))
	}
	r.rest(v, embedKnown)
	t.asked.Lost = r.lost
	return t
}

func (r *reader) embedInput(v *fastjson.Value, p *place) []string {
	if isStr(v) {
		if text(v) == "" {
			r.fail(apierror.Invalid, p, "input is empty. Send a text, or a list of texts.")
		}
		return []string{text(v)}
	}
	if null(v) {
		r.missing(p, "send a text, or a list of texts.")
		return nil
	}
	list := r.array(v, p)
	if len(list) == 0 {
		r.fail(apierror.Invalid, p, "input is empty. Send a text, or a list of texts.")
	}
	var out []string
	for i, s := range list {
		switch s.Type() {
		case fastjson.TypeNumber, fastjson.TypeArray:
			r.unsupported(p, "input holds token numbers, which mean something to one model only. Send the texts themselves.")
			return nil
		}
		w := r.str(s, p.at(i))
		if w == "" {
			r.fail(apierror.Invalid, p.at(i), "%s is empty. Each entry must be a text.", p.at(i).String())
		}
		out = append(out, w)
	}
	return out
}

// Asked implements provider.Dialogue.
func (t *embedTalk) Asked() provider.Asked { return t.asked }

// Write implements provider.Dialogue; vectors have no events.
func (t *embedTalk) Write(context.Context, iter.Seq2[or.Event, error], io.Writer) error {
	return apierror.New(apierror.Unsupported, "Embeddings are not told in events.")
}

var errVector = errors.New("a vector holds what is no number")

// WriteEmbed implements provider.EmbedWriter.
func (t *embedTalk) WriteEmbed(_ context.Context, vectors [][]float32, usage *or.Usage, w io.Writer) error {
	b := []byte(`{"object":"list","data":[`)
	for i, vec := range vectors {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"object":"embedding","index":`...)
		b = appendInt(b, int64(i))
		b = append(b, `,"embedding":`...)
		if t.base64 {
			b = appendFloats64(b, vec)
		} else {
			b = append(b, '[')
			for k, f := range vec {
				if k > 0 {
					b = append(b, ',')
				}
				if f64 := float64(f); math.IsNaN(f64) || math.IsInf(f64, 0) {
					return apierror.Wrap(apierror.UpstreamFailed, errVector, "The provider's embeddings cannot be read. Try again.")
				}
				b = strconv.AppendFloat(b, float64(f), 'g', -1, 32)
			}
			b = append(b, ']')
		}
		b = append(b, '}')
	}
	b = append(b, `],"model":`...)
	b = or.AppendString(b, t.asked.Model)
	var n int64
	if usage != nil {
		n = usage.InputTotal()
	}
	b = append(b, `,"usage":{"prompt_tokens":`...)
	b = appendInt(b, n)
	b = append(b, `,"total_tokens":`...)
	b = append(appendInt(b, n), `}}`...)
	_, err := w.Write(b)
	return err
}

// appendFloats64 appends a vector as the API's base64: IEEE 754 single
// precision, little-endian.
func appendFloats64(b []byte, vec []float32) []byte {
	bits := make([]byte, 0, 4*len(vec))
	for _, f := range vec {
		bits = binary.LittleEndian.AppendUint32(bits, math.Float32bits(f))
	}
	b = append(b, '"')
	b = base64.StdEncoding.AppendEncode(b, bits)
	return append(b, '"')
}
