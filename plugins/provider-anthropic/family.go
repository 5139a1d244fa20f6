package main

import (
	"math"
	"regexp"
	"strconv"
	"strings"
)

// thinkingMode is how a model is asked to reason.
type thinkingMode string

const (
	noThinking     thinkingMode = "never"
	budgetThinking thinkingMode = "budget"   // thinking.budget_tokens
	adaptive       thinkingMode = "adaptive" // the model decides; output_config.effort guides it
)

// family is what a model takes. Anthropic refuses a field that a model does
// not know, so this is read off the model's name.
type family struct {
	thinking   thinkingMode
	onByItself bool   // thinks unless told not to
	always     bool   // cannot be told not to
	effort     bool   // takes output_config.effort
	top        string // what effort xhigh becomes
	summarized bool   // shows its thinking only when asked to
	verbatim   bool   // shows its thinking itself, not a summary of it
	sampling   bool   // takes temperature, top_p and top_k
	schema     bool   // takes output_config.format
	cache      bool   // keeps what it has read, where it is told to
	maxOutput  int64  // most tokens an answer may have
}

// The two orders of Anthropic's names: claude-sonnet-4-5-20250929 since
// version 4, claude-3-7-sonnet-20250219 before.
var (
	newName = regexp.MustCompile(`claude-([a-z]+)-(\d{1,2})(?:[-.](\d{1,2}))?(?:\D|$)`)
	oldName = regexp.MustCompile(`claude-(\d)(?:[-.](\d))?-`)
)

// familyOf reads the family off a name. A name without a version is taken for
// the newest: operators give such names to aliases that move with it.
func familyOf(model string, s settings) family {
	name := strings.ToLower(model)
	line, v := "", 900
	if m := newName.FindStringSubmatch(name); m != nil {
		line, v = m[1], number(m[2], m[3])
	} else if m := oldName.FindStringSubmatch(name); m != nil {
		v = number(m[1], m[2])
	}
	f := family{thinking: adaptive, effort: true, top: "xhigh", schema: true, cache: true, maxOutput: math.MaxInt64}
	switch {
	case v < 305:
		f = family{thinking: noThinking, sampling: true, maxOutput: 4096}
	case v < 307:
		f = family{thinking: noThinking, sampling: true, cache: true, maxOutput: 8192}
	case v < 406:
		f = family{thinking: budgetThinking, sampling: true, cache: true, maxOutput: 64000}
		f.verbatim = v < 400
		f.schema = v == 405
		if line == "opus" {
			f.effort, f.top = v == 405, "high"
			if v < 405 {
				f.maxOutput = 32000
			}
		}
	case v == 406:
		f.top, f.sampling, f.maxOutput = "max", true, 64000
	case v < 500:
		f.summarized, f.maxOutput = true, 128000
	default:
		f.summarized, f.onByItself = true, true
	}
	if line == "fable" || line == "mythos" {
		f.onByItself, f.always = true, true
	}
	switch s.Thinking {
	case string(adaptive):
		f.thinking, f.effort = adaptive, true
		if f.top == "" {
			f.top = "high"
		}
	case string(budgetThinking), string(noThinking):
		f.thinking = thinkingMode(s.Thinking)
	}
	f.cache = f.cache && s.Cache != "never"
	switch s.Schema {
	case "always":
		f.schema = true
	case "never":
		f.schema = false
	}
	return f
}

// number makes 405 of "4" and "5".
func number(major, minor string) int {
	a, _ := strconv.Atoi(major)
	b, _ := strconv.Atoi(minor) // "" is 0
	return a*100 + b
}

// Token budgets for a reasoning effort, where the model takes a budget. The
// smallest is the least that Anthropic accepts; the others are our choice.
var budgets = map[string]int64{"minimal": minBudget, "low": 2048, "": 8192, "medium": 8192, "high": 24576, "xhigh": 49152}

const minBudget = 1024

// effortWord is the output_config.effort for a reasoning effort; "" leaves it
// to the model.
func (f family) effortWord(effort string) string {
	switch {
	case !f.effort:
		return ""
	case effort == "minimal":
		return "low"
	case effort == "xhigh":
		return f.top
	}
	return effort
}
