package main

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/valyala/fastjson"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider/dialogue"
)

// toolbox knows the tools of a client: what each is called for the model, and
// how a call of it is written for the client. The rule: the same tool has the
// same name in every turn, so that the history fits.
type toolbox struct {
	tools  []or.Tool
	by     map[string]clientTool // by the name for the model
	names  dialogue.Names
	hosted map[string]string // vendor's tools that were offered, by type
}

// clientTool is a tool as the client declared it.
type clientTool struct {
	name      string
	namespace string
	custom    bool // its input is free text
}

func newToolbox() toolbox {
	return toolbox{
		by:     map[string]clientTool{},
		names:  dialogue.Names{Max: maxKey, Fits: func(c byte, _ bool) bool { return dialogue.Word(c) }},
		hosted: map[string]string{},
	}
}

// qualified is the name for the model of a tool in a namespace.
func (b *toolbox) qualified(namespace, name string) string {
	if namespace != "" {
		name = strings.TrimRight(namespace, "_") + "__" + name
	}
	return b.names.Out(name)
}

// add declares a tool. It reports false when the model would see two of one
// name.
func (b *toolbox) add(t clientTool, as or.Tool) bool {
	as.Type, as.Name = "function", b.qualified(t.namespace, t.name)
	if known, twice := b.by[as.Name]; twice {
		if known == t {
			return false
		}
		as.Name = b.names.Out(as.Name + "_" + dialogue.Digest(8, t.namespace, t.name))
	}
	b.by[as.Name] = t
	b.tools = append(b.tools, as)
	return true
}

// find gives the client's tool of a call. A name that nobody declared is told
// as it is.
func (b *toolbox) find(name string) clientTool {
	if t, ok := b.by[name]; ok {
		return t
	}
	return clientTool{name: name}
}

// called is the name for the model of a tool that the history or the choice
// names.
func (b *toolbox) called(namespace, name string) string {
	t := clientTool{namespace: namespace, name: name}
	as := b.qualified(namespace, name)
	if known, ok := b.by[as]; ok && (known.name != name || known.namespace != namespace) {
		for n, other := range b.by {
			if other.name == t.name && other.namespace == t.namespace {
				return n
			}
		}
	}
	return as
}

// customSchema is the one parameter of a custom tool, whose input is free text.
const customSchema = `{"type":"object","properties":{"input":{"type":"string","description":"The whole input of the tool, as plain text."}},"required":["input"],"additionalProperties":false}`

// customArguments is the input of a custom tool as the arguments of its function.
func customArguments(input string) string {
	return string(append(or.AppendString([]byte(`{"input":`), input), '}'))
}

// customInput is the reverse. Models at times write another member, or the
// bare text.
func customInput(arguments string) string {
	var m map[string]json.RawMessage
	if json.Unmarshal([]byte(arguments), &m) == nil {
		one, ok := m["input"]
		for _, v := range m {
			if !ok && len(m) == 1 {
				one = v
			}
		}
		var s string
		if json.Unmarshal(one, &s) == nil {
			return s
		}
	}
	var s string
	if json.Unmarshal([]byte(arguments), &s) == nil {
		return s
	}
	return arguments
}

// tools reads the list of tools, of whatever shape each is: a function side by
// side or nested, a custom tool likewise, Anthropic's with input_schema, a
// namespace of Codex. What only a vendor's server can run is named as lost.
func (r *reader) tools(v *fastjson.Value, p *place) {
	for i, t := range r.array(v, p) {
		r.tool(t, p.at(i), "")
	}
}

func (r *reader) tool(v *fastjson.Value, p *place, namespace string) {
	if !isObj(v) {
		r.invalid(p, "an object", v)
		return
	}
	typ := r.str(v.Get("type"), p.in("type"))
	inner, in := v, p
	switch {
	case (typ == "function" || typ == "") && isObj(v.Get("function")):
		inner, in, typ = v.Get("function"), p.in("function"), "function"
	case typ == "custom" && isObj(v.Get("custom")):
		inner, in = v.Get("custom"), p.in("custom")
	case (typ == "" || typ == "custom") && v.Get("input_schema") != nil:
		typ = "function"
	case typ == "" && v.Get("parameters") != nil:
		typ = "function"
	}
	switch typ {
	case "function":
		r.function(inner, in, namespace, v)
	case "custom":
		r.custom(inner, in, namespace, v)
	case "namespace":
		if namespace != "" {
			r.fail(apierror.Invalid, p, "%s is a namespace inside a namespace. Put its tools into one of its own.", p.String())
			return
		}
		name := r.str(v.Get("name"), p.in("name"))
		if name == "" {
			r.missing(p.in("name"), "a namespace needs one.")
		}
		for i, t := range r.array(v.Get("tools"), p.in("tools")) {
			r.tool(t, p.in("tools").at(i), name)
		}
	case "":
		r.missing(p.in("type"), "say which kind of tool this is, for example \"function\".")
	default:
		r.lose(p)
		if r.box.hosted[typ] == "" {
			r.box.hosted[typ] = p.String()
		}
	}
}

