// Package engine is what a SQL engine plugin implements. An engine reads the
// files it is given with each query and nothing else: the list of relations is
// its whole authority.
package engine

import (
	"context"
	"encoding/json"
	"iter"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/boot"
)

// Engine answers SQL over files. One engine serves many queries side by side;
// what one query does must not be visible to another.
type Engine interface {
	// Inspect parses sql and reports its kind and the names it mentions. The
	// answer serves name resolution and messages, never permission. An
	// apierror.Invalid tells what is wrong with the text.
	Inspect(ctx context.Context, sql string) (Statement, error)
	// Query runs one SELECT over exactly q.Relations. Errors that the author
	// of the SQL can mend are apierror.Invalid; a limit reached in time or
	// memory is apierror.Invalid too, naming the limit. The first batch holds
	// the columns, also when there are no rows.
	Query(ctx context.Context, q Query) iter.Seq2[Batch, error]
}

// Manifest describes an engine plugin; `<plugin> describe` prints it.
type Manifest struct {
	Name    string   `json:"name"`    // as in "duckdb"
	Version string   `json:"version"` // of the plugin
	Dialect string   `json:"dialect"` // of its SQL, for the model: "DuckDB"
	Formats []string `json:"formats"` // file formats it reads: parquet, csv, json

	Requires Requires `json:"requires,omitzero"` // beyond its own program and the files of tables
}

// Requires is what a plugin needs beyond its own program.
type Requires = boot.Requires

// Statement is what Inspect found.
type Statement struct {
	Kind  string   `json:"kind"`            // "select", or the lower-case name of what it is instead
	Names []string `json:"names,omitempty"` // table names mentioned, as written, dotted, each once
}

// Query is one statement with everything it may touch and cost.
type Query struct {
	SQL       string
	Args      []any // bound to ?; nil, bool, int64, float64, string
	Relations []Relation

	MaxRows   int           // rows returned; 0 means 1000. More are cut and marked
	MaxBytes  int64         // encoded bytes returned; 0 means 1 MiB
	MaxMemory int64         // of the process that runs it; 0 means 512 MiB
	Wall      time.Duration // 0 means 30 s
}

// Relation is a table the query sees under a dotted name of one to three
// parts. A relation without files is an empty table of the given columns.
type Relation struct {
	Name    string   `json:"name"`              // "main.sales.reviews"
	Format  string   `json:"format"`            // parquet, csv, json (lines)
	Columns []Column `json:"columns,omitempty"` // when known: selected by name, cast, missing ones null. Empty means as the files say
	Files   []File   `json:"files"`
}

// File is one file of a relation.
type File struct {
	Path      string            `json:"path"`                // absolute
	Constants map[string]string `json:"constants,omitempty"` // partition values by column, in text form; absent means null
}

// Column names a column. Type is a SQL type name as the engine writes it
// (BIGINT, DOUBLE, VARCHAR, TIMESTAMP, DECIMAL(10,2), STRUCT(a INTEGER)).
type Column struct {
	Name    string `json:"name"`
	Type    string `json:"type"`
	Comment string `json:"comment,omitempty"`
}

// Batch is a part of a result. Each row is a JSON array in column order:
// integers and decimals as exact JSON numbers, NaN and infinities as strings,
// dates and times as ISO 8601 strings, binary as base64, lists and structs as
// JSON arrays and objects.
type Batch struct {
	Columns   []Column          `json:"columns,omitempty"` // in the first batch
	Rows      []json.RawMessage `json:"rows,omitempty"`
	Truncated bool              `json:"truncated,omitempty"` // in the last batch: MaxRows or MaxBytes cut the result
}
