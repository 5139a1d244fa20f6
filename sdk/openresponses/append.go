package openresponses

import (
	"slices"
	"strconv"
	"unicode/utf8"
)

// The writers append JSON to dst and return it. They allocate nothing but
// dst's growth. A value's Raw wins over its fields.

// large is how long a string is before room is made for it at once.
const large = 64 << 10

const hexDigits = "0123456789abcdef"

// AppendString appends s as a JSON string, for fronts that write their dialect
// piece by piece. Bytes that are not UTF-8 become U+FFFD.
func AppendString(dst []byte, s string) []byte { return appendString(dst, s) }

// appendString writes s as a JSON string. Bytes that are not UTF-8 become
// U+FFFD, as in encoding/json.
func appendString(dst []byte, s string) []byte {
	if len(s) > cap(dst)-len(dst) && len(s) >= large {
		dst = slices.Grow(dst, len(s)+len(s)/16) // in one step: growing bit by bit leaves many copies behind
	}
	dst = append(dst, '"')
	start := 0
	for i := 0; ; {
		i += plain(s[i:])
		if i == len(s) {
			break
		}
		c := s[i]
		if c < utf8.RuneSelf {
			dst = append(dst, s[start:i]...)
			switch c {
			case '"', '\\':
				dst = append(dst, '\\', c)
			case '\n':
				dst = append(dst, '\\', 'n')
			case '\r':
				dst = append(dst, '\\', 'r')
			case '\t':
				dst = append(dst, '\\', 't')
			default:
				dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
			}
			i++
			start = i
			continue
		}
		for i < len(s) && s[i] >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				dst = append(dst, s[start:i]...)
				dst = append(dst, "\ufffd"...)
				start = i + n
			}
			i += n
		}
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

// object writes the members of one JSON object.
type object struct {
	b     []byte
	wrote bool
}

func open(dst []byte) object { return object{b: append(dst, '{')} }

func (o *object) close() []byte { return append(o.b, '}') }

func (o *object) key(name string) {
	if o.wrote {
		o.b = append(o.b, ',')
	}
	o.wrote = true
	o.b = append(append(append(o.b, '"'), name...), '"', ':')
}

// other is key for a name that is not ours, which may need escapes.
func (o *object) other(name string) {
	if o.wrote {
		o.b = append(o.b, ',')
	}
	o.wrote = true
	o.b = append(appendString(o.b, name), ':')
}

func (o *object) str(name, s string) { o.key(name); o.b = appendString(o.b, s) }
func (o *object) opt(name, s string) {
	if s != "" {
		o.str(name, s)
	}
}
func (o *object) raw(name string, v []byte) {
	if len(v) > 0 {
		o.key(name)
		o.b = append(o.b, v...)
	}
}
func (o *object) int(name string, n int64) { o.key(name); o.b = strconv.AppendInt(o.b, n, 10) }
func (o *object) optInt(name string, n *int64) {
	if n != nil {
		o.int(name, *n)
	}
}
func (o *object) optNumber(name string, f *float64) {
	if f != nil {
		o.key(name)
		o.b = strconv.AppendFloat(o.b, *f, 'g', -1, 64)
	}
}
func (o *object) optBool(name string, v *bool) {
	if v != nil {
		o.key(name)
		o.b = strconv.AppendBool(o.b, *v)
	}
}
func (o *object) flag(name string, v bool) {
	if v {
		o.key(name)
		o.b = append(o.b, "true"...)
	}
}
func (o *object) strings(name string, list []string) {
	if list == nil {
		return
	}
	o.key(name)
	o.b = append(o.b, '[')
	for i, s := range list {
		if i > 0 {
			o.b = append(o.b, ',')
		}
		o.b = appendString(o.b, s)
	}
	o.b = append(o.b, ']')
}

// list writes an array with one element of each of vs.
func list[T any](o *object, name string, vs []T, write func(*T, []byte) []byte) {
	o.key(name)
	o.b = append(o.b, '[')
	for i := range vs {
		if i > 0 {
			o.b = append(o.b, ',')
		}
		o.b = write(&vs[i], o.b)
	}
	o.b = append(o.b, ']')
}

// AppendJSON appends the request's JSON to dst.
func (r *Request) AppendJSON(dst []byte) []byte {
	o := open(dst)
	o.opt("model", r.Model)
	if r.Input != nil {
		list(&o, "input", r.Input, (*Item).AppendJSON)
	}
	o.opt("instructions", r.Instructions)
	if r.Tools != nil {
		list(&o, "tools", r.Tools, (*Tool).AppendJSON)
	}
	if r.ToolChoice != nil {
		o.key("tool_choice")
		o.b = r.ToolChoice.AppendJSON(o.b)
	}
	o.flag("stream", r.Stream)
	o.flag("background", r.Background)
	o.optBool("store", r.Store)
	o.optBool("parallel_tool_calls", r.ParallelToolCalls)
	o.optInt("max_output_tokens", r.MaxOutputTokens)
	o.optInt("max_tool_calls", r.MaxToolCalls)
	o.optNumber("temperature", r.Temperature)
	o.optNumber("top_p", r.TopP)
	o.optNumber("presence_penalty", r.PresencePenalty)
	o.optNumber("frequency_penalty", r.FrequencyPenalty)
	o.optInt("top_logprobs", r.TopLogprobs)
	if r.Reasoning != nil {
		o.key("reasoning")
		in := open(o.b)
		in.opt("effort", r.Reasoning.Effort)
		in.opt("summary", r.Reasoning.Summary)
		o.b = in.close()
	}
	if r.Text != nil {
		o.key("text")
		in := open(o.b)
		in.raw("format", r.Text.Format)
		in.opt("verbosity", r.Text.Verbosity)
		o.b = in.close()
	}
	o.strings("include", r.Include)
	o.metadata(r.Metadata)
	o.opt("truncation", r.Truncation)
	o.opt("service_tier", r.ServiceTier)
	o.opt("safety_identifier", r.SafetyIdentifier)
	o.opt("prompt_cache_key", r.PromptCacheKey)
	o.opt("previous_response_id", r.PreviousResponseID)
	o.strings("stop", r.Stop)
	for _, m := range r.Extra {
		if len(m.Value) > 0 {
			o.other(m.Name)
			o.b = append(o.b, m.Value...)
		}
	}
	return o.close()
}

