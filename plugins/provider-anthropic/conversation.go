package main

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider/dialogue"
)

// dialect is the family of our opaque state: a thinking block, whole, because
// its signature covers the text.
const dialect = "anthropic"

// state reads our own thinking block out of a reasoning item. It reports false
// for reasoning of another provider or account, or with nothing to send back.
func (e *encoder) state(it *or.Item) (block, bool) {
	st, ok := or.ParseOpaqueState(it.EncryptedContent)
	if !ok || st.Provider != e.account || st.Family != dialect {
		return block{}, false
	}
	var b block
	if json.Unmarshal(st.Data, &b) != nil {
		return block{}, false
	}
	switch {
	case b.Type == "thinking" && b.Signature != "" && b.Thinking != nil:
		return block{Type: b.Type, Thinking: b.Thinking, Signature: b.Signature}, true
	case b.Type == "redacted_thinking" && b.Data != "":
		return block{Type: b.Type, Data: b.Data}, true
	}
	return block{}, false
}

// reasoningComplete reports whether the model may think in this turn. In the
// middle of a tool loop Anthropic wants the thinking that began the loop; when
// it is missing, or another model took part in the loop, the turn goes without.
func reasoningComplete(ms []message) bool {
	last := len(ms) - 1
	if ms[last].Content[0].Type != "tool_result" {
		return true
	}
	begins := false
	for i := last - 1; i > 0; i -= 2 {
		if ms[i].foreign {
			return false
		}
		begins = ms[i].Content[0].isThinking()
		if slices.ContainsFunc(ms[i-1].Content, func(b block) bool { return b.Type != "tool_result" }) {
			break
		}
	}
	return begins
}

// system is the instructions and the system messages before the conversation.
func (e *encoder) system(c *dialogue.Conversation) []block {
	var out []block
	if e.hint.Billing != "" {
		out = append(out, block{Type: "text", Text: e.hint.Billing})
	}
	if strings.TrimSpace(c.Instructions) != "" {
		out = append(out, block{Type: "text", Text: c.Instructions})
	}
	for _, en := range c.System {
		for i := range en.Item.Content {
			p := &en.Item.Content[i]
			if p.Text == "" && p.Type != or.PartInputText && p.Type != or.PartOutputText {
				e.lost.Add("%s", en.Part("content", i))
			}
			if strings.TrimSpace(p.Text) != "" {
				out = append(out, block{Type: "text", Text: p.Text, CacheControl: markIn(p.Raw)})
			}
		}
	}
	return out
}

// messages are the turns. Results come first in the message after their calls,
// all in one message; turns without anything to say vanish.
func (e *encoder) messages(c *dialogue.Conversation, keepThinking bool) ([]message, error) {
	var out []message
	push := func(role string, content []block) {
		if n := len(out); n > 0 && out[n-1].Role == role {
			out[n-1].Content = append(out[n-1].Content, content...)
		} else if len(content) > 0 {
			out = append(out, message{Role: role, Content: content})
		}
	}
	for _, t := range c.Turns {
		if t.Model {
			content, foreign, err := e.said(t, keepThinking)
			if err != nil {
				return nil, err
			}
			if len(out) == 0 && len(content) > 0 {
				push("user", []block{{Type: "text", Text: dialogue.Opening}})
			}
			push("assistant", content)
			if n := len(out); n > 0 && out[n-1].Role == "assistant" {
				out[n-1].foreign = out[n-1].foreign || foreign
			}
			continue
		}
		for _, r := range t.Results {
			content, err := e.output(r.Output)
			if err != nil {
				return nil, err
			}
			push("user", []block{{Type: "tool_result", ToolUseID: toolID(r.Call.Item.CallID), Content: content,
				IsError:      r.Output.Item.Status == or.StatusFailed && !slices.ContainsFunc(content, func(b block) bool { return b.Type != "text" }), // Anthropic takes only text with it
				CacheControl: markIn(r.Output.Item.Raw)}})
		}
		for _, en := range t.Entries {
			content, err := e.parts(en, "content", en.Item.Content)
			if err != nil {
				return nil, err
			}
			if en.Item.Role != "user" {
				content = framed(content)
			}
			push("user", content)
		}
	}
	n := len(out)
	if n == 0 {
		return nil, apierror.At(apierror.Invalid, "input", "The input holds no text, image or file for the model. Put at least one into a user message.")
	}
	if out[n-1].Role == "assistant" {
		push("user", []block{{Type: "text", Text: dialogue.Continue}})
	}
	return out, nil
}

// framed marks a system message that came in mid-conversation, where only user
// and assistant may speak.
func framed(content []block) []block {
	if len(content) == 0 {
		return nil
	}
	return slices.Concat([]block{{Type: "text", Text: "<system_message>"}}, content, []block{{Type: "text", Text: "</system_message>"}})
}

// said is what the model said in a turn: thinking, text and calls; and whether
// somebody else's reasoning was among it.
func (e *encoder) said(t dialogue.Turn, keepThinking bool) (out []block, foreign bool, err error) {
	for _, en := range t.Entries {
		switch it := en.Item; it.Type {
		case or.TypeReasoning:
			b, own := e.state(it)
			foreign = foreign || !own
			if own && keepThinking {
				out = append(out, b)
			}
		case or.TypeFunctionCall:
			if it.Name == "" {
				return nil, false, apierror.At(apierror.Invalid, en.Param()+".name", "%s is a function call without a name.", en.Param())
			}
			out = append(out, block{Type: "tool_use", ID: toolID(it.CallID), Name: e.names.Out(it.Name), Input: dialogue.Object(it.Arguments), CacheControl: markIn(it.Raw)})
		default:
			for i := range it.Content {
				switch p := &it.Content[i]; {
				case strings.TrimSpace(p.Text) != "":
					out = append(out, block{Type: "text", Text: p.Text, CacheControl: markIn(p.Raw)})
				case strings.TrimSpace(p.Refusal) != "":
					out = append(out, block{Type: "text", Text: p.Refusal})
				case p.Type != or.PartOutputText && p.Type != or.PartInputText && p.Type != or.PartRefusal:
					e.lost.Add("%s", en.Part("content", i)) // the model's side takes no images or files
				}
			}
		}
	}
	// Thinking at the very end of a message has nothing it belongs to, and is refused.
	for len(out) > 0 && out[len(out)-1].isThinking() {
		out = out[:len(out)-1]
	}
	return out, foreign, nil
}

// output is the content of a tool_result; none when the function gave nothing.
func (e *encoder) output(en dialogue.Entry) ([]block, error) {
	o := en.Item.Output
	if o.Parts != nil {
		return e.parts(en, "output", o.Parts)
	}
	if strings.TrimSpace(o.Text) == "" {
		return nil, nil
	}
	return []block{{Type: "text", Text: o.Text}}, nil
}

// toolID is the id of a call upstream: Anthropic's own goes back as it came,
// any other becomes one of Anthropic's form, the same for the call and its
// result.
func toolID(callID string) string {
	if strings.HasPrefix(callID, "toolu_") && dialogue.IsID(callID) {
		return callID
	}
	return "toolu_" + dialogue.Digest(24, callID)
}
