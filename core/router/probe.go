package router

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// probe knows where in a dialect's replies to find what the records want to
// know. It reads the data of an event, or a whole body, in one walk that steps
// over everything else.
type probe struct {
	root   node
	kinds  map[string]kind // types of events that mean something
	ends   []string        // whole data that ends a stream
	counts []provider.Field
}

// kind is what the type of an event means; 0 for nothing.
type kind struct {
	end, failure bool
	partial      bool // an end of a reply that is not whole
	id           int  // for the rules that are about one type of events
}

// node is a place in JSON. Arrays are no places: their elements are where the
// array is, unless a number picks one.
type node struct {
	name string
	kids []*node
	want []want
}

// want is something to be read at a node.
type want struct {
	what  int
	id    int    // of the event's type; 0 means any
	count int    // seeCount: index of probe.counts
	value string // seeCall: what has to be there; "" means anything but null
}

// What is wanted.
const (
	seeCount = iota // a number of tokens
	seeText         // what the model wrote
	seeType         // the type of the event
	seeFault        // a member that means the stream has failed
	seeModel        // the model that answered
	seeTier         // the service tier
	seeCall         // a call of a tool
	seeName         // the model's name, which the client is told its own
)

// places are where providers say what the records show beside the counts: the
// model that answered, its tier, and that it calls a tool. They are for
// statistics only; where none fits, the record has a gap.
var places = []struct {
	what               int
	event, path, value string
}{
	{what: seeModel, path: "model"},
	{what: seeModel, path: "message.model"},
	{what: seeModel, path: "response.model"},
	{what: seeModel, path: "modelVersion"},
	{what: seeTier, path: "service_tier"},
	{what: seeTier, path: "usage.service_tier"},
	{what: seeTier, path: "message.usage.service_tier"},
	{what: seeTier, path: "response.service_tier"},
	{what: seeCall, event: "content_block_start", path: "content_block.type", value: "tool_use"},
	{what: seeCall, path: "content.type", value: "tool_use"},
	{what: seeCall, event: "response.output_item.done", path: "item.type", value: "function_call"},
	{what: seeCall, event: "response.output_item.done", path: "item.type", value: "custom_tool_call"},
	{what: seeCall, path: "output.type", value: "function_call"},
	{what: seeCall, path: "output.type", value: "custom_tool_call"},
	{what: seeCall, path: "choices.delta.tool_calls.id"},
	{what: seeCall, path: "choices.message.tool_calls.id"},
	{what: seeCall, path: "candidates.content.parts.functionCall"},
}

func newProbe(d provider.Dialect, m provider.Meter) *probe {
	p := &probe{kinds: map[string]kind{}, counts: m.Fields}
	for _, sign := range d.Ends {
		k := p.kinds[sign]
		k.end, k.partial = true, strings.HasSuffix(sign, "incomplete")
		p.kinds[sign] = k
		p.ends = append(p.ends, sign)
	}
	for _, sign := range d.Failures {
		k := p.kinds[sign]
		k.failure = true
		p.kinds[sign] = k
		p.add(sign, want{what: seeFault})
	}
	p.add("type", want{what: seeType})
	for i, f := range m.Fields {
		p.add(f.Path, want{what: seeCount, id: p.event(f.Event), count: i})
	}
	for _, path := range d.Text {
		p.add(path, want{what: seeText})
	}
	for _, path := range d.Model {
		p.add(path, want{what: seeName})
	}
	for _, x := range places {
		p.add(x.path, want{what: x.what, id: p.event(x.event), value: x.value})
	}
	return p
}

// event gives the id of a type of events.
func (p *probe) event(name string) int {
	if name == "" {
		return 0
	}
	k := p.kinds[name]
	if k.id == 0 {
		k.id = len(p.kinds) + 1
		p.kinds[name] = k
	}
	return k.id
}

func (p *probe) add(path string, w want) {
	n := &p.root
	for name := range strings.SplitSeq(path, ".") {
		n = n.kid(name)
	}
	n.want = append(n.want, w)
}

func (n *node) kid(name string) *node {
	for _, k := range n.kids {
		if k.name == name {
			return k
		}
	}
	k := &node{name: name}
	n.kids = append(n.kids, k)
	return k
}

// tally is what was found in one reply so far.
type tally struct {
	raw   [len(countNames)]int64 // as the provider counts, not disjoint
	in    [len(countNames)]int   // the total that includes it, plus one; 0 when it is separate
	said  bool                   // a count was there
	text  int                    // bytes of what the model wrote, as they are in JSON
	calls int                    // of tools
	model string
	named [2]int // where the data of the last walk has what the dialect's Model names, with its quotes; zero for nowhere
	tier  string
}

var countNames = [...]provider.Count{
	provider.Input, provider.OutputTokens, provider.CacheRead, provider.CacheWrite, provider.CacheWrite1h, provider.Reasoning,
}

func countIndex(c provider.Count) int {
	for i, name := range countNames {
		if name == c {
			return i
		}
	}
	return -1
}

// usage gives the counts, each token in one of them.
func (t *tally) usage() *openresponses.Usage {
	if !t.said {
		return nil
	}
	n := t.raw
	for i := range n {
		if whole := t.in[i] - 1; whole >= 0 {
			n[whole] = max(0, n[whole]-t.raw[i])
		}
	}
	return &openresponses.Usage{Input: n[0], Output: n[1], CacheRead: n[2], CacheWrite: n[3], CacheWrite1h: n[4], Reasoning: n[5]}
}

