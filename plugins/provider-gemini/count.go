package main

import (
	"context"
	"io"
	"iter"
	"net/http"
	"strconv"

	"github.com/valyala/fastjson"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
	"github.com/sallyport-gateway/sallyport/sdk/provider/dialogue"
)

var (
	_ provider.CountDecoder = (*question)(nil)
	_ provider.EmbedDecoder = (*question)(nil)
)

// question is a request whose reply is one JSON object that says a number or
// vectors.
type question struct{ up provider.Upstream }

// beginCount asks how many tokens a request has, as it would be sent.
func beginCount(path string, s settings, g *generateRequest, lost dialogue.Lost) (*question, error) {
	type named struct {
		Model string `json:"model"`
		*generateRequest
	}
	body, err := encoded(struct {
		Request named `json:"generateContentRequest"`
	}{named{path, g}})
	if err != nil {
		return nil, err
	}
	return ask(s, path+":countTokens", body, lost), nil
}

// beginEmbed asks for the vectors of texts, one for each.
func beginEmbed(t provider.Turn) (*question, error) {
	s, path, err := destination(t)
	if err != nil {
		return nil, err
	}
	type one struct {
		Model      string  `json:"model"`
		Content    content `json:"content"`
		Dimensions int     `json:"outputDimensionality,omitempty"`
	}
	var all struct {
		Requests []one `json:"requests"`
	}
	for i, text := range t.Embed.Input {
		if text == "" {
			at := "input[" + strconv.Itoa(i) + "]"
			return nil, apierror.At(apierror.Invalid, at, "%s is empty. Leave it out, or put a text there.", at)
		}
		all.Requests = append(all.Requests, one{path, content{Parts: []part{{Text: text}}}, t.Embed.Dimensions})
	}
	if len(all.Requests) == 0 {
		return nil, apierror.At(apierror.Invalid, "input", "input is empty. Put at least one text into it.")
	}
	body, err := encoded(all)
	if err != nil {
		return nil, err
	}
	return ask(s, path+":batchEmbedContents", body, nil), nil
}

func ask(s settings, path string, body []byte, lost dialogue.Lost) *question {
	return &question{up: provider.Upstream{
		Method: http.MethodPost,
		Path:   s.Version + "/" + path,
		Header: http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json"}},
		Body:   body,
		Lost:   lost,
	}}
}

func (q *question) Upstream() *provider.Upstream { return &q.up }

// Decode is for replies to Generate only.
func (q *question) Decode(context.Context, provider.Reply) iter.Seq2[or.Event, error] {
	return func(yield func(or.Event, error) bool) {
		yield(or.Event{}, apierror.New(apierror.Internal, "The reply to this operation is no turn of a model."))
	}
}

// DecodeCount reads the reply to countTokens.
func (q *question) DecodeCount(ctx context.Context, r provider.Reply) (int64, error) {
	v, err := answer(ctx, r)
	if err != nil {
		return 0, err
	}
	n := v.Get("totalTokens")
	if n == nil || n.Type() != fastjson.TypeNumber {
		return 0, apierror.New(apierror.UpstreamFailed, "The provider's reply holds no count of tokens. Try again.")
	}
	return n.GetInt64(), nil
}

// DecodeEmbed reads the reply to batchEmbedContents, which counts no tokens.
func (q *question) DecodeEmbed(ctx context.Context, r provider.Reply) ([][]float32, *or.Usage, error) {
	v, err := answer(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	var vectors [][]float32
	for _, e := range v.GetArray("embeddings") {
		values := e.GetArray("values")
		vector := make([]float32, len(values))
		for i, f := range values {
			vector[i] = float32(f.GetFloat64())
		}
		vectors = append(vectors, vector)
	}
	if len(vectors) == 0 {
		return nil, nil, apierror.New(apierror.UpstreamFailed, "The provider's reply holds no vectors. Try again.")
	}
	return vectors, nil, nil
}

// answer reads a reply that is one JSON object, or an error.
func answer(ctx context.Context, r provider.Reply) (*fastjson.Value, error) {
	if r.Status < 200 || r.Status > 299 {
		return nil, refused(r)
	}
	b, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	switch {
	case ctx.Err() != nil:
		return nil, canceled(ctx)
	case err != nil:
		return nil, apierror.Wrap(apierror.UpstreamFailed, err, "The connection to the provider broke before the reply was complete. Try again.")
	}
	v, err := fastjson.ParseBytes(dialogue.Mend(b))
	if err != nil || v.Type() != fastjson.TypeObject {
		return nil, apierror.Wrap(apierror.UpstreamFailed, err, "The provider's reply is not a JSON object. Try again.")
	}
	return v, nil
}
