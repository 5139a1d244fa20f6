// Package openresponses holds the wire types of the OpenResponses
// specification (version 2026-04-24): the inner language of the gateway.
//
// Parsing is lossless: what we do not know we carry. Every value keeps the raw
// JSON it was read from, and writing it again gives that JSON. Whoever changes
// a field of a parsed value clears its Raw, which gives up the unknown members
// on purpose.
package openresponses

import "encoding/json"

// Request is the body of POST /responses. Pointers are nil, and raw values
// empty, when the member was absent or null.
type Request struct {
	Model              string
	Input              []Item // a string input is one user message
	Instructions       string
	Tools              []Tool
	ToolChoice         *ToolChoice
	Stream             bool
	Background         bool
	Store              *bool
	ParallelToolCalls  *bool
	MaxOutputTokens    *int64
	MaxToolCalls       *int64
	Temperature        *float64
	TopP               *float64
	PresencePenalty    *float64
	FrequencyPenalty   *float64
	TopLogprobs        *int64
	Reasoning          *Reasoning
	Text               *TextOptions
	Include            []string
	Metadata           map[string]string
	Truncation         string
	ServiceTier        string
	SafetyIdentifier   string
	PromptCacheKey     string
	PreviousResponseID string
	Stop               []string // not in the specification; other dialects have it
	Extra              []Member // members we do not know, in the order they came
}

// Member is one member of a JSON object that has no field of its own.
type Member struct {
	Name  string
	Value json.RawMessage
}

// ExtraMember returns the value of the unknown member name, nil if absent.
func (r *Request) ExtraMember(name string) json.RawMessage {
	for _, m := range r.Extra {
		if m.Name == name {
			return m.Value
		}
	}
	return nil
}

// Reasoning asks for reasoning.
type Reasoning struct {
	Effort  string // none, minimal, low, medium, high, xhigh; "" if not said
	Summary string // concise, detailed, auto; "" if not said
}

// TextOptions says what form the answer's text takes.
type TextOptions struct {
	Format    json.RawMessage // {"type":"text"} | {"type":"json_object"} | {"type":"json_schema","name","schema","strict"}; empty if not said
	Verbosity string          // low, medium, high; "" if not said
}

// ToolChoice says whether the model must, may or must not call tools.
type ToolChoice struct {
	Mode  string   // auto, required, none; with Names: auto or required
	Name  string   // the one function to call; then Mode is "required"
	Names []string // allowed_tools: the only functions that may be called
	Raw   json.RawMessage
}

// Tool is one entry of `tools`. Function tools fill the fields; of hosted
// tools only Type, Name and Description are read here, the rest is in Raw.
type Tool struct {
	Type        string
	Name        string
	Description string
	Parameters  json.RawMessage // JSON Schema of a function tool; empty if absent
	Strict      *bool
	Raw         json.RawMessage // the whole object as it came; nil if made by us
}

// The item types of the specification, and those OpenAI's clients echo.
const (
	TypeMessage             = "message"
	TypeFunctionCall        = "function_call"
	TypeFunctionCallOutput  = "function_call_output"
	TypeReasoning           = "reasoning"
	TypeCompaction          = "compaction"
	TypeItemReference       = "item_reference"
	TypeMCPListTools        = "mcp_list_tools"
	TypeMCPCall             = "mcp_call"
	TypeMCPApprovalRequest  = "mcp_approval_request"
	TypeMCPApprovalResponse = "mcp_approval_response"
	TypeCodeInterpreterCall = "code_interpreter_call"
	TypeWebSearchCall       = "web_search_call"
)

// Item statuses.
const (
	StatusInProgress = "in_progress"
	StatusCompleted  = "completed"
	StatusIncomplete = "incomplete"
	StatusFailed     = "failed"
	StatusQueued     = "queued"
)

// Item is one entry of `input` or `output`. Which fields are filled depends on
// Type; members without a field stay in Raw.
type Item struct {
	Type   string // a message without type is read as "message"
	ID     string
	Status string

	Role    string // message: user, system, developer, assistant
	Phase   string // assistant message
	Content []Part // message; reasoning (reasoning_text)

	CallID    string // function_call, function_call_output
	Name      string // function_call
	Arguments string // function_call: JSON text as the model wrote it
	Output    Output // function_call_output

	Summary          []Part // reasoning (summary_text)
	EncryptedContent string // reasoning, compaction: opaque state, see OpaqueState

	Raw json.RawMessage // the whole object as it came; nil if made by us
}

// Output is what a function gave: a text, or parts when Parts is not nil.
type Output struct {
	Text  string
	Parts []Part
}

// Part types.
const (
	PartInputText   = "input_text"
	PartInputImage  = "input_image"
	PartInputFile   = "input_file"
	PartOutputText  = "output_text"
	PartRefusal     = "refusal"
	PartReasoning   = "reasoning_text"
	PartSummaryText = "summary_text"
)

// Part is one part of an item's content.
type Part struct {
	Type string

	Text        string          // input_text, output_text, reasoning_text, summary_text
	Refusal     string          // refusal
	ImageURL    string          // input_image: https or data URL
	Detail      string          // input_image: low, high, auto
	FileData    string          // input_file: data URL or base64
	FileURL     string          // input_file
	FileID      string          // input_file, input_image
	Filename    string          // input_file
	Annotations []Annotation    // output_text
	Logprobs    json.RawMessage // output_text; empty if absent

	Raw json.RawMessage // the whole object as it came; nil if made by us
}

// Annotation is a url_citation, or another kind kept in Raw.
type Annotation struct {
	Type       string
	URL, Title string
	StartIndex int
	EndIndex   int
	Raw        json.RawMessage
}
