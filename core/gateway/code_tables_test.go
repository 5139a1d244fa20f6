package gateway_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/gatewaytest"
	"github.com/sallyport-gateway/sallyport/core/gatewaytest/upstream"
	"github.com/sallyport-gateway/sallyport/examples/samples"
)

// A table is there for programs whatever its name is, and one that cannot be
// takes nothing else along: the model is told which and why.
func TestProgramsOverTablesOfAnyName(t *testing.T) {
	t.Parallel()
	up := upstream.OpenAI(t, "sk-model")
	text, dir := openaiOnly(t, up, "sk-model")
	const location = ": {location: ./samples/stores.jsonl}" // small, as there are many
	var others string                                       // SQLite attaches no more than ten files by itself
	for i := range 34 {
		others += fmt.Sprintf(", t%d: {location: ./samples/stores.jsonl}", i)
	}
	widest := strings.Repeat("ö", (240-len("main.sales."))/2) // characters of two bytes
	schema, catalogs := "reviews"+location, ""
	names := []string{"main.sales.reviews", "main.sales.sqlite_log", "sqlite_main.sales.reviews", "main.sales.a-b$c", "main.sales." + widest, "main.sales." + widest + "ö"}
	for _, name := range names[1:] {
		if object, ok := strings.CutPrefix(name, "main.sales."); ok {
			schema += fmt.Sprintf(", %q%s", object, location)
		}
	}
	catalogs = fmt.Sprintf("catalog: {main: {sales: {tables: {%s%s}}}, sqlite_main: {sales: {tables: {reviews%s}}}}\n", schema, others, location)
	at := strings.Index(text, "catalog:")
	text = text[:at] + catalogs + codeSection(t, "") + "\n"
	w := &world{Gateway: gatewaytest.Start(t, text, dir), openai: up}
	w.token = w.Gateway.Token("root@example.com")
	var declared []any
	for _, name := range names {
		declared = append(declared, object{"type": "table", "table": object{"name": name}})
	}
	request := object{"model": gpt, "input": "Compute.", "tools": declared}
	stores, err := os.ReadFile(filepath.Join(dir, "samples", samples.StoresFile))
	if err != nil {
		t.Fatal(err)
	}
	n := bytes.Count(stores, []byte("\n"))
	there, far := names[:len(names)-1], names[len(names)-1]
	calls := []upstream.Call{run(pythonExec, "[len(tables[name]) for name in sorted(tables)]"), run(shellExec, "cat /data/*.csv | wc -l | tr -d ' '")}
	for _, name := range there {
		calls = append(calls, run(sqlExec, "SELECT count(*) FROM "+`"`+strings.ReplaceAll(name, ".", `"."`)+`"`), run(sqlExec, fmt.Sprintf("SELECT count(r.country) FROM %s AS r", name)))
	}
	calls[len(calls)-1] = run(sqlExec, `SELECT count("sqlite_log".country) FROM main.sales.sqlite_log`)
	got := w.programs(t, request, calls...)
	counts := strings.TrimSuffix(strings.Repeat(fmt.Sprintf("%d, ", n), len(there)), ", ")
	if got[0].text() != "["+counts+"]\n" || got[1].text() != fmt.Sprintf("%d\n", len(there)*(n+1)) {
		t.Errorf("Python and shell see %+v", got[:2])
	}
	for i, r := range got[2:] {
		if strings.Contains(calls[i+2].Arguments, "a-b$c AS") { // no name without quotes
			continue
		}
		if r.ExitCode != 0 || fmt.Sprint(r.Rows) != fmt.Sprintf("[[%d]]", n) {
			t.Errorf("SQL %s: %+v", calls[i+2].Arguments, r)
		}
	}
	for i, r := range got {
		if !strings.Contains(r.Note, "The table "+far[:63]+"… is not here: its full name has 241 bytes") {
			t.Errorf("call %d does not tell of the table whose name is too long: %q", i, r.Note)
		}
	}

	for i := range 34 {
		declared = append(declared, object{"type": "table", "table": object{"name": fmt.Sprintf("main.sales.t%d", i)}})
	}
	request["tools"] = declared
	if got := w.programs(t, request, run(sqlExec, "SELECT count(*) > 0 FROM main.sales.t33")); fmt.Sprint(got[0].Rows) != "[[1]]" {
		t.Errorf("with %d tables: %+v", len(declared), got)
	}
	sent := w.openai.Requests()
	var body struct {
		Tools []struct{ Name, Description string }
	}
	if err := json.Unmarshal(sent[len(sent)-1].Body, &body); err != nil {
		t.Fatal(err)
	}
	for _, f := range body.Tools {
		if strings.HasPrefix(f.Name, "system__ai__") && (!strings.Contains(f.Description, there[1]) || strings.Contains(f.Description, far)) {
			t.Errorf("%s is described as %q", f.Name, f.Description)
		}
	}
}
