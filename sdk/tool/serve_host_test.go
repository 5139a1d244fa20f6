package tool_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/engine"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

// during runs f inside a Call over gRPC, with the given gateway behind its Host.
func during(t *testing.T, s tool.Service, f func(ctx context.Context, h *tool.Host) error) {
	t.Helper()
	c := connect(t, calls(func(ctx context.Context, _ tool.Call, h *tool.Host) (tool.Result, error) {
		return tool.Text("done"), f(ctx, h)
	}))
	if _, err := c.Call(t.Context(), tool.Call{}, tool.NewHost(s)); err != nil {
		t.Errorf("Call: %v", err)
	}
}

// check compares what a Host call gave and what the gateway saw of it.
func check(name string, got, want any, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if !reflect.DeepEqual(got, want) {
		return apierror.New(apierror.Invalid, "%s = %+v, want %+v", name, got, want)
	}
	return nil
}

func TestHostCallsThatAnswerOnce(t *testing.T) {
	t.Parallel()
	object := tool.Object{
		Kind: "table", Name: "main.sales.reviews", Comment: "c", Version: "7", Format: "delta", Dialect: "DuckDB",
		Columns: []engine.Column{{Name: "id", Type: "BIGINT", Comment: "key"}}, Spec: json.RawMessage(`{"a":1}`),
	}
	vectors := [][]float32{{1, 2.5}, {-3}}
	output := tool.Output{Stdout: "12\n", Stderr: "w", Error: "E", Truncated: true}
	entries := []tool.Entry{{Name: "a.txt", Size: 1 << 40}, {Name: "d", Dir: true}}
	during(t, tool.Service{
		Object: func(_ context.Context, kind, name string) (tool.Object, error) {
			return object, check("gateway object", []string{kind, name}, []string{"table", "main.sales.reviews"}, nil)
		},
		Embed: func(_ context.Context, model string, in []string) ([][]float32, error) {
			return vectors, check("gateway embed", append(in, model), []string{"a", "b", "m"}, nil)
		},
		Exec: func(_ context.Context, p tool.Program) (tool.Output, error) {
			return output, check("gateway exec", p, tool.Program{Language: "python", Code: "print(12)"}, nil)
		},
		List: func(_ context.Context, dir string) ([]tool.Entry, error) {
			return entries, check("gateway list", dir, "/d", nil)
		},
		Progress: func(_ context.Context, p tool.Progress) error {
			return check("gateway progress", p, tool.Progress{Message: "half", Fraction: 0.5}, nil)
		},
	}, func(ctx context.Context, h *tool.Host) error {
		o, err := h.Object(ctx, "table", "main.sales.reviews")
		v, err2 := h.Embed(ctx, "m", []string{"a", "b"})
		out, err3 := h.Exec(ctx, tool.Program{Language: "python", Code: "print(12)"})
		es, err4 := h.List(ctx, "/d")
		return errors.Join(
			check("object", o, object, err), check("embed", v, vectors, err2), check("exec", out, output, err3), check("list", es, entries, err4),
			h.Progress(ctx, tool.Progress{Message: "half", Fraction: 0.5}))
	})
}

func TestHostQuery(t *testing.T) {
	t.Parallel()
	q := tool.Query{SQL: "select ?", Args: []any{nil, true, int64(1) << 60, 1.0, "x"}, MaxRows: 5, MaxBytes: 100}
	columns := []engine.Column{{Name: "n", Type: "BIGINT"}}
	long := json.RawMessage(`["` + strings.Repeat("x", 100<<10) + `"]`)
	during(t, tool.Service{Query: func(_ context.Context, got tool.Query) iter.Seq2[engine.Batch, error] {
		return func(yield func(engine.Batch, error) bool) {
			if err := check("gateway query", got, q, nil); err != nil {
				yield(engine.Batch{}, err)
				return
			}
			_ = yield(engine.Batch{Columns: columns, Rows: []json.RawMessage{json.RawMessage(`[1]`)}}, nil) &&
				yield(engine.Batch{Rows: []json.RawMessage{long, long, long, long, long, long}, Truncated: true}, nil)
		}
	}}, func(ctx context.Context, h *tool.Host) error {
		var got engine.Batch
		pieces := 0
		for b, err := range h.Query(ctx, q) {
			if err != nil {
				return err
			}
			pieces++
			got.Columns = append(got.Columns, b.Columns...)
			got.Rows = append(got.Rows, b.Rows...)
			if got.Truncated {
				return errors.New("something follows the batch that is marked as cut")
			}
			got.Truncated = b.Truncated
		}
		if pieces < 3 {
			return apierror.New(apierror.Invalid, "600 KiB came in %d pieces, want them cut", pieces)
		}
		return check("query", got, engine.Batch{
			Columns: columns, Rows: []json.RawMessage{json.RawMessage(`[1]`), long, long, long, long, long, long}, Truncated: true,
		}, nil)
	})
}

