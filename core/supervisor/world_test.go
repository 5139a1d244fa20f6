package supervisor_test

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/access"
	"github.com/sallyport-gateway/sallyport/core/catalog"
	"github.com/sallyport-gateway/sallyport/core/router"
	"github.com/sallyport-gateway/sallyport/core/store"
	"github.com/sallyport-gateway/sallyport/core/supervisor"
	"github.com/sallyport-gateway/sallyport/core/supervisor/render"
	"github.com/sallyport-gateway/sallyport/core/toolset"
	"github.com/sallyport-gateway/sallyport/core/usage"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/engine"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

// world is a gateway without its outside: real access, catalog and toolset;
// models, tools and engine stand at the sdk interfaces.
type world struct {
	sup   *supervisor.Supervisor
	alice *access.Principal // may read main.sales
	bob   *access.Principal // may not
	tools map[string]served
	model func(ctx context.Context, c router.Call) iter.Seq2[openresponses.Event, error]
	deny  error // of the model check
}

type served struct {
	tool.Tool
	tool.Manifest
}

func newWorld(t testing.TB, limits supervisor.Limits, toolLimits toolset.Limits) *world {
	t.Helper()
	return newRecordedWorld(t, limits, toolLimits, nil)
}

// newRecordedWorld is newWorld with usage rows of the hosted calls.
func newRecordedWorld(t testing.TB, limits supervisor.Limits, toolLimits toolset.Limits, rec *usage.Recorder) *world {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	db, err := store.Open(t.Context(), "sqlite:"+filepath.Join(dir, "state.db"), slog.New(slog.DiscardHandler))
	must(err)
	t.Cleanup(func() { db.Close() })
	acc, err := access.New(access.Config{
		Users: []access.User{{Name: "alice@example.com", Groups: []string{"analysts"}}, {Name: "bob@example.com"}},
		Grants: []access.Grant{
			{To: "analysts", Privileges: []string{"USE CATALOG", "USE SCHEMA", "SELECT"}, On: "catalog main"},
			{To: "analysts", Privileges: []string{"USE TOOL"}, On: "metastore"},
		},
	}, db, slog.New(slog.DiscardHandler))
	must(err)
	t.Cleanup(func() { acc.Close() })
	must(acc.SetObjects("tools", toolset.Objects([]string{"table", "web_search", "acme_chart", "acme_ticket", "acme_echo", "acme_slow"})))
	must(os.WriteFile(filepath.Join(dir, "reviews.csv"), []byte("rating\n5\n"), 0o600))
	must(os.WriteFile(filepath.Join(dir, "orders.csv"), []byte("amount\n1\n"), 0o600))
	cat, err := catalog.New(catalog.Config{"main": {"sales": {Tables: map[string]catalog.Table{
		"reviews": {Location: "reviews.csv"}, "orders": {Location: "orders.csv"},
	}}}}, dir, catalog.Own{}, acc, rows{}, slog.New(slog.DiscardHandler))
	must(err)
	t.Cleanup(func() { cat.Close() })

	w := &world{tools: map[string]served{
		"table":       {tables{}, tool.Manifest{Type: "table", Scope: "unity-catalog", Object: &tool.ObjectRef{Field: "table.name", Kind: "table", Privilege: "SELECT"}}},
		"web_search":  {search{}, tool.Manifest{Type: "web_search", Scope: "model-serving"}},
		"acme_chart":  {charts{}, tool.Manifest{Type: "acme_chart"}},
		"acme_ticket": {tickets{}, tool.Manifest{Type: "acme_ticket"}},
	}}
	set, err := toolset.New(toolset.Deps{
		Tool: func(typ, _ string) (tool.Tool, tool.Manifest, bool) {
			s, ok := w.tools[typ]
			return s.Tool, s.Manifest, ok
		},
		Types: func() []string {
			var types []string
			for typ := range w.tools {
				types = append(types, typ)
			}
			return types
		},
		Scope:  acc.CheckScope,
		View:   func(p *access.Principal) toolset.View { return cat.As(p) },
		Usage:  rec,
		Limits: toolLimits,
	})
	must(err)
	t.Cleanup(set.Close)
	w.sup, err = supervisor.New(supervisor.Deps{
		Check: func(*access.Principal, string) error { return w.deny },
		Generate: func(ctx context.Context, _ *access.Principal, c router.Call) iter.Seq2[openresponses.Event, error] {
			return w.model(ctx, c)
		},
		Tools: set, Limits: limits,
	})
	must(err)
	w.alice, err = acc.Lookup("alice@example.com", []string{"all"}, "")
	must(err)
	w.bob, err = acc.Lookup("bob@example.com", []string{"all"}, "")
	must(err)
	return w
}

