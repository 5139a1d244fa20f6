package toolset

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/sallyport-gateway/sallyport/sandbox"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// codeOutput is what the model sees of a program: the vendor's shape of a
// result, with the columns of SQL or one of text, and beside it what there is to
// say. Source: Supervisor API, output fixtures.
type codeOutput struct {
	IsTruncated bool       `json:"is_truncated"`
	Columns     []string   `json:"columns"`
	Rows        [][]any    `json:"rows"`
	ExitCode    int        `json:"exit_code,omitempty"`
	Files       []codeFile `json:"files,omitempty"` // that the program wrote
	Note        string     `json:"note,omitempty"`
}

type codeFile struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
}

// maxListed is how many of the files that a program wrote are listed.
const maxListed = 50

// codeResult turns what a program did into what the model sees, at most the
// limit. A program that failed has a result as one that did not; only one that
// was stopped, or that Python or SQL did not take, is a failed call.
func (l Limits) codeResult(id sandbox.Language, r sandbox.Result, notes []string) Result {
	out := codeOutput{IsTruncated: r.Truncated, ExitCode: r.Exit, Columns: r.Columns, Rows: r.Rows}
	if r.Lost != "" {
		notes = append([]string{"What earlier calls had left, variables and files, was gone when this call began."}, notes...)
	}
	switch {
	case r.Killed == "worker":
		notes = append([]string{killed(r.Killed) + " What calls until now had left, variables and files, is gone; the next call begins afresh."}, notes...)
	case r.Killed != "":
		notes = append([]string{killed(r.Killed) + " What this and earlier calls of the function had left in memory is gone; the next call begins afresh."}, notes...)
	case r.Interrupted != "":
		notes = append([]string{killed(r.Interrupted) + " Variables and files are as it left them."}, notes...)
	}
	for i, f := range r.Files {
		if i == maxListed {
			notes = append(notes, fmt.Sprintf("%d more files were written.", len(r.Files)-maxListed))
			break
		}
		out.Files = append(out.Files, codeFile(f))
	}
	out.Note = strings.Join(notes, " ")
	room := l.ResultText - size(codeOutput{Columns: r.Columns, Files: out.Files, Note: out.Note, ExitCode: r.Exit}) - 256
	text := joined(r.Stdout, r.Stderr)
	if id == sandbox.SQL && r.Columns != nil && r.Exit == 0 {
		out.fitRows(room)
	} else {
		out.Columns, out.Rows = []string{"output"}, [][]any{{out.fitText(text, room)}}
	}
	b, err := encode(out)
	if err != nil { // a value that is no JSON, such as NaN
		return failure("The program's rows cannot be shown: %s.", err)
	}
	return Result{Output: openresponses.Output{Text: string(b)}, Failed: r.Killed != "" || r.Exit != 0 && id != sandbox.Shell}
}

// killed says why a program was stopped.
func killed(why string) string {
	switch why {
	case "time":
		return "The program was stopped: it took too long."
	case "cpu":
		return "The program was stopped: it used too much processor time."
	case "memory":
		return "The program was stopped: it used too much memory."
	case "worker":
		return "The program was stopped: the process that ran it has ended."
	case "crash":
		return "The program was stopped: it made its interpreter fail, for example by recursion that is too deep."
	case "exit":
		return "The program ended its interpreter."
	}
	return "The program was stopped (" + why + ")."
}

// joined is what a program wrote, first of stdout.
func joined(stdout, stderr string) string {
	if stdout != "" && stderr != "" && !strings.HasSuffix(stdout, "\n") {
		stdout += "\n"
	}
	return strings.ToValidUTF8(stdout+stderr, "\uFFFD")
}

// fitText cuts a text so that it takes at most room as JSON, its middle first:
// the end tells what went wrong.
func (o *codeOutput) fitText(text string, room int) string {
	if size(text) <= room {
		if o.IsTruncated {
			text += "\n[truncated]"
		}
		return text
	}
	o.IsTruncated = true
	mark := fmt.Sprintf("\n[truncated: a part of %d bytes of output is left out here]\n", len(text))
	keep := min(max(room-len(mark), 0), len(text))
	for keep > 0 {
		head, tail := text[:keep*3/4], text[len(text)-keep/4:]
		for len(head) > 0 && !utf8.ValidString(head[max(0, len(head)-utf8.UTFMax):]) {
			head = head[:len(head)-1]
		}
		for len(tail) > 0 && !utf8.RuneStart(tail[0]) {
			tail = tail[1:]
		}
		cut := head + mark + tail
		if n := size(cut); n <= room {
			return cut
		} else if keep = keep*room/n - 1; keep < 0 { // escapes take room
			break
		}
	}
	return mark
}

// fitRows leaves out rows at the end until the rest takes at most room as JSON.
func (o *codeOutput) fitRows(room int) {
	if o.Rows == nil {
		o.Rows = [][]any{}
	}
	used := 0
	for i, row := range o.Rows {
		if used += size(row) + 1; used > room {
			o.Rows, o.IsTruncated = o.Rows[:i], true
			note := fmt.Sprintf("Only the first %d rows are shown; ask for less at once.", i)
			o.Note = strings.TrimSpace(note + " " + o.Note)
			return
		}
	}
}

// size is how many bytes a value has as JSON.
func size(v any) int {
	b, err := encode(v)
	if err != nil {
		return 0
	}
	return len(b)
}

// encode writes JSON for a reader, not for a browser: <, > and & as they are.
func encode(v any) ([]byte, error) {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return []byte(strings.TrimSuffix(b.String(), "\n")), nil
}
