package lint

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sallyport-gateway/sallyport/core/supervisor/render"
)

// stream is the state of an event stream as its accumulators see it.
type stream struct {
	checker
	id       string // of the response
	items    []any  // finished items
	itemIDs  map[string]bool
	open     *openItem
	started  int // of response.created and response.in_progress
	failing  bool
	terminal string
	where    string
}

// openItem is the item between output_item.added and output_item.done.
type openItem struct {
	id, typ string
	parts   map[string][]*openPart // "content" and "summary"
	steps   []string               // names of the events on the item itself
	text    strings.Builder        // arguments or code, from deltas
	done    string                 // the same, from the .done event
	hasDone bool
}

type openPart struct {
	typ         string
	text        strings.Builder
	said        bool // the .done event came
	closed      bool
	annotations []any
}

func (s *stream) event(i int, e render.Event) {
	s.where = fmt.Sprintf("event %d (%s)", i, e.Type)
	o, err := decodeObject(e.Data)
	if err != nil {
		s.bad(s.where, "%v", err)
		return
	}
	if o["type"] != e.Type {
		s.bad(s.where, "its data has type %v", o["type"])
	}
	if s.member(s.where, o, "sequence_number", integer) && intOf(o["sequence_number"]) != int64(i) {
		s.bad(s.where, "sequence_number is %v, want %d", o["sequence_number"], i)
	}
	sh, ok := lookup(s.dialect, e.Type)
	if !ok {
		s.bad(s.where, "the %s dialect has no such event", s.dialect)
		return
	}
	before := len(s.problems)
	for name, kind := range sh {
		s.member(s.where, o, name, kind)
	}
	if len(s.problems) > before {
		return
	}
	if s.terminal != "" {
		s.bad(s.where, "it follows the terminal event %s", s.terminal)
		return
	}
	if s.failing && e.Type != "response.failed" {
		s.bad(s.where, "only response.failed may follow an error event")
	}
	s.dispatch(e.Type, o)
}

func (s *stream) dispatch(typ string, o object) {
	switch typ {
	case "response.created", "response.in_progress", "response.queued":
		s.begin(typ, o["response"].(object))
	case "response.completed", "response.failed", "response.incomplete":
		s.finish(typ, o["response"].(object))
	case "error":
		s.errorEvent(o)
	default:
		if s.started < 2 {
			s.bad(s.where, "response.created and response.in_progress come first")
		}
		switch typ {
		case "response.output_item.added":
			s.added(o)
		case "response.output_item.done":
			s.done(o)
		default:
			s.within(typ, o)
		}
	}
}

func (s *stream) begin(typ string, r object) {
	s.response(s.where+".response", r)
	want := []string{"response.created", "response.in_progress"}
	if s.started >= len(want) || want[s.started] != typ {
		s.bad(s.where, "it comes as number %d of the response events", s.started)
	}
	s.started++
	id, _ := r["id"].(string)
	if s.id == "" {
		s.id = id
	}
	if id != s.id {
		s.bad(s.where, "the response has id %q, before it had %q", id, s.id)
	}
	if r["status"] != "in_progress" {
		s.bad(s.where, "the status is %v", r["status"])
	}
	if out, ok := r["output"].([]any); ok && len(out) > 0 {
		s.bad(s.where, "the output is not empty at the start")
	}
}

func (s *stream) finish(typ string, r object) {
	s.terminal = typ
	s.response(s.where+".response", r)
	if s.started != 2 {
		s.bad(s.where, "response.created and response.in_progress did not come before")
	}
	if id, _ := r["id"].(string); id != s.id {
		s.bad(s.where, "the response has id %q, before it had %q", id, s.id)
	}
	if want := strings.TrimPrefix(typ, "response."); r["status"] != want {
		s.bad(s.where, "the status is %v", r["status"])
	}
	if s.failing != (typ == "response.failed") {
		s.bad(s.where, "an error event came before: %t", s.failing)
	}
	if s.open != nil && typ != "response.failed" {
		s.bad(s.where, "item %s is still open", s.open.id)
	}
	if out, _ := r["output"].([]any); !same(out, append([]any{}, s.items...)) {
		s.bad(s.where, "the output is not the %d items of the stream", len(s.items))
	}
}

func (s *stream) errorEvent(o object) {
	if s.failing {
		s.bad(s.where, "there is a second error event")
	}
	s.failing = true
	e := o["error"].(object)
	s.errorObject(s.where+".error", e)
	for _, name := range []string{"code", "message", "param"} {
		v, flat := o[name]
		switch {
		case s.dialect == render.OpenResponses && flat:
			s.bad(s.where, "the specification has %s inside error only", name)
		case s.dialect != render.OpenResponses && (!flat || !same(v, e[name])):
			s.bad(s.where, "%s is not beside error as it is inside", name)
		}
	}
}

func (s *stream) added(o object) {
	it := o["item"].(object)
	if s.open != nil {
		s.bad(s.where, "item %s is still open", s.open.id)
	}
	if n := intOf(o["output_index"]); n != int64(len(s.items)) {
		s.bad(s.where, "output_index is %d, want %d", n, len(s.items))
	}
	s.item(s.where+".item", it)
	s.open = &openItem{parts: map[string][]*openPart{}}
	s.open.id, _ = it["id"].(string)
	s.open.typ, _ = it["type"].(string)
	if s.itemIDs[s.open.id] {
		s.bad(s.where, "the id %s is used twice", s.open.id)
	}
	s.itemIDs[s.open.id] = true
	if s.open.typ != "mcp_approval_request" && s.open.typ != "mcp_list_tools" && it["status"] != "in_progress" {
		s.bad(s.where, "a new item has status %v", it["status"])
	}
	for _, name := range []string{"content", "summary"} {
		if v, ok := it[name].([]any); ok && len(v) > 0 {
			s.bad(s.where, "a new item has %s already", name)
		}
	}
	if a, ok := it["arguments"].(string); ok && a != "" && s.open.typ != "mcp_approval_request" {
		s.bad(s.where, "a new item has arguments already")
	}
}

func (s *stream) done(o object) {
	it := o["item"].(object)
	s.item(s.where+".item", it)
	defer func() { s.items, s.open = append(s.items, it), nil }()
	if s.open == nil || it["id"] != s.open.id || it["type"] != s.open.typ {
		s.bad(s.where, "it is not the item that is open")
		return
	}
	if n := intOf(o["output_index"]); n != int64(len(s.items)) {
		s.bad(s.where, "output_index is %d, want %d", n, len(s.items))
	}
	if it["status"] == "in_progress" {
		s.bad(s.where, "a finished item is in_progress")
	}
	for _, name := range []string{"content", "summary"} {
		s.compareParts(name, it)
	}
	s.compareAction(it)
}

// within checks an event inside the open item.
func (s *stream) within(typ string, o object) {
	if s.open == nil || o["item_id"] != s.open.id || intOf(o["output_index"]) != int64(len(s.items)) {
		s.bad(s.where, "item_id %v, output_index %v is not the item that is open", o["item_id"], o["output_index"])
		return
	}
	switch {
	case slices.Contains([]string{"response.content_part.added", "response.content_part.done"}, typ),
		strings.HasPrefix(typ, "response.reasoning_summary_part."):
		s.partEvent(typ, o)
	case o["content_index"] != nil || o["summary_index"] != nil:
		s.textEvent(typ, o)
	default:
		s.actionEvent(typ, o)
	}
}

func (s *stream) end() {
	s.where = "stream"
	if s.terminal == "" {
		s.bad(s.where, "it has no terminal event")
	}
}
