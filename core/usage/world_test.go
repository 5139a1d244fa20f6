package usage

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/sallyport-gateway/sallyport/core/delta"
	"github.com/sallyport-gateway/sallyport/core/store"
	"github.com/sallyport-gateway/sallyport/core/tables"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// payloadTable is the payload table of a test's world.
const payloadTable = "main.logs.sonnet_payload"

// world is a recorder over tables in a directory of its own.
type world struct {
	dir    string
	tables *tables.Set
	rec    *Recorder
}

// openWorld opens the recorder over dir. The test closes what it has opened.
func openWorld(tb testing.TB, dir string, cfg tables.Config) *world {
	tb.Helper()
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	db, err := store.Open(tb.Context(), "sqlite:"+filepath.Join(dir, "state.db"), log)
	if err != nil {
		tb.Fatal(err)
	}
	set, err := tables.Open(tb.Context(), tables.Dirs{Log: filepath.Join(dir, "log"), Tables: filepath.Join(dir, "tables")}, cfg, []tables.Definition{
		{Name: UsageTable, Kind: UsageKind()},
		{Name: payloadTable, Kind: PayloadKind()},
	}, db, log)
	if err != nil {
		tb.Fatal(err)
	}
	rec, err := New(tb.Context(), set, Config{StatusOf: statusOf, SpillDir: filepath.Join(dir, "spill"), AccountID: "acme", Log: log})
	if err != nil {
		tb.Fatal(err)
	}
	w := &world{dir: dir, tables: set, rec: rec}
	tb.Cleanup(func() {
		w.rec.Close()
		w.tables.Close()
		db.Close()
	})
	return w
}

func statusOf(c apierror.Code) int {
	switch c {
	case apierror.RateLimited:
		return 429
	case apierror.UpstreamTimeout:
		return 504
	}
	return 500
}

var noon = time.Date(2026, 11, 21, 12, 0, 0, 123456000, time.UTC)

// sampleStart is a call as a coding tool makes it.
func sampleStart() Start {
	return Start{
		Source: &Source{
			RequestID: "0a5c7e9e-5a43-4a7c-9f39-58a6ef3f7a11", URL: "/ai-gateway/mlflow/v1/responses", APIType: "mlflow/v1/responses", IP: "10.1.2.3",
			UserAgent: "claude-cli/2.1.329 (external, cli)", ContentType: "text/event-stream", Tags: map[string]string{"team": "search", "cost_centre": "42"},
			Session: "6f1adc1e-8f56-4f2f-8a55-06a2d6a0e9f6", Agent: "a7", Tool: "claude-code", ToolVersion: "2.1.329", Mode: Interactive, Turn: "t3",
		},
		Time: noon, Requester: "ana@example.com", Groups: []string{"analysts", "engineers"},
		Model: "databricks-claude-sonnet-4-5", Provider: "anthropic", DestinationModel: "claude-sonnet-4-5-20250929",
		Price: samplePrice(), EstimatedInput: 1200,
	}
}

func samplePrice() *Price { return &Price{new(3.0), new(15.0), new(0.3), new(3.75), new(6.0)} }

func sampleOutcome() Outcome {
	return Outcome{
		Status: Completed, Served: "claude-sonnet-4-5-20250929", Tier: "standard", FirstByte: 432 * time.Millisecond, Latency: 2345 * time.Millisecond, ToolCalls: 1,
		Attempts: []Attempt{{
			Provider: "anthropic", Model: "claude-sonnet-4-5-20250929", Action: Primary, Status: 200, RequestID: "req_011", Latency: 2340 * time.Millisecond,
			Usage: openresponses.Usage{Input: 1000, CacheRead: 8000, CacheWrite: 500, CacheWrite1h: 20, Output: 300, Reasoning: 40}, Price: samplePrice(),
		}},
	}
}

// sampleRow is the row of the sample call.
func sampleRow() *row {
	s, o := sampleStart(), sampleOutcome()
	r, cfg := new(draft), &Config{StatusOf: statusOf, AccountID: "acme"}
	r.begin(&s, cfg, "019ab3c8-5c8e-7a51-b1f5-0c9d5b3c7e01")
	r.end(&o, cfg.StatusOf)
	return &r.row
}

// committed flushes the table and gives its live rows by column, as its files
// hold them: without the partition column, and a decimal by its digits.
func (w *world) committed(tb testing.TB, table string) []map[string]any {
	tb.Helper()
	if err := w.tables.Fresh(tb.Context(), table); err != nil {
		tb.Fatal(err)
	}
	s, err := delta.Open(tb.Context(), w.tables.Locations()[table])
	if err != nil {
		tb.Fatal(err)
	}
	var rows []map[string]any
	for _, file := range s.Files {
		f, err := os.Open(file.Path)
		if err != nil {
			tb.Fatal(err)
		}
		defer f.Close()
		r := parquet.NewReader(f)
		for {
			row := map[string]any{}
			if err := r.Read(&row); err == io.EOF {
				break
			} else if err != nil {
				tb.Fatal(err)
			}
			for _, v := range row { // the reader gives the values of a map as bytes
				if m, ok := v.(map[string]any); ok {
					for k, v := range m {
						if b, ok := v.(*[]byte); ok {
							m[k] = string(*b)
						}
					}
				}
			}
			rows = append(rows, row)
		}
	}
	return rows
}
