package gateway_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/gatewaytest/upstream"
	"github.com/sallyport-gateway/sallyport/examples/samples"
)

// canary is what no query may ever see.
const canary = "CANARY-CONTENT-4711"

// guarded is a world with tables that alice may not read, or that cannot be
// read, and with bob, who may use models only.
func guarded(t *testing.T) *world {
	return newWorld(t, samples.Seed,
		"users: [{name: alice@example.com, groups: [analysts]},", "users: [{name: alice@example.com, groups: [analysts]}, {name: bob@example.com, groups: [modelers]},",
		"    - {to: analysts, privileges: [EXECUTE], on: schema system.ai}", "    - {to: analysts, privileges: [EXECUTE], on: schema system.ai}\n"+
			"    - {to: modelers, privileges: [EXECUTE], on: schema system.ai}\n"+
			"    - {to: analysts, privileges: [SELECT], on: table main.sales.up}\n"+
			"    - {to: analysts, privileges: [SELECT], on: table main.sales.linked}",
		"        reviews: {", "        hidden: {location: ./hidden.csv, format: csv}\n        up: {location: ./up, format: delta}\n        linked: {location: ./linked, format: delta}\n        reviews: {",
	)
}

// What a caller may not read stays unread, whoever asks and however.
func TestGuardedTables(t *testing.T) {
	t.Parallel()
	w := guarded(t)
	t.Run("without SELECT", func(t *testing.T) { noSelectIsRefused(t, w) }) // the first: no model is called
	t.Run("hostile SQL", func(t *testing.T) { hostileSQL(t, w) })
	t.Run("hostile Delta", func(t *testing.T) { hostileDelta(t, w) })
}

// actionable is what a model can do something about.
var actionable = regexp.MustCompile(`is not declared in this request\. Declared tables: main\.sales\.reviews|is not available here; |Only a SELECT statement can run here|Only one statement at a time`)

// The refusal names the table and the privilege, and comes before any model
// call.
func noSelectIsRefused(t *testing.T, w *world) {
	bob := w.Token("bob@example.com")
	refusal := func(token, table string) string {
		t.Helper()
		request := object{"model": claude, "input": "How many?", "tools": []any{object{"type": "table", "table": object{"name": table}}}}
		var texts []string
		for _, stream := range []bool{false, true} {
			request["stream"] = stream
			status, _, raw := w.Post(token, "/ai-gateway/mlflow/v1/responses", request)
			a := read(t, status, raw, false)
			code, message := a.failure()
			if status != 403 || code != "permission_denied" && a.response["error_code"] != "PERMISSION_DENIED" {
				t.Errorf("%s: got %d %s, want 403", table, status, raw)
			}
			texts = append(texts, message)
		}
		if texts[0] != texts[1] {
			t.Errorf("%s: streamed %q, not streamed %q", table, texts[1], texts[0])
		}
		return texts[0]
	}
	text := refusal(bob, "main.sales.reviews")
	if !strings.Contains(text, "main") {
		t.Errorf("got %q, which names nothing", text)
	}
	text = refusal(w.token, "main.sales.hidden")
	if !strings.Contains(text, "main.sales.hidden") || !strings.Contains(text, "SELECT") {
		t.Errorf("got %q, want the table and the privilege named", text)
	}
	absent := refusal(w.token, "main.sales.absent")
	if strings.ReplaceAll(absent, "absent", "hidden") != text {
		t.Errorf("a table that is absent says %q, one that is hidden %q", absent, text)
	}
	if a, b := refusal(bob, "main.sales.reviews"), refusal(bob, "main.sales.absent"); strings.ReplaceAll(b, "absent", "reviews") != a {
		t.Errorf("without rights on the catalog: absent says %q, existing %q", b, a)
	}
	refusal(bob, "elsewhere.sales.reviews")
	if n := len(w.anthropic.Requests()) + len(w.openai.Requests()); n != 0 {
		t.Errorf("providers got %d requests, want none", n)
	}
}

func TestModelNeedsExecute(t *testing.T) {
	t.Parallel()
	w := newWorld(t, samples.Seed, "users: [{name: alice", "users: [{name: bob@example.com}, {name: alice")
	status, _, raw := w.Post(w.Token("bob@example.com"), "/ai-gateway/mlflow/v1/responses", object{"model": claude, "input": "hi"})
	if status != 403 || !strings.Contains(string(raw), "EXECUTE") || len(w.anthropic.Requests()) != 0 {
		t.Errorf("got %d %s and %d model calls", status, raw, len(w.anthropic.Requests()))
	}
}

