package openresponses

import (
	"encoding/json"
	"math"
	"strconv"

	"github.com/valyala/fastjson"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// Limits of the specification.
const (
	maxText       = 10_485_760 // characters of a text
	maxImageURL   = 20_971_520
	maxFileData   = 33_554_432
	maxName       = 64 // function names, call ids, cache keys
	maxMetadata   = 16
	maxMetaKey    = 64
	maxMetaValue  = 512
	minOutput     = 16
	maxLogprobs   = 20
	maxAllowed    = 128
	pooledParsing = 1 << 20 // bytes; a parser that read more is not kept
)

// includes are the values of `include`: the specification's two, and the ones
// OpenAI's clients send, which ask for something we may not have.
var includes = []string{
	"reasoning.encrypted_content", "message.output_text.logprobs",
	"code_interpreter_call.outputs", "web_search_call.action.sources", "web_search_call.results",
	"file_search_call.results", "message.input_image.image_url", "computer_call_output.output.image_url",
}

// ParseRequest reads the body of POST /responses. It is strict where the
// specification is strict (types and limits of the fields it knows, names,
// enumerations; a duplicate key anywhere is refused) and lenient where real
// clients are not: null stands for absence everywhere, messages may lack their
// type, unknown members and items are carried. Errors are *apierror.Error with
// code Invalid and the field in Param.
func ParseRequest(body []byte) (*Request, error) { return parseRequest(body, true) }

// ReadRequest reads a request as it goes between plugins and core: like
// ParseRequest, but without the limits that the specification sets to clients
// (lengths, enumerations, the least max_output_tokens), since other dialects
// have others.
func ReadRequest(body []byte) (*Request, error) { return parseRequest(body, false) }

func parseRequest(body []byte, client bool) (*Request, error) {
	if !client {
		if r, ok := ownRequest(body); ok {
			return r, nil
		}
	}
	body, err := check(body)
	if err != nil {
		return nil, err
	}
	r := new(Request)
	if err := readRequest(body, client, r); err != nil {
		return nil, err
	}
	return r, nil
}

// readRequest reads a request however it is written.
func readRequest(body []byte, client bool, r *Request) error {
	return parse(body, func(v *fastjson.Value) error {
		d := decoder{client: client, slab: make([]byte, 0, len(body))}
		if v.Type() != fastjson.TypeObject {
			return invalid("", "The body must be a JSON object, not %s.", Kind(v))
		}
		return d.request(v, r)
	})
}

// parse runs read over the document with a pooled parser.
func parse(b []byte, read func(*fastjson.Value) error) error {
	var p *fastjson.Parser
	if len(b) <= pooledParsing {
		p = parsers.Get()
		defer parsers.Put(p)
	} else {
		p = new(fastjson.Parser)
	}
	v, err := p.ParseBytes(b)
	if err != nil {
		return apierror.Wrap(apierror.Invalid, err, "The JSON cannot be parsed.")
	}
	return read(v)
}

func (d *decoder) request(v *fastjson.Value, r *Request) error {
	o, err := d.object(v, "The body")
	if err != nil {
		return err
	}
	o.Visit(func(key []byte, v *fastjson.Value) {
		if err != nil {
			return
		}
		err = d.member(textOf(key), v, r)
	})
	return err
}

// member reads one member of the request.
func (d *decoder) member(name string, v *fastjson.Value, r *Request) (err error) {
	var b *bool
	switch name {
	case "model":
		r.Model, err = d.str(v, name)
	case "input":
		r.Input, err = d.input(v, name)
	case "instructions":
		r.Instructions, err = d.short(v, name, maxText)
	case "tools":
		r.Tools, err = d.tools(v, name)
	case "tool_choice":
		r.ToolChoice, err = d.toolChoice(v, name)
	case "stream":
		b, err = d.boolean(v, name)
		r.Stream = b != nil && *b
	case "background":
		b, err = d.boolean(v, name)
		r.Background = b != nil && *b
	case "store":
		r.Store, err = d.boolean(v, name)
	case "parallel_tool_calls":
		r.ParallelToolCalls, err = d.boolean(v, name)
	case "max_output_tokens":
		r.MaxOutputTokens, err = d.integer(v, name, d.least(minOutput), math.MaxInt64)
	case "max_tool_calls":
		r.MaxToolCalls, err = d.integer(v, name, 1, math.MaxInt64)
	case "temperature":
		r.Temperature, err = d.number(v, name)
	case "top_p":
		r.TopP, err = d.number(v, name)
	case "presence_penalty":
		r.PresencePenalty, err = d.number(v, name)
	case "frequency_penalty":
		r.FrequencyPenalty, err = d.number(v, name)
	case "top_logprobs":
		r.TopLogprobs, err = d.integer(v, name, 0, maxLogprobs)
	case "reasoning":
		r.Reasoning, err = d.reasoning(v, name)
	case "text":
		r.Text, err = d.textOptions(v, name)
	case "include":
		r.Include, err = d.include(v, name)
	case "metadata":
		r.Metadata, err = d.metadata(v, name)
	case "truncation":
		r.Truncation, err = d.word(v, name, "auto", "disabled")
	case "service_tier":
		r.ServiceTier, err = d.word(v, name, "auto", "default", "flex", "priority")
	case "safety_identifier":
		r.SafetyIdentifier, err = d.short(v, name, maxName)
	case "prompt_cache_key":
		r.PromptCacheKey, err = d.short(v, name, maxName)
	case "previous_response_id":
		r.PreviousResponseID, err = d.str(v, name)
	case "stop":
		r.Stop, err = d.stop(v, name)
	case "stream_options":
		if !null(v) && v.Type() != fastjson.TypeObject {
			return wrongType(v, name, "an object")
		}
		r.Extra = append(r.Extra, Member{name, d.raw(v)})
	default:
		r.Extra = append(r.Extra, Member{name, d.raw(v)})
	}
	return err
}

func (d *decoder) input(v *fastjson.Value, name string) ([]Item, error) {
	if null(v) {
		return nil, nil
	}
	if v.Type() == fastjson.TypeString {
		s, err := d.short(v, name, maxText)
		if err != nil {
			return nil, err
		}
		return []Item{Text("user", s)}, nil
	}
	a, err := v.Array()
	if err != nil {
		return nil, wrongType(v, name, "a string or an array of items")
	}
	items := make([]Item, len(a))
	for i, v := range a {
		if items[i], err = d.item(v); err != nil {
			return nil, within(err, at(name, i))
		}
	}
	return items, nil
}

func (d *decoder) tools(v *fastjson.Value, name string) ([]Tool, error) {
	a, err := d.array(v, name)
	if err != nil || a == nil {
		return nil, err
	}
	tools := make([]Tool, len(a))
	for i, v := range a {
		if tools[i], err = d.tool(v); err != nil {
			return nil, within(err, at(name, i))
		}
	}
	return tools, nil
}

func (d *decoder) reasoning(v *fastjson.Value, name string) (*Reasoning, error) {
	if null(v) {
		return nil, nil
	}
	if v.Type() != fastjson.TypeObject {
		return nil, wrongType(v, name, "an object")
	}
	r := new(Reasoning)
	var err error
	if r.Effort, err = d.word(v.Get("effort"), "effort", "none", "minimal", "low", "medium", "high", "xhigh"); err != nil {
		return nil, within(err, name)
	}
	if r.Summary, err = d.word(v.Get("summary"), "summary", "concise", "detailed", "auto"); err != nil {
		return nil, within(err, name)
	}
	return r, nil
}

func (d *decoder) textOptions(v *fastjson.Value, name string) (*TextOptions, error) {
	if null(v) {
		return nil, nil
	}
	if v.Type() != fastjson.TypeObject {
		return nil, wrongType(v, name, "an object")
	}
	t := new(TextOptions)
	if f := v.Get("format"); !null(f) {
		if f.Type() != fastjson.TypeObject {
			return nil, wrongType(f, name+".format", "an object")
		}
		t.Format = d.raw(f)
		if err := d.format(f); err != nil {
			return nil, within(err, name+".format")
		}
	}
	var err error
	if t.Verbosity, err = d.word(v.Get("verbosity"), "verbosity", "low", "medium", "high"); err != nil {
		return nil, within(err, name)
	}
	return t, nil
}

func (d *decoder) format(v *fastjson.Value) error {
	typ, err := d.word(v.Get("type"), "type", "text", "json_object", "json_schema")
	if err != nil || typ != "json_schema" {
		return err
	}
	if n, err := d.str(v.Get("name"), "name"); err != nil {
		return err
	} else if !ValidName(n) {
		return invalid("name", "name must match ^[a-zA-Z0-9_-]{1,64}$.")
	}
	if s := v.Get("schema"); !null(s) && s.Type() != fastjson.TypeObject {
		return wrongType(s, "schema", "an object")
	}
	_, err = d.boolean(v.Get("strict"), "strict")
	return err
}

func (d *decoder) include(v *fastjson.Value, name string) ([]string, error) {
	a, err := d.array(v, name)
	if err != nil || a == nil {
		return nil, err
	}
	words := make([]string, len(a))
	for i, v := range a {
		if null(v) {
			return nil, wrongType(v, at(name, i), "a string")
		}
		if words[i], err = d.word(v, at(name, i), includes...); err != nil {
			return nil, err
		}
	}
	return words, nil
}

func (d *decoder) metadata(v *fastjson.Value, name string) (map[string]string, error) {
	if null(v) {
		return nil, nil
	}
	o, err := d.object(v, name)
	if err != nil {
		return nil, err
	}
	if d.client && o.Len() > maxMetadata {
		return nil, invalid(name, "metadata has %d entries; at most %d are allowed.", o.Len(), maxMetadata)
	}
	m := make(map[string]string, o.Len())
	o.Visit(func(key []byte, v *fastjson.Value) {
		if err != nil {
			return
		}
		k := string(key)
		if d.client && longer(k, maxMetaKey) {
			err = invalid(name, "metadata has a key longer than %d characters.", maxMetaKey)
			return
		}
		if null(v) {
			err = wrongType(v, name+"."+k, "a string")
			return
		}
		m[k], err = d.short(v, name+"."+k, maxMetaValue)
	})
	if err != nil {
		return nil, err
	}
	return m, nil
}

func (d *decoder) stop(v *fastjson.Value, name string) ([]string, error) {
	if null(v) {
		return nil, nil
	}
	if v.Type() == fastjson.TypeString {
		return []string{d.text(v)}, nil
	}
	a, err := v.Array()
	if err != nil {
		return nil, wrongType(v, name, "a string or an array of strings")
	}
	words := make([]string, len(a))
	for i, v := range a {
		if v.Type() != fastjson.TypeString {
			return nil, wrongType(v, at(name, i), "a string")
		}
		words[i] = d.text(v)
	}
	return words, nil
}

func (d *decoder) tool(v *fastjson.Value) (Tool, error) {
	if v.Type() != fastjson.TypeObject {
		return Tool{}, wrongType(v, "", "an object")
	}
	t := Tool{Raw: d.raw(v)}
	var err error
	if t.Type, err = d.str(v.Get("type"), "type"); err != nil {
		return Tool{}, err
	}
	if t.Type == "" {
		t.Type = d.lax(v.Get("tool_type")) // how some of the vendor's own programs spell it
	}
	if t.Type == "" {
		return Tool{}, invalid("type", "type is missing: say which kind of tool this is, for example \"function\".")
	}
	if t.Type != "function" {
		t.Name, t.Description = d.lax(v.Get("name")), d.lax(v.Get("description"))
		return t, nil
	}
	if p := v.Get("parameters"); !null(p) {
		if p.Type() != fastjson.TypeObject {
			return Tool{}, wrongType(p, "parameters", "an object")
		}
		t.Parameters = d.sub(p, t.Raw, "parameters")
	}
	if t.Name, err = d.str(v.Get("name"), "name"); err != nil {
		return Tool{}, err
	}
	if d.client && !ValidName(t.Name) {
		return Tool{}, invalid("name", "function tool 'name' must match ^[a-zA-Z0-9_-]{1,64}$")
	}
	if t.Description, err = d.str(v.Get("description"), "description"); err != nil {
		return Tool{}, err
	}
	t.Strict, err = d.boolean(v.Get("strict"), "strict")
	return t, err
}

// ValidName reports whether s can be the name of a function:
// ^[a-zA-Z0-9_-]{1,64}$.
func ValidName(s string) bool {
	if s == "" || len(s) > maxName {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-') {
			return false
		}
	}
	return true
}

