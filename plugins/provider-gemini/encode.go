package main

import (
	"encoding/json"
	"reflect"
	"slices"
	"strconv"

	"github.com/valyala/fastjson"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider/dialogue"
)

// maxStops is how many stop sequences Gemini takes.
const maxStops = 5

// encoder makes the body of one request.
type encoder struct {
	request *or.Request
	account string
	model   family
	names   *dialogue.Names
	lost    dialogue.Lost
	own     ownMembers
}

// ownMembers are what our front hands to us beside the inner language: the
// member "gemini" of a request.
type ownMembers struct {
	ThinkingBudget *int64 `json:"thinking_budget,omitempty"` // of which the effort is only the nearest
}

func (e *encoder) encode() (*generateRequest, error) {
	c, err := dialogue.Arrange(e.request, &e.lost)
	if err != nil {
		return nil, err
	}
	g := &generateRequest{}
	if err := e.tools(g); err != nil {
		return nil, err
	}
	g.SystemInstruction = e.system(c)
	if g.Contents, err = e.contents(c); err != nil {
		return nil, err
	}
	config := e.sampling()
	if err := e.format(config, len(g.Tools) > 0); err != nil {
		return nil, err
	}
	config.ThinkingConfig = e.thinking()
	e.rest()
	if !reflect.ValueOf(*config).IsZero() {
		g.GenerationConfig = config
	}
	return g, nil
}

// tools are the functions and whether they may be called. A list of allowed
// tools without a duty to call one becomes the list of tools, because Gemini
// takes such a list only together with that duty.
func (e *encoder) tools(g *generateRequest) error {
	choice := e.request.ToolChoice
	config := functionCallingConfig{}
	if choice != nil {
		switch {
		case choice.Mode == "none":
			config.Mode = "NONE"
		case choice.Mode == "required":
			config.Mode = "ANY"
		}
	}
	var functions []functionDeclaration
	var known []string
	for i := range e.request.Tools {
		t := &e.request.Tools[i]
		if t.Type != "function" {
			e.lost.Add("tools[%d]", i)
			continue
		}
		if slices.Contains(known, t.Name) {
			return apierror.At(apierror.Invalid, "tools["+strconv.Itoa(i)+"].name", "Two functions in tools have the name %q. Give each its own.", t.Name)
		}
		known = append(known, t.Name)
		if choice != nil && len(choice.Names) > 0 && config.Mode != "ANY" && !slices.Contains(choice.Names, t.Name) {
			continue
		}
		schema, err := parameters(i, t.Parameters)
		if err != nil {
			return err
		}
		if t.Strict != nil && *t.Strict {
			e.lost.Add("tools[%d].strict", i)
		}
		f := functionDeclaration{Name: e.names.Out(t.Name), Description: t.Description, ParametersJSONSchema: schema}
		if f.Description == "" {
			f.Description = t.Name // Gemini requires one
		}
		functions = append(functions, f)
	}
	if choice != nil {
		for _, name := range append(slices.Clone(choice.Names), choice.Name) {
			switch {
			case name == "":
			case !slices.Contains(known, name):
				return apierror.At(apierror.Invalid, "tool_choice", "tool_choice names the function %q, which is not in tools. Declare it there, or choose another.", name)
			case config.Mode == "ANY":
				config.AllowedFunctionNames = append(config.AllowedFunctionNames, e.names.Out(name))
			}
		}
	}
	if len(functions) == 0 {
		if config.Mode == "ANY" {
			return apierror.At(apierror.Invalid, "tool_choice", "tool_choice requires a call, but tools declares no function. Declare one, or drop tool_choice.")
		}
		return nil
	}
	g.Tools = []tool{{FunctionDeclarations: functions}}
	if config.Mode != "" {
		g.ToolConfig = &toolConfig{config}
	}
	if p := e.request.ParallelToolCalls; p != nil && !*p && config.Mode != "NONE" {
		e.lost.Add("parallel_tool_calls")
	}
	return nil
}

// parameters is the JSON Schema of tool i. It goes as it came, because
// parametersJsonSchema takes JSON Schema; only the name of the schema's own
// dialect, which says nothing to the model, is dropped. A function without
// parameters has none.
func parameters(i int, raw json.RawMessage) (json.RawMessage, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	at := "tools[" + strconv.Itoa(i) + "].parameters"
	return schema(raw, at, true)
}

// schema drops "$schema" from a schema; with object, the schema must be that
// of an object, and one without properties is none at all.
func schema(raw json.RawMessage, at string, object bool) (json.RawMessage, error) {
	v, err := fastjson.ParseBytes(raw)
	if err != nil || v.Type() != fastjson.TypeObject {
		return nil, apierror.At(apierror.Invalid, at, "%s must be a JSON Schema object.", at)
	}
	o := v.GetObject()
	if object {
		if t := o.Get("type"); t != nil && string(t.GetStringBytes()) != "object" {
			return nil, apierror.At(apierror.Invalid, at+".type", "%s.type must be \"object\": a function takes named parameters.", at)
		}
		if o.Len() == 0 {
			return nil, nil
		}
		if o.Get("type") == nil {
			o.Set("type", fastjson.MustParse(`"object"`))
		}
	}
	o.Del("$schema")
	return o.MarshalTo(nil), nil
}

