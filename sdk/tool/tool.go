// Package tool is what a tool plugin implements, and Host, what the gateway
// offers it back. A tool plugin serves one tool type of a Supervisor request
// ("table", "genie_space"). It holds no credential: whatever it reads it asks
// of its Host, which acts with the rights of the caller of this request, and
// that authority ends when Open or Call returns.
package tool

import (
	"context"
	"encoding/json"

	"github.com/sallyport-gateway/sallyport/sdk/boot"
)

// Tool is the interface of a tool type.
type Tool interface {
	// Open turns the declarations of this type in one request into functions
	// that the model can call. It runs before any model is called, so an
	// error refuses the whole request: apierror.At with the Param of the
	// declaration.
	Open(ctx context.Context, ds []Declaration, h *Host) (Opened, error)
	// Call runs one call of a function. An error here does not end the
	// request: the model sees its message and may try something else. Prefer
	// Result.IsError for failures of the tool itself.
	Call(ctx context.Context, c Call, h *Host) (Result, error)
}

// Manifest describes a tool plugin; `<plugin> describe` prints it.
type Manifest struct {
	Type    string          `json:"type"`              // the tool type it serves: "table"
	Version string          `json:"version"`           // of the plugin
	Scope   string          `json:"scope,omitempty"`   // the token scope a caller needs: "unity-catalog"
	Object  *ObjectRef      `json:"object,omitempty"`  // the object that a declaration names, checked before Open
	Targets []string        `json:"targets,omitempty"` // names the operator binds to URLs and credentials
	Config  json.RawMessage `json:"config,omitempty"`  // JSON Schema of the operator's settings

	Requires Requires `json:"requires,omitzero"` // beyond its own program
}

// Requires is what a plugin needs beyond its own program.
type Requires = boot.Requires

// ObjectRef says which field of a declaration names which kind of object, and
// what the caller must be allowed to do with it.
type ObjectRef struct {
	Field     string `json:"field"`     // "table.name": path inside the declaration
	Kind      string `json:"kind"`      // "table"
	Privilege string `json:"privilege"` // "SELECT"
}

// Declaration is one entry of the request's `tools`.
type Declaration struct {
	Index       int             `json:"index"`                 // its place in `tools`, for messages: tools[Index]
	Name        string          `json:"name,omitempty"`        // display name
	Description string          `json:"description,omitempty"` // the caller's hint when to use it
	Object      string          `json:"object,omitempty"`      // canonical name of the object it names, already checked
	Spec        json.RawMessage `json:"spec"`                  // the nested object: {"name": "main.sales.reviews"}
}

// Opened is what a set of declarations offers the model.
type Opened struct {
	Functions   []Function   `json:"functions,omitempty"`
	Connections []Connection `json:"connections,omitempty"`
}

// Connection names an MCP server that the gateway calls itself.
type Connection struct {
	Declaration int    `json:"declaration"`
	Name        string `json:"name"`
}

// Effect says what running a function twice would do, and so whether a call
// may be retried when its plugin died.
type Effect int

// The zero Effect is the careful one.
const (
	Once       Effect = iota // running twice is not the same as once: never retried
	Idempotent               // twice is the same as once
	ReadOnly                 // changes nothing
)

// Approval says whether a person must agree to a call first.
type Approval int

// Background asks in background runs only.
const (
	Never Approval = iota
	Background
	Always
)

// Function is one function the model can call.
type Function struct {
	Declaration int             `json:"declaration"` // the Index of the Declaration it belongs to
	Name        string          `json:"name"`        // dotted object name; the gateway maps it for the model
	Description string          `json:"description"`
	Parameters  json.RawMessage `json:"parameters"` // JSON Schema
	Effect      Effect          `json:"effect,omitempty"`
	Approval    Approval        `json:"approval,omitempty"`
	State       []byte          `json:"state,omitempty"` // opaque, given back in Call; at most 64 KiB
}

// Call is one call the model made.
type Call struct {
	ID          string          `json:"id"`
	Function    string          `json:"function"` // Function.Name
	Arguments   json.RawMessage `json:"arguments"`
	State       []byte          `json:"state,omitempty"`
	Attempt     int             `json:"attempt,omitempty"` // 1 for the first
	Traceparent string          `json:"traceparent,omitempty"`
}

// Result is what a call gave. The model sees Content.
type Result struct {
	Content    []Content       `json:"content"`
	Structured json.RawMessage `json:"structured,omitempty"`
	Citations  []Citation      `json:"citations,omitempty"`
	IsError    bool            `json:"is_error,omitempty"`
	Truncated  bool            `json:"truncated,omitempty"`
}

// Content is a part of a result: text, or an image as data URL.
type Content struct {
	Type     string `json:"type"` // "text" or "image"
	Text     string `json:"text,omitempty"`
	ImageURL string `json:"image_url,omitempty"`
}

// Text makes a Result of one text.
func Text(s string) Result { return Result{Content: []Content{{Type: "text", Text: s}}} }

// Citation is a source the answer may cite.
type Citation struct {
	URL   string `json:"url"`
	Title string `json:"title"`
}