func TestHostQueryArgumentThatCannotBeBound(t *testing.T) {
	t.Parallel()
	during(t, tool.Service{}, func(ctx context.Context, h *tool.Host) error {
		for _, err := range h.Query(ctx, tool.Query{Args: []any{struct{}{}}}) {
			if !apierror.Is(err, apierror.Invalid) || !strings.Contains(err.Error(), "argument 1") {
				return apierror.New(apierror.Invalid, "err = %v, want invalid naming argument 1", err)
			}
		}
		return nil
	})
}

func TestHostGenerate(t *testing.T) {
	t.Parallel()
	events := []openresponses.Event{
		{Type: openresponses.EventItemAdded, Item: &openresponses.Item{Type: openresponses.TypeMessage, Status: openresponses.StatusInProgress, Role: "assistant"}},
		{Type: openresponses.EventTextDelta, Delta: "Hällo <b>"},
		{Type: openresponses.EventCompleted, Terminal: &openresponses.Terminal{Status: openresponses.StatusCompleted, Model: "m"}, Usage: &openresponses.Usage{Input: 3, Output: 1}},
	}
	during(t, tool.Service{Generate: func(_ context.Context, r *openresponses.Request) iter.Seq2[openresponses.Event, error] {
		return func(yield func(openresponses.Event, error) bool) {
			if r.Model != "databricks-demo" || len(r.Input) != 1 || r.Instructions != "be short" {
				yield(openresponses.Event{}, apierror.New(apierror.Invalid, "the gateway got %s", r.AppendJSON(nil)))
				return
			}
			for _, ev := range events {
				if !yield(ev, nil) {
					return
				}
			}
			yield(openresponses.Event{}, apierror.New(apierror.UpstreamFailed, "cut"))
		}
	}}, func(ctx context.Context, h *tool.Host) error {
		r, err := openresponses.ParseRequest([]byte(`{"model":"databricks-demo","instructions":"be short","input":"hi"}`))
		if err != nil {
			return err
		}
		var deltas, types []string
		var usage openresponses.Usage
		for ev, err := range h.Generate(ctx, r) {
			if err != nil {
				types = append(types, string(apierror.CodeOf(err)))
				break
			}
			types, deltas = append(types, ev.Type), append(deltas, ev.Delta)
			if ev.Usage != nil {
				usage = *ev.Usage
			}
		}
		return errors.Join(
			check("events", types, []string{openresponses.EventItemAdded, openresponses.EventTextDelta, openresponses.EventCompleted, "upstream_failed"}, nil),
			check("deltas", strings.Join(deltas, ""), "Hällo <b>", nil),
			check("usage", usage, openresponses.Usage{Input: 3, Output: 1}, nil))
	})
}

func TestMissingAbilities(t *testing.T) {
	t.Parallel()
	during(t, tool.Service{}, func(ctx context.Context, h *tool.Host) error {
		_, object := h.Object(ctx, "", "")
		_, embed := h.Embed(ctx, "", nil)
		_, exec := h.Exec(ctx, tool.Program{})
		_, list := h.List(ctx, "")
		_, open := h.Open(ctx, "")
		_, fetch := h.Fetch(ctx, "", tool.Outbound{})
		errs := []error{object, embed, exec, list, open, fetch}
		for _, err := range h.Query(ctx, tool.Query{}) {
			errs = append(errs, err)
		}
		for _, err := range h.Generate(ctx, &openresponses.Request{Model: "m", Input: []openresponses.Item{openresponses.Text("user", "hi")}}) {
			errs = append(errs, err)
		}
		for i, err := range errs {
			if !apierror.Is(err, apierror.Unsupported) {
				return apierror.New(apierror.Invalid, "ability %d: %v, want unsupported", i, err)
			}
		}
		return errors.Join(check("answers", len(errs), 8, nil), h.Progress(ctx, tool.Progress{}))
	})
}

func TestEarlyStopStopsTheGateway(t *testing.T) {
	t.Parallel()
	stopped := make(chan struct{})
	during(t, tool.Service{Query: endless(nil, stopped)}, func(ctx context.Context, h *tool.Host) error {
		rows := 0
		for b, err := range h.Query(ctx, tool.Query{}) {
			if err != nil {
				return err
			}
			if rows += len(b.Rows); rows >= 3 {
				break
			}
		}
		<-stopped // while the call goes on
		return nil
	})
}

// endless is a query that never ends by itself; it counts what it gave.
func endless(given *atomic.Int64, stopped chan struct{}) func(context.Context, tool.Query) iter.Seq2[engine.Batch, error] {
	row := json.RawMessage(`["` + strings.Repeat("x", 1000) + `"]`)
	return func(context.Context, tool.Query) iter.Seq2[engine.Batch, error] {
		return func(yield func(engine.Batch, error) bool) {
			defer close(stopped)
			for yield(engine.Batch{Rows: []json.RawMessage{row}}, nil) {
				if given != nil {
					given.Add(int64(len(row)))
				}
			}
		}
	}
}