// run answers a request body for alice.
func (w *world) run(t testing.TB, ctx context.Context, d render.Dialect, body string, emit func(render.Event) error) ([]byte, error) {
	t.Helper()
	req, err := openresponses.ParseRequest([]byte(body))
	if err != nil {
		return nil, err
	}
	return w.sup.Run(ctx, supervisor.Run{Principal: w.alice, Request: req, Dialect: d, Traceparent: "00-1-2-01"}, emit)
}

// rows is an engine whose every query gives one row.
type rows struct{}

func (rows) Inspect(_ context.Context, sql string) (engine.Statement, error) {
	s := engine.Statement{Kind: "select"}
	for _, n := range []string{"main.sales.reviews", "main.sales.orders", "main.hr.pay"} {
		if strings.Contains(sql, n) {
			s.Names = append(s.Names, n)
		}
	}
	return s, nil
}

func (rows) Query(_ context.Context, q engine.Query) iter.Seq2[engine.Batch, error] {
	return func(yield func(engine.Batch, error) bool) {
		yield(engine.Batch{Columns: []engine.Column{{Name: "n", Type: "BIGINT"}}, Rows: []json.RawMessage{json.RawMessage("[42]")}}, nil)
	}
}

// tables is a table tool: its function runs SQL. Some words in the SQL make it
// misbehave.
type tables struct{}

func (tables) Open(ctx context.Context, ds []tool.Declaration, h *tool.Host) (tool.Opened, error) {
	var o tool.Opened
	for _, d := range ds {
		about, err := h.Object(ctx, "table", d.Object)
		if err != nil {
			return o, err
		}
		o.Functions = append(o.Functions, tool.Function{
			Declaration: d.Index, Name: d.Object, Effect: tool.ReadOnly,
			Description: fmt.Sprintf("Query %s (%d columns).", about.Name, len(about.Columns)),
			Parameters:  json.RawMessage(`{"type":"object","properties":{"sql":{"type":"string"}},"required":["sql"]}`),
		})
	}
	return o, nil
}

func (tables) Call(ctx context.Context, c tool.Call, h *tool.Host) (tool.Result, error) {
	var in struct {
		SQL string `json:"sql"`
	}
	if err := json.Unmarshal(c.Arguments, &in); err != nil {
		return tool.Result{}, apierror.New(apierror.Invalid, "sql must be a string.")
	}
	switch in.SQL {
	case "panic":
		panic("a bug in a tool")
	case "hang":
		<-ctx.Done()
		return tool.Result{}, ctx.Err()
	}
	var out []string
	for b, err := range h.Query(ctx, tool.Query{SQL: in.SQL}) {
		if err != nil {
			return tool.Result{}, err
		}
		for _, r := range b.Rows {
			out = append(out, string(r))
		}
	}
	return tool.Text(strings.Join(out, "\n")), nil
}

// search finds the same page for everything.
type search struct{}

func (search) Open(_ context.Context, ds []tool.Declaration, _ *tool.Host) (tool.Opened, error) {
	return tool.Opened{Functions: []tool.Function{{Declaration: ds[0].Index, Name: "web_search", Description: "Search the web.",
		Parameters: json.RawMessage(`{"type":"object","properties":{"query":{"type":"string"}}}`), Effect: tool.ReadOnly}}}, nil
}

func (search) Call(context.Context, tool.Call, *tool.Host) (tool.Result, error) {
	return tool.Result{Content: []tool.Content{{Type: "text", Text: "Found E."}}, Citations: []tool.Citation{{URL: "https://e.example/", Title: "E"}}}, nil
}

// tickets writes tickets, which a person must agree to.
type tickets struct{}

func (tickets) Open(_ context.Context, ds []tool.Declaration, _ *tool.Host) (tool.Opened, error) {
	return tool.Opened{Functions: []tool.Function{{Declaration: ds[0].Index, Name: "acme.open_ticket", Description: "Open a ticket.",
		Parameters: json.RawMessage(`{"type":"object"}`), Approval: tool.Always}}}, nil
}

func (tickets) Call(_ context.Context, c tool.Call, _ *tool.Host) (tool.Result, error) {
	if strings.Contains(string(c.Arguments), "impossible") {
		return tool.Result{Content: []tool.Content{{Type: "text", Text: "The tracker refused."}}, IsError: true}, nil
	}
	return tool.Text("Ticket 7 with " + string(c.Arguments)), nil
}

// charts draws: its result is text and an image.
type charts struct{}

func (charts) Open(_ context.Context, ds []tool.Declaration, _ *tool.Host) (tool.Opened, error) {
	return tool.Opened{Functions: []tool.Function{{Declaration: ds[0].Index, Name: "chart"}}}, nil
}

func (charts) Call(context.Context, tool.Call, *tool.Host) (tool.Result, error) {
	return tool.Result{Content: []tool.Content{
		{Type: "text", Text: "Two bars."}, {Type: "image", ImageURL: "data:image/png;base64,AA=="}, {Type: "text", Text: "The left is higher."},
	}}, nil
}
