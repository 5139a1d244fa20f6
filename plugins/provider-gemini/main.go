// Command provider-gemini translates turns to Google's Gemini API
// (generateContent), and its replies back.
package main

import (
	"encoding/json"

	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

func main() { provider.Serve(manifest, translator{}) }

// manifest is what the core knows of this plugin without asking it. In the
// meter, values of one count fold in the order they stand here: every chunk
// repeats the whole usage so far.
var manifest = provider.Manifest{
	Name:       "gemini",
	Version:    "0.1.0",
	Ops:        []provider.Op{provider.Generate},
	BaseURL:    "https://generativelanguage.googleapis.com",
	Credential: provider.Credential{Scheme: "header", Name: "x-goog-api-key"},
	RequestIDs: []string{"x-goog-request-id", "x-request-id"},
	Settings:   json.RawMessage(settingsSchema),
	Meter: provider.Meter{Fields: []provider.Field{
		{Path: "usageMetadata.promptTokenCount", Count: provider.Input, Op: provider.Last},
		{Path: "usageMetadata.toolUsePromptTokenCount", Count: provider.Input, Op: provider.Add},
		{Path: "usageMetadata.cachedContentTokenCount", Count: provider.CacheRead, Op: provider.Last, In: provider.Input},
		{Path: "usageMetadata.candidatesTokenCount", Count: provider.OutputTokens, Op: provider.Last},
		{Path: "usageMetadata.thoughtsTokenCount", Count: provider.Reasoning, Op: provider.Last},
	}},
}
