//go:build !cgo

// Engine-duckdb answers SQL over files with DuckDB. This build has no DuckDB
// in it, because it was made without cgo.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "engine-duckdb was built without cgo, and DuckDB needs it: build it with CGO_ENABLED=1 and a C++ toolchain, or remove it from the plugin directory.")
	os.Exit(1)
}
