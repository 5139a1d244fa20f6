package engine_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/engine"
	"github.com/sallyport-gateway/sallyport/sdk/plugintest"
)

// author is an engine made of two funcs.
type author struct {
	inspect func(ctx context.Context, sql string) (engine.Statement, error)
	query   func(ctx context.Context, q engine.Query) iter.Seq2[engine.Batch, error]
}

func (a author) Inspect(ctx context.Context, sql string) (engine.Statement, error) {
	return a.inspect(ctx, sql)
}

func (a author) Query(ctx context.Context, q engine.Query) iter.Seq2[engine.Batch, error] {
	return a.query(ctx, q)
}

func connect(tb testing.TB, e engine.Engine) (engine.Engine, *grpc.Server, *bytes.Buffer) {
	tb.Helper()
	log := new(bytes.Buffer) // read when the call is over
	conn, server := plugintest.Conn(tb, func(s *grpc.Server) { engine.Register(s, e, slog.New(slog.NewTextHandler(log, nil))) })
	return engine.NewClient(conn), server, log
}

// all reads a query to its end.
func all(seq iter.Seq2[engine.Batch, error]) (engine.Batch, error) {
	var sum engine.Batch
	for b, err := range seq {
		if err != nil {
			return sum, err
		}
		sum.Columns = append(sum.Columns, b.Columns...)
		sum.Rows = append(sum.Rows, b.Rows...)
		sum.Truncated = b.Truncated
	}
	return sum, nil
}

// gives is a query that yields the batches and then, if not nil, the error.
func gives(err error, batches ...engine.Batch) func(context.Context, engine.Query) iter.Seq2[engine.Batch, error] {
	return func(context.Context, engine.Query) iter.Seq2[engine.Batch, error] {
		return func(yield func(engine.Batch, error) bool) {
			for _, b := range batches {
				if !yield(b, nil) {
					return
				}
			}
			if err != nil {
				yield(engine.Batch{}, err)
			}
		}
	}
}

func TestInspect(t *testing.T) {
	t.Parallel()
	want := engine.Statement{Kind: "select", Names: []string{"main.sales.reviews", "a\uFFFD"}}
	var seen string
	e, _, _ := connect(t, author{inspect: func(_ context.Context, sql string) (engine.Statement, error) {
		seen = sql
		return engine.Statement{Kind: "select", Names: []string{"main.sales.reviews", "a\xff"}}, nil
	}})
	got, err := e.Inspect(t.Context(), "select 1")
	if err != nil || !reflect.DeepEqual(got, want) || seen != "select 1" {
		t.Errorf("Inspect(%q) = %+v, %v; want %+v", seen, got, err, want)
	}
}

func TestQueryCarriesEverything(t *testing.T) {
	t.Parallel()
	q := engine.Query{
		SQL: "select ?", Args: []any{nil, false, int64(-1) << 62, 2.0, "x"},
		Relations: []engine.Relation{
			{Name: "main.sales.reviews", Format: "parquet", Columns: []engine.Column{{Name: "id", Type: "BIGINT", Comment: "key"}},
				Files: []engine.File{{Path: "/a.parquet", Constants: map[string]string{"day": "2026-01-01"}}, {Path: "/b"}}},
			{Name: "empty", Format: "csv"},
		},
		MaxRows: 10, MaxBytes: 1 << 40, MaxMemory: 1 << 30, Wall: 1500 * time.Millisecond,
	}
	want := engine.Batch{
		Columns: []engine.Column{{Name: "n", Type: "DECIMAL(10,2)"}},
		Rows:    []json.RawMessage{json.RawMessage(`[12345678901234567890.10, "<&>"]`), json.RawMessage(`["` + strings.Repeat("x", 4<<20) + `"]`)}, Truncated: true,
	}
	var seen engine.Query
	e, _, _ := connect(t, author{query: func(ctx context.Context, q engine.Query) iter.Seq2[engine.Batch, error] {
		seen = q
		return gives(nil, want)(ctx, q)
	}})
	got, err := all(e.Query(t.Context(), q))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(seen, q) {
		t.Errorf("the plugin got %+v, want %+v", seen, q)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("Query gave %d columns, %d rows, truncated %v; want them unchanged", len(got.Columns), len(got.Rows), got.Truncated)
	}
}

