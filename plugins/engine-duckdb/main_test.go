//go:build cgo

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	duckdb "github.com/duckdb/duckdb-go-bindings"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/confine"
	"github.com/sallyport-gateway/sallyport/sdk/engine"
)

// The children of the tests are this test binary, started as the plugin
// starts itself.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == childArg {
		if filepath.Base(os.Args[0]) != seriesName {
			os.Exit(childMain())
		}
		if err := seriesMain(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if len(os.Args) == 4 && os.Args[1] == bareArg {
		out, err := bareMain(os.Args[2], os.Args[3])
		if err != nil {
			out = "error: " + err.Error()
		}
		fmt.Print(out)
		os.Exit(0)
	}
	if len(os.Args) == 3 && (os.Args[1] == launchArg || os.Args[1] == queryArg) {
		var out string
		var err error
		if os.Args[1] == launchArg {
			err = launchMain(os.Args[2])
		} else {
			out, err = queryMain(os.Args[2])
		}
		if err != nil {
			out = "error: " + err.Error()
		}
		fmt.Print(out)
		os.Exit(0)
	}
	slog.SetDefault(slog.New(slog.DiscardHandler))
	os.Exit(m.Run())
}

const bareArg = "bare-child"

// bareMain narrows the process to the file own and runs sql, with nothing of
// DuckDB switched off.
func bareMain(own, sql string) (string, error) {
	d, err := openDuck()
	if err != nil {
		return "", err
	}
	c := &child{duck: d}
	if err := c.narrow(confine.Policy{ReadFiles: []string{own}, MaxMemory: 512 << 20}, nil); err != nil {
		return "", err
	}
	p, err := d.prepare(sql)
	if err != nil {
		return "", err
	}
	r, err := p.run()
	if err != nil {
		return "", err
	}
	chunk, ok, err := r.next()
	if err != nil || !ok {
		return "", err
	}
	_, types, err := r.columns()
	if err != nil || types[0].name != "VARCHAR" {
		return "done", err
	}
	return string(newColumn(types[0], duckdb.DataChunkGetVector(chunk, 0)).bytes(0)), nil
}

const (
	launchArg = "launch" // narrow the process as a launcher of plugins would, and become queryArg
	queryArg  = "query"  // be a plugin that runs one query over the file own
)

func launchMain(own string) error {
	p := confine.Policy{
		Exec: true, Unix: true, WriteDirs: []string{filepath.Dir(own) + "/run"},
		ReadFiles: []string{own, os.Args[0]}, ReadDirs: confine.SystemDirs(),
	}
	if _, err := confine.Apply(p); err != nil {
		return err
	}
	return syscall.Exec(os.Args[0], []string{os.Args[0], queryArg, own}, nil)
}

func queryMain(own string) (string, error) {
	e := newEngine(config{})
	defer e.Close()
	q := engine.Query{SQL: "SELECT count(*), max(v) FROM a.b.c", Relations: []engine.Relation{table("a.b.c", "csv", own)}}
	for range 2 { // with and without the spare child
		if _, err := all(context.Background(), e, q); err != nil {
			return "", err
		}
	}
	if _, err := e.Inspect(context.Background(), q.SQL); err != nil {
		return "", err
	}
	b, err := all(context.Background(), e, q)
	return rows(b), err
}

func bare(t *testing.T, own, sql string) string {
	t.Helper()
	b, err := exec.Command(os.Args[0], bareArg, own, sql).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	return string(b)
}

func testEngine(t testing.TB, cfg config) *duckEngine {
	t.Helper()
	e := newEngine(cfg)
	t.Cleanup(e.Close)
	return e
}

// all runs q and puts its batches together.
func all(ctx context.Context, e engine.Engine, q engine.Query) (engine.Batch, error) {
	var out engine.Batch
	for b, err := range e.Query(ctx, q) {
		if err != nil {
			return out, err
		}
		if out.Columns == nil {
			out.Columns = b.Columns
		}
		out.Rows = append(out.Rows, b.Rows...)
		out.Truncated = out.Truncated || b.Truncated
	}
	return out, nil
}

// rows joins rows by line feeds, for comparison.
func rows(b engine.Batch) string {
	return string(bytes.Join(func() [][]byte {
		out := make([][]byte, len(b.Rows))
		for i, r := range b.Rows {
			out[i] = r
		}
		return out
	}(), []byte("\n")))
}

func writeFile(t testing.TB, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// parquet writes the result of sql to a file, by DuckDB itself.
func parquet(t testing.TB, path, sql string) string {
	t.Helper()
	d, err := openDuck()
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	if err := d.exec("COPY (" + sql + ") TO " + literal(path) + " (FORMAT parquet)"); err != nil {
		t.Fatal(err)
	}
	return path
}

func table(name, format string, paths ...string) engine.Relation {
	r := engine.Relation{Name: name, Format: format}
	for _, p := range paths {
		r.Files = append(r.Files, engine.File{Path: p})
	}
	return r
}

// reviews is a small table.
func reviews(t testing.TB, dir string) engine.Relation {
	t.Helper()
	return table("main.sales.reviews", "parquet", parquet(t, filepath.Join(dir, "reviews.parquet"),
		"SELECT i AS id, i % 5 + 1 AS stars, 'text ' || i AS text FROM range(1000) t(i)"))
}

func wantCode(t *testing.T, err error, code apierror.Code, text string) {
	t.Helper()
	if apierror.CodeOf(err) != code {
		t.Errorf("error %v has code %q, want %q", err, apierror.CodeOf(err), code)
		return
	}
	if e, ok := errors.AsType[*apierror.Error](err); ok && !strings.Contains(e.Message, text) {
		t.Errorf("message %q, want it to contain %q", e.Message, text)
	}
}

func mustJSON(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func codeOf(s string) apierror.Code { return apierror.Code(s) }

// containsPath reports whether a message tells where files are.
func containsPath(msg, dir string) bool { return strings.Contains(msg, dir) }
