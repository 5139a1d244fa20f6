// Package render writes what a run did as a client wants to read it. The run
// is one sequence of model events and action records; a response object and an
// event stream in any of the three dialects are renderings of it, so none of
// them can say something the others do not know.
package render

import (
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// Dialect names one of the output forms of the Supervisor surface.
type Dialect string

// The dialects. They differ in how hosted work, raw reasoning and errors look;
// the 31 members of the response object are the same in all.
const (
	// Databricks shows hosted calls as function_call and function_call_output
	// pairs. It is the default.
	Databricks Dialect = "databricks"
	// OpenAI shows hosted calls as the items OpenAI's clients know: mcp_call,
	// web_search_call, code_interpreter_call.
	OpenAI Dialect = "openai"
	// OpenResponses keeps to the specification's closed lists of items and
	// events: pairs, its own names of the reasoning events, nested errors.
	OpenResponses Dialect = "openresponses"
)

// Dialects lists all of them, the default first.
var Dialects = []Dialect{Databricks, OpenAI, OpenResponses}

// ParseDialect reads a dialect's name; "" is the default. Any other name is
// apierror.Invalid.
func ParseDialect(s string) (Dialect, error) {
	if s == "" {
		return Databricks, nil
	}
	for _, d := range Dialects {
		if string(d) == s {
			return d, nil
		}
	}
	return "", apierror.New(apierror.Invalid, "%q is not an output dialect; use databricks, openai or openresponses.", s)
}

// Event is one server-sent event: Data is complete JSON whose "type" is Type.
// The Data belongs to the receiver.
type Event struct {
	Type string
	Data []byte
}
