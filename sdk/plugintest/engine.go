package plugintest

import (
	"context"
	"encoding/json"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/engine"
	"github.com/sallyport-gateway/sallyport/sdk/golden"
)

// EngineOptions says what Engine checks beside the implementation.
type EngineOptions struct {
	Manifest engine.Manifest // what the plugin's main passes to Serve
	Dir      string          // of the golden dialogues; "" means testdata
	Slow     engine.Query    // a query that runs for many seconds; its cancellation is checked. An empty SQL means the engine has none
}

// Engine checks an engine behind gRPC. The dialogues of o.Dir are *.txtar
// files: prose on what the case shows and why, then the sections
//
//	-- file NAME --  any number: data files, written to a directory of the test
//	-- query --      {"sql", "args", "relations", "max_rows", "max_bytes", "max_memory", "wall_ms"}; paths of files are NAMEs, or relative to o.Dir
//	-- inspect --    optional: what Inspect gives for the SQL: engine.Statement, or {"error":{…}}
//	-- result --     the batches put together: {"columns", "rows", "truncated"}, or {"error":{…}}
//
// with any number of queries. `go test -update` rewrites inspect and result.
//
// Beyond the dialogues: the manifest is whole and stable; the first batch has
// the columns and each row is an array of that many values; 32 queries run side
// by side; a canceled query, and one whose reader left, end within a second;
// MaxRows cuts and says so; text that is no SQL is apierror.Invalid; 4 MiB of
// SQL are survived.
func Engine(t testing.TB, impl engine.Engine, o EngineOptions) {
	t.Helper()
	w := &watchedEngine{impl: impl, left: make(chan struct{}, 1)}
	conn, _ := Conn(t, func(s *grpc.Server) { engine.Register(s, w, slog.New(slog.DiscardHandler)) })
	c := &engineChecks{client: engine.NewClient(conn), watched: w}
	run(t, "manifest", func(t testing.TB) { checkEngineManifest(t, o.Manifest) })
	for _, a := range goldens(t, o.Dir, "file", "query", "inspect", "result") {
		run(t, a.Name(), func(t testing.TB) { c.dialogue(t, a) })
	}
	run(t, "no SQL", func(t testing.TB) { c.noSQL(t) })
	if o.Slow.SQL != "" {
		run(t, "slow query canceled", func(t testing.TB) { c.canceled(t, o.Slow) })
	}
}

func checkEngineManifest(t testing.TB, m engine.Manifest) {
	t.Helper()
	if m.Name == "" || m.Version == "" || m.Dialect == "" {
		t.Errorf("manifest: name %q, version %q and dialect %q must not be empty", m.Name, m.Version, m.Dialect)
	}
	if len(m.Formats) == 0 {
		t.Errorf("manifest: formats is empty")
	}
	checkStable(t, m)
}

// engineChecks is an engine under test.
type engineChecks struct {
	client  engine.Engine
	watched *watchedEngine
	loaded  bool // the check with many queries at once was done: once is enough, and a process each is dear
}

// dialogue plays one golden file, and checks each of its queries.
func (c *engineChecks) dialogue(t testing.TB, g archive) {
	t.Helper()
	dir := t.TempDir()
	var q engine.Query
	queries := 0
	for i, s := range g.Sections {
		name, isFile := strings.CutPrefix(s.Name, "file ")
		switch {
		case isFile:
			if err := os.WriteFile(filepath.Join(dir, filepath.Base(name)), []byte(s.Text), 0o600); err != nil {
				t.Fatalf("%s: section %s: %v", g.Path, s.Name, err)
			}
		case s.Name == "query":
			var in golden.Query
			g.read(t, i, &in)
			var err error
			if q, err = in.Engine(dir, filepath.Dir(g.Path)); err != nil {
				t.Fatalf("%s: %v", g.Path, err)
			}
			queries++
		case queries == 0:
			t.Fatalf("%s: section %s comes before any query", g.Path, s.Name)
		case s.Name == "inspect":
			st, err := c.client.Inspect(t.Context(), q.SQL)
			g.expect(t, i, golden.OrError(st, err))
		case s.Name == "result":
			b, err := c.query(t, t.Context(), q)
			g.expect(t, i, golden.OrError(b, err))
			if err == nil {
				c.rules(t, q, b)
			}
		}
	}
	if queries == 0 {
		t.Errorf("%s: no section query", g.Path)
	}
	g.finish(t)
}

