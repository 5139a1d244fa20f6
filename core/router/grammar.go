package router

import (
	"strconv"

	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// grammar checks the order of a translator's events: items one after another,
// parts inside their item, one terminal event at the end. It costs nothing to
// speak of, and it turns a translator's mistake into an error that names it
// instead of a client that hangs.
type grammar struct {
	items int    // opened so far
	open  string // type of the open item, "" if none
	parts int    // opened in the open item
	part  string // type of the open part, "" if none
	sums  int    // summary parts opened in the open item
	sum   bool   // a summary part is open
	ended bool
}

// check returns the rule that ev breaks, "" if none.
func (g *grammar) check(ev *openresponses.Event) string {
	if g.ended {
		return "an event (" + ev.Type + ") follows the terminal event"
	}
	switch ev.Type {
	case openresponses.EventCompleted, openresponses.EventIncomplete:
		g.ended = true
		switch {
		case g.open != "":
			return ev.Type + " while an item is still open"
		case ev.Terminal == nil || "response."+ev.Terminal.Status != ev.Type:
			return ev.Type + " without a terminal of that status"
		}
		return ""
	case openresponses.EventFailed:
		g.ended = true
		return ""
	case openresponses.EventItemAdded:
		switch {
		case g.open != "":
			return "an item is added while another is open"
		case ev.Item == nil:
			return ev.Type + " without an item"
		case ev.OutputIndex != g.items:
			return "item " + strconv.Itoa(g.items) + " was added with index " + strconv.Itoa(ev.OutputIndex)
		case ev.Item.Type == "":
			return "an item is added without a type"
		case ev.Item.Type == openresponses.TypeFunctionCall && (ev.Item.CallID == "" || ev.Item.Name == ""):
			return "a function call is added without its call id and name"
		}
		*g = grammar{items: g.items + 1, open: ev.Item.Type}
		return ""
	}
	if g.open == "" {
		return ev.Type + " outside of an item"
	}
	if ev.OutputIndex != g.items-1 {
		return ev.Type + " has output index " + strconv.Itoa(ev.OutputIndex) + " and the open item has " + strconv.Itoa(g.items-1)
	}
	return g.inside(ev)
}

// inside checks an event of the open item.
func (g *grammar) inside(ev *openresponses.Event) string {
	switch ev.Type {
	case openresponses.EventItemDone:
		switch {
		case ev.Item == nil:
			return ev.Type + " without an item"
		case g.part != "" || g.sum:
			return ev.Type + " while a part is still open"
		case g.open != ev.Item.Type:
			return "an item was added as " + g.open + " and done as " + ev.Item.Type
		}
		g.open = ""
	case openresponses.EventPartAdded:
		switch {
		case g.part != "":
			return "a part is added while another is open"
		case ev.Part == nil:
			return ev.Type + " without a part"
		case ev.ContentIndex != g.parts:
			return "part " + strconv.Itoa(g.parts) + " was added with index " + strconv.Itoa(ev.ContentIndex)
		case ev.Part.Type == "":
			return "a part is added without a type"
		}
		g.parts++
		g.part = ev.Part.Type
	case openresponses.EventPartDone:
		if fault := g.inPart(ev, g.part); fault != "" {
			return fault
		}
		if ev.Part == nil {
			return ev.Type + " without a part"
		}
		g.part = ""
	case openresponses.EventTextDelta, openresponses.EventTextDone, openresponses.EventAnnotationAdded:
		return g.inPart(ev, openresponses.PartOutputText)
	case openresponses.EventRefusalDelta, openresponses.EventRefusalDone:
		return g.inPart(ev, openresponses.PartRefusal)
	case openresponses.EventReasoningDelta, openresponses.EventReasoningDone:
		return g.inPart(ev, openresponses.PartReasoning)
	case openresponses.EventArgumentsDelta, openresponses.EventArgumentsDone:
		return g.inItem(ev, openresponses.TypeFunctionCall)
	case openresponses.EventSummaryPartAdded:
		switch fault := g.inItem(ev, openresponses.TypeReasoning); {
		case fault != "":
			return fault
		case g.sum:
			return "a summary part is added while another is open"
		case ev.SummaryIndex != g.sums:
			return "summary part " + strconv.Itoa(g.sums) + " was added with index " + strconv.Itoa(ev.SummaryIndex)
		}
		g.sums++
		g.sum = true
	case openresponses.EventSummaryDelta, openresponses.EventSummaryDone, openresponses.EventSummaryPartDone:
		switch {
		case !g.sum:
			return ev.Type + " outside of a summary part"
		case ev.SummaryIndex != g.sums-1:
			return ev.Type + " has summary index " + strconv.Itoa(ev.SummaryIndex) + " and the open part has " + strconv.Itoa(g.sums-1)
		}
		g.sum = ev.Type != openresponses.EventSummaryPartDone
	default:
		return "an event of the unknown type " + strconv.Quote(ev.Type)
	}
	return ""
}

func (g *grammar) inPart(ev *openresponses.Event, want string) string {
	switch {
	case g.part == "":
		return ev.Type + " outside of a part"
	case ev.ContentIndex != g.parts-1:
		return ev.Type + " has content index " + strconv.Itoa(ev.ContentIndex) + " and the open part has " + strconv.Itoa(g.parts-1)
	case g.part != want:
		return ev.Type + " in a part of type " + g.part
	}
	return ""
}

func (g *grammar) inItem(ev *openresponses.Event, want string) string {
	if g.open != want {
		return ev.Type + " in an item of type " + g.open
	}
	return ""
}
