//go:build cgo

// Engine-duckdb answers SQL over files with DuckDB. The plugin process itself
// never runs a query: every query runs in a child of its own, the same program
// started again, that first narrows itself to exactly the files of the query,
// and is thrown away afterwards.
package main

import (
	"os"

	"github.com/sallyport-gateway/sallyport/sdk/boot"
	"github.com/sallyport-gateway/sallyport/sdk/engine"
)

var manifest = engine.Manifest{
	Name:    "duckdb",
	Version: "0.1.0",
	Dialect: "DuckDB",
	Formats: []string{"parquet", "csv", "json"},
	// Every query runs in a process of its own, which takes its limits from
	// the query: at most what is allowed here.
	Requires: engine.Requires{Programs: true, Memory: 4 << 30},
}

// unconfinedVar set to "allow" runs queries also where the system cannot
// confine them: then a hole in DuckDB or in the check of statements reaches
// what the plugin's user may read.
const unconfinedVar = boot.EnvUnconfined

func main() {
	if len(os.Args) == 2 && os.Args[1] == childArg {
		os.Exit(childMain())
	}
	e := newEngine(config{Unconfined: os.Getenv(unconfinedVar) == "allow"})
	engine.Serve(manifest, e)
	e.Close()
}
