// Package sqlapi runs one SQL statement for a caller and gives the result in
// the shape of the vendor's Statement Execution API. It knows neither HTTP nor
// tables: the View it is given is the caller's whole authority.
package sqlapi

import (
	"encoding/json"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// What one statement may give. Source for MaxBytes: Statement Execution API,
// the limit of inline results.
const (
	DefaultRows  = 10_000
	MaxRows      = 100_000
	DefaultBytes = 16 << 20
	MaxBytes     = 25 << 20
	// Wall is how long a statement may take.
	Wall = 60 * time.Second
)

// Statement is a request. Fields that are not here are ignored: what they ask
// for (a warehouse, when to stop waiting) makes no difference to the result.
type Statement struct {
	Statement  string      `json:"statement"`
	Catalog    string      `json:"catalog,omitempty"`     // of table names with fewer than three parts
	Schema     string      `json:"schema,omitempty"`      // of table names with one part
	Parameters []Parameter `json:"parameters,omitempty"`  // for the markers :name
	RowLimit   int64       `json:"row_limit,omitempty"`   // 0 means DefaultRows; at most MaxRows
	ByteLimit  int64       `json:"byte_limit,omitempty"`  // 0 means DefaultBytes; at most MaxBytes
	Format     string      `json:"format,omitempty"`      // JSON_ARRAY, which "" means too
	Disposal   string      `json:"disposition,omitempty"` // INLINE, which "" means too

	// Reserve is asked before more of the result is kept in memory, with its
	// bytes; an error ends the statement. Nil allows everything.
	Reserve func(bytes int64) error `json:"-"`
}

// Result is what a statement gave.
type Result struct {
	Columns   []Column
	Data      json.RawMessage // data_array: an array of arrays of strings or null
	Rows      int64
	Truncated bool // by a limit
}

// Validate checks all but what the SQL asks for. The error is apierror.Invalid
// or Unsupported and names the field.
func (s Statement) Validate() error {
	switch {
	case s.Statement == "":
		return apierror.At(apierror.Invalid, "statement", "The field statement is missing: the SQL to run.")
	case s.RowLimit < 0 || s.RowLimit > MaxRows:
		return apierror.At(apierror.Invalid, "row_limit", "row_limit must be between 1 and %d; leave it out for %d.", MaxRows, DefaultRows)
	case s.ByteLimit < 0 || s.ByteLimit > MaxBytes:
		return apierror.At(apierror.Invalid, "byte_limit", "byte_limit must be between 1 and %d; leave it out for %d.", MaxBytes, DefaultBytes)
	case s.Format != "" && s.Format != "JSON_ARRAY":
		return apierror.At(apierror.Unsupported, "format", "This gateway gives results as JSON_ARRAY only.")
	case s.Disposal != "" && s.Disposal != "INLINE":
		return apierror.At(apierror.Unsupported, "disposition", "This gateway gives results with the answer only: INLINE.")
	}
	_, _, err := bind(s.Statement, s.Parameters)
	return err
}