// SQL that reaches for more than the declared table fails inside the loop with
// words for the model, and reads nothing.
func hostileSQL(t *testing.T, w *world) {
	hidden := filepath.Join(w.dir, "hidden.csv")
	write(t, hidden, "a,b\n"+canary+",1\n")
	out := filepath.Join(w.dir, "out.csv")
	parquet := filepath.Join(w.dir, "samples", "orders.parquet")
	queries := []string{
		"SELECT * FROM main.sales.hidden",
		"SELECT * FROM hidden",
		fmt.Sprintf("SELECT * FROM '%s'", hidden),
		fmt.Sprintf("SELECT * FROM read_csv('%s')", hidden),
		fmt.Sprintf("SELECT * FROM read_csv_auto('%s')", hidden),
		fmt.Sprintf("SELECT * FROM read_text('%s')", hidden),
		fmt.Sprintf("SELECT * FROM read_blob('%s')", hidden),
		fmt.Sprintf("SELECT * FROM read_parquet('%s')", parquet),
		fmt.Sprintf("SELECT * FROM parquet_metadata('%s')", parquet),
		fmt.Sprintf("SELECT * FROM glob('%s/*')", w.dir),
		fmt.Sprintf("SELECT * FROM query('SELECT * FROM read_text(''%s'')')", hidden),
		fmt.Sprintf("SELECT * FROM query_table('%s')", hidden),
		fmt.Sprintf("SELECT (SELECT content FROM read_text('%s')) FROM main.sales.reviews", hidden),
		fmt.Sprintf("WITH x AS (SELECT * FROM read_text('%s')) SELECT * FROM x", hidden),
		fmt.Sprintf("SELECT 1; SELECT * FROM read_text('%s')", hidden),
		fmt.Sprintf("COPY (SELECT 1) TO '%s'", out),
		fmt.Sprintf("COPY main.sales.reviews TO '%s'", out),
		fmt.Sprintf("CREATE TABLE t AS SELECT * FROM read_text('%s')", hidden),
		fmt.Sprintf("ATTACH '%s' AS other", filepath.Join(w.dir, "other.db")),
		fmt.Sprintf("EXPORT DATABASE '%s'", filepath.Join(w.dir, "export")),
		fmt.Sprintf("IMPORT DATABASE '%s'", w.dir),
		"INSTALL httpfs",
		"LOAD httpfs",
		"PRAGMA database_list",
		"PRAGMA table_info('main.sales.reviews')",
		"SET enable_external_access = true",
		"CALL pragma_version()",
		"SELECT getenv('HOME')",
		"SELECT * FROM duckdb_settings()",
		"SELECT * FROM duckdb_secrets()",
		"SELECT * FROM 'https://example.com/x.csv'",
		"DELETE FROM main.sales.reviews",
		"UPDATE main.sales.reviews SET stars = 5",
		"DROP TABLE main.sales.reviews",
	}
	for start := 0; start < len(queries); start += 16 {
		batch := queries[start:min(start+16, len(queries))]
		var calls []upstream.Call
		for _, q := range batch {
			calls = append(calls, sql(q))
		}
		w.anthropic.Script(upstream.Turn{Calls: calls}, upstream.Turn{Text: "I may not."})
		a := w.ask(t, object{"model": claude, "input": "Read everything.", "tools": tools(), "stream": true})
		results := a.results()
		if a.status != 200 || a.text() != "I may not." || len(results) != len(batch) {
			t.Fatalf("got %d %s", a.status, a.raw)
		}
		for i, r := range results {
			if !actionable.MatchString(r) {
				t.Errorf("%s: got %q, want an error the model can act on", batch[i], r)
			}
		}
		if strings.Contains(string(a.raw), canary) {
			t.Errorf("the canary is in the reply: %s", a.raw)
		}
	}
	for _, name := range []string{"out.csv", "other.db", "export"} {
		if _, err := os.Stat(filepath.Join(w.dir, name)); err == nil {
			t.Errorf("a query made %s", name)
		}
	}
	for _, r := range w.anthropic.Requests() {
		if strings.Contains(string(r.Body), canary) {
			t.Error("the canary went to the model")
		}
	}
	w.refused(t)
}

