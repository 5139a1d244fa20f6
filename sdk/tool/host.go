package tool

import (
	"context"
	"encoding/json"
	"io"
	"iter"
	"net/http"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/engine"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// Host is what the gateway offers a tool during one Open or Call. Every method
// acts with the rights of the caller of the request. After Open or Call has
// returned, each fails with apierror.Canceled.
//
// Host is a struct so that a new ability breaks no author; the abilities
// themselves come from a Service.
type Host struct{ s Service }

// Service is the gateway's side of a Host: one func for each ability. A nil
// func means the ability is not offered; calling it gives apierror.Unsupported.
type Service struct {
	Object   func(ctx context.Context, kind, name string) (Object, error)
	Query    func(ctx context.Context, q Query) iter.Seq2[engine.Batch, error]
	Generate func(ctx context.Context, r *openresponses.Request) iter.Seq2[openresponses.Event, error]
	Embed    func(ctx context.Context, model string, in []string) ([][]float32, error)
	Exec     func(ctx context.Context, p Program) (Output, error)
	List     func(ctx context.Context, dir string) ([]Entry, error)
	Open     func(ctx context.Context, path string) (io.ReadCloser, error)
	Fetch    func(ctx context.Context, target string, r Outbound) (*Inbound, error)
	Progress func(ctx context.Context, p Progress) error
}

// NewHost makes a Host over s. Tool authors need it only in tests.
func NewHost(s Service) *Host { return &Host{s} }

// Object is a named object of the catalog as the caller may see it.
type Object struct {
	Kind    string          `json:"kind"`
	Name    string          `json:"name"` // canonical: catalog.schema.name
	Comment string          `json:"comment,omitempty"`
	Columns []engine.Column `json:"columns,omitempty"` // of a table
	Version string          `json:"version,omitempty"` // changes when its content does; "" if unknown
	Format  string          `json:"format,omitempty"`  // of a table: parquet, csv, json, delta
	Dialect string          `json:"dialect,omitempty"` // of the SQL that reads it: "DuckDB"
	Spec    json.RawMessage `json:"spec,omitempty"`    // of other objects
}

// Query is SQL over what the caller may read in this request: the tables its
// `table` tools declare, and what the declared object reads.
type Query struct {
	SQL      string `json:"sql"`
	Args     []any  `json:"args,omitempty"`
	MaxRows  int    `json:"max_rows,omitempty"`  // 0 means 1000
	MaxBytes int64  `json:"max_bytes,omitempty"` // 0 means 1 MiB
}

// Program is code for the sandbox.
type Program struct {
	Language string `json:"language"` // python, sql, shell
	Code     string `json:"code"`
}

// Output is what a Program gave.
type Output struct {
	Stdout    string `json:"stdout"`
	Stderr    string `json:"stderr"`
	Error     string `json:"error,omitempty"`
	Truncated bool   `json:"truncated,omitempty"`
}

// Entry is a file or directory of a volume.
type Entry struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
	Dir  bool   `json:"dir,omitempty"`
}

// Outbound is a request to one of the operator's named targets. The gateway
// adds host and credential. Range, and headers by which some services take
// another path or method (X-Original-URL, X-HTTP-Method-Override), are not sent
// either. A parameter of Query that the target's URL or credential sets is an
// error.
type Outbound struct {
	Method string      `json:"method"`           // GET, HEAD, POST, PUT, PATCH or DELETE; "" means GET, or POST with a Body
	Path   string      `json:"path"`             // below the target's own, escaped: "v1/hours"; no slash in front, no "..". "" is the target itself
	Query  string      `json:"query,omitempty"`  // escaped, without the "?"
	Header http.Header `json:"header,omitempty"` // credentials, cookies, Host, User-Agent, Accept-Encoding and hop-by-hop headers in it are not sent
	Body   []byte      `json:"body,omitempty"`   // at most 8 MiB
}

// Inbound is the target's reply, whatever its status: 404 and 503 are replies,
// and so is a redirect, which nobody follows. The target's credential is not
// in it. Close Body.
type Inbound struct {
	Status int           `json:"status"`
	Header http.Header   `json:"header,omitempty"` // without cookies and hop-by-hop headers
	Body   io.ReadCloser `json:"-"`                // decompressed; longer than the operator allows (8 MiB) is an error at that byte
}

// Progress tells the client that a long call is alive.
type Progress struct {
	Message  string  `json:"message,omitempty"`
	Fraction float64 `json:"fraction,omitempty"` // 0 to 1; 0 if unknown
}

func missing(ability string) *apierror.Error {
	return apierror.New(apierror.Unsupported, "This gateway does not offer %s to tools here.", ability)
}

// Object returns what is known of a named object. A name the caller may not
// see and one that does not exist give the same apierror.Denied.
func (h *Host) Object(ctx context.Context, kind, name string) (Object, error) {
	if h.s.Object == nil {
		return Object{}, missing("objects")
	}
	return h.s.Object(ctx, kind, name)
}

// Query runs SQL over the tables of this request. See engine.Batch for the
// form of rows. SQL that cannot run gives apierror.Invalid with a message the
// model can act on.
func (h *Host) Query(ctx context.Context, q Query) iter.Seq2[engine.Batch, error] {
	if h.s.Query == nil {
		return func(yield func(engine.Batch, error) bool) { yield(engine.Batch{}, missing("SQL")) }
	}
	return h.s.Query(ctx, q)
}

// Generate asks a model, under the caller's permissions and limits.
func (h *Host) Generate(ctx context.Context, r *openresponses.Request) iter.Seq2[openresponses.Event, error] {
	if h.s.Generate == nil {
		return func(yield func(openresponses.Event, error) bool) { yield(openresponses.Event{}, missing("models")) }
	}
	return h.s.Generate(ctx, r)
}

// Embed turns texts into vectors with an embedding model.
func (h *Host) Embed(ctx context.Context, model string, in []string) ([][]float32, error) {
	if h.s.Embed == nil {
		return nil, missing("embeddings")
	}
	return h.s.Embed(ctx, model, in)
}

// Exec runs a program in the code sandbox.
func (h *Host) Exec(ctx context.Context, p Program) (Output, error) {
	if h.s.Exec == nil {
		return Output{}, missing("the code sandbox")
	}
	return h.s.Exec(ctx, p)
}

// List lists a directory of the declared volume.
func (h *Host) List(ctx context.Context, dir string) ([]Entry, error) {
	if h.s.List == nil {
		return nil, missing("volumes")
	}
	return h.s.List(ctx, dir)
}

// Open reads a file of the declared volume.
func (h *Host) Open(ctx context.Context, path string) (io.ReadCloser, error) {
	if h.s.Open == nil {
		return nil, missing("volumes")
	}
	return h.s.Open(ctx, path)
}

// Fetch calls one of the operator's named targets. An error means that there
// is no reply: apierror.Unsupported when the operator has not set the target,
// Invalid when the request cannot be made, UpstreamTimeout or UpstreamFailed
// when the service does not answer.
func (h *Host) Fetch(ctx context.Context, target string, r Outbound) (*Inbound, error) {
	if h.s.Fetch == nil {
		return nil, missing("targets")
	}
	return h.s.Fetch(ctx, target, r)
}

// Progress reports that a long call is alive.
func (h *Host) Progress(ctx context.Context, p Progress) error {
	if h.s.Progress == nil {
		return nil
	}
	return h.s.Progress(ctx, p)
}
