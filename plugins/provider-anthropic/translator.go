package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
	"github.com/sallyport-gateway/sallyport/sdk/provider/dialogue"
)

// version is the version of the Messages API that this plugin speaks.
const version = "2023-06-01"

type translator struct{}

// settings is what an operator may say under `settings:` of an account.
type settings struct {
	MaxTokens int64    `json:"max_tokens"` // for requests that do not say; 0 means 32000, or less where the model writes less
	Thinking  string   `json:"thinking"`   // auto (default: by the model's name), adaptive, budget, never
	Schema    string   `json:"schema"`     // output schemas: auto (default: by the model's name), always, never
	Cache     string   `json:"cache"`      // cache marks where the request has none: auto (default: on what agents send again and again), never
	Beta      []string `json:"beta"`       // values of anthropic-beta to add to every request
}

const settingsSchema = `{
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "max_tokens": {"type": "integer", "minimum": 1, "description": "Most tokens an answer may have when the request does not say. Default 32000, or less where the model writes less."},
    "thinking": {"enum": ["auto", "adaptive", "budget", "never"], "description": "How reasoning is asked for. Default auto: by the model's name."},
    "schema": {"enum": ["auto", "always", "never"], "description": "Whether the model takes an output schema. Default auto: by the model's name."},
    "cache": {"enum": ["auto", "never"], "description": "Whether a request with tools or history gets cache marks when it brings none. Default auto."},
    "beta": {"type": "array", "items": {"type": "string", "pattern": "^[a-z0-9-]+$"}, "description": "Values of anthropic-beta to add to every request."}
  }
}`

// exchange is one turn. What encoding decided and decoding needs is here.
type exchange struct {
	up      provider.Upstream
	account string
	model   family
	names   *dialogue.Names
	seed    dialogue.Seed // for ids that the provider left out
}

// Begin translates a request to POST v1/messages, or v1/messages/count_tokens.
func (translator) Begin(_ context.Context, t provider.Turn) (provider.Exchange, error) {
	count := t.Op == provider.CountTokens
	if !count && t.Op != provider.Generate || t.Request == nil {
		return nil, apierror.New(apierror.Unsupported, "The anthropic translator cannot do %q. Choose a model of another provider for it.", t.Op)
	}
	var s settings
	if len(t.Account.Settings) > 0 {
		d := json.NewDecoder(bytes.NewReader(t.Account.Settings))
		d.DisallowUnknownFields()
		if err := d.Decode(&s); err != nil {
			return nil, fmt.Errorf("provider %q: settings: %w", t.Account.Name, err)
		}
	}
	request := *t.Request // what is mended is ours alone
	request.Input = pairUp(request.Input)
	e := &encoder{
		request: &request,
		hint:    hintOf(&request),
		account: t.Account.Name,
		set:     s,
		model:   familyOf(t.Model, s),
		names:   &dialogue.Names{Max: 64, Fits: func(c byte, _ bool) bool { return dialogue.Word(c) }},
	}
	m, err := e.encode(t.Model)
	if err != nil {
		return nil, err
	}
	if count {
		m = m.counted()
	}
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(m); err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	x := &exchange{account: t.Account.Name, model: e.model, names: e.names}
	x.up = provider.Upstream{
		Method: http.MethodPost,
		Path:   "v1/messages",
		Header: header(t.Carry, s.Beta, t.Request.Stream),
		Body:   bytes.TrimSuffix(body.Bytes(), []byte("\n")),
		Stream: t.Request.Stream,
		Lost:   e.lost,
	}
	if count {
		x.up.Path, x.up.Stream = "v1/messages/count_tokens", false
		x.up.Header = header(t.Carry, s.Beta, false)
	}
	x.seed.Body = x.up.Body
	return x, nil
}

func (x *exchange) Upstream() *provider.Upstream { return &x.up }

// carriedBetas begin the names of those features a client may switch on that
// mean something for a request that was translated: they change what the model
// may do, not what the request or the reply looks like.
var carriedBetas = []string{"claude-code-", "interleaved-thinking-", "effort-", "context-1m-", "output-128k-", "extended-cache-ttl-", "fine-grained-tool-streaming-", "structured-outputs-"}

// carried are the betas of a client that make sense here.
func carried(h http.Header) []string {
	var out []string
	for b := range strings.SplitSeq(strings.Join(h.Values("anthropic-beta"), ","), ",") {
		b = strings.TrimSpace(b)
		if slices.ContainsFunc(carriedBetas, func(prefix string) bool { return strings.HasPrefix(b, prefix) }) {
			out = append(out, b)
		}
	}
	return out
}

// header are the fixed headers and the betas that client and operator ask for.
func header(carry http.Header, beta []string, stream bool) http.Header {
	h := http.Header{}
	h.Set("Content-Type", "application/json")
	h.Set("Anthropic-Version", version)
	h.Set("Accept", "application/json")
	if stream {
		h.Set("Accept", "text/event-stream")
	}
	var all []string
	seen := map[string]bool{}
	for _, list := range [][]string{carried(carry), beta} {
		for b := range strings.SplitSeq(strings.Join(list, ","), ",") {
			if b = strings.TrimSpace(b); b != "" && !seen[b] {
				seen[b] = true
				all = append(all, b)
			}
		}
	}
	if len(all) > 0 {
		h.Set("Anthropic-Beta", strings.Join(all, ","))
	}
	return h
}
