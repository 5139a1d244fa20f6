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
	open    gathered // the open text
	said    string   // the last text that was done
	content []string // of the parts of the open item that are done
	summary []string
	size    int  // of the open item's deltas
	unknown bool // the open item's texts are too long, or are not what the other end sees
}

// gathered is a text that comes piece by piece. One that comes in one piece is
// not copied.
type gathered struct {
	first string
	more  strings.Builder // all pieces, from the second on
}

func (g *gathered) add(piece string) {
	if g.first == "" {
		g.first = piece
		return
	}
	if g.more.Len() == 0 {
		g.more.WriteString(g.first)
	}
	g.more.WriteString(piece)
}

func (g *gathered) text() string {
	if g.more.Len() > 0 {
		return g.more.String()
	}
	return g.first
}

// maxParts is for how many parts of an item memory is kept for the next turn.
const maxParts = 64

// reset forgets everything, for the next turn.
func (t *texts) reset() {
	clear(t.content[:cap(t.content)])
	clear(t.summary[:cap(t.summary)])
	kept := texts{content: t.content[:0], summary: t.summary[:0]}
	if cap(t.content) > maxParts || cap(t.summary) > maxParts {
		kept = texts{}
	}
	*t = kept
}

// see takes an event that is whole.
func (t *texts) see(ev *openresponses.Event) {
	switch ev.Type {
	case openresponses.EventItemAdded:
		t.open = gathered{}
		t.said, t.content, t.summary, t.size, t.unknown = "", t.content[:0], t.summary[:0], 0, false
	case openresponses.EventPartAdded, openresponses.EventSummaryPartAdded:
		t.open = gathered{}
	case openresponses.EventTextDone, openresponses.EventRefusalDone, openresponses.EventReasoningDone,
		openresponses.EventSummaryDone, openresponses.EventArgumentsDone:
		t.said = ev.Text
	case openresponses.EventPartDone:
		t.done(&t.content, ev.Part)
	case openresponses.EventSummaryPartDone:
		t.done(&t.summary, ev.Part)
	case openresponses.EventItemDone:
		t.open = gathered{}
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

func (t *texts) delta(s string) {
	t.size += len(s)
	switch {
	case t.unknown:
	case t.size > maxFollowed || !utf8.ValidString(s): // half a character changes on its way
		t.unknown, t.open = true, gathered{}
	default:
		t.open.add(s)
	}
}

// partText is where a part keeps its text.
func partText(p *openresponses.Part) *string {
	if p.Type == openresponses.PartRefusal {
		return &p.Refusal
	}
	return &p.Text
}

// shorten gives ev without the text that the other end knows, or ev itself
// where there is none; short is memory for what it gives.
func (t *texts) shorten(ev, short *openresponses.Event) *openresponses.Event {
	if t.unknown {
		return ev
	}
	switch ev.Type {
	case openresponses.EventTextDone, openresponses.EventRefusalDone, openresponses.EventReasoningDone,
		openresponses.EventSummaryDone, openresponses.EventArgumentsDone:
		if len(ev.Text) >= shortFrom && ev.Text == t.open.text() {
			*short = *ev
			short.Text = ""
			return short
		}
	case openresponses.EventPartDone, openresponses.EventSummaryPartDone:
		if ev.Part == nil || ev.Part.Raw != nil {
			break
		}
		if s := *partText(ev.Part); len(s) >= shortFrom && s == t.said {
			part := *ev.Part
			*partText(&part) = ""
			*short = *ev
			short.Part = &part
			return short
		}
	case openresponses.EventItemDone:
		if it := t.shortItem(ev.Item); it != nil {
			*short = *ev
			short.Item = it
			return short
		}
	}
	return ev
}

// shortItem gives an item without the texts that the other end knows; nil where
// there is none.
func (t *texts) shortItem(it *openresponses.Item) *openresponses.Item {
	if it == nil || it.Raw != nil {
		return nil
	}
	if it.Type == openresponses.TypeFunctionCall {
		if len(it.Arguments) < shortFrom || it.Arguments != t.said {
			return nil
		}
		short := *it
		short.Arguments = ""
		return &short
	}
	n, known := same(it.Content, t.content)
	if !known {
		return nil
	}
	m, known := same(it.Summary, t.summary)
	if !known || n+m < shortFrom {
		return nil
	}
	short := *it
	short.Content, short.Summary = slices.Clone(it.Content), slices.Clone(it.Summary)
	for _, parts := range [][]openresponses.Part{short.Content, short.Summary} {
		for i := range parts {
			*partText(&parts[i]) = ""
		}
	}
	return &short
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
		ev.Text = t.open.text()
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
	var memory openresponses.Event
	short := t.shorten(ev, &memory)
	if short != ev {
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
