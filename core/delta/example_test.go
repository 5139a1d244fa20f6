package delta_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/sallyport-gateway/sallyport/core/delta"
)

func open() (*delta.Dir, func()) {
	path, err := os.MkdirTemp("", "delta")
	if err != nil {
		log.Fatal(err)
	}
	dir, err := delta.MakeDir(path)
	if err != nil {
		log.Fatal(err)
	}
	return dir, func() { dir.Close(); os.RemoveAll(path) }
}

// A batch of rows from a log is committed with the position it goes up to, so
// that reading the log again after a crash adds nothing twice.
func ExampleTable_Append() {
	ctx := context.Background()
	dir, done := open()
	defer done()
	table, err := delta.Create(ctx, dir, delta.Definition{
		Name: "usage",
		Schema: delta.Schema{
			{Name: "id", Type: delta.String, NotNull: true},
			{Name: "at", Type: delta.Timestamp},
			{Name: "tokens", Type: delta.Struct{{Name: "input", Type: delta.Long}, {Name: "output", Type: delta.Long}}},
			{Name: "tags", Type: delta.Map{Key: delta.String, Value: delta.String}},
		},
	}, delta.Options{})
	if err != nil {
		log.Fatal(err)
	}
	type tokens struct {
		Input  int64 `delta:"input"`
		Output int64 `delta:"output"`
	}
	type usage struct {
		ID     string            `delta:"id"`
		At     time.Time         `delta:"at"`
		Tokens *tokens           `delta:"tokens"`
		Tags   map[string]string `delta:"tags"`
	}
	rows := []usage{
		{ID: "resp_1", At: time.Now(), Tokens: &tokens{100, 20}, Tags: map[string]string{"team": "search"}},
		{ID: "resp_2", At: time.Now()},
	}
	position := delta.Txn{AppID: "ledger/usage", Version: 2}
	for range 2 {
		c, err := table.Append(ctx, position, delta.Rows(rows...))
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("version", c.Version, "rows", c.Rows, "replayed", c.Replayed)
	}
	last, ok, err := table.LastTxn(ctx, "ledger/usage")
	fmt.Println(last, ok, err)
	// Output:
	// version 1 rows 2 replayed false
	// version 1 rows 0 replayed true
	// 2 true <nil>
}

// Small files become one, and old rows go.
func ExampleTable_Compact() {
	ctx := context.Background()
	dir, done := open()
	defer done()
	table, err := delta.Create(ctx, dir, delta.Definition{
		Schema: delta.Schema{{Name: "day", Type: delta.Date}, {Name: "n", Type: delta.Integer}},
	}, delta.Options{})
	if err != nil {
		log.Fatal(err)
	}
	for n := range 4 {
		day := time.Date(2026, 11, 20+n, 0, 0, 0, 0, time.UTC)
		if _, err := table.Append(ctx, delta.Txn{}, delta.Rows(delta.Row{day, n})); err != nil {
			log.Fatal(err)
		}
	}
	deleted, err := table.DeleteBefore(ctx, "day", time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC))
	if err != nil {
		log.Fatal(err)
	}
	compacted, err := table.Compact(ctx, delta.CompactOptions{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(deleted.Removed, "file gone,", compacted.Before, "became", compacted.After)

	// The files that were replaced stay for a week, for those who read them.
	vacuumed, err := table.Vacuum(ctx, delta.VacuumOptions{})
	fmt.Println(len(vacuumed), "deleted", err)
	// Output:
	// 1 file gone, 3 became 1
	// 0 deleted <nil>
}

// The files of the latest version, for an engine to read.
func ExampleOpen() {
	ctx := context.Background()
	dir, done := open()
	defer done()
	table, err := delta.Create(ctx, dir, delta.Definition{
		Schema:    delta.Schema{{Name: "id", Type: delta.Long}, {Name: "region", Type: delta.String}},
		Partition: []string{"region"},
	}, delta.Options{})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := table.Append(ctx, delta.Txn{}, delta.Rows(delta.Row{1, "eu"}, delta.Row{2, "us"}, delta.Row{3, "eu"})); err != nil {
		log.Fatal(err)
	}
	snapshot, err := delta.Open(ctx, dir.Path())
	if err != nil {
		log.Fatal(err)
	}
	for _, f := range snapshot.Files {
		fmt.Println(f.Partition)
	}
	// Output:
	// map[region:eu]
	// map[region:us]
}
