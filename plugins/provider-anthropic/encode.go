package main

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider/dialogue"
)

// defaultMaxTokens is max_tokens, which Anthropic requires, for a request that
// does not say: room for a long answer that still fits beside a long prompt.
const defaultMaxTokens = 32000

// encoder makes the body of one request.
type encoder struct {
	request *or.Request
	account string
	set     settings
	model   family
	names   *dialogue.Names
	hint    hint
	lost    dialogue.Lost
}

func (e *encoder) encode(model string) (*messagesRequest, error) {
	r := e.request
	c, err := dialogue.Arrange(r, &e.lost)
	if err != nil {
		return nil, err
	}
	m := &messagesRequest{Model: model, Stream: r.Stream}
	if m.Tools, m.ToolChoice, err = e.tools(c); err != nil {
		return nil, err
	}
	m.System = e.system(c)
	if m.Messages, err = e.messages(c, true); err != nil {
		return nil, err
	}
	e.reasoning(m)
	if thinks := m.Thinking != nil && m.Thinking.Type != "disabled" || m.Thinking == nil && e.model.onByItself; !thinks {
		if m.Messages, err = e.messages(c, false); err != nil {
			return nil, err
		}
	}
	if err := e.format(m); err != nil {
		return nil, err
	}
	e.sampling(m)
	e.rest(m)
	e.cache(m)
	return m, nil
}

// tools are the functions and whether they may be called. A list of allowed
// tools becomes the list of tools: what the model does not see it cannot call.
func (e *encoder) tools(c *dialogue.Conversation) ([]toolParam, *toolChoice, error) {
	var tools []toolParam
	var known []string
	choice := e.request.ToolChoice
	if kind := hostedChoice(choice); kind != "" {
		return nil, nil, apierror.At(apierror.Unsupported, "tool_choice", "tool_choice demands the tool %q, which this model's provider does not serve in this way. Declare a function for it, or choose another model.", kind)
	}
	for i := range e.request.Tools {
		t := &e.request.Tools[i]
		if t.Type != "function" {
			e.lost.Add("tools[%d]", i)
			continue
		}
		if slices.Contains(known, t.Name) {
			return nil, nil, apierror.At(apierror.Invalid, "tools["+strconv.Itoa(i)+"].name", "Two functions in tools have the name %q. Give each its own.", t.Name)
		}
		known = append(known, t.Name)
		if choice != nil && len(choice.Names) > 0 && !slices.Contains(choice.Names, t.Name) {
			continue
		}
		schema, err := e.inputSchema(i, t.Parameters)
		if err != nil {
			return nil, nil, err
		}
		if t.Strict != nil && *t.Strict {
			e.lost.Add("tools[%d].strict", i)
		}
		tools = append(tools, toolParam{Name: e.names.Out(t.Name), Description: t.Description, InputSchema: schema, CacheControl: markIn(t.Raw)})
	}
	if choice != nil {
		for _, name := range append(slices.Clone(choice.Names), choice.Name) {
			if name != "" && !slices.Contains(known, name) {
				return nil, nil, apierror.At(apierror.Invalid, "tool_choice", "tool_choice names the function %q, which is not in tools. Declare it there, or choose another.", name)
			}
		}
	}
	if len(tools) == 0 {
		if choice != nil && choice.Mode == "required" {
			return nil, nil, apierror.At(apierror.Invalid, "tool_choice", "tool_choice requires a call, but tools declares no function. Declare one, or drop tool_choice.")
		}
		return e.pastTools(c)
	}
	parallel := e.request.ParallelToolCalls == nil || *e.request.ParallelToolCalls
	tc := &toolChoice{Type: "auto", DisableParallel: !parallel}
	switch {
	case choice == nil || choice.Mode == "auto" || choice.Mode == "":
		if parallel {
			tc = nil
		}
	case choice.Mode == "none":
		tc = &toolChoice{Type: "none"}
	case choice.Name != "":
		tc.Type, tc.Name = "tool", e.names.Out(choice.Name)
	default:
		tc.Type = "any"
	}
	return tools, tc, nil
}

// hostedChoice is the type of tool that c demands when that is no function.
func hostedChoice(c *or.ToolChoice) string {
	if c == nil || c.Mode != "required" || c.Name != "" || len(c.Names) > 0 || len(c.Raw) == 0 || c.Raw[0] != '{' {
		return ""
	}
	var t struct {
		Type string `json:"type"`
	}
	_ = json.Unmarshal(c.Raw, &t) // it was parsed before
	return t.Type
}

// pastTools declares the functions that the history calls, and forbids to call
// them: Anthropic refuses calls in the history of a request without tools.
func (e *encoder) pastTools(c *dialogue.Conversation) ([]toolParam, *toolChoice, error) {
	var tools []toolParam
	for _, t := range c.Turns {
		for _, r := range t.Results {
			name := e.names.Out(r.Call.Item.Name)
			if !slices.ContainsFunc(tools, func(p toolParam) bool { return p.Name == name }) {
				tools = append(tools, toolParam{Name: name, InputSchema: json.RawMessage(emptySchema)})
			}
		}
	}
	if len(tools) == 0 {
		return nil, nil, nil
	}
	return tools, &toolChoice{Type: "none"}, nil
}

