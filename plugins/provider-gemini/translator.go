package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
	"github.com/sallyport-gateway/sallyport/sdk/provider/dialogue"
)

type translator struct{}

// settings is what an operator may say under `settings:` of an account.
type settings struct {
	Version  string          `json:"version"`         // of the API, the first part of its paths; "" means v1beta
	Thinking string          `json:"thinking"`        // auto (default: by the model's name), level, budget, never
	Safety   []safetySetting `json:"safety_settings"` // sent with every request
}

type safetySetting struct {
	Category  string `json:"category"`
	Threshold string `json:"threshold"`
}

const settingsSchema = `{
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "version": {"type": "string", "pattern": "^v[0-9][a-z0-9]*$", "description": "Version of the API. Default v1beta."},
    "thinking": {"enum": ["auto", "level", "budget", "never"], "description": "How reasoning is asked for. Default auto: by the model's name."},
    "safety_settings": {
      "type": "array",
      "description": "Sent with every request.",
      "items": {
        "type": "object",
        "additionalProperties": false,
        "required": ["category", "threshold"],
        "properties": {"category": {"type": "string"}, "threshold": {"type": "string"}}
      }
    }
  }
}`

// modelPath is a model's name, or its path such as tunedModels/name.
var modelPath = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@-]*(/[A-Za-z0-9][A-Za-z0-9._@-]*)*$`)

// exchange is one turn. What encoding decided and decoding needs is here.
type exchange struct {
	up      provider.Upstream
	account string
	names   *dialogue.Names
	seed    dialogue.Seed // for ids that the provider left out
}

// Begin translates a request to generateContent or streamGenerateContent.
func (translator) Begin(_ context.Context, t provider.Turn) (provider.Exchange, error) {
	if t.Op == provider.Embed && t.Embed != nil {
		return beginEmbed(t)
	}
	if t.Op != provider.Generate && t.Op != provider.CountTokens || t.Request == nil {
		return nil, apierror.New(apierror.Unsupported, "The gemini translator cannot do %q. Choose a model of another provider for it.", t.Op)
	}
	s, path, err := destination(t)
	if err != nil {
		return nil, err
	}
	e := &encoder{
		request: t.Request,
		account: t.Account.Name,
		model:   familyOf(t.Model, s),
		names:   &dialogue.Names{Max: 64, Fits: fits},
	}
	g, err := e.encode()
	if err != nil {
		return nil, err
	}
	g.SafetySettings = s.Safety
	if t.Op == provider.CountTokens {
		return beginCount(path, s, g, e.lost)
	}
	body, err := encoded(g)
	if err != nil {
		return nil, err
	}
	x := &exchange{account: t.Account.Name, names: e.names}
	x.up = provider.Upstream{
		Method: http.MethodPost,
		Path:   s.Version + "/" + path + ":generateContent",
		Header: http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json"}},
		Body:   body,
		Stream: t.Request.Stream,
		Lost:   e.lost,
	}
	if x.up.Stream {
		x.up.Path = s.Version + "/" + path + ":streamGenerateContent"
		x.up.Query = "alt=sse"
		x.up.Header.Set("Accept", "text/event-stream")
	}
	x.seed.Body = x.up.Body
	return x, nil
}

func (x *exchange) Upstream() *provider.Upstream { return &x.up }

// destination reads the account's settings and the model's path: models/NAME,
// or another path as it stands.
func destination(t provider.Turn) (settings, string, error) {
	s := settings{Version: "v1beta"}
	if len(t.Account.Settings) > 0 {
		d := json.NewDecoder(bytes.NewReader(t.Account.Settings))
		d.DisallowUnknownFields()
		if err := d.Decode(&s); err != nil {
			return s, "", fmt.Errorf("provider %q: settings: %w", t.Account.Name, err)
		}
	}
	path := t.Model
	if !modelPath.MatchString(path) {
		return s, "", fmt.Errorf("provider %q: %q is no name of a Gemini model", t.Account.Name, t.Model)
	}
	if !strings.Contains(path, "/") {
		path = "models/" + path
	}
	return s, path, nil
}

// encoded is a body's JSON.
func encoded(v any) ([]byte, error) {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	return bytes.TrimSuffix(body.Bytes(), []byte("\n")), nil
}

// fits are the letters of a function's name.
func fits(c byte, first bool) bool {
	if first && (c == '-' || '0' <= c && c <= '9') {
		return false
	}
	return dialogue.Word(c)
}
