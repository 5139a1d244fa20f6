package render

import (
	"encoding/json"
	"slices"

	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// The items by which OpenAI's clients know hosted work. Such an item carries
// its result, so it stays open while the call runs.

// listTools opens the run in the openai dialect with one mcp_list_tools item
// for each label that the history has not listed yet.
func (w *Writer) listTools() error {
	if w.head.Dialect != OpenAI {
		return nil
	}
	var labels []string
	for i := range w.head.Hosted {
		f := &w.head.Hosted[i]
		if (f.Kind == Hosted || f.Kind == MCP) && !slices.Contains(labels, f.Label) && !slices.Contains(w.head.Listed, f.Label) {
			labels = append(labels, f.Label)
		}
	}
	for _, label := range labels {
		w.cur = current{id: NewID("mcpl_")}
		if err := w.added(w.appendListing(nil, label, false)); err != nil {
			return err
		}
		if err := w.plain("response.mcp_list_tools.in_progress"); err != nil {
			return err
		}
		if err := w.plain("response.mcp_list_tools.completed"); err != nil {
			return err
		}
		if err := w.done(w.appendListing(nil, label, true)); err != nil {
			return err
		}
		w.shown--
	}
	return nil
}

// appendListing leaves out what would be null: the AI SDK refuses null for the
// error, a description and the annotations.
func (w *Writer) appendListing(b []byte, label string, whole bool) []byte {
	b = append(b, `{"type":"mcp_list_tools","id":"`...)
	b = append(b, w.cur.id...)
	b = append(b, `","server_label":`...)
	b = appendString(b, label)
	b = append(b, `,"tools":[`...)
	n := 0
	for i := range w.head.Hosted {
		f := &w.head.Hosted[i]
		if !whole || f.Label != label {
			continue
		}
		if n++; n > 1 {
			b = append(b, ',')
		}
		b = append(b, `{"name":`...)
		b = appendString(b, f.Tool.Name)
		if f.Tool.Description != "" {
			b = append(b, `,"description":`...)
			b = appendString(b, f.Tool.Description)
		}
		b = append(b, `,"input_schema":`...)
		b = appendRaw(b, f.Tool.Parameters, `{"type":"object"}`)
		b = append(b, `,"annotations":{"readOnlyHint":`...)
		b = appendBool(b, f.ReadOnly)
		b = append(b, `}}`...)
	}
	return append(b, `]}`...)
}

// openHosted opens the item of a hosted call.
func (w *Writer) openHosted() error {
	var progress string
	switch w.cur.fn.Kind {
	case Code:
		w.cur.shape, w.cur.id, progress = codeCall, NewID("ci_"), "response.code_interpreter_call.in_progress"
	case WebSearch:
		w.cur.shape, w.cur.id, progress = searchCall, NewID("ws_"), "response.web_search_call.in_progress"
	default:
		w.cur.shape, w.cur.id, progress = mcpCall, NewID("mcp_"), "response.mcp_call.in_progress"
	}
	if w.emit == nil {
		return nil
	}
	if err := w.added(w.appendHosted(nil, openresponses.StatusInProgress, nil)); err != nil {
		return err
	}
	return w.plain(progress)
}

// startHosted says that the arguments are complete and the call runs.
func (w *Writer) startHosted() error {
	switch w.cur.shape {
	case codeCall:
		code := argument(w.cur.arguments, "code")
		if err := w.text("response.code_interpreter_call_code.delta", "delta", code); err != nil {
			return err
		}
		if err := w.text("response.code_interpreter_call_code.done", "code", code); err != nil {
			return err
		}
		return w.plain("response.code_interpreter_call.interpreting")
	case searchCall:
		return w.plain("response.web_search_call.searching")
	}
	return nil
}

// finishHosted closes the open item with the call's result.
func (w *Writer) finishHosted(r *Record) error {
	status, typ := openresponses.StatusCompleted, ""
	if r.Status == openresponses.StatusFailed {
		status = r.Status
	}
	switch w.cur.shape {
	case codeCall:
		typ = "response.code_interpreter_call.completed" // there is no event for a failed one
	case searchCall:
		typ = "response.web_search_call.completed"
	default:
		typ = "response.mcp_call." + status
	}
	if err := w.plain(typ); err != nil {
		return err
	}
	return w.done(w.appendHosted(nil, status, r))
}

// approvedCall renders a call of an earlier response that the client has
// agreed to since.
func (w *Writer) approvedCall(r *Record) error {
	w.cur = current{shape: mcpCall, callID: r.CallID, name: r.Name, fn: w.head.hosted(r.Name)}
	if w.cur.fn == nil {
		w.cur.fn = &Function{Label: r.Label, Kind: MCP}
	}
	if err := w.openHosted(); err != nil {
		return err
	}
	w.cur.arguments = r.Arguments
	if err := w.argumentsWhole(r.Arguments); err != nil {
		return err
	}
	return w.finishHosted(r)
}

func (w *Writer) argumentsWhole(s string) error {
	if w.cur.shape != mcpCall {
		return w.startHosted()
	}
	if err := w.text("response.mcp_call_arguments.delta", "delta", s); err != nil {
		return err
	}
	return w.text("response.mcp_call_arguments.done", "arguments", s)
}

// approvalRequest renders a finished call that waits for a person.
func (w *Writer) approvalRequest() error {
	item := func(id string) []byte {
		b := append([]byte(nil), `{"type":"mcp_approval_request","id":`...)
		b = appendString(b, id)
		b = append(b, `,"status":"completed","server_label":`...)
		b = appendString(b, w.cur.fn.Label)
		b = append(b, `,"name":`...)
		b = appendString(b, w.cur.name)
		b = append(b, `,"arguments":`...)
		b = appendString(b, w.cur.arguments)
		return append(b, '}')
	}
	// The answer finds its call by this id in the history it comes with;
	// nothing is kept between the two requests.
	id := w.cur.callID
	if w.head.Dialect == OpenAI {
		id = NewID("mcpr_")
	}
	b := item(id)
	if err := w.added(b); err != nil {
		return err
	}
	return w.done(b)
}

// appendHosted appends the open hosted item; r is nil while it has no result.
func (w *Writer) appendHosted(b []byte, status string, r *Record) []byte {
	switch w.cur.shape {
	case codeCall:
		b = appendItemHead(b, openresponses.TypeCodeInterpreterCall, w.cur.id, status)
		b = append(b, `,"container_id":"cntr_`...)
		b = append(b, w.head.ID...)
		b = append(b, `","code":`...)
		b = appendString(b, argument(w.cur.arguments, "code"))
		b = append(b, `,"outputs":`...)
		if r == nil {
			b = append(b, "null"...)
		} else {
			b = append(b, `[{"type":"logs","logs":`...)
			b = appendString(b, r.OutputText())
			b = append(b, `}]`...)
		}
		return append(b, '}')
	case searchCall:
		b = appendItemHead(b, openresponses.TypeWebSearchCall, w.cur.id, status)
		b = append(b, `,"action":{"type":"search","query":`...)
		b = appendString(b, argument(w.cur.arguments, "query"))
		if r != nil && len(r.Sources) > 0 {
			b = append(b, `,"sources":[`...)
			for i, s := range r.Sources {
				if i > 0 {
					b = append(b, ',')
				}
				b = append(b, `{"type":"url","url":`...)
				b = appendString(b, s.URL)
				b = append(b, '}')
			}
			b = append(b, ']')
		}
		return append(b, `}}`...)
	}
	return w.appendMCPCall(b, status, r)
}

func (w *Writer) appendMCPCall(b []byte, status string, r *Record) []byte {
	b = appendItemHead(b, openresponses.TypeMCPCall, w.cur.id, status)
	b = append(b, `,"server_label":`...)
	b = appendString(b, w.cur.fn.Label)
	b = append(b, `,"name":`...)
	b = appendString(b, w.cur.name)
	b = append(b, `,"arguments":`...)
	b = appendString(b, w.cur.arguments)
	failed := r != nil && r.Status == openresponses.StatusFailed
	b = append(b, `,"output":`...)
	if r == nil || failed {
		b = append(b, "null"...)
	} else {
		b = appendString(b, r.OutputText())
	}
	b = append(b, `,"error":`...)
	if failed {
		b = append(b, `{"type":"mcp_tool_execution_error","content":[{"type":"text","text":`...)
		b = appendString(b, r.OutputText())
		b = append(b, `}]}`...)
	} else {
		b = append(b, "null"...)
	}
	b = append(b, `,"approval_request_id":`...)
	if r != nil && r.Approval == Granted {
		b = appendString(b, r.CallID)
	} else {
		b = append(b, "null"...)
	}
	return append(b, '}')
}

// argument is the named string of a call's arguments, "" if there is none.
func argument(arguments, name string) string {
	var members map[string]json.RawMessage
	var s string
	if json.Unmarshal([]byte(arguments), &members) != nil || json.Unmarshal(members[name], &s) != nil {
		return ""
	}
	return s
}
