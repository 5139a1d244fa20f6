package openresponses

// Most of the short texts of a request or an event are among these few, which
// need no memory of their own.
var words = wordsByLength(
	TypeMessage, TypeFunctionCall, TypeFunctionCallOutput, TypeReasoning,
	PartInputText, PartInputImage, PartInputFile, PartOutputText, PartRefusal, PartReasoning, PartSummaryText,
	StatusInProgress, StatusCompleted, StatusIncomplete,
	"user", "assistant", "system", "developer", "function", "auto", "default", "max_output_tokens",
	"model", "input", "instructions", "tools", "tool_choice", "stream", "store", "parallel_tool_calls", "temperature", "top_p",
	"text", "include", "metadata", "truncation", "service_tier", "safety_identifier", "prompt_cache_key", "previous_response_id",
)

func wordsByLength(all ...string) (by [32][]string) {
	for _, w := range all {
		by[len(w)] = append(by[len(w)], w)
	}
	return by
}

// known gives the word that b is.
func known(b []byte) (word string, ok bool) {
	if len(b) < len(words) {
		for _, w := range words[len(b)] {
			if w == string(b) {
				return w, true
			}
		}
	}
	return "", false
}

// textOf copies b, unless it is a word.
func textOf(b []byte) string {
	if w, ok := known(b); ok {
		return w
	}
	return string(b)
}
