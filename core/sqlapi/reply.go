package sqlapi

import (
	"encoding/json"

	"github.com/google/uuid"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// Reply is the answer to a Statement. Source: Statement Execution API.
type Reply struct {
	StatementID string    `json:"statement_id"`
	Status      Status    `json:"status"`
	Manifest    *Manifest `json:"manifest,omitempty"` // of one that succeeded
	Result      *Chunk    `json:"result,omitempty"`
}

// Status says how a statement ended.
type Status struct {
	State    string `json:"state"` // SUCCEEDED or FAILED
	Error    *Fault `json:"error,omitempty"`
	SQLState string `json:"sql_state,omitempty"` // of an error
}

// Fault is why a statement failed.
type Fault struct {
	Code    string `json:"error_code"`
	Message string `json:"message"`
}

// Manifest describes a result.
type Manifest struct {
	Format    string `json:"format"` // JSON_ARRAY
	Schema    Schema `json:"schema"`
	Chunks    int    `json:"total_chunk_count"` // 1
	Rows      int64  `json:"total_row_count"`   // of the result, after it was cut
	Bytes     int64  `json:"total_byte_count"`
	Truncated bool   `json:"truncated"` // by a limit
}

// Schema is the columns of a result.
type Schema struct {
	Count   int      `json:"column_count"`
	Columns []Column `json:"columns"`
}

// Chunk is the rows of a result, which is never cut into more.
type Chunk struct {
	Index  int             `json:"chunk_index"`
	Offset int64           `json:"row_offset"`
	Rows   int64           `json:"row_count"`
	Data   json.RawMessage `json:"data_array"` // rows of strings or null
}

// faults is how codes of ours read in a Status. Source: Statement Execution
// API, ServiceErrorCode, which has no word for a missing right; SQLSTATE has.
var faults = map[apierror.Code]struct{ code, state string }{
	apierror.Invalid:     {"BAD_REQUEST", "42000"},
	apierror.Unsupported: {"BAD_REQUEST", "0A000"},
	apierror.Denied:      {"BAD_REQUEST", "42501"},
	apierror.NotFound:    {"BAD_REQUEST", "42P01"},
	apierror.TooLarge:    {"BAD_REQUEST", "54000"},
	apierror.RateLimited: {"RESOURCE_EXHAUSTED", ""},
	apierror.Timeout:     {"DEADLINE_EXCEEDED", ""},
	apierror.Canceled:    {"CANCELLED", ""},
	apierror.Unavailable: {"TEMPORARILY_UNAVAILABLE", ""},
}

// Answer is the Reply for what Run gave.
func Answer(r Result, err error) *Reply {
	out := &Reply{StatementID: uuid.Must(uuid.NewV7()).String()}
	if err != nil {
		e := apierror.From(err)
		f, ok := faults[e.Code]
		if !ok {
			f.code = "INTERNAL_ERROR"
		}
		out.Status = Status{State: "FAILED", Error: &Fault{Code: f.code, Message: e.Message}, SQLState: f.state}
		return out
	}
	if r.Columns == nil {
		r.Columns = []Column{}
	}
	out.Status.State = "SUCCEEDED"
	out.Manifest = &Manifest{
		Format: "JSON_ARRAY", Schema: Schema{Count: len(r.Columns), Columns: r.Columns},
		Chunks: 1, Rows: r.Rows, Bytes: int64(len(r.Data)), Truncated: r.Truncated,
	}
	out.Result = &Chunk{Rows: r.Rows, Data: r.Data}
	return out
}