// query puts the batches of a query together and checks their form.
func (c *engineChecks) query(t testing.TB, ctx context.Context, q engine.Query) (engine.Batch, error) {
	t.Helper()
	var sum engine.Batch
	first := true
	for b, err := range c.client.Query(ctx, q) {
		if err != nil {
			return sum, err
		}
		if first == (len(b.Columns) == 0) {
			t.Errorf("%s: columns must be in the first batch and in no other", q.SQL)
		}
		if sum.Truncated && len(b.Rows) > 0 {
			t.Errorf("%s: rows follow the batch that is marked as cut", q.SQL)
		}
		if first {
			sum.Columns = b.Columns
		}
		first = false
		sum.Rows = append(sum.Rows, b.Rows...)
		sum.Truncated = sum.Truncated || b.Truncated
	}
	if first {
		t.Errorf("%s: no batch at all; the columns are due also without rows", q.SQL)
	}
	for i, r := range sum.Rows {
		var values []json.RawMessage
		if err := json.Unmarshal(r, &values); err != nil || len(values) != len(sum.Columns) {
			t.Errorf("%s: row %d is %s, want an array of %d values", q.SQL, i, r, len(sum.Columns))
			break
		}
	}
	return sum, nil
}

// rules checks a query that works under load, left early and cut.
func (c *engineChecks) rules(t testing.TB, q engine.Query, want engine.Batch) {
	t.Helper()
	if !c.loaded {
		c.loaded = true
		together(sideBySide, func(int) {
			got, err := c.query(t, t.Context(), q)
			a, errA := golden.Pretty(got)
			b, errB := golden.Pretty(want)
			if err != nil || errA != nil || errB != nil || string(a) != string(b) {
				t.Errorf("%s: with others at its side it gives %s, %v; alone\n%s", q.SQL, a, err, b)
			}
		})
	}
	for range c.client.Query(t.Context(), q) {
		break
	}
	c.idle(t, "a query whose reader left")
	if len(want.Rows) > 1 {
		q.MaxRows = 1
		got, err := c.query(t, t.Context(), q)
		if err != nil || len(got.Rows) != 1 || !got.Truncated {
			t.Errorf("%s: with max_rows 1: %d rows, truncated %v, %v; want one row and truncated", q.SQL, len(got.Rows), got.Truncated, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range c.client.Query(ctx, q) {
		if !apierror.Is(err, apierror.Canceled) {
			t.Errorf("%s: with a canceled context: %v, want canceled", q.SQL, err)
		}
	}
}

// noSQL checks the errors that the author of the SQL can mend.
func (c *engineChecks) noSQL(t testing.TB) {
	t.Helper()
	for _, sql := range []string{"", "   ", "selec nonsense(", "'", "\x00", strings.Repeat("a", largeBytes)} {
		shown := sql[:min(len(sql), 20)]
		if _, err := c.client.Inspect(t.Context(), sql); !apierror.Is(err, apierror.Invalid) && !(apierror.Is(err, apierror.TooLarge) && len(sql) == largeBytes) {
			t.Errorf("Inspect(%q): %v, want invalid", shown, err)
		}
		var last error
		for _, err := range c.client.Query(t.Context(), engine.Query{SQL: sql}) {
			last = err
		}
		if !apierror.Is(last, apierror.Invalid) && !(apierror.Is(last, apierror.TooLarge) && len(sql) == largeBytes) {
			t.Errorf("Query(%q): %v, want invalid", shown, last)
		}
	}
}

// canceled cancels a query that would run for long.
func (c *engineChecks) canceled(t testing.TB, q engine.Query) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	entered := c.watched.next()
	var last error
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, err := range c.client.Query(ctx, q) {
			last = err
		}
	}()
	select {
	case <-entered:
	case <-done:
	}
	cancel()
	<-done
	if !apierror.Is(last, apierror.Canceled) {
		t.Errorf("canceled: %v, want canceled", last)
	}
	c.idle(t, "a canceled query")
}

// idle waits until no query is inside the author's code.
func (c *engineChecks) idle(t testing.TB, what string) {
	t.Helper()
	deadline := time.After(stopWithin)
	for c.watched.inside.Load() > 0 {
		select {
		case <-c.watched.left:
		case <-deadline:
			t.Errorf("%s did not end within %v", what, stopWithin)
			return
		}
	}
}

// watchedEngine is the author's engine with an eye on its queries.
type watchedEngine struct {
	impl    engine.Engine
	inside  atomic.Int64
	left    chan struct{}
	entered atomic.Pointer[chan struct{}]
}

// next is closed when the next query begins.
func (w *watchedEngine) next() <-chan struct{} {
	ch := make(chan struct{})
	w.entered.Store(&ch)
	return ch
}

// Inspect implements engine.Engine.
func (w *watchedEngine) Inspect(ctx context.Context, sql string) (engine.Statement, error) {
	return w.impl.Inspect(ctx, sql)
}

// Query implements engine.Engine.
func (w *watchedEngine) Query(ctx context.Context, q engine.Query) iter.Seq2[engine.Batch, error] {
	return func(yield func(engine.Batch, error) bool) {
		w.inside.Add(1)
		if ch := w.entered.Swap(nil); ch != nil {
			close(*ch)
		}
		defer func() {
			w.inside.Add(-1)
			select {
			case w.left <- struct{}{}:
			default:
			}
		}()
		w.impl.Query(ctx, q)(yield)
	}
}