// walker is one walk.
type walker struct {
	p       *probe
	t       *tally
	b       []byte
	kind    kind // of the event, as far as it is known
	typed   bool
	failing bool
}

// walk reads the data of an event whose type is k, as far as a line before it
// has said so, or a body. It gives the type, and whether the data means that
// the stream has failed.
func (p *probe) walk(b []byte, k kind, named bool, t *tally) (_ kind, failed bool) {
	t.named = [2]int{}
	w := walker{p: p, t: t, b: b, kind: k, typed: named}
	w.value(&p.root, space(b, 0), 0)
	return w.kind, w.kind.failure || w.failing && !w.typed
}

// looksWhole reports whether b ends as it began: data that goes on in a second
// line does not.
func looksWhole(b []byte) bool {
	b = bytes.TrimSpace(b)
	return len(b) == 0 || b[0] != '{' && b[0] != '[' || b[len(b)-1] == b[0]+2
}

// value reads what is at n and begins at i, and gives where it ends. The data
// need not be valid: every step goes on or ends.
func (w *walker) value(n *node, i, depth int) int {
	if i >= len(w.b) || depth > 32 {
		return skip(w.b, i)
	}
	switch w.b[i] {
	case '{':
		for _, x := range n.want {
			if x.what == seeCall && x.value == "" && w.meant(x) {
				w.t.calls++
			} else if x.what == seeFault && depth == 1 {
				w.failing = true
			}
		}
		if len(n.kids) > 0 {
			return w.object(n, i, depth)
		}
		end := skip(w.b, i)
		for _, x := range n.want {
			if x.what == seeText { // arguments of a call, not written as a string
				w.t.text += end - i
			}
		}
		return end
	case '[':
		return w.array(n, i, depth)
	}
	end := skip(w.b, i)
	if len(n.want) > 0 && end > i {
		w.scalar(n, i, end, depth)
	}
	return end
}

func (w *walker) object(n *node, i, depth int) int {
	b := w.b
	for i = space(b, i+1); i < len(b) && b[i] == '"'; {
		from := i + 1
		i = skipText(b, i)
		key := b[from:max(from, i-1)]
		i = space(b, i)
		if i >= len(b) || b[i] != ':' {
			return len(b)
		}
		i = space(b, i+1)
		var at *node
		for _, k := range n.kids {
			if string(key) == k.name {
				at = k
				break
			}
		}
		if at != nil {
			i = w.value(at, i, depth+1)
		} else {
			i = skip(b, i)
		}
		if i = space(b, i); i >= len(b) || b[i] != ',' {
			break
		}
		i = space(b, i+1)
	}
	return min(i+1, len(b))
}

func (w *walker) array(n *node, i, depth int) int {
	b := w.b
	i = space(b, i+1)
	for at := 0; i < len(b) && b[i] != ']'; at++ {
		to := n
		for _, k := range n.kids {
			if c := k.name[:min(1, len(k.name))]; c >= "0" && c <= "9" && k.name == strconv.Itoa(at) {
				to = k
			}
		}
		next := w.value(to, i, depth+1)
		if i = space(b, max(next, i+1)); i < len(b) && b[i] == ',' {
			i = space(b, i+1)
		}
	}
	return min(i+1, len(b))
}

// meant reports whether x is about events of the type at hand.
func (w *walker) meant(x want) bool { return x.id == 0 || x.id == w.kind.id }

// scalar takes a string, a number or a word, which is at b[i:end].
func (w *walker) scalar(n *node, i, end, depth int) {
	v := w.b[i:end]
	text := v[0] == '"' && len(v) >= 2
	for _, x := range n.want {
		switch x.what {
		case seeCount:
			if w.meant(x) {
				w.t.count(w.p.counts[x.count], v)
			}
		case seeText:
			if text {
				w.t.text += len(v) - 2
			}
		case seeType:
			if text && depth == 1 && !w.typed {
				w.kind, w.typed = w.p.kinds[string(v[1:len(v)-1])], true
			}
		case seeFault:
			w.failing = w.failing || depth == 1 && string(v) != "null" && string(v) != "false" && string(v) != `""`
		case seeModel:
			if text {
				keep(&w.t.model, v)
			}
		case seeName:
			if text {
				w.t.named = [2]int{i, end}
			}
		case seeTier:
			if text {
				keep(&w.t.tier, v)
			}
		case seeCall:
			if text && w.meant(x) && (x.value == "" && len(v) > 2 || x.value != "" && string(v[1:len(v)-1]) == x.value) {
				w.t.calls++
			}
		}
	}
}

// keep sets s to the string v, without an allocation when it is that already.
func keep(s *string, v []byte) {
	const most = 256
	if inner := v[1 : len(v)-1]; len(inner) <= most && len(inner) > 0 && *s != string(inner) {
		*s = string(inner)
	}
}

// count takes one count of the provider.
func (t *tally) count(f provider.Field, v []byte) {
	n, ok := digits(v)
	at := countIndex(f.Count)
	if !ok || at < 0 {
		return
	}
	switch f.Op {
	case provider.Max:
		t.raw[at] = max(t.raw[at], n)
	case provider.Add:
		t.raw[at] += n
	default:
		t.raw[at] = n
	}
	t.in[at] = countIndex(f.In) + 1
	t.said = true
}

// digits reads a whole number that is not negative.
func digits(v []byte) (n int64, ok bool) {
	for _, c := range v {
		if c < '0' || c > '9' || n > maxCount {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, len(v) > 0
}
