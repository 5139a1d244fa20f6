package provider

import (
	"slices"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// Output turns what a translator reads, in whatever order the provider says
// it, into well-formed events: items open and close one after another, parts
// inside them, done events repeat what the deltas said, one terminal event
// ends the turn (see openresponses.Accumulator for the rules).
//
//	func (x *exchange) Decode(ctx context.Context, r provider.Reply) iter.Seq2[openresponses.Event, error] {
//		return func(yield func(openresponses.Event, error) bool) {
//			out := provider.NewOutput(yield)
//			out.Text("Hel")
//			out.Text("lo")
//			out.Call("0", "call_1", "get_weather") // closes the message
//			out.Arguments("0", `{"city":"Oslo"}`)
//			out.Usage(openresponses.Usage{Input: 9, Output: 12})
//			out.Finish(openresponses.Terminal{Status: openresponses.StatusCompleted})
//		}
//	}
//
// One item is open at a time. Text, a refusal, reasoning and a summary open the
// item and part they need and close what was open before. A call stays open
// until CloseCall, CloseItem, Finish; what comes for anything else meanwhile
// (a second call, text) is kept and told after it, so interleaved deltas of
// parallel calls are fine. Empty deltas are ignored.
//
// Every method returns false when the consumer has stopped, or the turn has
// ended; the translator should then return.
type Output struct {
	yield func(openresponses.Event, error) bool
	ended bool

	queue []*entry             // queue[0] is open and told live; the rest waits
	index int                  // output index of queue[0]
	calls map[string]bool      // call ids given out
	usage *openresponses.Usage // not told yet
	last  openresponses.Usage
	held  int // bytes that wait in the queue

	// Of the open item:
	item    openresponses.Item
	part    openresponses.Part // without a type when none is open
	summary bool               // part is a summary part
	text    gathered

	// Memory for the only item of most turns:
	first entry
	few   [1]*entry
}

// maxHeld bounds what waits for a call to end.
const maxHeld = 32 << 20

// entry is one item: the open one, or one that waits its turn.
type entry struct {
	typ    string // message, reasoning, function_call
	key    string // of a call
	callID string
	name   string
	closed bool
	ops    []op // waiting; empty for the open item
}

// op is one thing that happened to an item that is not open yet.
type op struct {
	kind  opKind
	delta string
	note  openresponses.Annotation
}

type opKind int

const (
	opText opKind = iota
	opRefusal
	opReasoning
	opSummary
	opState
	opPhase
	opAnnotate
	opArguments
	opClosePart
)

// NewOutput builds events and gives them to yield, the function a Decode
// iterator was called with.
func NewOutput(yield func(openresponses.Event, error) bool) *Output {
	o := &Output{yield: yield}
	o.queue = o.few[:0]
	return o
}

// Text adds to the answer's text.
func (o *Output) Text(delta string) bool {
	return delta == "" && !o.ended || o.do(openresponses.TypeMessage, op{kind: opText, delta: delta})
}

// Phase labels the message that is open, or opens one: commentary or
// final_answer, as some providers want it back in the next turn.
func (o *Output) Phase(phase string) bool {
	return phase == "" && !o.ended || o.do(openresponses.TypeMessage, op{kind: opPhase, delta: phase})
}

// Annotate adds a citation to the text so far.
func (o *Output) Annotate(a openresponses.Annotation) bool {
	return o.do(openresponses.TypeMessage, op{kind: opAnnotate, note: a})
}

// Refusal adds to the model's explanation why it does not answer.
func (o *Output) Refusal(delta string) bool {
	return delta == "" && !o.ended || o.do(openresponses.TypeMessage, op{kind: opRefusal, delta: delta})
}

// Reasoning adds to the model's reasoning in its own words.
func (o *Output) Reasoning(delta string) bool {
	return delta == "" && !o.ended || o.do(openresponses.TypeReasoning, op{kind: opReasoning, delta: delta})
}

// Summary adds to the summary of the model's reasoning.
func (o *Output) Summary(delta string) bool {
	return delta == "" && !o.ended || o.do(openresponses.TypeReasoning, op{kind: opSummary, delta: delta})
}

// ReasoningState gives the open reasoning item its opaque state. Where no
// reasoning item is open, or the open one has its state, a new one is made.
func (o *Output) ReasoningState(st openresponses.OpaqueState) bool {
	return o.do(openresponses.TypeReasoning, op{kind: opState, delta: st.String()})
}

// ClosePart ends the open part of the item that was written to last; the next
// delta begins a new one. Summaries come in several parts.
func (o *Output) ClosePart() bool {
	if n := len(o.queue); n > 0 && o.queue[n-1].typ != openresponses.TypeFunctionCall {
		return o.apply(o.queue[n-1], op{kind: opClosePart})
	}
	return !o.ended
}

// Call begins a function call. The key is the translator's own, such as the
// provider's index of the call, and names it until it is closed. An empty
// callID, one longer than 64 characters, or one used before in this turn is
// replaced; calls of different turns must differ too, so a translator whose
// provider gives none should make one that does. A second Call with a key that
// is open fills in what the first did not know.
func (o *Output) Call(key, callID, name string) bool {
	if o.ended {
		return false
	}
	if e := o.call(key); e != nil {
		if e != o.queue[0] || e.name == "" {
			e.callID, e.name = either(e.callID, callID), either(e.name, name)
			return o.advance()
		}
		return true
	}
	return o.push(&entry{typ: openresponses.TypeFunctionCall, key: key, callID: callID, name: name})
}

// Arguments adds to the arguments of the call key.
func (o *Output) Arguments(key, delta string) bool {
	if o.ended {
		return false
	}
	e := o.call(key)
	if e == nil {
		// The provider has not named it yet.
		e = &entry{typ: openresponses.TypeFunctionCall, key: key}
		if !o.push(e) {
			return false
		}
	}
	return delta == "" || o.apply(e, op{kind: opArguments, delta: delta})
}

// CloseCall ends the call key: its arguments are whole.
func (o *Output) CloseCall(key string) bool {
	if o.ended {
		return false
	}
	if e := o.call(key); e != nil {
		e.closed = true
		return o.advance()
	}
	return true
}

// CloseItem ends the item that is open, whatever it is.
func (o *Output) CloseItem() bool {
	if o.ended {
		return false
	}
	if len(o.queue) > 0 {
		o.queue[0].closed = true
		return o.advance()
	}
	return true
}

// Usage says the turn's token counts so far; they ride on the next event.
func (o *Output) Usage(u openresponses.Usage) bool {
	o.usage = &u
	return !o.ended
}

// Finish closes what is open and ends the turn. An empty Status means
// completed. With another the last item, if open, ends incomplete, and so does a
// call before it whose arguments are not whole: it is the last item then, since
// nothing follows an incomplete one, and what waited for its end is not told.
func (o *Output) Finish(t openresponses.Terminal) bool {
	if o.ended {
		return false
	}
	if t.Status == "" {
		t.Status = openresponses.StatusCompleted
	}
	for len(o.queue) > 0 {
		e := o.queue[0]
		if unnamed(e) {
			if !o.drop() {
				return false
			}
			continue
		}
		status := openresponses.StatusCompleted
		if t.Status != openresponses.StatusCompleted && !e.closed && (len(o.queue) == 1 || !whole(o.text.text())) {
			status, o.queue = openresponses.StatusIncomplete, o.queue[:1]
		}
		if !o.close(status) {
			return false
		}
	}
	typ := openresponses.EventCompleted
	switch t.Status {
	case openresponses.StatusIncomplete:
		typ = openresponses.EventIncomplete
	case openresponses.StatusFailed:
		typ = openresponses.EventFailed
		if t.Error == nil {
			t.Error = apierror.New(apierror.UpstreamFailed, "The provider ended the turn without saying why.")
		}
	default:
		t.Status = openresponses.StatusCompleted
	}
	ev := openresponses.Event{Type: typ, Terminal: &t}
	if o.usage == nil && o.last != (openresponses.Usage{}) {
		u := o.last
		o.usage = &u
	}
	o.emit(ev)
	o.ended = true
	return false
}

// Fail ends the turn with an error; what is open stays as it is. It returns
// false.
func (o *Output) Fail(err error) bool {
	if !o.ended {
		o.ended = true
		o.yield(openresponses.Event{}, err)
	}
	return false
}

func either(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// call finds the open or waiting call of that key.
func (o *Output) call(key string) *entry {
	for _, e := range o.queue {
		if e.typ == openresponses.TypeFunctionCall && e.key == key && !e.closed {
			return e
		}
	}
	return nil
}

// unnamed reports whether e is a call that cannot open yet.
func unnamed(e *entry) bool { return e.typ == openresponses.TypeFunctionCall && e.name == "" }

// do applies p to an item of that type: the last one if it fits, else a new one.
func (o *Output) do(typ string, p op) bool {
	if o.ended {
		return false
	}
	if n := len(o.queue); n > 0 {
		e := o.queue[n-1]
		if e.typ == typ && !e.closed && !(p.kind == opState && o.hasState(e)) {
			return o.apply(e, p)
		}
	}
	e := &o.first
	if e.typ != "" {
		e = new(entry)
	}
	e.typ = typ
	return o.push(e) && o.apply(e, p)
}

func (o *Output) hasState(e *entry) bool {
	if e == o.queue[0] {
		return o.item.EncryptedContent != ""
	}
	return slices.ContainsFunc(e.ops, func(p op) bool { return p.kind == opState })
}

// push appends an item. Whatever is not a call ends there.
func (o *Output) push(e *entry) bool {
	for _, before := range o.queue {
		if before.typ != openresponses.TypeFunctionCall {
			before.closed = true
		}
	}
	o.queue = append(o.queue, e)
	if len(o.queue) == 1 {
		return o.start()
	}
	return o.advance()
}

// advance closes the items at the head that are closed, opening the next.
func (o *Output) advance() bool {
	for len(o.queue) > 0 && o.queue[0].closed {
		if unnamed(o.queue[0]) {
			if !o.drop() {
				return false
			}
			continue
		}
		if !o.close(openresponses.StatusCompleted) {
			return false
		}
	}
	if len(o.queue) > 0 && o.item.Type == "" {
		return o.start()
	}
	return true
}

// drop forgets the call at the head, which ended before it had a name.
func (o *Output) drop() bool {
	if len(o.queue[0].ops) > 0 {
		return o.Fail(apierror.New(apierror.UpstreamFailed, "The provider sent arguments of a function call that it never named."))
	}
	o.queue = o.queue[1:]
	return o.start()
}

// start opens the item at the head and tells what waited for it.
func (o *Output) start() bool {
	if len(o.queue) == 0 || o.item.Type != "" {
		return true
	}
	e := o.queue[0]
	it := openresponses.Item{Type: e.typ, Status: openresponses.StatusInProgress}
	switch e.typ {
	case openresponses.TypeFunctionCall:
		if unnamed(e) {
			return true
		}
		it.CallID, it.Name = o.callID(e.callID), e.name
	case openresponses.TypeMessage:
		it.Role = "assistant"
	}
	o.item = it
	o.text = gathered{}
	added := it
	if !o.emit(openresponses.Event{Type: openresponses.EventItemAdded, OutputIndex: o.index, Item: &added}) {
		return false
	}
	ops := e.ops
	e.ops = nil
	for _, p := range ops {
		o.held -= len(p.delta)
		if !o.tell(p) {
			return false
		}
	}
	return true
}

// apply tells p now if e is open, else keeps it.
func (o *Output) apply(e *entry, p op) bool {
	if e == o.queue[0] && o.item.Type != "" {
		return o.tell(p)
	}
	if o.held += len(p.delta); o.held > maxHeld {
		return o.Fail(apierror.New(apierror.UpstreamFailed, "The provider's reply is too large: more than %d MiB wait for a function call to end.", maxHeld>>20))
	}
	// A run of deltas of one kind needs no more than one entry.
	if n := len(e.ops); n > 0 && e.ops[n-1].kind == p.kind && p.kind <= opSummary {
		e.ops[n-1].delta += p.delta
		return true
	}
	e.ops = append(e.ops, p)
	return true
}
