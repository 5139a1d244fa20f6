package main

import (
	"encoding/base64"
	"slices"
	"strings"

	"github.com/valyala/fastjson"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// system reads the system instruction.
func (r *reader) system(p place) error {
	if p.value.Type() == fastjson.TypeString { // what the SDKs turn into a content
		s, err := p.text()
		r.request.Instructions = s
		return err
	}
	var texts []string
	err := each(p, func(p place) error {
		switch p.name {
		case "role":
			return nil
		case "parts":
			return all(p, func(_ int, p place) error {
				return each(p, func(p place) error {
					if p.name != "text" {
						r.lost.Add("%s", p.at)
						return nil
					}
					s, err := p.text()
					texts = append(texts, s)
					return err
				})
			})
		}
		r.lost.Add("%s", p.at)
		return nil
	})
	r.request.Instructions = strings.Join(texts, "\n")
	return err
}

// contents reads the conversation. A function's response belongs to the call
// with its id; without ids, to the first call of its name that has none yet.
func (r *reader) contents(p place) error {
	err := all(p, func(i int, p place) error {
		role := "user"
		var parts *place
		err := each(p, func(p place) error {
			switch p.name {
			case "role":
				s, err := p.text()
				if err == nil && s != "" {
					role = s
				}
				return err
			case "parts":
				parts = &p
			default:
				r.lost.Add("%s", p.at)
			}
			return nil
		})
		if err != nil || parts == nil {
			return err
		}
		t := &turn{r: r, index: i}
		switch role {
		case "user", "function":
		case "model":
			t.model = true
			if err := r.answered(); err != nil {
				return err
			}
		default:
			return apierror.At(apierror.Invalid, p.at+".role", "%s.role must be user or model; instructions go into systemInstruction.", p.at)
		}
		if err := all(*parts, t.part); err != nil {
			return err
		}
		t.flush()
		return nil
	})
	if err != nil {
		return err
	}
	return r.answered()
}

// turn is one content.
type turn struct {
	r     *reader
	index int
	model bool
	said  []or.Part // of the message under way
}

// flush ends the message under way.
func (t *turn) flush() {
	if len(t.said) == 0 {
		return
	}
	role := "user"
	if t.model {
		role = "assistant"
	}
	t.r.request.Input = append(t.r.request.Input, or.Item{Type: or.TypeMessage, Role: role, Content: t.said})
	t.said = nil
}

func (t *turn) add(it or.Item) {
	t.flush()
	t.r.request.Input = append(t.r.request.Input, it)
}

func (t *turn) say(text string) {
	kind := or.PartInputText
	if t.model {
		kind = or.PartOutputText
	}
	if text != "" {
		t.said = append(t.said, or.Part{Type: kind, Text: text})
	}
}

// part reads one part: its data, and the marks beside it.
func (t *turn) part(j int, p place) error {
	var data *place
	var thought bool
	var signature string
	err := each(p, func(p place) (err error) {
		switch p.name {
		case "thought":
			thought, err = p.truth()
		case "thoughtSignature":
			signature, err = p.text()
		case "text", "inlineData", "fileData", "functionCall", "functionResponse", "executableCode", "codeExecutionResult":
			if data != nil {
				return apierror.At(apierror.Invalid, p.at, "%s: a part holds one thing, and %s is there already.", p.at, data.at)
			}
			data = &p
		default:
			t.r.lost.Add("%s", p.at)
		}
		return err
	})
	if err != nil {
		return err
	}
	states := states(signature)
	if thought {
		return t.thought(data, states)
	}
	for _, s := range states {
		t.add(or.Item{Type: or.TypeReasoning, EncryptedContent: s})
	}
	if data == nil {
		return nil // a part that has nothing, or nothing we know
	}
	switch data.name {
	case "text":
		s, err := data.text()
		t.say(s)
		return err
	case "functionCall":
		return t.call(j, *data)
	case "functionResponse":
		return t.response(*data)
	case "executableCode", "codeExecutionResult":
		return t.code(*data)
	}
	media, err := t.r.media(*data)
	if err != nil {
		return err
	}
	if t.model {
		t.r.lost.Add("%s", data.at) // an answer's image, which no other provider takes back
		return nil
	}
	t.said = append(t.said, media)
	return nil
}

// unwanted are the signatures that clients make up where a model gave none:
// they say nothing. Source: Gemini API, "Thought signatures", FAQ.
var unwanted = []string{unsigned, "context_engineering_is_the_way_to_go"}

// states are the opaque states in a signature: ours, which the writer made of
// them, or one string of somebody else.
func states(signature string) []string {
	if signature == "" || slices.Contains(unwanted, signature) {
		return nil
	}
	b, err := base64.StdEncoding.DecodeString(signature)
	if err != nil || slices.Contains(unwanted, string(b)) {
		if err == nil {
			return nil
		}
		b = []byte(signature)
	}
	if list := strings.Fields(string(b)); len(list) > 0 {
		if _, ours := or.ParseOpaqueState(list[0]); ours {
			return list
		}
	}
	return []string{signature}
}

// signature is the reverse of states. The API's field holds bytes, so that
// clients want base64 there.
func signature(states []string) string {
	return base64.StdEncoding.EncodeToString([]byte(strings.Join(states, " ")))
}

// thought is a part of the model's reasoning.
func (t *turn) thought(data *place, states []string) error {
	it := or.Item{Type: or.TypeReasoning}
	if data != nil && data.name == "text" {
		s, err := data.text()
		if err != nil {
			return err
		}
		if s != "" {
			it.Summary = []or.Part{{Type: or.PartSummaryText, Text: s}}
		}
	}
	if len(states) > 0 {
		it.EncryptedContent, states = states[0], states[1:]
	}
	if t.model && (it.Summary != nil || it.EncryptedContent != "") {
		t.add(it)
	}
	for _, s := range states {
		t.add(or.Item{Type: or.TypeReasoning, EncryptedContent: s})
	}
	return nil
}

// code is a program that Google ran, or what it printed. No other provider has
// a place for it, so it is said.
func (t *turn) code(p place) error {
	var head, text string
	err := each(p, func(p place) (err error) {
		switch p.name {
		case "language":
			head, err = p.text()
			head = strings.ToLower(head)
		case "code", "output":
			text, err = p.text()
		case "id", "outcome":
		default:
			t.r.lost.Add("%s", p.at)
		}
		return err
	})
	if text != "" {
		t.say("```" + head + "\n" + strings.TrimSuffix(text, "\n") + "\n```\n")
	}
	return err
}
