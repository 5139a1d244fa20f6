package lint

import "github.com/sallyport-gateway/sallyport/core/supervisor/render"

// member kinds of the events, beside type and sequence_number.
type shape map[string]string

var (
	onResponse = shape{"response": objekt}
	onItem     = shape{"output_index": integer, "item": objekt}
	onAction   = shape{"item_id": str, "output_index": integer}
	onPart     = shape{"item_id": str, "output_index": integer, "content_index": integer, "part": objekt}
	onSummary  = shape{"item_id": str, "output_index": integer, "summary_index": integer, "part": objekt}
)

// with is base and further string members.
func with(base shape, names ...string) shape {
	s := shape{}
	for k, v := range base {
		s[k] = v
	}
	for _, n := range names {
		s[n] = str
	}
	return s
}

var (
	inPart    = shape{"item_id": str, "output_index": integer, "content_index": integer}
	inSummary = shape{"item_id": str, "output_index": integer, "summary_index": integer}
)

// common are the events that every dialect may send.
var common = map[string]shape{
	"response.created":                       onResponse,
	"response.queued":                        onResponse,
	"response.in_progress":                   onResponse,
	"response.completed":                     onResponse,
	"response.failed":                        onResponse,
	"response.incomplete":                    onResponse,
	"response.output_item.added":             onItem,
	"response.output_item.done":              onItem,
	"response.content_part.added":            onPart,
	"response.content_part.done":             onPart,
	"response.output_text.delta":             with(inPart, "delta"),
	"response.output_text.done":              with(inPart, "text"),
	"response.output_text.annotation.added":  {"item_id": str, "output_index": integer, "content_index": integer, "annotation_index": integer, "annotation": objekt},
	"response.refusal.delta":                 with(inPart, "delta"),
	"response.refusal.done":                  with(inPart, "refusal"),
	"response.function_call_arguments.delta": with(onAction, "delta"),
	"response.function_call_arguments.done":  with(onAction, "arguments"),
	"response.reasoning_summary_part.added":  onSummary,
	"response.reasoning_summary_part.done":   onSummary,
	"response.reasoning_summary_text.delta":  with(inSummary, "delta"),
	"response.reasoning_summary_text.done":   with(inSummary, "text"),
	"error":                                  {"error": objekt},
}

// specReasoning are the specification's names; clientReasoning what OpenAI's
// clients read. Each side fails at the other's.
var (
	specReasoning = map[string]shape{
		"response.reasoning.delta": with(inPart, "delta"),
		"response.reasoning.done":  with(inPart, "text"),
	}
	clientReasoning = map[string]shape{
		"response.reasoning_text.delta": with(inPart, "delta"),
		"response.reasoning_text.done":  with(inPart, "text"),
	}
	hostedItems = map[string]shape{
		"response.mcp_list_tools.in_progress":         onAction,
		"response.mcp_list_tools.completed":           onAction,
		"response.mcp_list_tools.failed":              onAction,
		"response.mcp_call.in_progress":               onAction,
		"response.mcp_call_arguments.delta":           with(onAction, "delta"),
		"response.mcp_call_arguments.done":            with(onAction, "arguments"),
		"response.mcp_call.completed":                 onAction,
		"response.mcp_call.failed":                    onAction,
		"response.code_interpreter_call.in_progress":  onAction,
		"response.code_interpreter_call_code.delta":   with(onAction, "delta"),
		"response.code_interpreter_call_code.done":    with(onAction, "code"),
		"response.code_interpreter_call.interpreting": onAction,
		"response.code_interpreter_call.completed":    onAction,
		"response.web_search_call.in_progress":        onAction,
		"response.web_search_call.searching":          onAction,
		"response.web_search_call.completed":          onAction,
	}
)

// lookup finds the event type in the dialect's union.
func lookup(d render.Dialect, typ string) (shape, bool) {
	if s, ok := common[typ]; ok {
		return s, true
	}
	reasoning := clientReasoning
	if d == render.OpenResponses {
		reasoning = specReasoning
	}
	if s, ok := reasoning[typ]; ok {
		return s, true
	}
	s, ok := hostedItems[typ]
	return s, ok && d == render.OpenAI
}