// sampling carries the numbers that steer the choice of words.
func (e *encoder) sampling() *generationConfig {
	r := e.request
	c := &generationConfig{Temperature: r.Temperature, TopP: r.TopP, MaxOutputTokens: r.MaxOutputTokens}
	for _, p := range []struct {
		name string
		from *float64
		to   **float64
	}{{"presence_penalty", r.PresencePenalty, &c.PresencePenalty}, {"frequency_penalty", r.FrequencyPenalty, &c.FrequencyPenalty}} {
		switch {
		case p.from == nil || *p.from == 0:
		case e.model.penalties:
			*p.to = p.from
		default:
			e.lost.Add("%s", p.name)
		}
	}
	for i, s := range r.Stop {
		if s == "" || len(c.StopSequences) == maxStops {
			e.lost.Add("stop[%d]", i)
			continue
		}
		c.StopSequences = append(c.StopSequences, s)
	}
	for _, x := range r.Extra {
		k, err := strconv.ParseInt(string(x.Value), 10, 64)
		switch {
		case string(x.Value) == "null":
		case x.Name == "openai", x.Name == "anthropic": // what only these providers can use
		case x.Name == dialect:
			e.own = ownMembers{}
			if json.Unmarshal(x.Value, &e.own) != nil {
				e.lost.Add("%s", x.Name)
			}
		case x.Name == "top_k" && err == nil && k > 0:
			c.TopK = &k
		default:
			e.lost.Add("%s", x.Name)
		}
	}
	return c
}

// format asks for an answer in JSON, by a schema or not.
func (e *encoder) format(c *generationConfig, withTools bool) error {
	t := e.request.Text
	if t == nil {
		return nil
	}
	if t.Verbosity != "" && t.Verbosity != "medium" {
		e.lost.Add("text.verbosity")
	}
	if len(t.Format) == 0 {
		return nil
	}
	var f struct {
		Type   string          `json:"type"`
		Schema json.RawMessage `json:"schema"`
	}
	if err := json.Unmarshal(t.Format, &f); err != nil {
		return apierror.At(apierror.Invalid, "text.format", "text.format must be an object with a type: text, json_object or json_schema.")
	}
	switch {
	case f.Type == "text":
		return nil
	case f.Type != "json_object" && f.Type != "json_schema", withTools && !e.model.formatWith:
		e.lost.Add("text.format")
		return nil
	}
	c.ResponseMimeType = "application/json"
	if f.Type == "json_object" || len(f.Schema) == 0 {
		return nil
	}
	s, err := schema(f.Schema, "text.format.schema", false)
	c.ResponseJSONSchema = s
	return err
}

// thinking is how much the model is asked to reason. Nothing said leaves it to
// the model.
func (e *encoder) thinking() *thinkingConfig {
	want, f := e.request.Reasoning, e.model
	if want == nil {
		want = &or.Reasoning{}
	}
	if want.Effort == "" && want.Summary == "" && e.own == (ownMembers{}) {
		return nil
	}
	effort := want.Effort
	if f.thinking == noThinking {
		if effort != "" && effort != "none" {
			e.lost.Add("reasoning.effort")
		}
		if want.Summary != "" {
			e.lost.Add("reasoning.summary")
		}
		return nil
	}
	c := &thinkingConfig{IncludeThoughts: want.Summary != "" && effort != "none"}
	switch {
	case e.own.ThinkingBudget != nil && *e.own.ThinkingBudget != 0 && f.thinking == budgetThinking:
		budget := int64(-1) // leaves it to the model
		if n := *e.own.ThinkingBudget; n > 0 {
			budget = min(max(n, f.least), f.most)
		}
		c.ThinkingBudget = &budget
	case effort == "":
	case f.thinking == levelThinking:
		if c.ThinkingLevel = f.levels[effort]; c.ThinkingLevel == "" || effort == "none" {
			e.lost.Add("reasoning.effort") // these models always think
		}
	case effort == "none":
		var budget int64
		if !f.off {
			budget = f.least
			e.lost.Add("reasoning.effort")
		}
		c.ThinkingBudget = &budget
	default:
		budget := budgets[effort]
		if budget == 0 {
			budget = budgets["medium"] // an effort of a later specification
		}
		budget = min(max(budget, f.least), f.most)
		c.ThinkingBudget = &budget
	}
	if reflect.ValueOf(*c).IsZero() {
		return nil
	}
	return c
}

// rest names the small fields that have no place.
func (e *encoder) rest() {
	r := e.request
	if r.ServiceTier == "flex" || r.ServiceTier == "priority" {
		e.lost.Add("service_tier")
	}
	if r.TopLogprobs != nil && *r.TopLogprobs > 0 {
		e.lost.Add("top_logprobs")
	}
	for i, in := range r.Include {
		if in == "message.output_text.logprobs" {
			e.lost.Add("include[%d]", i)
		}
	}
}
