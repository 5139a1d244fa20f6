package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// intro begins every text, so that nobody takes the rules for a model.
const intro = "I am Sallyport's rule-based demo model, not an AI. "

// maxTries is how often a table is asked about one question.
const maxTries = 2

// answer decides on the answer to the last message of the user: a call of a
// function, what the functions gave, or what the demo can do.
func answer(r *or.Request) reply {
	last := lastUser(r.Input)
	if last < 0 {
		return reply{text: intro + "There is no message from a user that I could answer."}
	}
	q := ask(words(&r.Input[last]))
	fs := offered(r)
	done := callsAfter(r.Input, last)
	if len(done) > 0 {
		return conclude(q, fs, done)
	}
	if l, rest, ok := programIn(q.text); ok {
		return compute(l, rest, fs)
	}
	must := r.ToolChoice != nil && r.ToolChoice.Mode == "required"
	p, asked := planFor(q, fs)
	if asked && p.problem == "" {
		return p.call()
	}
	if f, ok := bestFunction(q, fs); ok {
		return reply{call: f.name, args: f.arguments(q)}
	}
	if asked && !must {
		return reply{text: intro + p.problem}
	}
	if must && len(fs) > 0 {
		i := slices.IndexFunc(fs, func(f function) bool { return !f.runs() })
		return fs[max(i, 0)].anyCall(q)
	}
	return reply{text: intro + about(r, last, q, fs)}
}

func lastUser(items []or.Item) int {
	for i := len(items) - 1; i >= 0; i-- {
		if items[i].Type == or.TypeMessage && items[i].Role == "user" {
			return i
		}
	}
	return -1
}

// words is the text of a message.
func words(it *or.Item) string {
	var b strings.Builder
	for _, p := range it.Content {
		if p.Text != "" {
			b.WriteString(p.Text + "\n")
		}
	}
	return strings.TrimSpace(inserted.ReplaceAllString(b.String(), ""))
}

// inserted is what programs put into the messages of their users, as in
// <system-reminder>.
var inserted = regexp.MustCompile(`(?s)<([a-z]+(?:[-_][a-z]+)+)>.*?</[a-z]+(?:[-_][a-z]+)+>`)

// offered lists the functions that may be called.
func offered(r *or.Request) []function {
	c := r.ToolChoice
	if c != nil && c.Mode == "none" {
		return nil
	}
	var fs []function
	for i := range r.Tools {
		t := &r.Tools[i]
		if t.Type != "function" || c != nil && (c.Name != "" && c.Name != t.Name || len(c.Names) > 0 && !slices.Contains(c.Names, t.Name)) {
			continue
		}
		fs = append(fs, newFunction(t))
	}
	return fs
}

// result is a call that was made since the user spoke, and its output.
type result struct{ call, output *or.Item }

func callsAfter(items []or.Item, last int) []result {
	var done []result
	for i := last + 1; i < len(items); i++ {
		if items[i].Type != or.TypeFunctionCallOutput {
			continue
		}
		for j := i - 1; j > last; j-- {
			if items[j].Type == or.TypeFunctionCall && items[j].CallID == items[i].CallID {
				done = append(done, result{&items[j], &items[i]})
			}
		}
	}
	return done
}

// conclude answers from what the functions gave, or tries once more.
func conclude(q question, fs []function, done []result) reply {
	last := done[len(done)-1]
	if told, ok := tellPrograms(done); ok {
		return reply{text: intro + told}
	}
	text := outputText(last.output)
	rows, isRows := readRows(text)
	f := slices.IndexFunc(fs, func(f function) bool { return f.name == last.call.Name })
	if f < 0 || fs[f].table == nil {
		return reply{text: intro + tellOutputs(done)}
	}
	p, asked := planFor(q, fs[f:f+1])
	if isRows {
		text := rows.tell(fs[f].table) + queryOf(last.call)
		switch {
		case asked && p.problem != "":
			text = p.problem + " What follows does not answer your question, for a call was required. " + text
		case !asked:
			text = "What follows does not answer your message, in which I found no question that I understand. " + text
		}
		return reply{text: intro + text}
	}
	tries := 0
	for _, d := range done {
		if d.call.Name == last.call.Name {
			tries++
		}
	}
	if asked && p.problem == "" && tries < maxTries {
		p.careful = true
		if again := p.call(); again.args != last.call.Arguments {
			return again
		}
	}
	return reply{text: fmt.Sprintf("%sThe table %s could not be read, after %d of at most %d tries. It answered: %s", intro, fs[f].table.name, tries, maxTries, clip(text))}
}

