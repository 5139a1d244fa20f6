// Command provider-openai translates turns to OpenAI's two APIs, Responses and
// chat/completions, and their replies back. The second is what most other
// servers speak too, so it also serves any OpenAI-compatible base URL.
package main

import (
	"encoding/json"

	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

func main() { provider.Serve(manifest, translator{}) }

// family names the dialect in opaque state.
const family = "openai"

// manifest is what the core knows of this plugin without asking it.
var manifest = provider.Manifest{
	Name:       "openai",
	Version:    "0.1.0",
	Ops:        []provider.Op{provider.Generate, provider.Embed},
	BaseURL:    "https://api.openai.com/v1",
	Credential: provider.Credential{Scheme: "bearer"},
	RequestIDs: []string{"x-request-id"},
	Settings:   json.RawMessage(settingsSchema),
	Carry:      sessionHeaders,
	Dialects:   dialects,
	Surfaces:   surfaces,
	Natives:    natives,
	Meter: provider.Meter{Fields: []provider.Field{
		// Responses: in the terminal event, and at the top when not streamed.
		{Path: "response.usage.input_tokens", Count: provider.Input, Op: provider.Last},
		{Path: "response.usage.input_tokens_details.cached_tokens", Count: provider.CacheRead, Op: provider.Last, In: provider.Input},
		{Path: "response.usage.output_tokens", Count: provider.OutputTokens, Op: provider.Last},
		{Path: "response.usage.output_tokens_details.reasoning_tokens", Count: provider.Reasoning, Op: provider.Last, In: provider.OutputTokens},
		{Path: "usage.input_tokens", Count: provider.Input, Op: provider.Last},
		{Path: "usage.input_tokens_details.cached_tokens", Count: provider.CacheRead, Op: provider.Last, In: provider.Input},
		{Path: "usage.output_tokens", Count: provider.OutputTokens, Op: provider.Last},
		{Path: "usage.output_tokens_details.reasoning_tokens", Count: provider.Reasoning, Op: provider.Last, In: provider.OutputTokens},
		// chat/completions
		{Path: "usage.prompt_tokens", Count: provider.Input, Op: provider.Last},
		{Path: "usage.prompt_tokens_details.cached_tokens", Count: provider.CacheRead, Op: provider.Last, In: provider.Input},
		{Path: "usage.completion_tokens", Count: provider.OutputTokens, Op: provider.Last},
		{Path: "usage.completion_tokens_details.reasoning_tokens", Count: provider.Reasoning, Op: provider.Last, In: provider.OutputTokens},
	}},
}