func TestArguments(t *testing.T) {
	t.Parallel()
	ps, err := engine.EncodeArgs([]any{1, int32(2), float32(0.5)})
	if want := []any{int64(1), int64(2), 0.5}; err != nil || !reflect.DeepEqual(engine.DecodeArgs(ps), want) {
		t.Errorf("EncodeArgs gave %v, %v; want %v", engine.DecodeArgs(ps), err, want)
	}
	e, _, _ := connect(t, author{})
	if _, err := all(e.Query(t.Context(), engine.Query{Args: []any{1, struct{}{}}})); !apierror.Is(err, apierror.Invalid) || !strings.Contains(err.Error(), "argument 2") {
		t.Errorf("err = %v, want invalid naming argument 2", err)
	}
}

func TestColumnsComeAlsoWithoutRows(t *testing.T) {
	t.Parallel()
	columns := []engine.Column{{Name: "n", Type: "BIGINT"}}
	e, _, _ := connect(t, author{query: gives(nil, engine.Batch{Columns: columns})})
	got, err := all(e.Query(t.Context(), engine.Query{}))
	if err != nil || !reflect.DeepEqual(got.Columns, columns) || len(got.Rows) != 0 {
		t.Errorf("Query = %+v, %v; want only columns", got, err)
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	for _, code := range apierror.Codes {
		want := apierror.New(code, "Told as %s.", code)
		e, _, _ := connect(t, author{
			inspect: func(context.Context, string) (engine.Statement, error) {
				return engine.Statement{}, fmt.Errorf("x: %w", want)
			},
			query: gives(want, engine.Batch{Rows: []json.RawMessage{json.RawMessage(`[1]`)}}),
		})
		_, inspect := e.Inspect(t.Context(), "")
		got, query := all(e.Query(t.Context(), engine.Query{}))
		for step, err := range map[string]error{"Inspect": inspect, "Query": query} {
			if e, ok := errors.AsType[*apierror.Error](err); !ok || !reflect.DeepEqual(e, want) {
				t.Errorf("%s: err = %#v, want %#v", step, err, want)
			}
		}
		if len(got.Rows) != 1 {
			t.Errorf("%s: %d rows came before the error, want 1", code, len(got.Rows))
		}
	}
}

func TestOtherErrorsAndPanicsCostOneQuery(t *testing.T) {
	t.Parallel()
	e, _, log := connect(t, author{
		inspect: func(_ context.Context, sql string) (engine.Statement, error) {
			if sql == "panic" {
				panic("secret panic")
			}
			return engine.Statement{}, errors.New("secret text")
		},
		query: func(ctx context.Context, q engine.Query) iter.Seq2[engine.Batch, error] {
			switch q.SQL {
			case "panic":
				panic("secret panic")
			case "error":
				return gives(errors.New("secret text"))(ctx, q)
			}
			return gives(nil, engine.Batch{Truncated: true})(ctx, q)
		},
	})
	for _, sql := range []string{"panic", "error"} {
		_, inspect := e.Inspect(t.Context(), sql)
		_, query := all(e.Query(t.Context(), engine.Query{SQL: sql}))
		for step, err := range map[string]error{"Inspect": inspect, "Query": query} {
			if !apierror.Is(err, apierror.Internal) || strings.Contains(err.Error(), "secret") {
				t.Errorf("%s of %q: err = %v, want internal without the plugin's text", step, sql, err)
			}
		}
	}
	if got, err := all(e.Query(t.Context(), engine.Query{})); err != nil || !got.Truncated {
		t.Errorf("the next query = %+v, %v", got, err)
	}
	if s := log.String(); strings.Count(s, "secret text") != 2 || strings.Count(s, "secret panic") != 2 || !strings.Contains(s, "client_test.go") {
		t.Errorf("the plugin's log does not tell what happened:\n%s", s)
	}
}

func TestRowsTooLarge(t *testing.T) {
	t.Parallel()
	huge := json.RawMessage(`"` + strings.Repeat("x", engine.MaxMessage) + `"`)
	e, _, _ := connect(t, author{query: gives(nil, engine.Batch{Rows: []json.RawMessage{json.RawMessage(`[1]`), huge}})})
	if got, err := all(e.Query(t.Context(), engine.Query{})); !apierror.Is(err, apierror.TooLarge) || len(got.Rows) != 1 {
		t.Errorf("%d rows, err = %v; want one row and too_large", len(got.Rows), err)
	}
}

// forever is a query without end that says when it was stopped, and how.
func forever(stopped chan<- error) func(context.Context, engine.Query) iter.Seq2[engine.Batch, error] {
	return func(ctx context.Context, _ engine.Query) iter.Seq2[engine.Batch, error] {
		return func(yield func(engine.Batch, error) bool) {
			for yield(engine.Batch{Rows: []json.RawMessage{json.RawMessage(`[1]`)}}, nil) {
			}
			stopped <- ctx.Err()
		}
	}
}

func TestStoppingTheLoopStopsTheEngine(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // the bubble ends only when no goroutine is left
		stopped := make(chan error, 1)
		e, _, _ := connect(t, author{query: forever(stopped)})
		n := 0
		for b, err := range e.Query(t.Context(), engine.Query{}) {
			if err != nil {
				t.Errorf("batch %d: %v", n, err)
			}
			if n += len(b.Rows); n >= 5 {
				break
			}
		}
		if err := <-stopped; !errors.Is(err, context.Canceled) {
			t.Errorf("the engine's context: %v, want canceled", err)
		}
	})
}

