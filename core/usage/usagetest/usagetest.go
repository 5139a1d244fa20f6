// Package usagetest is a usage log for tests: a real ledger with real tables in
// a directory of the test's. What is recorded in it can be read back row by row,
// in the order in which it was written.
package usagetest

import (
	"context"
	"fmt"
	"log/slog"
	"math/big"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/core/delta"
	"github.com/sallyport-gateway/sallyport/core/ledger"
	"github.com/sallyport-gateway/sallyport/core/store/storetest"
	"github.com/sallyport-gateway/sallyport/core/tables"
	"github.com/sallyport-gateway/sallyport/core/usage"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// Log is a Recorder and what it writes to.
type Log struct {
	*usage.Recorder
	Tables *tables.Set
	t      testing.TB
}

// New opens a Log with the usage table and the payload tables of these names.
// It ends with the test. statusOf is usage.Config.StatusOf.
func New(t testing.TB, statusOf func(apierror.Code) int, payloads ...string) *Log {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	dir := t.TempDir()
	db := storetest.Open(t)
	defs := []tables.Definition{{Name: usage.UsageTable, Kind: usage.UsageKind()}}
	for _, name := range payloads {
		defs = append(defs, tables.Definition{Name: name, Kind: usage.PayloadKind()})
	}
	// Nothing is committed in the background, so that all records stay readable.
	cfg := tables.Config{FlushAfter: time.Hour, LogBytes: 64 << 20, FullWait: -1}
	if len(payloads) == 0 { // all rows are small, and Fill has less to write
		cfg.SegmentBytes, cfg.LogBytes = 1<<20, 4<<20
	}
	set, err := tables.Open(t.Context(), tables.Dirs{Log: filepath.Join(dir, "log"), Tables: filepath.Join(dir, "tables")}, cfg, defs, db, quiet)
	if err != nil {
		t.Fatalf("tables: %v", err)
	}
	rec, err := usage.New(t.Context(), set, usage.Config{StatusOf: statusOf, SpillDir: dir, Log: quiet})
	if err != nil {
		t.Fatalf("usage: %v", err)
	}
	t.Cleanup(func() {
		if err := rec.Close(); err != nil {
			t.Error(err)
		}
		if err := set.Close(); err != nil {
			t.Error(err)
		}
	})
	return &Log{Recorder: rec, Tables: set, t: t}
}

// Open is how many calls have begun and not ended.
func (l *Log) Open() int { return l.Tables.Log().Stats().Open }

// Fill fills the ledger until it takes no new call, and keeps it so.
func (l *Log) Fill(ctx context.Context) {
	l.t.Helper()
	resume, err := l.Tables.Pause(ctx)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(resume)
	for size := 1 << 19; size > 0; {
		if _, err := l.Tables.Log().Append(ctx, "filler", tables.Header(make([]byte, 0, size), "filler")[:size]); err != nil {
			size /= 2
		}
	}
}

// Row is a row by its columns; a column that is null is not there. A column of
// a struct is several, with a dot in their names; a list is one text. Money is
// in USD, times are left out: see Settled.
type Row map[string]string

// Rows are the usage rows of calls that have ended or were refused. They have
// no column that differs from run to run: no id of the call, no time.
func (l *Log) Rows() []Row { return l.rows(usage.UsageTable, usage.UsageKind()) }

// Payloads are the rows of a payload table.
func (l *Log) Payloads(table string) []Row { return l.rows(table, usage.PayloadKind()) }

// Settled are Rows with the columns that Rows leaves out.
func (l *Log) Settled() []Row { return l.read(usage.UsageTable, usage.UsageKind()) }

var varying = []string{"event_time", "event_date", "invocation_id", "latency_ms", "time_to_first_byte_ms"}

func (l *Log) rows(table string, kind *tables.Kind) []Row {
	l.t.Helper()
	rows := l.read(table, kind)
	for _, r := range rows {
		for _, name := range varying {
			delete(r, name)
		}
	}
	return rows
}

func (l *Log) read(table string, kind *tables.Kind) []Row {
	l.t.Helper()
	records := l.Tables.Log()
	if err := records.Sync(context.Background(), records.Stats().Last); err != nil { // readers see what is synced
		l.t.Fatal(err)
	}
	var rows []Row
	for rec, err := range records.Replay(1) {
		if err != nil {
			l.t.Fatal(err)
		}
		if rec.Kind != ledger.Settled && rec.Kind != ledger.Row {
			continue
		}
		name, body, err := tables.Split(rec.Payload)
		if err != nil || name != table {
			continue
		}
		row, err := kind.Decode(body)
		if err != nil {
			l.t.Fatalf("row %d of %s: %v", rec.Seq, table, err)
		}
		r := Row{}
		r.add("", reflect.ValueOf(row))
		rows = append(rows, r)
	}
	return rows
}

// add adds the columns of v, whose names begin with prefix.
func (r Row) add(prefix string, v reflect.Value) {
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return
		}
		v = v.Elem()
	}
	if v.Kind() == reflect.Struct {
		for f, x := range v.Fields() {
			name, option, _ := strings.Cut(f.Tag.Get("delta"), ",")
			if option == "omitzero" && x.IsZero() {
				continue
			}
			if prefix != "" {
				name = prefix + "." + name
			}
			r.add(name, x)
		}
		return
	}
	text := show(v)
	if strings.HasPrefix(prefix, "price.") { // in USD of 1e-6 per million tokens
		text = decimal(v.Int(), 6)
	}
	if text != "" {
		r[prefix] = text
	}
}

// show is a value as text; "" for an empty one.
func show(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case delta.Unscaled:
		return decimal(int64(x), 12)
	case map[string]string:
		if len(x) == 0 {
			return ""
		}
		return strings.TrimPrefix(fmt.Sprint(x), "map")
	}
	if v.Kind() != reflect.Slice {
		return fmt.Sprint(v.Interface())
	}
	var list []string
	for i := range v.Len() {
		e := v.Index(i)
		if e.Kind() != reflect.Struct {
			list = append(list, fmt.Sprint(e.Interface()))
			continue
		}
		fields := Row{}
		fields.add("", e)
		var text []string
		for f := range e.Type().Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("delta"), ",")
			if s, ok := fields[name]; ok && !slices.Contains(varying, name) {
				text = append(text, s)
			}
		}
		list = append(list, strings.Join(text, " "))
	}
	return strings.Join(list, ", ")
}

// decimal is n with the last digits behind the point, without zeros at its end.
func decimal(n int64, digits int) string {
	scale := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(digits)), nil)
	text := new(big.Rat).SetFrac(big.NewInt(n), scale).FloatString(digits)
	return strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
}
