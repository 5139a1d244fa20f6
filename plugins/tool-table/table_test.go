package main

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"unicode"
	"unicode/utf8"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/engine"
	"github.com/sallyport-gateway/sallyport/sdk/plugintest"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

func TestTool(t *testing.T) {
	t.Parallel()
	plugintest.Tool(t, newTables(), plugintest.ToolOptions{Manifest: manifest})
}

// gateway is a Host with tables of the given columns; it counts what it is
// asked.
type gateway struct {
	object  func(name string) tool.Object
	rows    func(q tool.Query) ([]json.RawMessage, error)
	objects atomic.Int64
	queries atomic.Int64
}

func (g *gateway) host() *tool.Host {
	return tool.NewHost(tool.Service{
		Object: func(_ context.Context, _, name string) (tool.Object, error) {
			g.objects.Add(1)
			return g.object(name), nil
		},
		Query: func(ctx context.Context, q tool.Query) iter.Seq2[engine.Batch, error] {
			return func(yield func(engine.Batch, error) bool) {
				g.queries.Add(1)
				rows, err := g.rows(q)
				if err != nil {
					yield(engine.Batch{}, err)
					return
				}
				yield(engine.Batch{Columns: []engine.Column{{Name: "a", Type: "VARCHAR"}}, Rows: rows}, ctx.Err())
			}
		},
	})
}

// plainTable is a table of one text column.
func plainTable(version string) func(string) tool.Object {
	return func(name string) tool.Object {
		return tool.Object{Kind: "table", Name: name, Version: version, Columns: []engine.Column{{Name: "a", Type: "VARCHAR"}}}
	}
}

func oneRow(text string) func(tool.Query) ([]json.RawMessage, error) {
	return func(tool.Query) ([]json.RawMessage, error) {
		return []json.RawMessage{json.RawMessage(fmt.Sprintf("[%q]", text))}, nil
	}
}

func declare(names ...string) []tool.Declaration {
	var ds []tool.Declaration
	for i, n := range names {
		ds = append(ds, tool.Declaration{Index: i, Object: n})
	}
	return ds
}

// open opens one table and returns its description.
func open(t *testing.T, ts *tables, h *tool.Host, name string) string {
	t.Helper()
	o, err := ts.Open(t.Context(), declare(name), h)
	if err != nil || len(o.Functions) != 1 {
		t.Fatalf("Open(%s) = %+v, %v", name, o, err)
	}
	return o.Functions[0].Description
}

func TestSecondOpeningMakesNoQuery(t *testing.T) {
	t.Parallel()
	ts, g := newTables(), &gateway{object: plainTable("1"), rows: oneRow("first")}
	first := open(t, ts, g.host(), "m.s.t")
	g.rows = oneRow("second")
	second := open(t, ts, g.host(), "m.s.t")
	if first != second || !strings.Contains(first, "'first'") {
		t.Errorf("descriptions:\n%s\n%s\nwant both with 'first'", first, second)
	}
	if q, o := g.queries.Load(), g.objects.Load(); q != 1 || o != 2 {
		t.Errorf("%d queries, %d objects asked; want one query, and the object each time", q, o)
	}
	g.object = plainTable("2")
	if third := open(t, ts, g.host(), "m.s.t"); !strings.Contains(third, "'second'") {
		t.Errorf("after a new version:\n%s\nwant 'second'", third)
	}
}

func TestSamplesAreSharedOnlyForTheSameView(t *testing.T) {
	t.Parallel()
	base := plainTable("1")("m.s.t")
	views := map[string]func(*tool.Object){
		"name":    func(o *tool.Object) { o.Name = "m.s.u" },
		"version": func(o *tool.Object) { o.Version = "2" },
		"columns": func(o *tool.Object) { o.Columns = append(o.Columns, engine.Column{Name: "b", Type: "INTEGER"}) },
		"comment": func(o *tool.Object) { o.Comment = "other" },
		"spec":    func(o *tool.Object) { o.Spec = json.RawMessage(`{"filter":"region = 'EU'"}`) },
		"none":    func(o *tool.Object) { o.Version = "" },
	}
	for name, change := range views {
		ts := newTables()
		g := &gateway{object: func(string) tool.Object { return base }, rows: oneRow("secret of the first")}
		open(t, ts, g.host(), "m.s.t")
		other := base
		other.Columns = append([]engine.Column(nil), base.Columns...)
		change(&other)
		g = &gateway{object: func(string) tool.Object { return other }, rows: oneRow("mine")}
		for range 2 {
			if d := open(t, ts, g.host(), "m.s.t"); strings.Contains(d, "secret") {
				t.Errorf("another %s: the description shows what was sampled for another view:\n%s", name, d)
			}
		}
		want := int64(1)
		if name == "none" {
			want = 2 // without a version nothing is kept
		}
		if got := g.queries.Load(); got != want {
			t.Errorf("another %s: %d queries, want %d", name, got, want)
		}
	}
}

func TestOpeningsAtOnceSampleOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ts, release := newTables(), make(chan struct{})
		g := &gateway{object: plainTable("1"), rows: func(tool.Query) ([]json.RawMessage, error) {
			<-release
			return oneRow("v")(tool.Query{})
		}}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() { open(t, ts, g.host(), "m.s.t") })
		}
		synctest.Wait()
		wg.Go(func() { // one that gives up while it waits for another's sampling
			if _, err := ts.Open(ctx, declare("m.s.t"), g.host()); !strings.Contains(fmt.Sprint(err), context.Canceled.Error()) {
				t.Errorf("err = %v, want canceled", err)
			}
		})
		synctest.Wait()
		cancel()
		synctest.Wait()
		close(release)
		wg.Wait()
		if got := g.queries.Load(); got != 1 {
			t.Errorf("%d queries, want 1", got)
		}
	})
}

func TestFailedSamplingIsTriedAgain(t *testing.T) {
	t.Parallel()
	ts, g := newTables(), &gateway{object: plainTable("1"), rows: func(tool.Query) ([]json.RawMessage, error) {
		return nil, apierror.New(apierror.Unavailable, "The engine is starting.")
	}}
	if d := open(t, ts, g.host(), "m.s.t"); !strings.Contains(d, "- a VARCHAR\n") {
		t.Errorf("without samples:\n%s", d)
	}
	g.rows = oneRow("v")
	if d := open(t, ts, g.host(), "m.s.t"); !strings.Contains(d, "such as 'v'") {
		t.Errorf("tried again:\n%s", d)
	}
}

func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	ts := &tables{cache: newCache(2)}
	g := &gateway{object: plainTable("1"), rows: oneRow("v")}
	for _, name := range []string{"a", "b", "a", "c", "a"} { // c takes the place of b
		open(t, ts, g.host(), name)
	}
	if got := g.queries.Load(); got != 3 {
		t.Errorf("%d queries for three tables, want 3", got)
	}
	open(t, ts, g.host(), "b")
	if got := g.queries.Load(); got != 4 {
		t.Errorf("%d queries after the oldest was asked again, want 4", got)
	}
	if n, m := len(ts.cache.entries), ts.cache.recent.Len(); n != 2 || m != 2 {
		t.Errorf("%d and %d entries, want 2", n, m)
	}
}

func TestDescriptionIsBounded(t *testing.T) {
	t.Parallel()
	wide := tool.Object{Name: "m.s.wide", Version: "1", Dialect: "DuckDB", Comment: strings.Repeat("é", 5000)}
	for i := range 200 {
		wide.Columns = append(wide.Columns, engine.Column{
			Name: fmt.Sprintf("column_%d", i), Type: "STRUCT(" + strings.Repeat("a INTEGER, ", 40) + ")", Comment: strings.Repeat("c", 400),
		})
	}
	var asked string
	g := &gateway{object: func(name string) tool.Object {
		o := wide
		o.Name = name
		return o
	}, rows: func(q tool.Query) ([]json.RawMessage, error) {
		asked = q.SQL
		return nil, nil
	}}
	var names []string
	for i := range 60 {
		names = append(names, fmt.Sprintf("m.s.%s_%d", strings.Repeat("t", 40), i))
	}
	o, err := newTables().Open(t.Context(), declare(names...), g.host())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range o.Functions {
		d := f.Description
		if len(d) > maxDescription || !utf8.ValidString(d) {
			t.Fatalf("%s: %d bytes, want at most %d of UTF-8", f.Name, len(d), maxDescription)
		}
		if len(d) < maxDescription/2 {
			t.Errorf("%s: only %d bytes of %d are used", f.Name, len(d), maxDescription)
		}
		shown := strings.Count(d, "\n- ")
		if want := fmt.Sprintf("… and %d more columns", 200-shown); shown == 0 || !strings.Contains(d, want) {
			t.Errorf("%s: %d columns are shown, want the line %q", f.Name, shown, want)
		}
		if !strings.Contains(d, "in FROM write "+f.Name) || !strings.Contains(d, " more.\n") {
			t.Errorf("%s: the rules at the end are missing:\n%s", f.Name, d[len(d)-500:])
		}
	}
	if asked != "" {
		t.Errorf("a table of structs alone was sampled with %s", asked)
	}
}

