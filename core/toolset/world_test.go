package toolset_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"sync"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/access"
	"github.com/sallyport-gateway/sallyport/core/catalog"
	"github.com/sallyport-gateway/sallyport/core/egress"
	"github.com/sallyport-gateway/sallyport/core/toolset"
	"github.com/sallyport-gateway/sallyport/core/usage"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/engine"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

// world is a Toolset over tools that a test writes. What the caller may see is
// a map; the catalog's own rules are tested where they are.
type world struct {
	*toolset.Toolset
	tools    map[string]plugin
	versions map[string]string // of the objects that exist and are allowed
	closed   map[string]bool   // tool types that nobody may use
	queried  [][]string        // tables of each query
	source   *usage.Source     // of requests
	depth    int               // gateways that requests have passed
	mu       sync.Mutex
	log      logBuffer
}

// logBuffer is what was logged.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

type plugin struct {
	tool.Tool
	tool.Manifest
}

var tableManifest = tool.Manifest{Type: "table", Scope: "unity-catalog", Object: &tool.ObjectRef{Field: "table.name", Kind: "table", Privilege: "SELECT"}}

func newWorld(t testing.TB, limits toolset.Limits) *world {
	t.Helper()
	return newWorldWith(t, limits, nil)
}

// newWorldWith is newWorld with the operator's side of the tool types.
func newWorldWith(t testing.TB, limits toolset.Limits, cfg toolset.Config) *world {
	t.Helper()
	return newWorldFrom(t, func(d *toolset.Deps) { d.Limits, d.Config = limits, cfg })
}

// newWorldFrom is newWorld with what set changes.
func newWorldFrom(t testing.TB, change func(d *toolset.Deps)) *world {
	t.Helper()
	out, err := egress.New(egress.Config{})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		tools:    map[string]plugin{"table": {&double{}, tableManifest}},
		versions: map[string]string{"table main.sales.reviews": "1", "table main.sales.orders": "1", "table main.sales.größe": "1"},
	}
	deps := toolset.Deps{
		Tool: func(typ, _ string) (tool.Tool, tool.Manifest, bool) {
			w.mu.Lock()
			defer w.mu.Unlock()
			p, ok := w.tools[typ]
			return p.Tool, p.Manifest, ok
		},
		Types: func() []string {
			var types []string
			for typ := range w.tools {
				types = append(types, typ)
			}
			return types
		},
		Scope: func(p *access.Principal, scope string) error {
			if !p.HasScope(scope) {
				return apierror.New(apierror.Denied, "The token lacks the scope %s.", scope)
			}
			return nil
		},
		View:   func(*access.Principal) toolset.View { return w },
		Egress: out,
		Log:    slog.New(slog.NewTextHandler(&w.log, nil)),
	}
	change(&deps)
	set, err := toolset.New(deps)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(set.Close)
	w.Toolset = set
	return w
}

func (w *world) Check(kind, name, privilege string) error {
	if _, ok := w.versions[kind+" "+name]; !ok && (kind != access.Tool || w.closed[name]) {
		return apierror.New(apierror.Denied, "No %s on %s %s.", privilege, kind, name)
	}
	return nil
}

func (w *world) Object(_ context.Context, kind, name string) (tool.Object, error) {
	if kind != "table" {
		return tool.Object{}, apierror.New(apierror.Unsupported, "No objects of kind %s.", kind)
	}
	if err := w.Check(kind, name, "SELECT"); err != nil {
		return tool.Object{}, err
	}
	if w.versions[kind+" "+name] == "unreadable" {
		return tool.Object{}, apierror.Wrap(apierror.Unavailable, catalog.ErrUnreadable, "The files of %s cannot be read.", name)
	}
	return tool.Object{Kind: kind, Name: name, Version: w.versions[kind+" "+name]}, nil
}

func (w *world) Query(_ context.Context, q catalog.Query) iter.Seq2[engine.Batch, error] {
	w.mu.Lock()
	w.queried = append(w.queried, q.Tables)
	w.mu.Unlock()
	return func(yield func(engine.Batch, error) bool) {
		for i := range 3 {
			if !yield(engine.Batch{Rows: []json.RawMessage{json.RawMessage(fmt.Sprintf("[%d]", i))}}, nil) {
				return
			}
		}
	}
}

// open opens the tools of a JSON list for a caller with all scopes.
func (w *world) open(t testing.TB, tools string) (*toolset.Set, error) {
	t.Helper()
	return w.openAs(t, &access.Principal{Name: "alice", Scopes: []string{"all"}}, tools)
}

func (w *world) openAs(t testing.TB, p *access.Principal, tools string) (*toolset.Set, error) {
	t.Helper()
	req, err := openresponses.ParseRequest([]byte(`{"model":"m","input":"x","tools":` + tools + `}`))
	if err != nil {
		t.Fatal(err)
	}
	return w.Open(t.Context(), p, req, w.source, w.depth)
}

func names(s *toolset.Set) []string {
	var out []string
	for _, f := range s.Functions() {
		out = append(out, f.Name)
	}
	return out
}

// double is a tool that does what its fields say; by default it offers each
// declared object and answers every call with its arguments.
type double struct {
	open   func(ctx context.Context, ds []tool.Declaration, h *tool.Host) (tool.Opened, error)
	call   func(ctx context.Context, c tool.Call, h *tool.Host) (tool.Result, error)
	mu     sync.Mutex
	opened [][]tool.Declaration
	called []tool.Call
}

func (d *double) Open(ctx context.Context, ds []tool.Declaration, h *tool.Host) (tool.Opened, error) {
	d.mu.Lock()
	d.opened = append(d.opened, slices.Clone(ds))
	d.mu.Unlock()
	if d.open != nil {
		return d.open(ctx, ds, h)
	}
	var o tool.Opened
	for _, x := range ds {
		o.Functions = append(o.Functions, tool.Function{Declaration: x.Index, Name: x.Object, Description: x.Description, State: []byte(x.Object), Effect: tool.ReadOnly})
	}
	return o, nil
}

func (d *double) Call(ctx context.Context, c tool.Call, h *tool.Host) (tool.Result, error) {
	d.mu.Lock()
	d.called = append(d.called, c)
	d.mu.Unlock()
	if d.call != nil {
		return d.call(ctx, c, h)
	}
	return tool.Text(string(c.Arguments)), nil
}