func TestCancel(t *testing.T) {
	t.Parallel()
	stopped := make(chan error, 1)
	e, _, _ := connect(t, author{query: func(ctx context.Context, _ engine.Query) iter.Seq2[engine.Batch, error] {
		return func(yield func(engine.Batch, error) bool) {
			if yield(engine.Batch{Columns: []engine.Column{{Name: "n"}}}, nil) {
				<-ctx.Done()
				stopped <- ctx.Err()
			}
		}
	}})
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	gone := errors.New("client gone")
	var last error
	for b, err := range e.Query(ctx, engine.Query{}) {
		if len(b.Columns) > 0 {
			cancel(gone)
		}
		last = err
	}
	if !apierror.Is(last, apierror.Canceled) || !errors.Is(last, gone) {
		t.Errorf("err = %v, want canceled by %v", last, gone)
	}
	if err := <-stopped; !errors.Is(err, context.Canceled) {
		t.Errorf("the engine's context: %v, want canceled", err)
	}
	if _, err := e.Inspect(ctx, ""); !apierror.Is(err, apierror.Canceled) {
		t.Errorf("Inspect with an ended context: %v, want canceled", err)
	}
}

func TestEngineDeath(t *testing.T) {
	t.Parallel()
	e, server, _ := connect(t, author{query: func(ctx context.Context, _ engine.Query) iter.Seq2[engine.Batch, error] {
		return func(yield func(engine.Batch, error) bool) {
			yield(engine.Batch{Columns: []engine.Column{{Name: "n"}}}, nil)
			<-ctx.Done()
		}
	}})
	var last error
	for b, err := range e.Query(t.Context(), engine.Query{}) {
		if len(b.Columns) > 0 {
			go server.Stop()
		}
		last = err
	}
	_, inspect := e.Inspect(t.Context(), "")
	_, query := all(e.Query(t.Context(), engine.Query{}))
	for step, err := range map[string]error{"in mid-query": last, "Inspect afterwards": inspect, "Query afterwards": query} {
		if !apierror.Is(err, apierror.Unavailable) {
			t.Errorf("%s: err = %v, want unavailable", step, err)
		}
	}
}

func TestConcurrentQueries(t *testing.T) {
	t.Parallel()
	e, _, _ := connect(t, author{query: func(ctx context.Context, q engine.Query) iter.Seq2[engine.Batch, error] {
		row := engine.Batch{Rows: []json.RawMessage{json.RawMessage(q.SQL)}}
		return gives(nil, row, row, row)(ctx, q)
	}})
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			row := json.RawMessage(fmt.Sprintf("[%d]", i))
			got, err := all(e.Query(t.Context(), engine.Query{SQL: string(row)}))
			if want := []json.RawMessage{row, row, row}; err != nil || !reflect.DeepEqual(got.Rows, want) {
				t.Errorf("query %d = %s, %v; want %s", i, got.Rows, err, want)
			}
		})
	}
	wg.Wait()
}
