package main

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"

	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// function is a function on offer.
type function struct {
	name        string
	description string
	parameters  schema
	table       *table // nil unless it is a table's
}

// schema is the part of JSON Schema that the rules understand.
type schema struct {
	Type       any               `json:"type"` // a name or a list of names
	Properties map[string]schema `json:"properties"`
	Required   []string          `json:"required"`
	Enum       []any             `json:"enum"`
	Const      any               `json:"const"`
	Default    any               `json:"default"`
	Items      *schema           `json:"items"`
	Minimum    *float64          `json:"minimum"`
}

func newFunction(t *or.Tool) function {
	f := function{name: t.Name, description: t.Description}
	if len(t.Parameters) > 0 && json.Unmarshal(t.Parameters, &f.parameters) != nil {
		f.parameters = schema{} // more than the rules understand
	}
	if _, ok := f.parameters.Properties["sql"]; ok {
		f.table = readTable(t.Description)
	}
	return f
}

// idle are words that say nothing about what a function is for.
var idle = map[string]bool{
	"get": true, "set": true, "the": true, "and": true, "for": true, "from": true, "with": true, "that": true, "this": true, "what": true, "when": true,
	"where": true, "which": true, "your": true, "given": true, "returns": true, "return": true, "function": true, "tool": true, "call": true, "use": true,
	"system": true, "find": true, "make": true, "into": true, "user": true, "have": true, "about": true, "name": true, "data": true, "list": true,
}

// acts are words of names that say what is done and not to what: "Create a
// file" does not ask for TaskCreate.
var acts = set("add ask change check create delete edit exec execute fetch look lookup open output read remove run search send show start stop update write")

// bestFunction chooses the function whose name and description share the most
// words with the question: a word of the name, or two of the first sentence of
// its description. Of the name, a word that says what is done counts only
// beside another, or alone.
func bestFunction(q question, fs []function) (function, bool) {
	best, most := function{}, 2 // one word of a description is not enough
	if q.long {                 // no question of a person's
		return best, false
	}
	said := q.said()
	for _, f := range fs {
		if f.table != nil || f.runs() {
			continue
		}
		things, deeds := f.words()
		score := 3 * shared(said, things)
		if score > 0 || len(things) == 0 {
			score += 3 * shared(said, deeds)
		}
		first, _, _ := strings.Cut(f.description+" ", ". ")
		first, _, _ = strings.Cut(first, "\n")
		things, _ = apart(nameWords(strings.ToLower(first)))
		score += 2 * min(shared(said, things), 2)
		if score > 0 && slices.Contains(q.tokens, strings.ToLower(f.name)) { // it is called by its name
			score += 10
		}
		if score > most {
			best, most = f, score
		}
	}
	return best, best.name != ""
}

// words are those of the function's name that say what it is about, and what it
// does.
func (f function) words() (things, deeds []string) { return apart(nameWords(f.name)) }

// apart separates the acts from other words that say something.
func apart(ws []string) (things, deeds []string) {
	for _, w := range ws {
		switch s := stem(w); {
		case len(s) < 3 || idle[w] || idle[s]:
		case acts[w] || acts[s]:
			deeds = append(deeds, s)
		default:
			things = append(things, s)
		}
	}
	return things, deeds
}

// said are the words of the question as those of names: "city_facts" is two,
// and "look up" is "lookup" as well.
func (q *question) said() map[string]bool {
	said := map[string]bool{}
	for i, raw := range q.raw {
		said[stem(q.tokens[i])] = true
		for _, w := range nameWords(raw) {
			said[stem(w)] = true
		}
		if i > 0 {
			said[q.tokens[i-1]+q.tokens[i]] = true
		}
	}
	return said
}

// shared counts the words that were said, each once.
func shared(said map[string]bool, ws []string) int {
	n := 0
	for i, w := range ws {
		if said[w] && !slices.Contains(ws[:i], w) {
			n++
		}
	}
	return n
}

// anyCall calls f although nothing in the question asks for it.
func (f function) anyCall(q question) reply {
	if f.table != nil {
		p := plan{f: f, q: question{}, values: []value{{fn: "count"}}}
		return p.call()
	}
	if l, ok := f.language(); ok {
		return l.run(l.least)
	}
	return reply{call: f.name, args: f.arguments(q)}
}

// arguments fills the parameters that must be given from the question.
func (f function) arguments(q question) string {
	m := &material{q: q, names: candidates(q.text), numbers: numbers.FindAllString(q.text, -1)}
	b, err := json.Marshal(m.object(f.parameters, 0))
	if err != nil {
		return "{}"
	}
	return string(b)
}

var (
	numbers   = regexp.MustCompile(`-?\d+(?:\.\d+)?`)
	quoted    = regexp.MustCompile("\"([^\"\n]+)\"|“([^”\n]+)”|'([^'\n]{2,})'")
	code      = regexp.MustCompile("(?s)```[a-z]*\n?(.*?)```|`([^`]+)`")
	proper    = regexp.MustCompile(`\p{Lu}[\p{L}\p{N}'’-]*(?:\s+\p{Lu}[\p{L}\p{N}'’-]*)*`)
	following = regexp.MustCompile(`(?i)\b(?:in|for|at|of|about|to|from)\s+(?:the\s+)?([\p{L}\p{N}][\p{L}\p{N} '’-]*)`)
	leading   = regexp.MustCompile(`^\S+\s+`)
)