func TestSamplingIsBounded(t *testing.T) {
	t.Parallel()
	o := tool.Object{Name: "m.s.t", Version: "1"}
	for i := range 1000 {
		o.Columns = append(o.Columns, engine.Column{Name: fmt.Sprintf("c%d", i), Type: "INTEGER"})
	}
	var asked tool.Query
	g := &gateway{object: func(string) tool.Object { return o }, rows: func(q tool.Query) ([]json.RawMessage, error) {
		asked = q
		var rows []json.RawMessage
		for i := range 100 {
			rows = append(rows, json.RawMessage(fmt.Sprintf(`["%d%s"]`, i, strings.Repeat("x", 10000))))
		}
		rows[0] = json.RawMessage(`["short"]`)
		rows[99] = json.RawMessage(`no JSON, but far beyond what is read`)
		return rows, nil
	}}
	ts := newTables()
	s, err := ts.cache.get(t.Context(), o, g.host())
	if err != nil || len(s.values["a"]) != 1 || s.values["a"][0] != "'short'" {
		t.Errorf("samples = %+v, %v; want the short value alone", s, err)
	}
	if n := strings.Count(asked.SQL, ",") + 1; n != sampleColumns || asked.MaxRows != sampleRows || asked.MaxBytes != sampleBytes {
		t.Errorf("asked for %d columns, %d rows, %d bytes", n, asked.MaxRows, asked.MaxBytes)
	}
}

func TestAnswerIsBounded(t *testing.T) {
	t.Parallel()
	row := func(n int) json.RawMessage { return json.RawMessage(`["` + strings.Repeat("x", n) + `"]`) }
	many := make([]json.RawMessage, 2000)
	for i := range many {
		many[i] = json.RawMessage(`[1]`)
	}
	tests := []struct {
		name string
		rows []json.RawMessage
		want int // rows
		note string
	}{
		{name: "rows", rows: many, want: 1000, note: "Only the first 1000 rows"},
		{name: "bytes", rows: []json.RawMessage{row(30 << 10), row(30 << 10), row(30 << 10)}, want: 2, note: "Only the first 2 rows"},
		{name: "one row", rows: []json.RawMessage{row(70 << 10)}, want: 0, note: "The first row alone"},
	}
	for _, tt := range tests {
		g := &gateway{rows: func(q tool.Query) ([]json.RawMessage, error) { return tt.rows, nil }}
		r, err := newTables().Call(t.Context(), tool.Call{Function: "m.s.t", Arguments: json.RawMessage(`{"sql":"SELECT 1"}`)}, g.host())
		if err != nil || r.IsError || !r.Truncated {
			t.Errorf("%s: %+v, %v; want a result marked as cut", tt.name, r, err)
			continue
		}
		var got struct {
			IsTruncated bool              `json:"is_truncated"`
			Rows        []json.RawMessage `json:"rows"`
			Note        string            `json:"note"`
		}
		if err := json.Unmarshal([]byte(r.Content[0].Text), &got); err != nil {
			t.Fatal(err)
		}
		if len(got.Rows) != tt.want || !got.IsTruncated || !strings.HasPrefix(got.Note, tt.note) {
			t.Errorf("%s: %d rows, note %q; want %d rows, note %q", tt.name, len(got.Rows), got.Note, tt.want, tt.note)
		}
	}
}