// AppendJSON appends the item's JSON to dst.
func (it *Item) AppendJSON(dst []byte) []byte {
	if it.Raw != nil {
		return append(dst, it.Raw...)
	}
	o := open(dst)
	o.str("type", it.Type)
	o.opt("id", it.ID)
	switch it.Type {
	case TypeMessage:
		o.opt("status", it.Status)
		o.opt("role", it.Role)
		o.opt("phase", it.Phase)
		list(&o, "content", it.Content, (*Part).AppendJSON)
		return o.close()
	case TypeFunctionCall:
		o.str("call_id", it.CallID)
		o.str("name", it.Name)
		o.str("arguments", it.Arguments)
	case TypeFunctionCallOutput:
		o.str("call_id", it.CallID)
		if it.Output.Parts != nil {
			list(&o, "output", it.Output.Parts, (*Part).AppendJSON)
		} else {
			o.str("output", it.Output.Text)
		}
	case TypeReasoning:
		list(&o, "summary", it.Summary, (*Part).AppendJSON)
		if it.Content != nil {
			list(&o, "content", it.Content, (*Part).AppendJSON)
		}
		o.opt("encrypted_content", it.EncryptedContent)
	case TypeCompaction:
		o.str("encrypted_content", it.EncryptedContent)
	default:
		o.opt("call_id", it.CallID)
		o.opt("name", it.Name)
		o.opt("arguments", it.Arguments)
		o.opt("output", it.Output.Text)
	}
	o.opt("status", it.Status)
	return o.close()
}

// AppendJSON appends the part's JSON to dst.
func (p *Part) AppendJSON(dst []byte) []byte {
	if p.Raw != nil {
		return append(dst, p.Raw...)
	}
	o := open(dst)
	o.str("type", p.Type)
	switch p.Type {
	case PartOutputText:
		o.str("text", p.Text)
		list(&o, "annotations", p.Annotations, (*Annotation).AppendJSON)
		o.raw("logprobs", p.Logprobs)
	case PartRefusal:
		o.str("refusal", p.Refusal)
	case PartInputImage:
		o.opt("image_url", p.ImageURL)
		o.opt("file_id", p.FileID)
		o.opt("detail", p.Detail)
	case PartInputFile:
		o.opt("filename", p.Filename)
		o.opt("file_data", p.FileData)
		o.opt("file_url", p.FileURL)
		o.opt("file_id", p.FileID)
	default:
		o.str("text", p.Text)
	}
	return o.close()
}

// AppendJSON appends the annotation's JSON to dst.
func (a *Annotation) AppendJSON(dst []byte) []byte {
	if a.Raw != nil {
		return append(dst, a.Raw...)
	}
	o := open(dst)
	o.str("type", a.Type)
	o.str("url", a.URL)
	o.str("title", a.Title)
	o.int("start_index", int64(a.StartIndex))
	o.int("end_index", int64(a.EndIndex))
	return o.close()
}

// AppendJSON appends the tool's JSON to dst.
func (t *Tool) AppendJSON(dst []byte) []byte {
	if t.Raw != nil {
		return append(dst, t.Raw...)
	}
	o := open(dst)
	o.str("type", t.Type)
	o.opt("name", t.Name)
	o.opt("description", t.Description)
	o.raw("parameters", t.Parameters)
	o.optBool("strict", t.Strict)
	return o.close()
}

// AppendJSON appends the tool choice's JSON to dst.
func (c *ToolChoice) AppendJSON(dst []byte) []byte {
	switch {
	case c.Raw != nil:
		return append(dst, c.Raw...)
	case c.Name != "":
		o := open(dst)
		o.str("type", "function")
		o.str("name", c.Name)
		return o.close()
	case c.Names != nil:
		o := open(dst)
		o.str("type", "allowed_tools")
		o.opt("mode", c.Mode)
		list(&o, "tools", c.Names, func(name *string, dst []byte) []byte {
			t := open(dst)
			t.str("type", "function")
			t.str("name", *name)
			return t.close()
		})
		return o.close()
	}
	return appendString(dst, c.Mode)
}

// AppendJSON appends the wire's usage object to dst: totals, and the disjoint
// counts among their details. Counts the specification does not name are
// written when they are not zero.
func (u *Usage) AppendJSON(dst []byte) []byte {
	o := open(dst)
	o.int("input_tokens", u.InputTotal())
	o.key("input_tokens_details")
	in := open(o.b)
	in.int("cached_tokens", u.CacheRead)
	if u.CacheWrite != 0 {
		in.int("cache_write_tokens", u.CacheWrite)
	}
	if u.CacheWrite1h != 0 {
		in.int("cache_write_1h_tokens", u.CacheWrite1h)
	}
	o.b = in.close()
	o.int("output_tokens", u.OutputTotal())
	o.key("output_tokens_details")
	out := open(o.b)
	out.int("reasoning_tokens", u.Reasoning)
	o.b = out.close()
	o.int("total_tokens", u.Total())
	o.flag("estimated", u.Estimated)
	return o.close()
}
