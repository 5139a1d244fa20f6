// Package dialogue is what translators share whose provider takes a
// conversation as turns of a user and a model: it sorts the flat input of a
// request into such turns, and keeps one rule: what comes out is well formed.
// Turns alternate, every call has its result in the turn after it, and no
// result stands alone.
package dialogue

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// Conversation is the input of a request in turns.
type Conversation struct {
	Instructions string  // of the request
	System       []Entry // system and developer messages before anything else
	Turns        []Turn  // alternating; a turn may still turn out to be empty
}

// Turn is all that one side says before the other side speaks.
type Turn struct {
	Model   bool     // the model's turn; else the user's
	Results []Result // user's turn: results for the model's turn before, in the order of its calls
	Entries []Entry  // after the results: messages; in the model's turn also reasoning and calls
}

// Entry is an item and its place in the request's input.
type Entry struct {
	Index int
	Item  *or.Item
}

// Param names the entry as error messages and lost fields do: "input[3]".
func (e Entry) Param() string { return "input[" + strconv.Itoa(e.Index) + "]" }

// Result is a call and its output.
type Result struct{ Call, Output Entry }

// Arrange sorts the input of r into turns. Results move to the turn right
// after their call, wherever the client put them. Items without a meaning for
// the model are left out and named in lost. Errors are apierror.Invalid: a
// call without output, an output without call, an empty conversation; and
// apierror.Unsupported for an item whose loss would change the conversation.
func Arrange(r *or.Request, lost *Lost) (*Conversation, error) {
	outputs, err := pair(r.Input)
	if err != nil {
		return nil, err
	}
	c := &Conversation{Instructions: r.Instructions}
	var open []Entry // calls of the model's turn under way
	settle := func() {
		if len(open) == 0 {
			return
		}
		t := Turn{}
		for _, call := range open {
			t.Results = append(t.Results, Result{call, outputs[call.Item.CallID]})
		}
		c.Turns, open = append(c.Turns, t), nil
	}
	for i := range r.Input {
		e := Entry{i, &r.Input[i]}
		switch it := e.Item; it.Type {
		case or.TypeFunctionCall:
			c.add(true, e)
			open = append(open, e)
		case or.TypeReasoning:
			c.add(true, e)
		case or.TypeFunctionCallOutput:
			settle()
		case or.TypeMessage, "":
			switch {
			case it.Role == "assistant":
				c.add(true, e)
			case len(c.Turns) == 0 && it.Role != "user":
				c.System = append(c.System, e)
			default:
				settle()
				c.add(false, e)
			}
		default:
			if err := e.leave(lost); err != nil {
				return nil, err
			}
		}
	}
	settle()
	if len(c.Turns) == 0 {
		// Providers want somebody to speak first: the last thing said to the model as a system message is then said as the user.
		n := len(c.System)
		if n == 0 {
			return nil, errSilent
		}
		c.add(false, c.System[n-1])
		c.System = c.System[:n-1]
	}
	return c, nil
}

// errSilent refuses a conversation in which nobody speaks.
var errSilent = apierror.At(apierror.Invalid, "input", "The input holds no message for the model. Put at least one user message into input.")

// Check has the errors and losses of Arrange, for a provider that takes the
// items in the order of the client.
func Check(r *or.Request, lost *Lost) error {
	if _, err := pair(r.Input); err != nil {
		return err
	}
	spoken := false
	for i := range r.Input {
		e := Entry{i, &r.Input[i]}
		switch e.Item.Type {
		case or.TypeFunctionCall, or.TypeReasoning, or.TypeMessage, "":
			spoken = true
		case or.TypeFunctionCallOutput:
		default:
			if err := e.leave(lost); err != nil {
				return err
			}
		}
	}
	if !spoken {
		return errSilent
	}
	return nil
}

// leave leaves out an item without a meaning for the model.
func (e Entry) leave(lost *Lost) error {
	switch e.Item.Type {
	case or.TypeMCPListTools, or.TypeMCPApprovalResponse:
		// a listing says nothing the declared tools do not; an approval acts in the core
	case or.TypeCompaction:
		return apierror.At(apierror.Unsupported, e.Param(), "%s is a compaction that only its own provider can read. Continue this conversation with the model that made it, or send the full history.", e.Param())
	default:
		lost.Add("%s", e.Param())
	}
	return nil
}

// add puts an entry into the side's turn under way, or begins it.
func (c *Conversation) add(model bool, e Entry) {
	n := len(c.Turns)
	if n == 0 || c.Turns[n-1].Model != model {
		c.Turns = append(c.Turns, Turn{Model: model})
		n++
	}
	c.Turns[n-1].Entries = append(c.Turns[n-1].Entries, e)
}

// pair finds the output of each call.
func pair(items []or.Item) (map[string]Entry, error) {
	var calls map[string]int // made for the first call: many requests have none
	var outputs map[string]Entry
	for i := range items {
		it, e := &items[i], Entry{i, &items[i]}
		switch it.Type {
		case or.TypeFunctionCall:
			if first, twice := calls[it.CallID]; twice {
				return nil, apierror.At(apierror.Invalid, e.Param()+".call_id", "input[%d] and input[%d] are two function calls with the same call_id %q. Give each call its own.", first, i, it.CallID)
			}
			if calls == nil {
				calls, outputs = map[string]int{}, map[string]Entry{}
			}
			calls[it.CallID] = i
		case or.TypeFunctionCallOutput:
			if _, ok := calls[it.CallID]; !ok {
				return nil, apierror.At(apierror.Invalid, e.Param()+".call_id", "No tool call found for function call output with call_id %s. Put the function_call item before its output.", it.CallID)
			}
			if first, twice := outputs[it.CallID]; twice {
				return nil, apierror.At(apierror.Invalid, e.Param()+".call_id", "input[%d] and input[%d] are two outputs for call_id %q. Send one.", first.Index, i, it.CallID)
			}
			outputs[it.CallID] = e
		}
	}
	for i := range items {
		if it := &items[i]; it.Type == or.TypeFunctionCall {
			if _, ok := outputs[it.CallID]; !ok {
				return nil, apierror.At(apierror.Invalid, fmt.Sprintf("input[%d].call_id", i), "No tool output found for function call %s. Add a function_call_output item with this call_id.", it.CallID)
			}
		}
	}
	return outputs, nil
}

// What a translator says for a side that must speak and has nothing to say:
// providers refuse a conversation that the model begins, and many one that the
// model ends.
const (
	Opening  = "(The conversation continues.)"
	Continue = "Continue."
)

// Lost collects the fields of a request that a provider has no place for, each
// once, in the order they were met.
type Lost []string

// Add notes a field: "input[2].content[0].file_id".
func (l *Lost) Add(format string, args ...any) {
	if s := fmt.Sprintf(format, args...); !slices.Contains(*l, s) {
		*l = append(*l, s)
	}
}

// Part names a part of the entry: "input[3].content[0]".
func (e Entry) Part(list string, i int) string {
	return fmt.Sprintf("input[%d].%s[%d]", e.Index, list, i)
}