// A Delta table whose log leads out of its directory is not read, and the
// model is told.
func hostileDelta(t *testing.T, w *world) {
	data := filepath.Join(w.dir, "outside.parquet")
	orders, err := os.ReadFile(filepath.Join(w.dir, "samples", "orders.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, data, string(orders))
	schema, err := json.Marshal(object{"type": "struct", "fields": []any{object{"name": "customer", "type": "string", "nullable": true, "metadata": object{}}}})
	if err != nil {
		t.Fatal(err)
	}
	table := func(name, path string) {
		var log strings.Builder
		for _, action := range []object{
			{"protocol": object{"minReaderVersion": 1, "minWriterVersion": 2}},
			{"metaData": object{"id": name, "format": object{"provider": "parquet", "options": object{}}, "schemaString": string(schema), "partitionColumns": []string{}, "configuration": object{}, "createdTime": 0}},
			{"add": object{"path": path, "partitionValues": object{}, "size": len(orders), "modificationTime": 0, "dataChange": true}},
		} {
			b, err := json.Marshal(action)
			if err != nil {
				t.Fatal(err)
			}
			log.Write(append(b, '\n'))
		}
		if err := os.MkdirAll(filepath.Join(w.dir, name, "_delta_log"), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(w.dir, name, "_delta_log", "00000000000000000000.json"), log.String())
	}
	table("up", "../outside.parquet")
	table("linked", "part.parquet")
	if err := os.Symlink(data, filepath.Join(w.dir, "linked", "part.parquet")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"up", "linked"} {
		call := upstream.Call{Name: "main__sales__" + name, Arguments: `{"sql":"SELECT * FROM main.sales.` + name + `"}`}
		w.openai.Script(upstream.Turn{Calls: []upstream.Call{call}}, upstream.Turn{Text: "It cannot be read."})
		a := w.ask(t, object{"model": gpt, "input": "Read.", "stream": true, "tools": []any{object{"type": "table", "table": object{"name": "main.sales." + name}}}})
		if strings.Contains(string(a.raw), "-0") && strings.Contains(string(a.raw), "delivered") {
			t.Errorf("%s was read: %s", name, a.raw)
		}
		if a.status != 200 || a.text() != "It cannot be read." {
			t.Errorf("%s: got %d %s, want a loop that goes on", name, a.status, a.raw)
			continue
		}
		if r := a.results(); len(r) != 1 || !strings.Contains(r[0], "rror") || !strings.Contains(r[0], "main.sales."+name) {
			t.Errorf("%s: got %q, want an error that names the table", name, r)
		}
	}
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// All tool types of the vendor's documentation in one request: one error lists
// every type that is not served here.
func toolTypes(t *testing.T, w *world) {
	named := func(typ, key string) object {
		return object{"type": typ, "name": "A tool", "description": "Does things", typ: object{key: "main.sales.reviews"}}
	}
	list := []any{
		named("genie_space", "space_id"), named("dashboard", "dashboard_id"), named("uc_function", "name"),
		object{"type": "table", "table": object{"name": "main.sales.reviews", "description": "Reads from the customer reviews table"}},
		named("vector_search_index", "name"), named("knowledge_assistant", "knowledge_assistant_id"), named("serving_endpoint", "name"),
		object{"type": "vector_search_index", "name": "Product docs", "vector_search_index": object{"name": "main.sales.docs", "columns": []string{"title", "content"}}},
		named("app", "name"), named("uc_connection", "name"), object{"type": "web_search", "name": "Web search", "web_search": object{}},
		object{"type": "volume", "volume": object{"name": "main.sales.files", "description": "Searches files"}},
	}
	a := w.ask(t, object{"model": claude, "input": "Summarize recent customer reviews.", "tools": list, "stream": true})
	_, message := a.failure()
	if a.status != 400 {
		t.Fatalf("got %d %s", a.status, a.raw)
	}
	for _, typ := range []string{"genie_space", "dashboard", "uc_function", "vector_search_index", "knowledge_assistant", "serving_endpoint", "app", "uc_connection", "web_search", "volume"} {
		if !strings.Contains(message, typ) {
			t.Errorf("%q does not name %s", message, typ)
		}
	}
	a = w.ask(t, object{"model": claude, "input": "x", "tools": []any{object{"type": "tabel", "tabel": object{"name": "main.sales.reviews"}}}})
	if _, message := a.failure(); a.status != 400 || !strings.Contains(message, `"tabel"`) || !strings.Contains(message, `"table"`) && !strings.Contains(message, "table?") {
		t.Errorf("a misspelt type: got %d %s, want a suggestion", a.status, a.raw)
	}
	if n := len(w.anthropic.Requests()); n != 0 {
		t.Errorf("the model was called %d times", n)
	}
}
