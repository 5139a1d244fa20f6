// Command provider-gemini translates turns to Google's Gemini API
// (generateContent), and its replies back. It is also the front for clients
// that speak that API, such as Gemini CLI: the surface /gemini.
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
	Ops:        []provider.Op{provider.Generate, provider.CountTokens, provider.Embed},
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
	Dialects: []provider.Dialect{{
		Name:      dialect,
		Errors:    "gemini",
		Failures:  []string{"error"},
		Ping:      "\n\n", // Google's client library stumbles over comments, and skips empty lines
		State:     true,
		MaxTokens: []string{"generationConfig.maxOutputTokens", "generation_config.max_output_tokens"},
		Text:      []string{"candidates.content.parts.text", "candidates.content.parts.functionCall.args"},
	}},
	Surfaces: []provider.Surface{{
		Name:   "gemini",
		Base:   "/gemini",
		Probes: []string{"", "/"},
		Models: "/v1beta/models",
		Routes: routes("/v1beta", "/v1"),
	}},
	Natives: []provider.Native{
		{Dialect: dialect, Op: provider.Generate, Path: "v1beta/models/{model}:generateContent", StreamPath: "v1beta/models/{model}:streamGenerateContent"},
		{Dialect: dialect, Op: provider.CountTokens, Path: "v1beta/models/{model}:countTokens"},
	},
}

// routes are the methods of a model below each version of the API.
func routes(versions ...string) []provider.SurfaceRoute {
	var all []provider.SurfaceRoute
	for _, v := range versions {
		for _, r := range []provider.SurfaceRoute{
			{Path: ":generateContent", Op: provider.Generate, Stream: provider.StreamNever},
			{Path: ":streamGenerateContent", Op: provider.Generate, Stream: provider.StreamAlways},
			{Path: ":countTokens", Op: provider.CountTokens, Stream: provider.StreamNever},
		} {
			r.Path, r.Dialect = v+"/models/{model}"+r.Path, dialect
			all = append(all, r)
		}
	}
	return all
}
