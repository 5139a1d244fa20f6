package main

import "github.com/sallyport-gateway/sallyport/sdk/provider"

// Names of the dialects that clients speak here.
const (
	dialectResponses  = "openai-responses"
	dialectChat       = "openai-chat"
	dialectEmbeddings = "openai-embeddings"
)

// Paths of the routes below the base of a surface.
const (
	routeResponses  = "/responses"
	routeChat       = "/chat/completions"
	routeEmbeddings = "/embeddings"
)

// surfaceCursor is the surface whose bodies may have any shape.
const surfaceCursor = "cursor"

// dialects are OpenAI's ways to write, as the core relays them.
var dialects = []provider.Dialect{
	{
		Name:     dialectResponses,
		Errors:   "openai",
		Ends:     []string{"response.completed", "response.incomplete", "response.failed"},
		Failures: []string{"error", "response.failed"},
		// Codex reads response.failed and asks again; every client of the API
		// knows it as an end.
		Cut: "event: response.failed\n" +
			`data: {"type":"response.failed","sequence_number":1000000000,"response":{"id":"resp_cut","object":"response","created_at":0,"status":"failed",` +
			`"error":{"code":"server_error","message":$MESSAGE},"incomplete_details":null,"model":"","output":[],"usage":null}}` + "\n\n",
		State:     true,
		MaxTokens: []string{"max_output_tokens"},
		Session:   []string{"prompt_cache_key"},
		Text:      []string{"delta", "output.content.text", "output.content.refusal", "output.arguments", "output.input", "output.summary.text"},
	},
	{
		Name:     dialectChat,
		Errors:   "openai",
		Ends:     []string{"[DONE]"},
		Failures: []string{"error"},
		// Clients stop with the error at the first line; the second is for those
		// that wait for it.
		Cut:       `data: {"error":{"message":$MESSAGE,"type":"server_error","param":null,"code":"upstream_failed"}}` + "\n\ndata: [DONE]\n\n",
		MaxTokens: []string{"max_completion_tokens", "max_tokens"},
		Session:   []string{"prompt_cache_key", "user"},
		Text: []string{
			"choices.delta.content", "choices.delta.reasoning_content", "choices.delta.reasoning", "choices.delta.refusal",
			"choices.delta.tool_calls.function.arguments", "choices.delta.tool_calls.custom.input", "choices.delta.function_call.arguments",
			"choices.message.content", "choices.message.reasoning_content", "choices.message.reasoning", "choices.message.refusal",
			"choices.message.tool_calls.function.arguments", "choices.message.tool_calls.custom.input", "choices.message.function_call.arguments",
		},
	},
	{Name: dialectEmbeddings, Errors: "openai"},
}

// surfaces are the paths of clients that speak these dialects. Cursor's always
// ask for chat/completions, whatever they send there.
var surfaces = []provider.Surface{
	{
		Name: "openai", Base: "/openai/v1", Models: "/models", Probes: []string{""},
		Routes: []provider.SurfaceRoute{
			{Path: routeResponses, Op: provider.Generate, Dialect: dialectResponses},
			{Path: routeChat, Op: provider.Generate, Dialect: dialectChat},
			{Path: routeEmbeddings, Op: provider.Embed, Dialect: dialectEmbeddings, Stream: provider.StreamNever},
		},
	},
	{
		Name: "codex", Base: "/codex/v1", Models: "/models", Probes: []string{""},
		Routes: []provider.SurfaceRoute{{Path: routeResponses, Op: provider.Generate, Dialect: dialectResponses}},
	},
	{
		Name: surfaceCursor, Base: "/cursor/v1", Models: "/models", Probes: []string{""},
		Routes: []provider.SurfaceRoute{{Path: routeChat, Op: provider.Generate, Dialect: dialectChat, Translated: true}},
	},
	{
		Name: "mlflow", Base: "/mlflow/v1", // its responses and models are the core's own
		Routes: []provider.SurfaceRoute{
			{Path: routeChat, Op: provider.Generate, Dialect: dialectChat},
			{Path: routeEmbeddings, Op: provider.Embed, Dialect: dialectEmbeddings, Stream: provider.StreamNever},
		},
	},
}

// natives are what OpenAI, and the servers that speak as it does, take as
// clients write it.
var natives = []provider.Native{
	{Dialect: dialectResponses, Op: provider.Generate, Path: "responses", Unless: map[string]string{"api": "chat", "server": "compatible"}},
	{Dialect: dialectChat, Op: provider.Generate, Path: "chat/completions"},
	{Dialect: dialectEmbeddings, Op: provider.Embed, Path: "embeddings"},
}
