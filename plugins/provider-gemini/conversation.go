package main

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider/dialogue"
)

// dialect is the family of our opaque state.
const dialect = "gemini"

// mark is that state: a thoughtSignature and the part it belongs to.
type mark struct {
	Signature string `json:"signature"`
	Call      string `json:"call,omitempty"`    // the call with this call_id; else
	Thought   string `json:"thought,omitempty"` // a thought with this text; else the text said before
}

// unsigned stands in for a signature that does not exist, because another
// model made the call. Source: Gemini API, "Thought signatures", FAQ.
const unsigned = "skip_thought_signature_validator"

// state reads our own mark out of a reasoning item. It reports false for the
// reasoning of another provider or account.
func (e *encoder) state(it *or.Item) (mark, bool) {
	st, ok := or.ParseOpaqueState(it.EncryptedContent)
	if !ok || st.Provider != e.account || st.Family != dialect {
		return mark{}, false
	}
	var m mark
	return m, json.Unmarshal(st.Data, &m) == nil && m.Signature != ""
}

// system is the instructions and the system messages before the conversation.
func (e *encoder) system(c *dialogue.Conversation) *content {
	var out content
	if strings.TrimSpace(c.Instructions) != "" {
		out.Parts = append(out.Parts, part{Text: c.Instructions})
	}
	for _, en := range c.System {
		for i := range en.Item.Content {
			p := &en.Item.Content[i]
			if p.Text == "" && p.Type != or.PartInputText && p.Type != or.PartOutputText {
				e.lost.Add("%s", en.Part("content", i))
			}
			if strings.TrimSpace(p.Text) != "" {
				out.Parts = append(out.Parts, part{Text: p.Text})
			}
		}
	}
	if len(out.Parts) == 0 {
		return nil
	}
	return &out
}

// contents are the turns, alternating. The responses of a turn come first, in
// the order of its calls; turns without anything to say vanish.
func (e *encoder) contents(c *dialogue.Conversation) ([]content, error) {
	var out []content
	push := func(role string, parts []part) {
		if n := len(out); n > 0 && out[n-1].Role == role {
			out[n-1].Parts = append(out[n-1].Parts, parts...)
		} else if len(parts) > 0 {
			out = append(out, content{role, parts})
		}
	}
	for _, t := range c.Turns {
		if t.Model {
			parts, err := e.said(t)
			if err != nil {
				return nil, err
			}
			if len(out) == 0 && len(parts) > 0 {
				push("user", []part{{Text: dialogue.Opening}})
			}
			push("model", parts)
			continue
		}
		var files []part
		for _, r := range t.Results {
			response, more, err := e.response(r)
			if err != nil {
				return nil, err
			}
			push("user", []part{{FunctionResponse: response}})
			files = append(files, more...)
		}
		push("user", files)
		for _, en := range t.Entries {
			parts, err := e.parts(en, "content", en.Item.Content)
			if err != nil {
				return nil, err
			}
			if en.Item.Role != "user" && len(parts) > 0 {
				// A system message in mid-conversation, where only user and model may speak.
				parts = append(append([]part{{Text: "<system_message>"}}, parts...), part{Text: "</system_message>"})
			}
			push("user", parts)
		}
	}
	n := len(out)
	if n == 0 {
		return nil, apierror.At(apierror.Invalid, "input", "The input holds no text, image or file for the model. Put at least one into a user message.")
	}
	if out[n-1].Role == "model" {
		push("user", []part{{Text: dialogue.Continue}})
	}
	if e.model.signed {
		sign(out)
	}
	return out, nil
}

// sign fills in for the signatures that are missing where newer models insist
// on one: at the first call of each turn of the model since the user spoke.
func sign(contents []content) {
	for i := len(contents) - 1; i >= 0; i-- {
		parts := contents[i].Parts
		if contents[i].Role == "user" {
			if slices.ContainsFunc(parts, func(p part) bool { return p.Text != "" }) {
				return
			}
			continue
		}
		first := slices.IndexFunc(parts, func(p part) bool { return p.FunctionCall != nil })
		if first >= 0 && parts[first].ThoughtSignature == "" {
			parts[first].ThoughtSignature = unsigned
		}
	}
}

