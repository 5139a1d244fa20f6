package main

import (
	"slices"
	"strings"

	"github.com/valyala/fastjson"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider/dialogue"
)

// billing begins the system block in which Claude Code counts its own calls.
// What follows differs from call to call, so that a provider who keeps what it
// has read would never find it again.
const billing = "x-anthropic-billing-header:"

// system reads the instructions: a text as they are, blocks as a message that
// keeps their marks.
func (a *accepter) system(v *fastjson.Value) error {
	s := memberOf(v, "system")
	if s == nil {
		return nil
	}
	if s.Type() == fastjson.TypeString {
		a.out.Instructions = string(s.GetStringBytes())
		return nil
	}
	blocks, err := s.Array()
	if err != nil {
		return wrong("system", "a text or a list of text blocks")
	}
	var parts []or.Part
	for i, b := range blocks {
		at := element("system", i)
		p, ok, err := a.textBlock(at, b)
		if err != nil {
			return err
		}
		if i == 0 && strings.HasPrefix(p.Text, billing) {
			a.hint.Billing = p.Text
			continue
		}
		if ok {
			parts = append(parts, p)
		}
	}
	if len(parts) > 0 {
		a.out.Input = append(a.out.Input, or.Item{Type: or.TypeMessage, Role: "system", Content: parts})
	}
	return nil
}

// messages reads the conversation.
func (a *accepter) messages(v *fastjson.Value) error {
	all, err := listOf(v, "", "messages")
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return apierror.At(apierror.Invalid, "messages", "messages: Field required. Send at least one message.")
	}
	said := len(a.out.Input)
	a.out.Input = slices.Grow(a.out.Input, len(all))
	for i, m := range all {
		if err := a.message(element("messages", i), m); err != nil {
			return err
		}
	}
	if len(a.out.Input) == said {
		return apierror.At(apierror.Invalid, "messages", "messages hold no content. Put at least one text, image or result into them.")
	}
	a.out.Input = pairUp(a.out.Input)
	return nil
}

// message reads one message of any role. Messages of role system stand among
// the others where Claude Code does not know the model's name; they stay there.
func (a *accepter) message(at string, m *fastjson.Value) error {
	if m.Type() != fastjson.TypeObject {
		return wrong(at, "an object")
	}
	role, err := wordOf(m, at, "role")
	if err != nil {
		return err
	}
	if role != "user" && role != "assistant" && role != "system" {
		return apierror.At(apierror.Invalid, at+".role", "%s.role is %q; it must be user, assistant or system.", at, clipped(role))
	}
	a.unknown(at, m, "role", "content")
	content := memberOf(m, "content")
	if content == nil {
		return apierror.At(apierror.Invalid, at+".content", "%s.content: Field required. It is a text or a list of blocks.", at)
	}
	s := speaker{accepter: a, role: role}
	if content.Type() == fastjson.TypeString {
		if b := content.GetStringBytes(); len(b) > 0 {
			p := or.Part{Type: or.PartInputText, Text: string(b)}
			if role == "assistant" {
				p.Type = or.PartOutputText
			}
			s.add(p)
		}
		s.flush()
		return nil
	}
	blocks, err := content.Array()
	if err != nil {
		return wrong(at+".content", "a text or a list of blocks")
	}
	for i, b := range blocks {
		if err := s.block(element(at+".content", i), b); err != nil {
			return err
		}
	}
	s.flush()
	return nil
}

// speaker turns the blocks of one message into items.
type speaker struct {
	*accepter
	role  string
	parts []or.Part // of the message item under way
}

func (s *speaker) add(p or.Part) { s.parts = append(s.parts, p) }

// flush ends the message item under way.
func (s *speaker) flush() {
	if len(s.parts) > 0 {
		s.out.Input = append(s.out.Input, or.Item{Type: or.TypeMessage, Role: s.role, Content: s.parts})
		s.parts = nil
	}
}

func (s *speaker) item(it or.Item, m *mark) {
	s.flush()
	markItem(&it, m)
	s.out.Input = append(s.out.Input, it)
}

// block reads a block. Blocks that only Anthropic can read are lost.
func (s *speaker) block(at string, b *fastjson.Value) error {
	if b.Type() != fastjson.TypeObject {
		return wrong(at, "an object")
	}
	kind, err := wordOf(b, at, "type")
	if err != nil {
		return err
	}
	model := s.role == "assistant"
	switch {
	case kind == "":
		return apierror.At(apierror.Invalid, at+".type", "%s.type: Field required. Say which kind of block this is, for example \"text\".", at)
	case kind == "text":
		p, ok, err := s.textBlock(at, b)
		if err == nil && ok {
			if model {
				p = asOutput(p, markOf(b))
			}
			s.add(p)
		}
		return err
	case model && kind == "tool_use":
		return s.toolUse(at, b)
	case model && kind == "thinking":
		text, err := textOf(b, at, "thinking")
		if err != nil {
			return err
		}
		state, err := textOf(b, at, "signature")
		if err != nil {
			return err
		}
		s.unknown(at, b, "type", "thinking", "signature")
		s.thought(text, state)
		return nil
	case model && kind == "redacted_thinking":
		state, err := textOf(b, at, "data")
		if err != nil {
			return err
		}
		s.unknown(at, b, "type", "data")
		s.thought("", state)
		return nil
	case !model && kind == "tool_result":
		return s.toolResult(at, b)
	case !model && (kind == "image" || kind == "document" || kind == "search_result"):
		parts, err := s.content(at, kind, b)
		s.parts = append(s.parts, parts...)
		return err
	case kind == "tool_use" || kind == "tool_result":
		return apierror.At(apierror.Invalid, at+".type", "%s is a block of type %q, which a message of role %q cannot hold.", at, kind, s.role)
	}
	s.lost.Add("%s", at)
	return nil
}

