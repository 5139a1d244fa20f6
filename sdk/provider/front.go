package provider

import (
	"context"
	"io"
	"iter"
	"net/http"

	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// Front is for dialects that clients speak: it reads a client's request into
// the inner language and writes the model's events in the client's dialect. A
// Translator that implements it as well offers the surfaces of its Manifest.
// It is called from many goroutines; all state of a request lives in its
// Dialogue.
type Front interface {
	// Accept reads a request. Errors are apierror.Invalid, naming the field as
	// the client wrote it, or apierror.Unsupported.
	Accept(ctx context.Context, r ClientRequest) (Dialogue, error)
}

// ClientRequest is what a client asked, without its credential.
type ClientRequest struct {
	Surface string      `json:"surface"`          // Surface.Name
	Route   string      `json:"route"`            // SurfaceRoute.Path
	Model   string      `json:"model,omitempty"`  // from the path, where the route has it there
	Stream  bool        `json:"stream,omitempty"` // the route says that the reply is a stream; where the body says so, the Front reads it there
	Query   string      `json:"query,omitempty"`
	Header  http.Header `json:"header,omitempty"` // what the surface lists in Carry
	Body    []byte      `json:"-"`
}

// Dialogue is one client's request under way. One goroutine uses it. Whoever
// will not have its reply written closes it when it is an io.Closer.
type Dialogue interface {
	// Asked is the request in the inner language.
	Asked() Asked
	// Write writes the reply to a Generate as the events come, each Write to w
	// with whole server-sent events, or the whole JSON body when the client did
	// not ask for a stream. An error among the events ends a stream with the
	// dialect's own terminal event, and Write returns nil; where the dialect has
	// none, it returns that error, and the connection is broken off. Where nothing
	// has been written yet and no stream was asked for, Write returns that error
	// and writes nothing.
	Write(ctx context.Context, events iter.Seq2[openresponses.Event, error], w io.Writer) error
}

// Asked is what a client asked for.
type Asked struct {
	Op      Op                     `json:"op"`
	Model   string                 `json:"model,omitempty"`  // as the client named it
	Stream  bool                   `json:"stream,omitempty"` // the reply is a stream of server-sent events
	Lost    []string               `json:"lost,omitempty"`   // fields, as the client wrote them, that cannot be carried to any provider
	Request *openresponses.Request `json:"-"`                // Generate, CountTokens
	Embed   *EmbedRequest          `json:"-"`                // Embed
}

// CountWriter is the ability of a Dialogue to write a token count as JSON.
type CountWriter interface {
	WriteCount(ctx context.Context, tokens int64, w io.Writer) error
}

// EmbedWriter is the ability of a Dialogue to write vectors as JSON.
type EmbedWriter interface {
	WriteEmbed(ctx context.Context, vectors [][]float32, usage *openresponses.Usage, w io.Writer) error
}

// Surface is a family of paths on which clients speak one dialect or several.
type Surface struct {
	Name   string         `json:"name"`             // "anthropic": the key under `surfaces:`
	Base   string         `json:"base"`             // "/anthropic"; served below /ai-gateway too
	Carry  []string       `json:"carry,omitempty"`  // client request headers to hand to Accept
	Probes []string       `json:"probes,omitempty"` // paths below Base that clients ask for without a token to see that somebody is there; "" is Base itself
	Models string         `json:"models,omitempty"` // path of the list of models: "/v1/models"; "" for none
	Routes []SurfaceRoute `json:"routes"`
}

// SurfaceRoute is one path of a surface; the method is POST.
type SurfaceRoute struct {
	// Path below Base: "/v1/messages". The segment {model} stands for the model's
	// name and may be followed by a colon and a method, as in
	// "/v1beta/models/{model}:generateContent"; without it the name is the member
	// `model` of the body.
	Path    string `json:"path"`
	Op      Op     `json:"op"`
	Dialect string `json:"dialect"`          // name of a Dialect of the same manifest
	Stream  string `json:"stream,omitempty"` // StreamBody (""), StreamAlways or StreamNever
	// Translated keeps the route from being relayed as it is: what its clients
	// send is not what the dialect's providers take.
	Translated bool `json:"translated,omitempty"`
}

// Where a route says whether the reply is a stream.
const (
	StreamBody   = ""       // the member `stream` of the body
	StreamAlways = "always" // it always is
	StreamNever  = "never"  // it never is
)

// Dialect is a way to write requests and replies, known well enough to relay
// them between a client and a provider that both speak it.
type Dialect struct {
	Name string `json:"name"` // "anthropic-messages", "openai-responses", "openai-chat", "gemini"
	// Errors is the form of an error answer, of a closed set in core: "openai",
	// "anthropic", "gemini" or "openresponses".
	Errors string `json:"errors"`
	// Ends are the signs of a stream's last event: the event's type, or the whole
	// text behind `data:`. Empty: a stream ends where the reply does.
	Ends []string `json:"ends,omitempty"`
	// Failures are the types of events, or top-level members of data without a
	// type, that mean the stream has failed.
	Failures []string `json:"failures,omitempty"`
	// Cut ends a stream that the provider did not end, as it goes to the client:
	// $MESSAGE is replaced by the reason as a JSON string. Empty: the connection
	// is closed.
	Cut string `json:"cut,omitempty"`
	// Ping is sent in a translated stream after some silence. Empty: a comment.
	Ping string `json:"ping,omitempty"`
	// State tells that the dialect has a place for opaque state; for one that has
	// none the core keeps it between turns.
	State bool `json:"state,omitempty"`
	// Model are the paths of the model's name in a reply, in the data of an event
	// or in the whole body, for a dialect whose clients compare it with the name
	// that they asked for: the core writes that one there. Empty: a relayed reply
	// keeps the provider's name.
	Model []string `json:"model,omitempty"`
	// MaxTokens are the paths of the members that bound the reply's length:
	// "max_tokens", "generationConfig.maxOutputTokens".
	MaxTokens []string `json:"max_tokens,omitempty"`
	// Session are the paths of members that tell which conversation a request
	// belongs to, the first that is there counts: "prompt_cache_key". A path
	// behind a member that is a string holding JSON goes on inside it:
	// "metadata.user_id.session_id".
	Session []string `json:"session,omitempty"`
	// Text are the paths, within the data of one event or the body of a reply, of
	// what the model wrote; they serve only to estimate what was not counted.
	Text []string `json:"text,omitempty"`
}

// Native is a dialect that a provider speaks itself: requests in it go there
// without being translated.
type Native struct {
	Dialect string `json:"dialect"`
	Op      Op     `json:"op"`
	// Path of the request below the account's base URL; {model} stands for the
	// model's name.
	Path string `json:"path"`
	// StreamPath is the path when a stream is asked for; "" means Path.
	StreamPath string `json:"stream_path,omitempty"`
	// Unless are values of the account's settings with which the provider does
	// not speak it: {"api": "chat"}.
	Unless map[string]string `json:"unless,omitempty"`
}
