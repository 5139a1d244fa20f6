// Command provider-anthropic translates turns to Anthropic's Messages API,
// and its replies back.
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
	Ops:        []provider.Op{provider.Generate},
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
}
