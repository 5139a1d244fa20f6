package provider

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// The done events of a text, of its part and of its item say the whole text
// again, at each border of a process. Between two ends that agree on it (short
// in the heads of REQ and DIALOGUE) the text is left out there, under a flag of
// the frame, and put back from the deltas.

const (
	// shortFrom is the length from which a text is left out, in bytes.
	shortFrom = 256
	// maxFollowed bounds what either end keeps of an item's texts, in bytes. The
	// done events of a longer one are written in full.
	maxFollowed = 1 << 20
)

// texts follows the events of a turn, at either end of a connection. Both ends
// see the same events, whole ones, so both know the same.
type texts struct {
	first   string          // the first delta of the open text
	more    strings.Builder // all of them, from the second on
	said    string          // the last text that was done
	content []string        // of the parts of the open item that are done
	summary []string
	size    int  // of the open item's deltas
	unknown bool // the open item's texts are too long, or are not what the other end sees
}

// see takes an event that is whole.
func (t *texts) see(ev *openresponses.Event) {
	switch ev.Type {
	case openresponses.EventItemAdded:
		t.open()
		t.said, t.content, t.summary, t.size, t.unknown = "", t.content[:0], t.summary[:0], 0, false
	case openresponses.EventPartAdded, openresponses.EventSummaryPartAdded:
		t.open()
	case openresponses.EventTextDone, openresponses.EventRefusalDone, openresponses.EventReasoningDone,
		openresponses.EventSummaryDone, openresponses.EventArgumentsDone:
		t.said = ev.Text
	case openresponses.EventPartDone:
		t.done(&t.content, ev.Part)
	case openresponses.EventSummaryPartDone:
		t.done(&t.summary, ev.Part)
	case openresponses.EventItemDone:
		t.open()
		clear(t.content)
		clear(t.summary)
		t.said, t.content, t.summary = "", t.content[:0], t.summary[:0]
	}
	if ev.IsDelta() {
		t.delta(ev.Delta)
	}
}

// done notes the text of a part. What the other end reads in one that is written
// raw is not known here.
func (t *texts) done(to *[]string, p *openresponses.Part) {
	switch {
	case p == nil:
	case p.Raw != nil:
		t.unknown = true
	default:
		*to = append(*to, *partText(p))
	}
}

// open begins a text.
func (t *texts) open() {
	t.first = ""
	t.more.Reset()
}

func (t *texts) delta(s string) {
	t.size += len(s)
	switch {
	case t.unknown:
	case t.size > maxFollowed || !utf8.ValidString(s): // half a character changes on its way
		t.unknown = true
		t.open()
	case t.first == "":
		t.first = s
	default:
		if t.more.Len() == 0 {
			t.more.WriteString(t.first)
		}
		t.more.WriteString(s)
	}
}

// text is what the deltas of the open text said.
func (t *texts) text() string {
	if t.more.Len() > 0 {
		return t.more.String()
	}
	return t.first
}

// partText is where a part keeps its text.
func partText(p *openresponses.Part) *string {
	if p.Type == openresponses.PartRefusal {
		return &p.Refusal
	}
	return &p.Text
}

// shorten gives ev without the text that the other end knows, and reports
// whether it left any out.
func (t *texts) shorten(ev openresponses.Event) (openresponses.Event, bool) {
	if t.unknown {
		return ev, false
	}
	switch ev.Type {
	case openresponses.EventTextDone, openresponses.EventRefusalDone, openresponses.EventReasoningDone,
		openresponses.EventSummaryDone, openresponses.EventArgumentsDone:
		if len(ev.Text) >= shortFrom && ev.Text == t.text() {
			ev.Text = ""
			return ev, true
		}
	case openresponses.EventPartDone, openresponses.EventSummaryPartDone:
		if ev.Part == nil || ev.Part.Raw != nil {
			break
		}
		if s := *partText(ev.Part); len(s) >= shortFrom && s == t.said {
			part := *ev.Part
			*partText(&part) = ""
			ev.Part = &part
			return ev, true
		}
	case openresponses.EventItemDone:
		if it, ok := t.shortItem(ev.Item); ok {
			ev.Item = it
			return ev, true
		}
	}
	return ev, false
}

