package supervisor

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sallyport-gateway/sallyport/core/supervisor/render"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// past is a conversation's history in the one form that models are given:
// messages, reasoning, calls and their outputs.
type past struct {
	items    []openresponses.Item
	approved []*action // agreed to, and not run yet
	listed   []string  // labels whose tools the history lists
	ids      map[string]bool
}

// unique is id, or a new one when the conversation has used it already or it
// is no id that clients accept.
func (p *past) unique(id string) string {
	if id == "" || len(id) > 64 || p.ids[id] {
		id = render.NewID("call_")
	}
	p.ids[id] = true
	return id
}

// origin is a call of the history.
type origin struct {
	record   render.Record
	index    int // in past.items
	answered bool
	approval bool // it came as mcp_approval_request
	cut      bool
}

// reader reads a history. Clients send it back in many forms: pairs, items of
// OpenAI's clients with the result inside, approvals and their answers.
type reader struct {
	past
	open     map[string]*origin // by the id that the client knows
	origins  []*origin
	dropped  map[int]bool    // indexes of items that the model is not shown
	answers  map[string]bool // call ids that an output item answers
	executed map[string]bool // approvals whose mcp_call holds the result
	last     int             // index of the last item that ended incomplete
}

// readHistory reads the input of a request. A call without output and an
// output without call are refused in the words that clients look for.
func readHistory(in []openresponses.Item) (*past, error) {
	r := &reader{
		past: past{ids: map[string]bool{}, items: make([]openresponses.Item, 0, len(in))},
		open: map[string]*origin{}, dropped: map[int]bool{}, answers: map[string]bool{}, executed: map[string]bool{}, last: -1,
	}
	for i := range in {
		switch in[i].Type {
		case openresponses.TypeFunctionCallOutput:
			r.answers[in[i].CallID] = true
		case openresponses.TypeMCPCall:
			if id := text(members(in[i].Raw)["approval_request_id"]); id != "" {
				r.executed[id] = true
			}
		}
	}
	for i := range in {
		if err := r.item(i, &in[i]); err != nil {
			return nil, err
		}
	}
	return r.finish()
}

func (r *reader) item(i int, it *openresponses.Item) error {
	at := fmt.Sprintf("input[%d]", i)
	if it.Status == openresponses.StatusIncomplete {
		r.last = len(r.items)
	}
	switch it.Type {
	case openresponses.TypeMessage, openresponses.TypeReasoning, openresponses.TypeCompaction:
		r.items = append(r.items, *it)
	case openresponses.TypeFunctionCall:
		r.call(render.Record{CallID: or(it.CallID, it.ID), Name: it.Name, Arguments: it.Arguments}, it)
	case openresponses.TypeFunctionCallOutput:
		return r.output(at, it)
	case openresponses.TypeMCPCall, openresponses.TypeCodeInterpreterCall, openresponses.TypeWebSearchCall:
		return r.executedCall(at, it)
	case openresponses.TypeMCPApprovalRequest:
		m := members(it.Raw)
		o := r.call(render.Record{CallID: it.ID, Name: functionName(text(m["name"])), Label: text(m["server_label"]), Kind: render.MCP, Arguments: text(m["arguments"])}, nil)
		o.approval = true
	case openresponses.TypeMCPApprovalResponse:
		return r.approvalResponse(at, it)
	case openresponses.TypeMCPListTools:
		r.listed = append(r.listed, text(members(it.Raw)["server_label"]))
	case openresponses.TypeItemReference:
		return apierror.At(apierror.Unsupported, at, "item_reference is not supported: this API keeps no items. Send the item itself.")
	}
	// Anything else, such as a vendor's "slug:" items, means nothing to a model.
	return nil
}

// call adds a call to what the model is shown; it is the client's own item, or
// nil for one that models do not know in that form.
func (r *reader) call(rec render.Record, it *openresponses.Item) *origin {
	known := rec.CallID
	o := &origin{index: len(r.items), cut: it != nil && it.Status == openresponses.StatusIncomplete}
	rec.CallID = r.unique(known)
	o.record = rec
	shown := openresponses.Item{Type: openresponses.TypeFunctionCall, CallID: rec.CallID, Name: rec.Name, Arguments: rec.Arguments, Status: openresponses.StatusCompleted}
	if it != nil && it.CallID == rec.CallID {
		shown = *it
	}
	r.items = append(r.items, shown)
	r.open[known] = o
	r.origins = append(r.origins, o)
	return o
}