func TestSlowReaderHoldsUpItsOwnQueryOnly(t *testing.T) {
	t.Parallel()
	var given atomic.Int64
	stopped := make(chan struct{})
	during(t, tool.Service{
		Query:  endless(&given, stopped),
		Object: func(context.Context, string, string) (tool.Object, error) { return tool.Object{Name: "o"}, nil },
	}, func(ctx context.Context, h *tool.Host) error {
		next, stop := iter.Pull2(h.Query(ctx, tool.Query{}))
		defer stop()
		if _, err, ok := next(); err != nil || !ok {
			return fmt.Errorf("first batch: %w", err)
		}
		for range 2000 { // other calls go on, and give the query every chance to run ahead
			if _, err := h.Object(ctx, "", ""); err != nil {
				return err
			}
		}
		ahead := given.Load()
		if ahead > 300<<10 {
			return apierror.New(apierror.Invalid, "the gateway sent %d bytes to a reader that read one batch; want about 256 KiB", ahead)
		}
		for given.Load() < 8*ahead+(1<<20) { // and reading on gives credit back
			if _, err, ok := next(); err != nil || !ok {
				return fmt.Errorf("reading on: %w", err)
			}
		}
		return nil
	})
	within(t, stopped, "the end of the query")
}

func TestManyHostCallsSideBySide(t *testing.T) {
	t.Parallel()
	var running, most atomic.Int64
	gate := make(chan struct{})
	open := sync.OnceFunc(func() { close(gate) })
	during(t, tool.Service{Exec: func(ctx context.Context, p tool.Program) (tool.Output, error) {
		n := running.Add(1)
		defer running.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		if n == 32 {
			open() // as many as may be under way are: none waited for another
		}
		select {
		case <-gate:
		case <-ctx.Done():
		}
		return tool.Output{Stdout: p.Code}, ctx.Err()
	}}, func(ctx context.Context, h *tool.Host) error {
		errs := make([]error, 100)
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() {
				code := fmt.Sprint(i)
				out, err := h.Exec(ctx, tool.Program{Code: code})
				errs[i] = check("exec", out.Stdout, code, err)
			})
		}
		wg.Wait()
		return errors.Join(errs...)
	})
	if got := most.Load(); got != 32 {
		t.Errorf("at most %d Host calls ran side by side, want 32", got)
	}
}

func TestAuthorityEndsWithTheCall(t *testing.T) {
	t.Parallel()
	var kept *tool.Host
	var keptCtx context.Context
	inFlight := make(chan error, 1)
	asked := make(chan struct{})
	c := connect(t, calls(func(ctx context.Context, _ tool.Call, h *tool.Host) (tool.Result, error) {
		kept, keptCtx = h, context.WithoutCancel(ctx)
		go func() {
			_, err := h.Exec(keptCtx, tool.Program{})
			inFlight <- err
		}()
		<-asked
		return tool.Text("done"), nil
	}))
	var after atomic.Bool
	h := tool.NewHost(tool.Service{
		Exec: func(ctx context.Context, _ tool.Program) (tool.Output, error) {
			close(asked)
			<-ctx.Done()
			return tool.Output{}, ctx.Err()
		},
		Object: func(context.Context, string, string) (tool.Object, error) {
			after.Store(true)
			return tool.Object{}, nil
		},
	})
	if _, err := c.Call(t.Context(), tool.Call{}, h); err != nil {
		t.Fatal(err)
	}
	if err := <-inFlight; !apierror.Is(err, apierror.Canceled) {
		t.Errorf("the call under way gave %v, want canceled", err)
	}
	_, object := kept.Object(keptCtx, "", "")
	_, open := kept.Open(keptCtx, "")
	errs := []error{object, open, kept.Progress(keptCtx, tool.Progress{})}
	for _, err := range kept.Query(keptCtx, tool.Query{}) {
		errs = append(errs, err)
	}
	for i, err := range errs {
		if !apierror.Is(err, apierror.Canceled) {
			t.Errorf("use %d after return gave %v, want canceled", i, err)
		}
	}
	if len(errs) != 4 || after.Load() {
		t.Errorf("%d answers, want 4; the gateway was asked: %v, want false", len(errs), after.Load())
	}
}

func TestHostCallEndsWithItsOwnContext(t *testing.T) {
	t.Parallel()
	entered, stopped := make(chan struct{}), make(chan struct{})
	during(t, tool.Service{Exec: func(ctx context.Context, _ tool.Program) (tool.Output, error) {
		defer close(stopped)
		close(entered)
		<-ctx.Done()
		return tool.Output{}, ctx.Err()
	}}, func(ctx context.Context, h *tool.Host) error {
		short, cancel := context.WithCancel(ctx)
		errs := make(chan error, 1)
		go func() {
			_, err := h.Exec(short, tool.Program{})
			errs <- err
		}()
		<-entered
		cancel()
		if err := <-errs; !apierror.Is(err, apierror.Canceled) {
			return apierror.New(apierror.Invalid, "err = %v, want canceled", err)
		}
		<-stopped // while the call goes on
		if _, err := h.Exec(short, tool.Program{}); !apierror.Is(err, apierror.Canceled) {
			return apierror.New(apierror.Invalid, "with a context that has ended: err = %v, want canceled", err)
		}
		return ctx.Err()
	})
}