func (r *reader) function(v *fastjson.Value, p *place, namespace string, outer *fastjson.Value) {
	t := or.Tool{Strict: r.boolean(v.Get("strict"), p.in("strict"))}
	for _, name := range []string{"parameters", "input_schema"} {
		if s := v.Get(name); t.Parameters == nil && r.object(s, p.in(name)) {
			t.Parameters = raw(s)
		}
	}
	t.Description = r.str(v.Get("description"), p.in("description"))
	r.declare(v, p, clientTool{namespace: namespace}, t, outer)
}

func (r *reader) custom(v *fastjson.Value, p *place, namespace string, outer *fastjson.Value) {
	t := or.Tool{Parameters: json.RawMessage(customSchema), Description: r.str(v.Get("description"), p.in("description"))}
	if f := v.Get("format"); isObj(f) {
		g := f
		if nested := f.Get("grammar"); isObj(nested) {
			g = nested
		}
		if d := text(g, "definition"); d != "" {
			t.Description = strings.TrimSpace(t.Description + "\n\nThe input must match this grammar (" + text(g, "syntax") + "):\n" + d)
		}
	}
	r.declare(v, p, clientTool{namespace: namespace, custom: true}, t, outer)
}

func (r *reader) declare(v *fastjson.Value, p *place, c clientTool, t or.Tool, outer *fastjson.Value) {
	c.name = r.str(v.Get("name"), p.in("name"))
	if c.name == "" {
		r.missing(p.in("name"), "a tool needs one.")
		return
	}
	if !r.box.add(c, t) {
		r.lose(p)
		return
	}
	last := &r.box.tools[len(r.box.tools)-1]
	for _, o := range []*fastjson.Value{outer, v} {
		if last.Raw == nil {
			last.Raw = cacheMark(o, last.AppendJSON(nil))
		}
	}
}

// choice reads tool_choice in any of the vendors' shapes.
func (r *reader) choice(v *fastjson.Value, p *place) *or.ToolChoice {
	if null(v) {
		return nil
	}
	if isStr(v) {
		switch s := text(v); s {
		case "auto", "none", "required":
			return &or.ToolChoice{Mode: s}
		case "any":
			return &or.ToolChoice{Mode: "required"}
		default:
			r.fail(apierror.Invalid, p, "%s is %q; it must be one of auto, required, none, or an object that names a tool.", p.String(), clip(s))
			return nil
		}
	}
	if !r.object(v, p) {
		return nil
	}
	switch typ := r.str(v.Get("type"), p.in("type")); typ {
	case "auto", "none", "required":
		return &or.ToolChoice{Mode: typ}
	case "any":
		return &or.ToolChoice{Mode: "required"}
	case "function", "custom", "tool":
		named := v
		for _, n := range []string{"function", "custom"} {
			if isObj(v.Get(n)) {
				named = v.Get(n)
			}
		}
		name := r.str(named.Get("name"), p.in("name"))
		if name == "" {
			r.missing(p.in("name"), "say which tool to call.")
			return nil
		}
		as := r.box.called(text(named, "namespace"), name)
		if _, ok := r.box.by[as]; !ok {
			r.fail(apierror.Invalid, p.in("name"), "%s is %q, which is none of the tools of this request.", p.in("name").String(), clip(name))
			return nil
		}
		return &or.ToolChoice{Mode: "required", Name: as}
	case "allowed_tools":
		return r.allowed(v, p)
	case "":
		r.missing(p.in("type"), "it is \"function\" to name one tool.")
	default:
		where := "none of the tools of this request"
		if at := r.box.hosted[typ]; at != "" {
			where = at
		}
		r.unsupported(p, "%s wants the tool %q (%s), which runs on its vendor's servers only: the model that answers here cannot call it. Choose another tool, or a model of that vendor on its own route.", p.String(), clip(typ), where)
	}
	return nil
}

// allowed narrows the tools to some of them.
func (r *reader) allowed(v *fastjson.Value, p *place) *or.ToolChoice {
	if inner := v.Get("allowed_tools"); isObj(inner) {
		v, p = inner, p.in("allowed_tools")
	}
	c := &or.ToolChoice{Mode: r.word(v.Get("mode"), p.in("mode"), "auto", "required")}
	if c.Mode == "" {
		c.Mode = "auto"
	}
	list := r.array(v.Get("tools"), p.in("tools"))
	for i, t := range list {
		at := p.in("tools").at(i)
		if !isObj(t) {
			r.invalid(at, "an object", t)
			return nil
		}
		named := t
		if isObj(t.Get("function")) {
			named = t.Get("function")
		}
		name, namespace := text(named, "name"), text(named, "namespace")
		if _, ok := r.box.by[r.box.called(namespace, name)]; name == "" || !ok {
			r.lose(at)
			continue
		}
		c.Names = append(c.Names, r.box.called(namespace, name))
	}
	switch {
	case len(c.Names) > 0:
		slices.Sort(c.Names)
		c.Names = slices.Compact(c.Names)
		return c
	case c.Mode == "required":
		r.unsupported(p.in("tools"), "%s names no tool that the model that answers here can call, and one must be called. Name a function of this request.", p.in("tools").String())
		return nil
	}
	return &or.ToolChoice{Mode: "none"}
}
