// Command tool-table serves the tool type "table": a table of the catalog that
// the model may query with SQL. It keeps no rows but a few sample values, and
// reads through its Host only, so what it gives is what the caller may read.
package main

import (
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

var manifest = tool.Manifest{
	Type: "table", Version: "1.0.0", Scope: "unity-catalog",
	Object: &tool.ObjectRef{Field: "table.name", Kind: "table", Privilege: "SELECT"},
}

func main() { tool.Serve(manifest, newTables()) }
