package main

import (
	"regexp"
	"strconv"
	"strings"
)

// thinkingMode is how a model is asked to reason.
type thinkingMode string

const (
	noThinking     thinkingMode = "never"
	budgetThinking thinkingMode = "budget" // thinkingConfig.thinkingBudget
	levelThinking  thinkingMode = "level"  // thinkingConfig.thinkingLevel
)

// family is what a model takes, read off its name.
type family struct {
	thinking   thinkingMode
	levels     map[string]string // reasoning effort → thinkingLevel
	least      int64             // smallest thinkingBudget beside 0
	most       int64             // largest thinkingBudget
	off        bool              // thinking can be switched off
	signed     bool              // signs the calls of the turn under way, and wants the signatures back
	penalties  bool              // takes presencePenalty and frequencyPenalty
	formatWith bool              // takes an output format together with functions
}

var version = regexp.MustCompile(`gemini-(\d{1,2})(?:\.(\d{1,2}))?(?:\D|$)`)

// familyOf reads the family off a name. A name without a version, such as
// gemini-flash-latest, is taken for the newest.
func familyOf(model string, s settings) family {
	name := strings.ToLower(model)
	v := 900
	if m := version.FindStringSubmatch(name); m != nil {
		major, _ := strconv.Atoi(m[1])
		minor, _ := strconv.Atoi(m[2]) // "" is 0
		v = major*100 + minor
	}
	pro, lite := strings.Contains(name, "-pro"), strings.Contains(name, "-lite")
	f := family{thinking: noThinking, penalties: true, least: 1, most: 24576, off: true}
	switch {
	case v >= 300:
		f.thinking, f.signed, f.formatWith, f.penalties, f.off = levelThinking, true, true, false, false
	case v >= 205:
		f.thinking, f.signed, f.penalties = budgetThinking, true, false
	}
	switch {
	case pro:
		f.least, f.most, f.off = 128, 32768, false
	case lite:
		f.least = 512
	}
	f.levels = map[string]string{"none": "LOW", "minimal": "LOW", "low": "LOW", "medium": "MEDIUM", "high": "HIGH", "xhigh": "HIGH"}
	switch {
	case pro && v == 300:
		f.levels["medium"] = "HIGH"
	case lite, v == 300:
		f.levels["none"], f.levels["minimal"] = "MINIMAL", "MINIMAL"
	}
	if s.Thinking != "" && s.Thinking != "auto" {
		f.thinking = thinkingMode(s.Thinking)
	}
	return f
}

// budgets are the thinking budgets for a reasoning effort: those of Google's
// own OpenAI-compatible surface, and the model's most for xhigh.
var budgets = map[string]int64{"minimal": 1024, "low": 1024, "medium": 8192, "high": 24576, "xhigh": 32768}
