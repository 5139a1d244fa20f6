// Command provider-anthropic translates turns to Anthropic's Messages API, and
// its replies back; and as a front it reads the requests of that API's clients
// and answers them in its dialect, whatever provider serves them.
package main

import (
	"encoding/json"

	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

func main() { provider.Serve(manifest, translator{}) }

// manifest is what the core knows of this plugin without asking it. In the
// meter, values of one count fold in the order they arrive: message_start says
// the input, message_delta repeats it and says the output so far.
var manifest = provider.Manifest{
	Name:       "anthropic",
	Version:    "0.1.0",
	Ops:        []provider.Op{provider.Generate, provider.CountTokens},
	BaseURL:    "https://api.anthropic.com",
	Credential: provider.Credential{Scheme: "header", Name: "x-api-key"},
	Carry:      []string{"anthropic-beta"},
	RequestIDs: []string{"request-id"},
	Settings:   json.RawMessage(settingsSchema),
	Meter: provider.Meter{Fields: []provider.Field{
		{Event: "message_start", Path: "message.usage.input_tokens", Count: provider.Input, Op: provider.Max},
		{Event: "message_start", Path: "message.usage.cache_read_input_tokens", Count: provider.CacheRead, Op: provider.Max},
		{Event: "message_start", Path: "message.usage.cache_creation_input_tokens", Count: provider.CacheWrite, Op: provider.Max},
		{Event: "message_start", Path: "message.usage.cache_creation.ephemeral_1h_input_tokens", Count: provider.CacheWrite1h, Op: provider.Max, In: provider.CacheWrite},
		{Event: "message_start", Path: "message.usage.output_tokens", Count: provider.OutputTokens, Op: provider.Max},
		{Path: "usage.input_tokens", Count: provider.Input, Op: provider.Max},
		{Path: "usage.cache_read_input_tokens", Count: provider.CacheRead, Op: provider.Max},
		{Path: "usage.cache_creation_input_tokens", Count: provider.CacheWrite, Op: provider.Max},
		{Path: "usage.cache_creation.ephemeral_1h_input_tokens", Count: provider.CacheWrite1h, Op: provider.Max, In: provider.CacheWrite},
		{Path: "usage.output_tokens", Count: provider.OutputTokens, Op: provider.Max},
	}},
	Dialects: []provider.Dialect{{
		Name:      messagesDialect,
		Errors:    "anthropic",
		Ends:      []string{"message_stop"},
		Failures:  []string{"error"},
		Cut:       "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":$MESSAGE}}\n\n",
		Ping:      "event: ping\ndata: {\"type\": \"ping\"}\n\n",
		State:     true,
		Model:     []string{"message.model", "model"},
		MaxTokens: []string{"max_tokens"},
		Session:   []string{"metadata.user_id.session_id"},
		Text: []string{"delta.text", "delta.thinking", "delta.partial_json", // of a stream
			"content.text", "content.thinking", "content.input"}, // of a message
	}},
	Surfaces: []provider.Surface{{
		Name:   "anthropic",
		Base:   "/anthropic",
		Carry:  []string{"anthropic-beta", "x-claude-code-session-id"},
		Probes: []string{"", "/", "/api/hello"},
		Models: "/v1/models",
		Routes: []provider.SurfaceRoute{
			{Path: messagesRoute, Op: provider.Generate, Dialect: messagesDialect},
			{Path: countRoute, Op: provider.CountTokens, Dialect: messagesDialect, Stream: provider.StreamNever},
		},
	}},
	Natives: []provider.Native{
		{Dialect: messagesDialect, Op: provider.Generate, Path: "v1/messages"},
		{Dialect: messagesDialect, Op: provider.CountTokens, Path: "v1/messages/count_tokens"},
	},
}

// Names that the manifest and the code share.
const (
	messagesDialect = "anthropic-messages"
	messagesRoute   = "/v1/messages"
	countRoute      = "/v1/messages/count_tokens"
)