func TestWhoHearsOfAnError(t *testing.T) {
	t.Parallel()
	forTheModel := map[apierror.Code]bool{
		apierror.Invalid: true, apierror.Unsupported: true, apierror.Denied: true, apierror.NotFound: true, apierror.TooLarge: true,
	}
	for _, code := range apierror.Codes {
		g := &gateway{rows: func(tool.Query) ([]json.RawMessage, error) { return nil, apierror.New(code, "Told.") }}
		r, err := newTables().Call(t.Context(), tool.Call{Function: "m.s.t", Arguments: json.RawMessage(`{"sql":"SELECT 1"}`)}, g.host())
		if forTheModel[code] {
			if err != nil || !r.IsError || r.Content[0].Text != "Told." {
				t.Errorf("%s: %+v, %v; want a result for the model", code, r, err)
			}
		} else if apierror.CodeOf(err) != code {
			t.Errorf("%s: %+v, %v; want the error itself", code, r, err)
		}
	}
	g := &gateway{rows: func(tool.Query) ([]json.RawMessage, error) { return []json.RawMessage{json.RawMessage(`[`)}, nil }}
	if _, err := newTables().Call(t.Context(), tool.Call{Arguments: json.RawMessage(`{"sql":"SELECT 1"}`)}, g.host()); !apierror.Is(err, apierror.Internal) {
		t.Errorf("a row that is no JSON: %v, want internal", err)
	}
}

func TestDeclarationWithoutName(t *testing.T) {
	t.Parallel()
	_, err := newTables().Open(t.Context(), []tool.Declaration{{Index: 4}}, (&gateway{}).host())
	if !apierror.Is(err, apierror.Invalid) || !strings.Contains(fmt.Sprint(err), "needs the table's name") {
		t.Errorf("err = %v, want invalid", err)
	}
}

func TestArguments(t *testing.T) {
	t.Parallel()
	tests := []struct{ in, sql, problem string }{
		{in: `{"sql":"SELECT 1"}`, sql: "SELECT 1"},
		{in: ` {"sql" : "SELECT '<&>\u00e9'"} `, sql: "SELECT '<&>é'"},
		{in: ``, problem: "not a JSON object"},
		{in: `null`, problem: "not a JSON object"},
		{in: `["sql"]`, problem: "not a JSON object"},
		{in: `{"sql":"SELECT 1"`, problem: "not a JSON object"},
		{in: `{"sql":"SELECT 1"} {}`, problem: "not a JSON object"},
		{in: `{}`, problem: `"sql" is missing`},
		{in: `{"SQL":"SELECT 1"}`, problem: "no argument 'SQL'"},
		{in: `{"sql":"SELECT 1","limit":3}`, problem: "no argument 'limit'"},
		{in: `{"sql":null}`, problem: `"sql" is not a string`},
		{in: `{"sql":["SELECT 1"]}`, problem: `"sql" is not a string`},
		{in: `{"sql":" \n"}`, problem: `"sql" is empty`},
	}
	for _, tt := range tests {
		sql, problem := arguments(json.RawMessage(tt.in))
		if sql != tt.sql || !strings.Contains(problem, tt.problem) || (problem == "") != (tt.problem == "") {
			t.Errorf("arguments(%s) = %q, %q; want %q, %q", tt.in, sql, problem, tt.sql, tt.problem)
		}
	}
}

func FuzzArguments(f *testing.F) {
	for _, seed := range []string{`{"sql":"SELECT 1"}`, `{"sql":1}`, `{"sql":"a","b":"\u202e\n"}`, `{`, `[]`, `{"sql":"\ud800"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		sql, problem := arguments(raw)
		if (strings.TrimSpace(sql) == "") == (problem == "") {
			t.Errorf("arguments(%q) = %q, %q; want either SQL or a problem", raw, sql, problem)
		}
		if strings.ContainsFunc(problem, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("arguments(%q): the problem %q does not print", raw, problem)
		}
	})
}

func FuzzDescribe(f *testing.F) {
	f.Add("main.sales.reviews", "rating", "stars", `["a"]`)
	f.Add("a.\"b\n", "x\n- y", "c\r\u2028d", `["\n- z BIGINT", 1]`)
	f.Fuzz(func(t *testing.T, name, column, comment, row string) {
		s := samples{columns: []engine.Column{{Name: column}}, values: map[string][]string{}}
		_ = s.add(json.RawMessage(row)) // a bad row is an error, a good one a value
		d := describe(declared{
			Declaration: tool.Declaration{Description: comment}, samples: s,
			object: tool.Object{Name: name, Comment: comment, Columns: []engine.Column{{Name: column, Type: column, Comment: comment}}},
		}, []string{name})
		// Table, Columns:, the column, the SQL, the join, the limits: six lines, whatever the data hold.
		if n := strings.Count(d, "\n"); n != 5 {
			t.Errorf("%d line breaks, want 5:\n%s", n, d)
		}
		for l := range strings.Lines(d) {
			if strings.ContainsFunc(strings.TrimSuffix(l, "\n"), func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("line %q does not print", l)
			}
		}
	})
}