func (t *texts) shortItem(it *openresponses.Item) (*openresponses.Item, bool) {
	if it == nil || it.Raw != nil {
		return nil, false
	}
	short := *it
	if it.Type == openresponses.TypeFunctionCall {
		short.Arguments = ""
		return &short, len(it.Arguments) >= shortFrom && it.Arguments == t.said
	}
	var n, m int
	var known bool
	if n, known = same(it.Content, t.content); !known {
		return nil, false
	}
	if m, known = same(it.Summary, t.summary); !known || n+m < shortFrom {
		return nil, false
	}
	short.Content, short.Summary = slices.Clone(it.Content), slices.Clone(it.Summary)
	for _, parts := range [][]openresponses.Part{short.Content, short.Summary} {
		for i := range parts {
			*partText(&parts[i]) = ""
		}
	}
	return &short, true
}

// same reports whether the parts have those texts, and how long they are.
func same(parts []openresponses.Part, texts []string) (n int, ok bool) {
	if len(parts) != len(texts) {
		return 0, false
	}
	for i := range parts {
		s := *partText(&parts[i])
		if parts[i].Raw != nil || s != texts[i] {
			return 0, false
		}
		n += len(s)
	}
	return n, true
}

// restore puts back what shorten left out.
func (t *texts) restore(ev *openresponses.Event) error {
	if t.unknown {
		return &frameError{fmt.Sprintf("event %q leaves out a text that has more than %d bytes or is not UTF-8", ev.Type, maxFollowed)}
	}
	switch ev.Type {
	case openresponses.EventTextDone, openresponses.EventRefusalDone, openresponses.EventReasoningDone,
		openresponses.EventSummaryDone, openresponses.EventArgumentsDone:
		ev.Text = t.text()
		return nil
	case openresponses.EventPartDone, openresponses.EventSummaryPartDone:
		if ev.Part != nil && ev.Part.Raw == nil {
			*partText(ev.Part) = t.said
			return nil
		}
	case openresponses.EventItemDone:
		it := ev.Item
		if it == nil || it.Raw != nil {
			break
		}
		if it.Type == openresponses.TypeFunctionCall {
			it.Arguments = t.said
			return nil
		}
		if fill(it.Content, t.content) && fill(it.Summary, t.summary) {
			return nil
		}
	}
	return &frameError{fmt.Sprintf("event %q leaves out a text where there is none", ev.Type)}
}

// fill gives the parts those texts.
func fill(parts []openresponses.Part, texts []string) bool {
	if len(parts) != len(texts) {
		return false
	}
	for i := range parts {
		if parts[i].Raw != nil {
			return false
		}
		*partText(&parts[i]) = texts[i]
	}
	return true
}

// appendEvent appends the payload of a frame that carries ev; t is nil where the
// other end wants every text.
func (t *texts) appendEvent(dst []byte, ev *openresponses.Event) []byte {
	flags := eventFlags(ev)
	if t == nil {
		return ev.AppendJSON(append(dst, flags))
	}
	short, left := t.shorten(*ev)
	if left {
		flags |= eventShort
	}
	t.see(ev)
	return short.AppendJSON(append(dst, flags))
}

// parseEvent reads such a payload.
func (t *texts) parseEvent(b []byte) (openresponses.Event, error) {
	ev, err := openresponses.ParseEvent(b[1:])
	if err != nil {
		return ev, &frameError{"event: " + err.Error()}
	}
	if b[0]&eventShort != 0 {
		if err := t.restore(&ev); err != nil {
			return ev, err
		}
	}
	t.see(&ev)
	return ev, nil
}