func (r *reader) output(at string, it *openresponses.Item) error {
	o := r.open[it.CallID]
	if o == nil {
		return apierror.At(apierror.Invalid, at, "No tool call found for function call output with call_id %s.", it.CallID)
	}
	if o.answered {
		return apierror.At(apierror.Invalid, at, "There are two outputs for function call %s; send one.", it.CallID)
	}
	shown := *it
	if o.record.CallID != it.CallID {
		shown.CallID, shown.Raw = o.record.CallID, nil
	}
	r.answer(o, shown)
	return nil
}

func (r *reader) answer(o *origin, output openresponses.Item) {
	o.answered = true
	r.items = append(r.items, output)
}

func (r *reader) answerText(o *origin, s string) {
	r.answer(o, openresponses.Item{
		Type: openresponses.TypeFunctionCallOutput, CallID: o.record.CallID, Output: openresponses.Output{Text: s}, Status: openresponses.StatusCompleted,
	})
}

// executedCall reads an item that holds a call and its result.
func (r *reader) executedCall(at string, it *openresponses.Item) error {
	m := members(it.Raw)
	rec := render.Record{CallID: it.ID}
	var result string
	switch it.Type {
	case openresponses.TypeMCPCall:
		rec.Kind, rec.Name, rec.Arguments = render.MCP, functionName(text(m["name"])), or(text(m["arguments"]), "{}")
		result = mcpResult(m)
		if id := text(m["approval_request_id"]); id != "" && r.open[id] != nil {
			if r.open[id].answered {
				return apierror.At(apierror.Invalid, at, "There are two results for the approved call %s; send one.", id)
			}
			r.answerText(r.open[id], result)
			return nil
		}
	case openresponses.TypeCodeInterpreterCall:
		rec.Kind, rec.Name, rec.Arguments = render.Code, "system__ai__python_exec", object("code", text(m["code"]))
		result = logs(m["outputs"])
	case openresponses.TypeWebSearchCall:
		rec.Kind, rec.Name = render.WebSearch, "web_search"
		rec.Arguments, result = searchAction(m["action"])
	}
	r.answerText(r.call(rec, nil), result)
	return nil
}

func (r *reader) approvalResponse(at string, it *openresponses.Item) error {
	m := members(it.Raw)
	id := text(m["approval_request_id"])
	o := r.open[id]
	if o == nil || !o.approval {
		return apierror.At(apierror.Invalid, at+".approval_request_id", "No mcp_approval_request found for the approval response with approval_request_id %s.", id)
	}
	if r.answers[id] || r.executed[id] {
		return nil // the history already holds what came of it
	}
	if o.answered {
		return apierror.At(apierror.Invalid, at, "There are two approval responses for %s; send one.", id)
	}
	if string(m["approve"]) != "true" {
		refusal := "The user refused this call. It was not run."
		if why := text(m["reason"]); why != "" {
			refusal += " Reason: " + why
		}
		r.answerText(o, refusal)
		return nil
	}
	rec := o.record
	rec.Approval, rec.Status = render.Granted, openresponses.StatusInProgress
	r.approved = append(r.approved, &action{Record: rec, slot: len(r.items)})
	r.answerText(o, "")
	return nil
}

// finish refuses calls without output, save those of a reply that was cut:
// they were never run, and the model is not shown them.
func (r *reader) finish() (*past, error) {
	for _, o := range r.origins {
		switch {
		case o.answered:
		case o.cut || r.last > o.index:
			r.dropped[o.index] = true
		default:
			return nil, apierror.At(apierror.Invalid, "input", "No tool output found for function call %s.", o.record.CallID)
		}
	}
	if len(r.dropped) > 0 {
		for _, a := range r.approved {
			a.slot -= r.droppedBefore(a.slot)
		}
		i := -1
		r.items = slices.DeleteFunc(r.items, func(openresponses.Item) bool { i++; return r.dropped[i] })
	}
	if len(r.items) == 0 {
		return nil, apierror.At(apierror.Invalid, "input", "input holds nothing that a model could answer; give it a message.")
	}
	return &r.past, nil
}

func (r *reader) droppedBefore(slot int) int {
	n := 0
	for i := range r.dropped {
		if i < slot {
			n++
		}
	}
	return n
}

// functionName is a name that models accept, made of any name.
func functionName(s string) string {
	if openresponses.ValidName(s) {
		return s
	}
	s = strings.Map(func(r rune) rune {
		if openresponses.ValidName(string(r)) {
			return r
		}
		return '_'
	}, s)
	if len(s) > 64 {
		s = s[:64]
	}
	return or(s, "tool")
}

func object(key, value string) string {
	return "{" + strconv.Quote(key) + ":" + quote(value) + "}"
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