// asOutput makes a part one that the model said.
func asOutput(p or.Part, m *mark) or.Part {
	p.Type, p.Raw = or.PartOutputText, nil
	markPart(&p, m)
	return p
}

// thought is a reasoning item. Its state is ours, or came from the provider
// itself; which of them can be sent on, the translators know.
func (s *speaker) thought(text, state string) {
	it := or.Item{Type: or.TypeReasoning, EncryptedContent: state}
	if text != "" {
		it.Summary = []or.Part{{Type: or.PartSummaryText, Text: text}}
	}
	if text != "" || state != "" {
		s.item(it, nil)
	}
}

func (s *speaker) toolUse(at string, b *fastjson.Value) error {
	it := or.Item{Type: or.TypeFunctionCall, Arguments: "{}"}
	input, err := objectOf(b, at, "input")
	if err != nil {
		return err
	}
	if input != nil {
		s.scratch = input.MarshalTo(s.scratch[:0])
		it.Arguments = string(s.scratch)
	}
	if it.Name, err = textOf(b, at, "name"); err != nil {
		return err
	}
	if it.CallID, err = textOf(b, at, "id"); err != nil {
		return err
	}
	if it.Name == "" || it.CallID == "" {
		return apierror.At(apierror.Invalid, at, "%s: a tool_use block needs an id and a name.", at)
	}
	it.CallID = callID(it.CallID)
	s.unknown(at, b, "type", "id", "name", "input", markName)
	s.item(it, markOf(b))
	return nil
}

func (s *speaker) toolResult(at string, b *fastjson.Value) error {
	it := or.Item{Type: or.TypeFunctionCallOutput}
	id, err := textOf(b, at, "tool_use_id")
	if err != nil {
		return err
	}
	if id == "" {
		return apierror.At(apierror.Invalid, at+".tool_use_id", "%s.tool_use_id: Field required. Name the tool_use block that this answers.", at)
	}
	it.CallID = callID(id)
	failed, err := boolOf(b, at, "is_error")
	if err != nil {
		return err
	}
	if failed != nil && *failed {
		it.Status = or.StatusFailed
	}
	s.unknown(at, b, "type", "tool_use_id", "content", "is_error", markName)
	content := memberOf(b, "content")
	if content == nil {
		s.item(it, markOf(b))
		return nil
	}
	if content.Type() == fastjson.TypeString {
		it.Output.Text = string(content.GetStringBytes())
		s.item(it, markOf(b))
		return nil
	}
	blocks, err := content.Array()
	if err != nil {
		return wrong(at+".content", "a text or a list of blocks")
	}
	var parts []or.Part
	for i, in := range blocks {
		here := element(at+".content", i)
		kind, err := wordOf(in, here, "type")
		if err != nil {
			return err
		}
		if in.Type() != fastjson.TypeObject {
			return wrong(here, "an object")
		}
		more, err := s.content(here, kind, in)
		if err != nil {
			return err
		}
		parts = append(parts, more...)
	}
	if len(parts) == 1 && parts[0].Type == or.PartInputText && parts[0].Raw == nil {
		it.Output.Text = parts[0].Text // what every provider takes
	} else if len(parts) > 0 {
		it.Output.Parts = parts
	}
	s.item(it, markOf(b))
	return nil
}

// maxCallID is the longest id of a call that every provider takes.
const maxCallID = 64

// callID is the inner id for one that a client sends back: those we made of
// other providers' ids lose our prefix, those that are too long are shortened.
// clientID is the way back.
func callID(id string) string {
	if rest, ok := strings.CutPrefix(id, ourPrefix); ok && strings.HasPrefix(rest, "call_") {
		return rest
	}
	if len(id) > maxCallID {
		return ourPrefix + dialogue.Digest(24, id)
	}
	return id
}

// ourPrefix begins the ids of calls in this dialect.
const ourPrefix = "toolu_"

// clientID is the id under which the client knows a call.
func clientID(id string) string {
	switch {
	case strings.HasPrefix(id, ourPrefix) && dialogue.IsID(id):
		return id
	case strings.HasPrefix(id, "call_") && dialogue.IsID(ourPrefix+id):
		return ourPrefix + id
	}
	return ourPrefix + dialogue.Digest(24, id)
}
