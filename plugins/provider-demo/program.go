package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// language is one in which the gateway runs programs for models.
type language struct {
	words    string // what people call it, as a part of a regular expression
	name     string // for people
	function string // that runs it
	argument string // of the function
	least    string // a program that does nothing of note
}

var programs = []language{
	{`python`, "Python", "system__ai__python_exec", "code", "print(1)"},
	{`sqlite|sql`, "SQLite", "system__ai__sql_exec", "query", "SELECT 1"},
	{`shell|bash`, "the shell", "system__ai__shell_exec", "command", "echo 1"},
}

// language is what f runs programs in, if it does. Such a function is called
// only when the user says in which language to compute: nothing else fits a
// program.
func (f function) language() (language, bool) {
	if i := slices.IndexFunc(programs, func(l language) bool { return l.function == f.name }); i >= 0 {
		return programs[i], true
	}
	return language{}, false
}

func (f function) runs() bool {
	_, ok := f.language()
	return ok
}

// programIn finds the language in which the question is to be answered, as in
// "in Python", and gives the question without it; of "Python: …" it makes the
// rest a quoted program.
func programIn(text string) (l language, rest string, ok bool) {
	prose := code.ReplaceAllStringFunc(text, func(s string) string { return strings.Repeat(" ", len(s)) })
	for _, l := range programs {
		in := regexp.MustCompile(`(?i)\b(?:in|with|using|by)\s+(?:a\s+|the\s+)?(?:` + l.words + `)(?:\s+(?:script|program|code|sandbox))?\b`)
		if at := in.FindStringIndex(prose); at != nil {
			return l, text[:at[0]] + text[at[1]:], true
		}
		colon := regexp.MustCompile(`(?i)\b(?:` + l.words + `)(?:\s+(?:script|program|code|command))?:\s*(\S)`)
		if at := colon.FindStringSubmatchIndex(text); at != nil {
			if quoted := code.FindString(text); quoted != "" {
				return l, quoted, true
			}
			return l, "```\n" + text[at[2]:] + "```", true
		}
	}
	return language{}, text, false
}

// compute answers a question that names a language: it runs the program that
// the message quotes, or one that answers the question about a table.
func compute(l language, rest string, fs []function) reply {
	if !slices.ContainsFunc(fs, func(f function) bool { return f.name == l.function }) {
		return reply{text: fmt.Sprintf("%sThis request offers me nothing that runs a program in %s.", intro, l.name)}
	}
	if m := code.FindStringSubmatch(rest); m != nil {
		return l.run(m[1] + m[2])
	}
	p, asked := planFor(ask(rest), fs)
	switch {
	case !asked:
		return reply{text: fmt.Sprintf("%sI run a program in %s that you write between backticks, and I write one for questions about a table that the request declares. I found neither in your message.", intro, l.name)}
	case p.problem != "":
		return reply{text: intro + p.problem}
	}
	program, ok := p.program(l)
	if !ok {
		return reply{text: fmt.Sprintf("%sIn %s I can only count all rows of %s; ask for the rest in Python or SQLite.", intro, l.name, p.f.table.name)}
	}
	return l.run(program)
}

func (l language) run(program string) reply {
	b, err := json.Marshal(map[string]string{l.argument: program})
	if err != nil {
		return reply{text: intro + "I could not write the program."}
	}
	return reply{call: l.function, args: string(b)}
}

var yearOf = regexp.MustCompile(`extract\(year FROM ("(?:[^"]|"")*")\)`)

// program writes the plan in l. The shell only counts rows: a CSV file has
// cells that its tools would cut apart.
func (p *plan) program(l language) (string, bool) {
	file := "/data/" + p.f.table.name
	query := func(from string) string {
		return yearOf.ReplaceAllString(p.query(from), "CAST(strftime('%Y', $1) AS INTEGER)")
	}
	switch l.argument {
	case "query":
		return query(quote(p.f.table.name)), true
	case "code":
		sql, err := json.Marshal(query("t"))
		if err != nil {
			return "", false
		}
		return fmt.Sprintf("import sqlite3\ndb = sqlite3.connect(%q, uri=True)\nfor row in db.execute(%s):\n    print(*row, sep=\", \")\n", "file:"+file+".db?mode=ro&immutable=1", sql), true
	}
	if len(p.where) > 0 || len(p.groups) > 0 || p.single != nil || len(p.values) != 1 || p.values[0].column != nil {
		return "", false
	}
	return "tail -n +2 '" + strings.ReplaceAll(file, "'", `'\''`) + ".csv' | wc -l", true
}

// tellPrograms says what the programs were and what they gave.
func tellPrograms(done []result) (string, bool) {
	var b strings.Builder
	for _, d := range done {
		i := slices.IndexFunc(programs, func(l language) bool { return l.function == d.call.Name })
		if i < 0 {
			return "", false
		}
		l, text := programs[i], outputText(d.output)
		var args map[string]string
		if json.Unmarshal([]byte(d.call.Arguments), &args) != nil {
			return "", false
		}
		gave := "```\n" + clip(text) + "\n```"
		if r, ok := readRows(text); ok {
			var s string
			if len(r.Columns) == 1 && r.Columns[0] == "output" && len(r.Rows) == 1 && json.Unmarshal(r.Rows[0][0], &s) == nil {
				gave = "```\n" + clip(strings.TrimSpace(s)) + "\n```"
			} else {
				gave = r.table()
			}
		}
		var also struct {
			Note string `json:"note"`
		}
		if json.Unmarshal([]byte(text), &also) == nil && also.Note != "" {
			gave += "\n\n" + also.Note
		}
		if b.Len() > 0 {
			b.WriteString("\n\n")
		}
		fmt.Fprintf(&b, "I ran this in %s:\n\n```\n%s\n```\n\nIt gave:\n\n%s", l.name, strings.TrimSpace(args[l.argument]), gave)
	}
	return b.String(), true
}