// signatures are those of the turn's calls, by call id. A client whose items
// carry no call ids, as OpenAI's mcp_call, gives a call back under another id;
// its signature still stands right before it.
func (e *encoder) signatures(t dialogue.Turn) map[string]string {
	found := map[string]string{}
	present := func(id string) bool {
		return slices.ContainsFunc(t.Entries, func(en dialogue.Entry) bool {
			return en.Item.Type == or.TypeFunctionCall && en.Item.CallID == id
		})
	}
	for i, en := range t.Entries {
		if en.Item.Type != or.TypeReasoning {
			continue
		}
		m, own := e.state(en.Item)
		switch {
		case !own || m.Call == "":
		case present(m.Call):
			found[m.Call] = m.Signature
		case i+1 < len(t.Entries) && t.Entries[i+1].Item.Type == or.TypeFunctionCall:
			found[t.Entries[i+1].Item.CallID] = m.Signature
		}
	}
	return found
}

// said is what the model said in a turn: text, thoughts that are signed, and
// calls.
func (e *encoder) said(t dialogue.Turn) ([]part, error) {
	signatures := e.signatures(t)
	var out []part
	text := -1 // the text said last, if it is not signed
	for _, en := range t.Entries {
		switch it := en.Item; it.Type {
		case or.TypeReasoning:
			m, own := e.state(it)
			switch {
			case !own || m.Call != "":
			case m.Thought != "":
				out = append(out, part{Text: m.Thought, Thought: true, ThoughtSignature: m.Signature})
			case text >= 0:
				out[text].ThoughtSignature = m.Signature
				text = -1
			}
		case or.TypeFunctionCall:
			if it.Name == "" {
				return nil, apierror.At(apierror.Invalid, en.Param()+".name", "%s is a function call without a name.", en.Param())
			}
			out = append(out, part{
				FunctionCall:     &functionCall{ID: nativeID(it.CallID), Name: e.names.Out(it.Name), Args: dialogue.Object(it.Arguments)},
				ThoughtSignature: signatures[it.CallID],
			})
		default:
			for i := range it.Content {
				switch p := &it.Content[i]; {
				case p.Text != "":
					text = len(out)
					out = append(out, part{Text: p.Text})
				case p.Refusal != "":
					out = append(out, part{Text: p.Refusal})
				case p.Type != or.PartOutputText && p.Type != or.PartInputText && p.Type != or.PartRefusal:
					e.lost.Add("%s", en.Part("content", i)) // the model's side takes no images or files
				}
			}
		}
	}
	return out, nil
}

// response is a function's output, and the files in it, which have their place
// beside it.
func (e *encoder) response(r dialogue.Result) (*functionResponse, []part, error) {
	call, o := r.Call.Item, r.Output.Item.Output
	f := &functionResponse{ID: nativeID(call.CallID), Name: e.names.Out(call.Name)}
	say := func(text string) {
		f.Response.Output = &text
		if r.Output.Item.Status == or.StatusFailed {
			f.Response = output{Error: text}
		}
	}
	if o.Parts == nil {
		say(o.Text)
		return f, nil, nil
	}
	parts, err := e.parts(r.Output, "output", o.Parts)
	var texts []string
	var files []part
	for _, p := range parts {
		if p.Text != "" {
			texts = append(texts, p.Text)
		} else {
			files = append(files, p)
		}
	}
	say(strings.Join(texts, "\n"))
	return f, files, err
}

// nativePrefix marks the call ids that are Gemini's own. Most of its models
// give none, and it takes no other.
const nativePrefix = "gemini_"

// nativeID is Gemini's own id of a call; "" when it gave none.
func nativeID(callID string) string {
	if id, ok := strings.CutPrefix(callID, nativePrefix); ok && dialogue.IsID(id) {
		return id
	}
	return ""
}

// callID is the call_id for a native id; "" when it does not fit.
func callID(native string) string {
	if id := nativePrefix + native; native != "" && dialogue.IsID(id) {
		return id
	}
	return ""
}