// queryOf shows the SQL of a call, so that the numbers can be checked.
func queryOf(call *or.Item) string {
	var args struct {
		SQL string `json:"sql"`
	}
	if json.Unmarshal([]byte(call.Arguments), &args) != nil || args.SQL == "" {
		return ""
	}
	return "\n\nThe query was: " + args.SQL
}

func outputText(it *or.Item) string {
	if it.Output.Parts == nil {
		return it.Output.Text
	}
	var b strings.Builder
	for _, p := range it.Output.Parts {
		switch {
		case p.Text != "":
			b.WriteString(p.Text)
		case p.Type == or.PartInputImage:
			b.WriteString("(an image, which I cannot look at)")
		default:
			b.WriteString("(a " + strings.TrimPrefix(p.Type, "input_") + ", which I cannot read)")
		}
		b.WriteByte('\n')
	}
	return strings.TrimSpace(b.String())
}

// tellOutputs repeats what functions gave, one after the other.
func tellOutputs(done []result) string {
	var b strings.Builder
	for i, d := range done {
		if i > 0 {
			b.WriteString("\n\n")
		}
		fmt.Fprintf(&b, "I called %s with %s. It answered: %s", d.call.Name, d.call.Arguments, clip(flat(outputText(d.output))))
	}
	return b.String()
}

// flat writes a JSON object as "name: value" pairs, and anything else as it is.
func flat(text string) string {
	var object map[string]json.RawMessage
	if json.Unmarshal([]byte(text), &object) != nil || len(object) == 0 {
		return text
	}
	names := make([]string, 0, len(object))
	for name := range object {
		names = append(names, name)
	}
	slices.Sort(names)
	for i, name := range names {
		names[i] = name + ": " + cell(object[name])
	}
	return strings.Join(names, ", ")
}

func clip(s string) string {
	const most = 4000
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + " …"
}

// about says what the demo is and can do with what is on offer.
func about(r *or.Request, last int, q question, fs []function) string {
	var b strings.Builder
	for _, p := range r.Input[last].Content {
		switch p.Type {
		case or.PartInputImage:
			b.WriteString("You attached an image: I received it, but I cannot look at it. ")
		case or.PartInputFile:
			b.WriteString("You attached a file: I received it, but I cannot read it. ")
		}
	}
	var tables, others []string
	for _, f := range fs {
		if f.table != nil {
			tables = append(tables, f.table.name+" ("+f.table.columnList()+")")
		} else if !f.runs() {
			others = append(others, f.name)
		}
	}
	switch {
	case len(tables) > 0:
		fmt.Fprintf(&b, "I can count rows and give the sum, average, minimum and maximum of a column, also by another column and for rows with given values, numbers or years, of: %s. For example: \"%s\". I did not find such a question in your message.", strings.Join(tables, "; "), fs[slices.IndexFunc(fs, func(f function) bool { return f.table != nil })].table.example())
	case len(others) > 0:
		fmt.Fprintf(&b, "I can call a function whose name fits the question; on offer: %s. None fits what you wrote.", strings.Join(others, ", "))
	case len(q.aggregates) > 0:
		b.WriteString("I can count, sum and average the columns of tables, but this request offers me no table: declare one as a tool.")
	default:
		b.WriteString("I answer questions about tables that the request declares as tools (count, sum, average, minimum, maximum, by column) and call functions whose names fit the question. I cannot hold a conversation, write, translate or reason: for that, configure a provider with a real model.")
	}
	return b.String()
}