// candidates are the texts of a message that could be arguments: its names,
// then what follows a preposition.
func candidates(text string) []string {
	list := names(text)
	for _, m := range following.FindAllStringSubmatch(text, -1) {
		list = append(list, strings.TrimSpace(m[1]))
	}
	return list
}

// names are what stands in quotes, and words with a capital letter where no
// sentence begins.
func names(text string) []string {
	var list []string
	for _, m := range quoted.FindAllStringSubmatch(text, -1) {
		list = append(list, m[1]+m[2]+m[3])
	}
	for _, at := range proper.FindAllStringIndex(text, -1) {
		name := text[at[0]:at[1]]
		before := strings.TrimRight(text[:at[0]], " \t\n\"'“")
		if before == "" || strings.ContainsAny(before[len(before)-1:], ".!?:") {
			if name = leading.ReplaceAllString(name, ""); name == text[at[0]:at[1]] {
				continue
			}
		}
		if name != "I" {
			list = append(list, name)
		}
	}
	return list
}

// material is what a question offers for arguments; names and numbers are used
// up one after the other.
type material struct {
	q       question
	names   []string
	numbers []string
}

// maxNesting bounds how deep arguments are filled.
const maxNesting = 8

// fill makes a value of the schema.
func (m *material) fill(s schema, name string, depth int) any {
	switch {
	case s.Const != nil:
		return s.Const
	case len(s.Enum) > 0:
		for _, e := range s.Enum {
			if t, ok := e.(string); ok && len(nameWords(t)) > 0 {
				if _, said := m.q.find(t); said {
					return t
				}
			}
		}
		return s.Enum[0]
	}
	switch s.kind() {
	case "string":
		return m.text(name)
	case "integer", "number":
		return m.number(s)
	case "boolean":
		return true
	case "array":
		if s.Items == nil || depth > maxNesting {
			return []any{}
		}
		return []any{m.fill(*s.Items, name, depth+1)}
	case "null":
		return nil
	}
	return m.object(s, depth)
}

func (m *material) object(s schema, depth int) map[string]any {
	object := map[string]any{}
	if depth > maxNesting {
		return object
	}
	for _, p := range s.wanted() {
		object[p] = m.fill(s.Properties[p], p, depth+1)
	}
	return object
}

// kind is the schema's type; the first one that is not null.
func (s schema) kind() string {
	switch t := s.Type.(type) {
	case string:
		return t
	case []any:
		for _, k := range t {
			if k, ok := k.(string); ok && k != "null" {
				return k
			}
		}
	}
	if s.Properties == nil && s.Items == nil {
		return "string"
	}
	return "object"
}

// wanted are the properties to fill: those required, else the first text.
func (s schema) wanted() []string {
	if len(s.Required) > 0 {
		return s.Required
	}
	var names []string
	for name, p := range s.Properties {
		if p.kind() == "string" && len(p.Enum) == 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names[:min(1, len(names))]
}

// text fills a text: a name from the question for most, all of it for what
// takes a whole request.
func (m *material) text(name string) string {
	switch strings.ToLower(name) {
	case "code", "command", "sql", "script", "expression":
		if c := code.FindStringSubmatch(m.q.text); c != nil {
			return strings.TrimSpace(c[1] + c[2])
		}
		if _, after, ok := strings.Cut(m.q.text, ":"); ok {
			return strings.TrimSpace(after)
		}
		return m.q.text
	case "query", "question", "text", "message", "prompt", "input", "q":
		return m.q.text
	}
	if len(m.names) == 0 {
		return m.q.text
	}
	n := m.names[0]
	if len(m.names) > 1 {
		m.names = m.names[1:]
	}
	return n
}

func (m *material) number(s schema) any {
	text := "1"
	if len(m.numbers) > 0 {
		text, m.numbers = m.numbers[0], m.numbers[1:]
	} else if s.Minimum != nil {
		text = strconv.FormatFloat(*s.Minimum, 'f', -1, 64)
	}
	if s.kind() == "integer" {
		text, _, _ = strings.Cut(text, ".")
	}
	return json.Number(text)
}

// shaped puts a text into the JSON that the request asks for, if it does.
func shaped(r *or.Request, text string) string {
	if r.Text == nil || len(r.Text.Format) == 0 {
		return text
	}
	var f struct {
		Type   string `json:"type"`
		Schema schema `json:"schema"`
	}
	if json.Unmarshal(r.Text.Format, &f) != nil || f.Type == "text" {
		return text
	}
	var v any = map[string]string{"message": text}
	if f.Type == "json_schema" {
		m := &material{q: question{text: text}}
		v = m.fill(f.Schema, "", 0)
	}
	b, err := json.Marshal(v)
	if err != nil {
		return text
	}
	return string(b)
}
