package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
	"github.com/sallyport-gateway/sallyport/sdk/provider/dialogue"
)

type translator struct{}

// errNothing refuses a conversation of which nothing can be said here: the
// model would answer nobody, or OpenAI refuse it in words about its own fields.
var errNothing = apierror.At(apierror.Invalid, "input", "The input holds no text, image or file for the model. Put at least one into a user message.")

var (
	_ provider.EmbedDecoder = (*exchange)(nil)
	_ provider.Exchange     = (*exchange)(nil)
)

// settings is what an operator may say under `settings:` of an account.
type settings struct {
	API       string `json:"api"`       // responses, chat; default responses, or chat with server: compatible
	Server    string `json:"server"`    // openai (default), compatible
	Reasoning *bool  `json:"reasoning"` // whether the models reason; default by the model's name
}

const settingsSchema = `{
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "api": {"enum": ["responses", "chat"], "description": "Which API of the server to use. Default responses, or chat when server is compatible."},
    "server": {"enum": ["openai", "compatible"], "description": "What answers: OpenAI (default, Azure too), or another server that speaks its chat dialect and knows only the common fields."},
    "reasoning": {"type": "boolean", "description": "Whether to ask for encrypted reasoning, which models that do not reason refuse. Default: by the model's name."}
  }
}`

func readSettings(a provider.Account) (settings, error) {
	if len(a.Settings) == 0 {
		return settings{API: "responses"}, nil
	}
	var s settings
	d := json.NewDecoder(bytes.NewReader(a.Settings))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return s, fmt.Errorf("provider %q: settings: %w", a.Name, err)
	}
	if s.API == "" {
		s.API = "responses"
		if s.Server == "compatible" {
			s.API = "chat"
		}
	}
	return s, nil
}

// reasons reports whether a model takes part in encrypted reasoning.
func (s settings) reasons(model string) bool {
	if s.Reasoning != nil {
		return *s.Reasoning
	}
	for _, p := range []string{"gpt-3", "gpt-4", "chatgpt-"} {
		if strings.HasPrefix(model, p) {
			return false
		}
	}
	return !strings.Contains(model, "-chat")
}

// exchange is one turn. What encoding decided and decoding needs is here.
type exchange struct {
	up      provider.Upstream
	account string
	chat    bool
	names   dialogue.Names
	seed    dialogue.Seed // for call ids that the server left out
}

// Begin translates a request to POST responses, chat/completions or embeddings.
func (translator) Begin(_ context.Context, t provider.Turn) (provider.Exchange, error) {
	s, err := readSettings(t.Account)
	if err != nil {
		return nil, err
	}
	x := &exchange{account: t.Account.Name, chat: s.API == "chat"}
	x.names = dialogue.Names{Max: maxKey, Fits: func(c byte, _ bool) bool { return dialogue.Word(c) }}
	types := []string{"application/json", "application/json"} // of the request, and of the reply
	x.up = provider.Upstream{Method: http.MethodPost, Header: http.Header{"Content-Type": types[:1:1], "Accept": types[1:]}}
	switch {
	case t.Op == provider.Embed && t.Embed != nil:
		format := "base64"
		if s.Server == "compatible" {
			format = "float" // all of them know it
		}
		x.up.Path = "embeddings"
		x.up.Body, err = marshal(embedBody{t.Model, t.Embed.Input, t.Embed.Dimensions, format})
	case t.Op == provider.Generate && t.Request != nil:
		e := &encoder{request: t.Request, account: t.Account.Name, model: t.Model, settings: s, carry: t.Carry, names: &x.names}
		x.up.Stream = t.Request.Stream
		if x.up.Stream {
			types[1] = "text/event-stream"
		}
		x.up.Path = "responses"
		if x.chat {
			x.up.Path = "chat/completions"
			x.up.Body, err = e.chatJSON()
		} else {
			x.up.Body, err = e.responsesJSON()
		}
		x.up.Lost = e.lost
	default:
		return nil, apierror.New(apierror.Unsupported, "The openai translator cannot do %q. Choose a model of another provider for it.", t.Op)
	}
	if err != nil {
		return nil, err
	}
	x.seed.Body = x.up.Body
	return x, nil
}

// Upstream is the request to make.
func (x *exchange) Upstream() *provider.Upstream { return &x.up }

// marshal writes JSON as it is, without the escapes that are for HTML.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// encoder translates one request.
type encoder struct {
	request  *or.Request
	account  string
	model    string
	settings settings
	carry    http.Header
	names    *dialogue.Names // of functions
	lost     dialogue.Lost
}

// compatible reports whether the server knows only the common fields.
func (e *encoder) compatible() bool { return e.settings.Server == "compatible" }

// callID gives the id of a call as any server takes it. Ids of other providers
// pass: a call_id is the caller's to choose.
func callID(id string) string {
	if dialogue.IsID(id) {
		return id
	}
	return "call_" + dialogue.Digest(24, id)
}

// common notes what neither API has a place for.
func (e *encoder) common() {
	r := e.request
	for i := range r.Tools {
		if r.Tools[i].Type != "function" {
			e.lost.Add("tools[%d]", i)
		}
	}
	if r.TopLogprobs != nil {
		e.lost.Add("top_logprobs")
	}
	for i, in := range r.Include {
		if in != "reasoning.encrypted_content" {
			e.lost.Add("include[%d]", i)
		}
	}
	for _, m := range r.Extra {
		switch m.Name {
		case "stream_options": // about our own stream, not the provider's
		case "anthropic", "gemini", family: // from a front to the translator of its own family
		default:
			e.lost.Add("%s", m.Name)
		}
	}
}

// format is the parts of a text format.
type format struct {
	Type        string          `json:"type"`
	Name        string          `json:"name,omitempty"`
	Description string          `json:"description,omitempty"`
	Schema      json.RawMessage `json:"schema,omitempty"`
	Strict      *bool           `json:"strict,omitempty"`
}

func (e *encoder) format() (*format, error) {
	if e.request.Text == nil || len(e.request.Text.Format) == 0 {
		return nil, nil
	}
	f := new(format)
	if err := json.Unmarshal(e.request.Text.Format, f); err != nil {
		return nil, apierror.At(apierror.Invalid, "text.format", "text.format cannot be read: its name and description are strings, strict is true or false.")
	}
	if f.Type == "text" {
		return nil, nil
	}
	return f, nil
}

// image is a picture as both APIs take it: a URL or a data URL.
func (e *encoder) image(p *or.Part, place string) bool {
	switch {
	case p.ImageURL == "":
		e.lost.Add("%s", place) // a file id, which would be of another account
		return false
	case p.FileID != "":
		e.lost.Add("%s.file_id", place)
	}
	return true
}

// fileData is a file's content as the data URL that both APIs want.
func fileData(p *or.Part) (string, bool) {
	d, ok := dialogue.ParseData(p.FileData, p.Filename)
	if !ok {
		return "", false
	}
	if d.Type == "" {
		d.Type = "application/octet-stream"
	}
	return "data:" + d.Type + ";base64," + d.Base64, true
}

func fileName(p *or.Part) string {
	if p.Filename == "" {
		return "file.pdf"
	}
	return p.Filename
}

// sessionHeaders are by which coding tools name their conversation.
var sessionHeaders = []string{"X-Claude-Code-Session-Id", "Session-Id", "Session_id", "X-Session-Id"}
