// Package provider is what a translator plugin implements: the pure
// translation of one turn between the gateway's inner language
// (sdk/openresponses) and a model provider's dialect. A translator does no
// I/O: it says which HTTP request to make, the gateway makes it, and hands the
// reply's bytes back. So it needs no network, no key and no files.
package provider

import (
	"context"
	"encoding/json"
	"io"
	"iter"
	"net/http"

	"github.com/sallyport-gateway/sallyport/sdk/boot"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// Translator translates turns for one provider dialect. It is called from many
// goroutines; all state of a turn lives in its Exchange.
type Translator interface {
	// Begin translates the request of one turn. Errors are apierror.Invalid
	// for a request that this provider cannot serve at all, naming the field.
	Begin(ctx context.Context, t Turn) (Exchange, error)
}

// Op is what a turn asks of the provider.
type Op string

// The operations.
const (
	Generate    Op = "generate"
	CountTokens Op = "count_tokens"
	Embed       Op = "embed"
	Compact     Op = "compact"
)

// Turn is one request to one destination. Each attempt begins a new Exchange.
type Turn struct {
	Op      Op
	Account Account
	Model   string                 // the provider's own model name
	Carry   http.Header            // only headers the surface lists, such as anthropic-beta
	Request *openresponses.Request // Generate, CountTokens, Compact
	Embed   *EmbedRequest          // Embed
}

// Account is the operator's entry for a provider: never a key, never a host.
type Account struct {
	Name     string          `json:"name"`               // the key under `providers:`
	Settings json.RawMessage `json:"settings,omitempty"` // the entry's `settings:`, checked against Manifest.Settings
}

// EmbedRequest asks for vectors.
type EmbedRequest struct {
	Input      []string `json:"input"`
	Dimensions int      `json:"dimensions,omitempty"`
}

// Exchange is one turn under way: a request made, a reply to decode. It is
// used by one goroutine. Whoever begins one and will not decode it closes it
// when it is an io.Closer: a Client's holds a connection.
type Exchange interface {
	// Upstream is the HTTP request to make. Nil means none at all, which only
	// a manifest with Offline may do; Decode is then given a zero Reply.
	Upstream() *Upstream
	// Decode reads the provider's reply and emits item and content events and
	// then exactly one terminal event (see Output, which builds them). It
	// reads r.Body as it comes and emits as early as it can. A reply that is
	// an error, is cut, or is not understood ends in an *apierror.Error with
	// one of the Upstream codes; nothing follows an error. Decode never
	// panics, and the events do not depend on how the bytes of the body were
	// split.
	Decode(ctx context.Context, r Reply) iter.Seq2[openresponses.Event, error]
}

// Puller is the ability of an Exchange to be decoded step by step, as
// iter.Pull2 does it of Decode, but without a coroutine: a Client's has it.
// next and stop are what iter.Pull2 gives.
type Puller interface {
	Pull(ctx context.Context, r Reply) (next func() (openresponses.Event, error, bool), stop func())
}

// Upstream is an HTTP request without host and credential.
type Upstream struct {
	Method string      `json:"method"`
	Path   string      `json:"path"` // relative to the account's base URL: "responses", "v1/messages"
	Query  string      `json:"query,omitempty"`
	Header http.Header `json:"header,omitempty"`
	Body   []byte      `json:"-"`
	Stream bool        `json:"stream,omitempty"` // the reply is expected to be a stream
	Lost   []string    `json:"lost,omitempty"`   // fields of the request that this provider has no place for: "input[2].content[0].file_data"
}

// Reply is the provider's answer. Body ends in io.EOF when the provider ended
// it in good order and in another error when it was cut; an *apierror.Error
// keeps its code on the way to a plugin. A Client reads it from a goroutine of
// its own and, when it is an io.Closer, closes it when Decode ends before it
// does.
type Reply struct {
	Status int
	Header http.Header
	Body   io.Reader
}

// EmbedDecoder is the ability of an Exchange to decode vectors.
type EmbedDecoder interface {
	DecodeEmbed(ctx context.Context, r Reply) ([][]float32, *openresponses.Usage, error)
}

// CountDecoder is the ability of an Exchange to decode a token count.
type CountDecoder interface {
	DecodeCount(ctx context.Context, r Reply) (int64, error)
}

// Manifest tells the core, as data, what it needs without asking the plugin;
// `<plugin> describe` prints it.
type Manifest struct {
	Name       string          `json:"name"`    // as in `translator: openai`
	Version    string          `json:"version"` // of the plugin
	Ops        []Op            `json:"ops"`
	Offline    bool            `json:"offline,omitempty"`     // answers without any HTTP
	BaseURL    string          `json:"base_url,omitempty"`    // used when the account names none
	Credential Credential      `json:"credential"`            // how the core adds the account's key
	Carry      []string        `json:"carry,omitempty"`       // client request headers to hand to Begin
	RequestIDs []string        `json:"request_ids,omitempty"` // reply headers with the provider's request id
	Settings   json.RawMessage `json:"settings,omitempty"`    // JSON Schema of Account.Settings; empty means none allowed
	Meter      Meter           `json:"meter"`
	Dialects   []Dialect       `json:"dialects,omitempty"` // that the surfaces and Natives name
	Surfaces   []Surface       `json:"surfaces,omitempty"` // of a plugin that is a Front
	Natives    []Native        `json:"natives,omitempty"`  // what the provider takes as clients write it
	Requires   Requires        `json:"requires,omitzero"`  // beyond its own program
}

// Requires is what a plugin needs beyond its own program.
type Requires = boot.Requires

// Credential is the scheme by which a provider takes its key. The set is
// closed and lives in core; a plugin never sees a key.
type Credential struct {
	Scheme string `json:"scheme"`         // none, bearer, header, query
	Name   string `json:"name,omitempty"` // of the header or query parameter
}

// Meter says where a provider's replies carry token counts, so that the core
// can read usage by itself where it relays replies in a Native dialect: of the
// whole body, or of the data of a server-sent event, then Field.Event is the
// event's type. Stored counts are disjoint.
type Meter struct {
	Fields []Field `json:"fields,omitempty"`
}

// Count names one of the disjoint counts.
type Count string

// The counts.
const (
	Input        Count = "input"
	OutputTokens Count = "output"
	CacheRead    Count = "cache_read"
	CacheWrite   Count = "cache_write"
	CacheWrite1h Count = "cache_write_1h"
	Reasoning    Count = "reasoning"
)

// Op of a Field: how several values in one reply combine.
const (
	Last = "last"
	Max  = "max"
	Add  = "add"
)

// Field is one place of a count.
type Field struct {
	Event string `json:"event,omitempty"` // reply event that carries it; "" = any
	Path  string `json:"path"`            // "usage.cache_read_input_tokens"
	Count Count  `json:"count"`
	Op    string `json:"op"`           // Last, Max, Add
	In    Count  `json:"in,omitempty"` // the total that already includes it; "" when separate
}