// reasoning sets max_tokens and how the model thinks. A forced call and a loop
// whose thinking is missing exclude thinking: Anthropic refuses both.
func (e *encoder) reasoning(m *messagesRequest) {
	r, f := e.request, e.model
	m.MaxTokens = min(defaultMaxTokens, f.maxOutput)
	if e.set.MaxTokens > 0 {
		m.MaxTokens = min(e.set.MaxTokens, f.maxOutput)
	}
	said := r.MaxOutputTokens != nil
	if said {
		m.MaxTokens = min(*r.MaxOutputTokens, f.maxOutput)
	}
	want := r.Reasoning
	if want == nil {
		want = &or.Reasoning{}
	}
	thinks := e.hint.Thinking == "enabled" || e.hint.Thinking == "adaptive"
	if *want == (or.Reasoning{}) && !thinks {
		return
	}
	if want.Effort == "none" {
		switch {
		case f.always:
			e.lost.Add("reasoning.effort")
		case f.onByItself:
			m.Thinking = &thinking{Type: "disabled"}
		}
		return
	}
	word := f.effortWord(want.Effort)
	if word != "" && e.hint.Effort == "max" && f.thinking == adaptive {
		word = "max"
	}
	if word != "" {
		m.OutputConfig = &outputConfig{Effort: word}
	}
	forced := m.ToolChoice != nil && (m.ToolChoice.Type == "any" || m.ToolChoice.Type == "tool")
	if f.thinking == noThinking || forced || !reasoningComplete(m.Messages) {
		e.loseReasoning(m)
		return
	}
	if f.thinking == adaptive {
		m.Thinking = &thinking{Type: "adaptive"}
		if f.summarized && want.Summary != "" {
			m.Thinking.Display = "summarized"
		}
		return
	}
	budget := budgets[want.Effort]
	if budget == 0 {
		budget = budgets["medium"] // an effort of a later specification
	}
	if !said && e.set.MaxTokens == 0 {
		m.MaxTokens = min(m.MaxTokens+budget, f.maxOutput)
	}
	// Thinking counts against max_tokens: leave a quarter for the answer, unless
	// the client itself said how much.
	budget = min(budget, m.MaxTokens/4*3)
	if e.hint.Thinking == "enabled" && e.hint.Budget >= minBudget {
		budget = min(e.hint.Budget, m.MaxTokens-1)
	}
	if budget < minBudget {
		e.loseReasoning(m)
		return
	}
	m.Thinking = &thinking{Type: "enabled", BudgetTokens: budget}
}

func (e *encoder) loseReasoning(m *messagesRequest) {
	if e.request.Reasoning == nil {
		return
	}
	if e.request.Reasoning.Effort != "" && m.OutputConfig == nil {
		e.lost.Add("reasoning.effort")
	}
	if e.request.Reasoning.Summary != "" {
		e.lost.Add("reasoning.summary")
	}
}

// format asks for an answer by a schema.
func (e *encoder) format(m *messagesRequest) error {
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
	case f.Type == "json_schema" && e.model.schema:
		schema, ok, err := e.outputSchema(f.Schema)
		if err != nil {
			return err
		}
		if !ok {
			e.lost.Add("text.format")
			return nil
		}
		if m.OutputConfig == nil {
			m.OutputConfig = &outputConfig{}
		}
		m.OutputConfig.Format = &outputFormat{Type: "json_schema", Schema: schema}
	default:
		e.lost.Add("text.format")
	}
	return nil
}

// sampling carries temperature, top_p and top_k where the model takes them.
// While it thinks it takes none but their defaults, and never temperature and
// top_p together.
func (e *encoder) sampling(m *messagesRequest) {
	r := e.request
	free := e.model.sampling && (m.Thinking == nil || m.Thinking.Type == "disabled")
	if t := r.Temperature; t != nil && (free || *t != 1) {
		switch {
		case !free:
			e.lost.Add("temperature")
		case *t > 1: // ours goes to 2, theirs to 1
			e.lost.Add("temperature")
			one := 1.0
			m.Temperature = &one
		default:
			m.Temperature = t
		}
	}
	if p := r.TopP; p != nil && *p != 1 {
		if free && m.Temperature == nil {
			m.TopP = p
		} else {
			e.lost.Add("top_p")
		}
	}
	for _, x := range r.Extra {
		k, err := strconv.ParseInt(string(x.Value), 10, 64)
		switch {
		case string(x.Value) == "null", x.Name == "stream_options", // about our own stream, not the provider's
			x.Name == hintName, x.Name == "openai", x.Name == "gemini": // what fronts tell the translator of their own family
		case x.Name == "top_k" && err == nil && k > 0 && free:
			m.TopK = &k
		default:
			e.lost.Add("%s", x.Name)
		}
	}
}

// rest carries the small fields, and names those that have no place.
func (e *encoder) rest(m *messagesRequest) {
	r := e.request
	for i, s := range r.Stop {
		if strings.TrimSpace(s) == "" {
			e.lost.Add("stop[%d]", i)
			continue
		}
		m.StopSequences = append(m.StopSequences, s)
	}
	switch {
	case e.hint.UserID != "":
		m.Metadata = &metadata{UserID: e.hint.UserID}
	case r.SafetyIdentifier != "":
		m.Metadata = &metadata{UserID: r.SafetyIdentifier}
	}
	switch r.ServiceTier {
	case "":
	case "default":
		m.ServiceTier = "standard_only"
	case "auto":
		m.ServiceTier = "auto"
	default:
		e.lost.Add("service_tier")
	}
	for _, p := range []struct {
		name  string
		value *float64
	}{{"presence_penalty", r.PresencePenalty}, {"frequency_penalty", r.FrequencyPenalty}} {
		if p.value != nil && *p.value != 0 {
			e.lost.Add("%s", p.name)
		}
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