func (d *decoder) toolChoice(v *fastjson.Value, name string) (*ToolChoice, error) {
	if null(v) {
		return nil, nil
	}
	c := &ToolChoice{Raw: d.raw(v)}
	var err error
	switch v.Type() {
	case fastjson.TypeString:
		c.Mode, err = d.word(v, name, "auto", "required", "none")
	case fastjson.TypeObject:
		err = within(d.choice(v, c), name)
	default:
		err = wrongType(v, name, "\"auto\", \"required\", \"none\" or an object")
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

func (d *decoder) choice(v *fastjson.Value, c *ToolChoice) error {
	typ, err := d.str(v.Get("type"), "type")
	if err != nil {
		return err
	}
	c.Mode = "required"
	switch typ {
	case "":
		return invalid("type", "type is missing: it must be \"function\" or \"allowed_tools\".")
	case "function":
		n := v.Get("name")
		if f := v.Get("function"); null(n) && f != nil { // the chat dialect's shape
			n = f.Get("name")
		}
		if c.Name, err = d.str(n, "name"); err == nil && c.Name == "" {
			err = invalid("name", "name is missing: say which function to call.")
		}
		return err
	case "allowed_tools":
		if c.Mode, err = d.word(v.Get("mode"), "mode", "auto", "required", "none"); err != nil {
			return err
		}
		if c.Mode == "" {
			c.Mode = "auto"
		}
		a, err := d.array(v.Get("tools"), "tools")
		if err != nil {
			return err
		}
		if len(a) == 0 || d.client && len(a) > maxAllowed {
			return invalid("tools", "tools must name 1 to %d functions.", maxAllowed)
		}
		for i, t := range a {
			place := "tools[" + strconv.Itoa(i) + "].name"
			if t.Type() != fastjson.TypeObject {
				return wrongType(t, at("tools", i), "an object")
			}
			n, err := d.str(t.Get("name"), place)
			if err != nil {
				return err
			}
			if n == "" {
				return invalid(place, "%s is missing: only tools that are called by name can be listed.", place)
			}
			c.Names = append(c.Names, n)
		}
	}
	return nil
}

// Nested returns the object of t named like its type, as hosted tools have:
// {"type":"table","table":{…}}. It is nil when there is none.
func (t *Tool) Nested() json.RawMessage {
	if len(t.Raw) == 0 {
		return nil
	}
	var nested json.RawMessage
	_ = parse(t.Raw, func(v *fastjson.Value) error { // Raw was parsed before; no object means nil
		if n := v.Get(t.Type); n != nil && n.Type() == fastjson.TypeObject {
			nested = n.MarshalTo(nil)
		}
		return nil
	})
	return nested
}
