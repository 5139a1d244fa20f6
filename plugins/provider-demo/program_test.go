package main

import (
	"encoding/json"
	"strings"
	"testing"

	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

var (
	pythonTool = tool("system__ai__python_exec", "Runs Python and returns what it prints.", `{"type":"object","properties":{"code":{"type":"string"}},"required":["code"]}`)
	sqliteTool = tool("system__ai__sql_exec", "Runs SQL in a SQLite database of this answer.", `{"type":"object","properties":{"query":{"type":"string"}},"required":["query"]}`)
	shellTool  = tool("system__ai__shell_exec", "Runs a shell script with pipes.", `{"type":"object","properties":{"command":{"type":"string"}},"required":["command"]}`)
)

func TestPrograms(t *testing.T) {
	t.Parallel()
	const connect = "import sqlite3\ndb = sqlite3.connect(\"file:/data/main.sales.reviews.db?mode=ro&immutable=1\", uri=True)\nfor row in db.execute("
	tests := []struct{ ask, call, argument, want string }{
		{"Run this in Python: `print(6*7)`", "system__ai__python_exec", "code", "print(6*7)"},
		{"With Python, please:\n```python\nx = 1\nx\n```", "system__ai__python_exec", "code", "x = 1\nx\n"},
		{"Using bash: `seq 3 | wc -l`", "system__ai__shell_exec", "command", "seq 3 | wc -l"},
		{"Compute in SQLite `SELECT 1`", "system__ai__sql_exec", "query", "SELECT 1"},
		{"What is the average rating by country in Python?", "system__ai__python_exec", "code", connect + `"SELECT \"country\", avg(\"rating\") AS \"average of rating\" FROM t GROUP BY 1 ORDER BY 1"` + "):\n    print(*row, sep=\", \")\n"},
		{"With a Python script, how many reviews are there?", "system__ai__python_exec", "code", connect + `"SELECT count(*) AS \"number of rows\" FROM t"` + "):\n    print(*row, sep=\", \")\n"},
		{"How many reviews were there in 2024, with SQLite?", "system__ai__sql_exec", "query", `SELECT count(*) AS "number of rows" FROM "main.sales.reviews" WHERE CAST(strftime('%Y', "created_at") AS INTEGER) = 2024`},
		{"How many reviews are there, in the shell?", "system__ai__shell_exec", "command", "tail -n +2 '/data/main.sales.reviews.csv' | wc -l"},
	}
	for _, tt := range tests {
		got := answer(request(tt.ask, reviewsTool, pythonTool, sqliteTool, shellTool))
		var args map[string]string
		if err := json.Unmarshal([]byte(got.args), &args); err != nil {
			t.Errorf("%q: got %+v, want a call", tt.ask, got)
			continue
		}
		if got.call != tt.call || args[tt.argument] != tt.want {
			t.Errorf("%q:\ngot  %s %q\nwant %s %q", tt.ask, got.call, args[tt.argument], tt.call, tt.want)
		}
	}
}

// A program runs only where somebody asks for one.
func TestNoProgram(t *testing.T) {
	t.Parallel()
	tests := []struct {
		ask   string
		tools []or.Tool
		want  string
	}{
		{"How many reviews are there?", []or.Tool{pythonTool, reviewsTool}, ""}, // the table's own function
		{"Write a Python program that runs", []or.Tool{pythonTool}, "I answer questions about tables"},
		{"Print `in Python`", []or.Tool{pythonTool}, "I answer questions about tables"},
		{"Tell me a joke in Python", []or.Tool{pythonTool}, "between backticks"},
		{"Average rating by country in the shell?", []or.Tool{reviewsTool, shellTool}, "only count all rows"},
		{"Run in Python: `1`", []or.Tool{shellTool}, "nothing that runs a program in Python"},
	}
	for _, tt := range tests {
		got := answer(request(tt.ask, tt.tools...))
		if strings.HasPrefix(got.call, "system__") || !strings.Contains(got.text, tt.want) {
			t.Errorf("%q: got %+v, want a text with %q", tt.ask, got, tt.want)
		}
	}
	r := request("Hello", pythonTool)
	r.ToolChoice = &or.ToolChoice{Mode: "required"}
	if got := answer(r); got.args != `{"code":"print(1)"}` {
		t.Errorf("with a call required: got %+v", got)
	}
}

func TestProgramIsTold(t *testing.T) {
	t.Parallel()
	r := request("Run in Python: `print(6*7)`", pythonTool)
	r.Input = append(r.Input,
		or.Item{Type: or.TypeFunctionCall, CallID: "c1", Name: "system__ai__python_exec", Arguments: `{"code":"print(6*7)"}`},
		or.Item{Type: or.TypeFunctionCallOutput, CallID: "c1", Output: or.Output{Text: `{"is_truncated":false,"columns":["output"],"rows":[["42\n"]]}`}})
	got := answer(r)
	want := intro + "I ran this in Python:\n\n```\nprint(6*7)\n```\n\nIt gave:\n\n```\n42\n```"
	if got.text != want {
		t.Errorf("got %q\nwant %q", got.text, want)
	}
}
