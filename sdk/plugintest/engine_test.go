package plugintest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/engine"
	"github.com/sallyport-gateway/sallyport/sdk/plugintest"
)

var liner = engine.Manifest{Name: "liner", Version: "1.0.0", Dialect: "Lines", Formats: []string{"csv"}}

// lines is an engine that does everything right.
type lines struct{}

func (lines) Inspect(_ context.Context, sql string) (engine.Statement, error) {
	name, ok := strings.CutPrefix(sql, "lines of ")
	if !ok {
		return engine.Statement{}, apierror.New(apierror.Invalid, "Say: lines of <table>.")
	}
	return engine.Statement{Kind: "select", Names: []string{name}}, nil
}

func (l lines) Query(ctx context.Context, q engine.Query) iter.Seq2[engine.Batch, error] {
	return func(yield func(engine.Batch, error) bool) {
		st, err := l.Inspect(ctx, q.SQL)
		if err != nil {
			yield(engine.Batch{}, err)
			return
		}
		if st.Names[0] == "ever" {
			<-ctx.Done()
			yield(engine.Batch{}, ctx.Err())
			return
		}
		i := 0
		for i < len(q.Relations) && q.Relations[i].Name != st.Names[0] {
			i++
		}
		if i == len(q.Relations) {
			yield(engine.Batch{}, apierror.New(apierror.Invalid, "There is no table %s.", st.Names[0]))
			return
		}
		if want := []any{int64(1), 1.5, "x", true, nil}; !reflect.DeepEqual(q.Args, want) {
			yield(engine.Batch{}, fmt.Errorf("arguments %#v, want %#v", q.Args, want))
			return
		}
		if !yield(engine.Batch{Columns: []engine.Column{{Name: "line", Type: "VARCHAR"}}}, nil) {
			return
		}
		var out engine.Batch
		for _, f := range q.Relations[i].Files {
			text, err := os.ReadFile(f.Path)
			if err != nil {
				yield(engine.Batch{}, err)
				return
			}
			for line := range strings.Lines(string(text)) {
				if q.MaxRows > 0 && len(out.Rows) == q.MaxRows {
					out.Truncated = true
					break
				}
				out.Rows = append(out.Rows, json.RawMessage(fmt.Sprintf("[%q]", strings.TrimSpace(line))))
			}
		}
		yield(out, nil)
	}
}

var ever = engine.Query{SQL: "lines of ever"}

func TestSampleEngine(t *testing.T) {
	plugintest.Engine(t, lines{}, plugintest.EngineOptions{Manifest: liner, Dir: "testdata/engine", Slow: ever})
}

// mangled is the sample with its batches changed on the way.
type mangled struct {
	lines
	inspect func(string) (engine.Statement, error)
	query   func(ctx context.Context, q engine.Query, yield func(engine.Batch, error) bool)
}

func (m mangled) Inspect(ctx context.Context, sql string) (engine.Statement, error) {
	if m.inspect != nil {
		return m.inspect(sql)
	}
	return m.lines.Inspect(ctx, sql)
}

func (m mangled) Query(ctx context.Context, q engine.Query) iter.Seq2[engine.Batch, error] {
	if m.query == nil {
		return m.lines.Query(ctx, q)
	}
	return func(yield func(engine.Batch, error) bool) { m.query(ctx, q, yield) }
}

func TestBrokenEnginesAreCaught(t *testing.T) {
	t.Parallel()
	// each changes every batch of the sample.
	each := func(f func(*engine.Batch)) mangled {
		return mangled{query: func(ctx context.Context, q engine.Query, yield func(engine.Batch, error) bool) {
			for b, err := range (lines{}).Query(ctx, q) {
				f(&b)
				if !yield(b, err) {
					return
				}
			}
		}}
	}
	var ran atomic.Int64
	tests := []struct {
		name     string
		impl     engine.Engine
		manifest func(*engine.Manifest)
		want     string
	}{
		{name: "manifest without name", impl: lines{}, manifest: func(m *engine.Manifest) { m.Name = "" }, want: "manifest: name"},
		{name: "manifest without formats", impl: lines{}, manifest: func(m *engine.Manifest) { m.Formats = nil }, want: "manifest: formats"},
		{name: "no columns", impl: each(func(b *engine.Batch) { b.Columns = nil }), want: "columns must be in the first batch"},
		{name: "wrong values", impl: each(func(b *engine.Batch) {
			for i := range b.Rows {
				b.Rows[i] = json.RawMessage(`["?"]`)
			}
		}), want: "section result: got"},
		{name: "rows too long", impl: each(func(b *engine.Batch) {
			for i := range b.Rows {
				b.Rows[i] = json.RawMessage(`[1,2]`)
			}
		}), want: "want an array of 1 values"},
		{name: "does not say that it cut", impl: each(func(b *engine.Batch) { b.Truncated = false }), want: "want one row and truncated"},
		{name: "wrong inspection", impl: mangled{inspect: func(sql string) (engine.Statement, error) {
			st, err := lines{}.Inspect(t.Context(), sql)
			st.Kind = "insert"
			return st, err
		}}, want: "section inspect: got"},
		{name: "takes all for SQL", impl: mangled{inspect: func(string) (engine.Statement, error) { return engine.Statement{}, nil }}, want: `Inspect("")`},
		{name: "internal error for bad SQL", impl: mangled{query: func(ctx context.Context, q engine.Query, yield func(engine.Batch, error) bool) {
			for b, err := range (lines{}).Query(ctx, q) {
				if err != nil {
					err = errors.New(err.Error())
				}
				if !yield(b, err) {
					return
				}
			}
		}}, want: `Query("")`},
		{name: "tires after ten queries", impl: mangled{query: func(ctx context.Context, q engine.Query, yield func(engine.Batch, error) bool) {
			if ran.Add(1) > 10 {
				yield(engine.Batch{}, apierror.New(apierror.Unavailable, "Busy."))
			} else {
				lines{}.Query(ctx, q)(yield)
			}
		}}, want: "with others at its side"},
		{name: "deaf to its context", impl: mangled{query: func(ctx context.Context, q engine.Query, yield func(engine.Batch, error) bool) {
			if q.SQL == ever.SQL {
				<-t.Context().Done() // much later
			}
			lines{}.Query(ctx, q)(yield)
		}}, want: "a canceled query did not end"},
	}
	text, err := os.ReadFile("testdata/engine/lines.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "a.txtar"), text, 0o600); err != nil {
				t.Fatal(err)
			}
			m := liner
			if tt.manifest != nil {
				tt.manifest(&m)
			}
			r := &recorder{TB: t}
			plugintest.Engine(r, tt.impl, plugintest.EngineOptions{Manifest: m, Dir: dir, Slow: ever})
			if said := strings.Join(r.said, "\n"); !strings.Contains(said, tt.want) {
				t.Errorf("the kit said %q, want it to mention %q", said, tt.want)
			}
		})
	}
}
