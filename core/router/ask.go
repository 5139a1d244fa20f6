package router

import (
	"context"
	"net/http"

	"github.com/sallyport-gateway/sallyport/core/usage"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// Ask is a client's request in a dialect of its own.
type Ask struct {
	Op      provider.Op // Generate, CountTokens or Embed
	Surface string      // its name, for records
	Dialect provider.Dialect
	// Translated keeps the request from being relayed as it is, whatever the
	// providers speak.
	Translated bool
	Model      string // the name here: aliases of the surface are resolved
	Asked      string // the name as the client wrote it; "" means the member `model` of the body
	Stream     bool   // the reply is a stream of server-sent events
	Query      string // of the client, escaped, without credentials
	Header     http.Header
	Body       []byte // does not change until Serve has returned
	Scan       *Scan  // of Body; nil has Serve make it
	// Source is what the records say of the request, Session filled in: calls of
	// one session go to the same destination.
	Source *usage.Source
	Depth  int // gateways that the request has passed, when no Header says it
	// Accept reads the request for translation. It is called at most once, and
	// not at all when every attempt relays the request as it is.
	Accept func(context.Context) (provider.Dialogue, error)
}

// Replier is the client's side of an Ask. One goroutine uses it at a time; only
// the pings of Beat come from a goroutine of its own.
type Replier interface {
	// Head begins the reply. When a ping has begun it already, it only checks
	// that this is a stream with status 200.
	Head(status int, h http.Header) error
	// Write sends whole lines of a stream, or any piece of another body, at once.
	// Head comes before.
	Write(b []byte) (int, error)
	// Beat sends ping after 15 s of silence from now on, and begins the reply as
	// a stream with status 200 for it if need be. "" ends that.
	Beat(ping string)
	// Begun reports whether anything was sent, so that the status can no longer
	// be chosen.
	Begun() bool
}
