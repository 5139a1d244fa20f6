// Package usage makes the rows that say who used which model or tool, for how
// many tokens and at what cost. The one rule it keeps: what was sent upstream
// has exactly one row, whatever happens to the request or to the process.
//
// A call is recorded in two steps, around what it measures:
//
//	call, err := recorder.Begin(ctx, usage.Start{…}) // an error: do not make the call
//	…                                                // attempts, the reply
//	call.End(usage.Outcome{…})                       // before the last byte goes out
//
// Begin writes the row as it stands if nobody ever ends the call: status
// interrupted, the estimated input and its cost. End writes the row that takes
// its place. A process that dies in between leaves the first one, and the next
// New settles the call with it. A call that is refused before anything was sent
// is one row by Refuse.
//
// # Costs
//
// Begin and End together take at most 20 µs of processor time, both writes to
// the ledger included, and each holds the request up for as long as a write(2)
// takes. A Call holds some 2 KiB.
//
// # What a client says of itself
//
// User agent, coding tool, session, sub-agent and tags are the claims of the
// client. Nothing checks them; they are bounded in length and hold no control
// characters.
package usage

import (
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// UsageTable is the table of the usage rows.
const UsageTable = "system.ai_gateway.usage"

// What Outcome.Status and the column status may hold.
const (
	Completed   = "completed"   // the whole reply was given
	Incomplete  = "incomplete"  // the reply ended early, for its length or its content
	Failed      = "failed"      // error_code says why
	Canceled    = "canceled"    // the client left
	Interrupted = "interrupted" // the gateway ended before the call did; Recorder writes it
	Refused     = "refused"     // nothing was sent upstream; error_code says why
)

// What Attempt.Action may be.
const (
	Primary  = "primary"  // the first
	Retry    = "retry"    // the same destination again
	Fallback = "fallback" // another destination
)

// What Service.Type may be.
const (
	MCPService = "MCP_SERVICE"
	HostedTool = "HOSTED_TOOL"
)

// Source is what is known of an HTTP request. It is made once for the request,
// by FromRequest, and shared by all calls made on its behalf; nobody changes it
// after that.
type Source struct {
	RequestID   string
	URL         string // the path asked for; a query is cut off, because it may hold a key
	APIType     string // such as "mlflow/v1/responses"
	IP          string
	UserAgent   string
	ContentType string // of the reply
	Tags        map[string]string
	Session     string // of the coding tool
	Agent       string // sub-agent of the coding tool; "" for the main one
	Tool        string // coding tool, such as "claude-code"; "" when the client is none
	ToolVersion string
	Mode        string // of the coding tool: Interactive, Headless, or "" when it does not say
	Turn        string // of the session, as the coding tool counts

	// StatusOf gives the HTTP status that this client is answered with for an
	// error; nil leaves it to Config.StatusOf.
	StatusOf func(apierror.Code) int
}

// What Source.Mode may be.
const (
	Interactive = "interactive" // a person waits
	Headless    = "headless"    // a script or another program
)

// Start is what is known of a call before it is made.
type Start struct {
	Source           *Source // nil for a call that no HTTP request asked for
	Time             time.Time
	Requester        string
	ServicePrincipal bool
	Groups           []string // of the requester, as the permissions saw them

	// Of a model call.
	Op               provider.Op // "" means provider.Generate
	Model            string      // the name it has in this gateway
	Provider         string      // of the destination that is asked first
	DestinationModel string      // the provider's name for the model
	Price            *Price      // of that destination; nil when none is configured
	EstimatedInput   int64       // tokens; what an interrupted call is charged
	// Service is set for a call to a tool; nil for a model call.
	Service *Service

	PayloadTable string // where request and reply are kept; "" for nowhere
	PayloadMax   int64  // bytes of each that are kept; 0 means DefaultPayloadMax, which is the most
}

// Service is the tool that a call is made to.
type Service struct {
	Type     string // MCPService or HostedTool
	Name     string // the tool's object, such as "main.tools.search", or its type
	ToolType string // such as "mcp" or "genie_space"
	Function string // the function that is called
}

// Attempt is one request to a destination.
type Attempt struct {
	Provider, Model string
	Action          string        // Primary, Retry or Fallback
	Status          int           // HTTP status of the provider; 0 when there was none
	Code            apierror.Code // "" when it went well
	RequestID       string        // the provider's
	Latency         time.Duration
	Usage           openresponses.Usage // also of an attempt that failed
	Price           *Price              // of the destination, when the call was made
}

// Outcome is how a call ended.
type Outcome struct {
	Status    string        // Completed, Incomplete, Failed, Canceled or Refused
	Code      apierror.Code // of Failed and Refused
	Attempts  []Attempt     // in order; the last is the one that answered
	Served    string        // the model that the provider says answered
	Tier      string        // service tier that the provider says it was
	Lost      []string      // fields of the request that the provider was not told
	FirstByte time.Duration // until the first event of the reply; 0 when there was none
	Latency   time.Duration // until the end
	ToolCalls int           // calls of tools that the model asked for
}

// Bounds on what a row holds. Longer text is cut, longer lists are ended.
const (
	maxName      = 256  // bytes of an id, a name, a header's value
	maxUserAgent = 512  // bytes
	maxURL       = 2048 // bytes
	maxGroups    = 256
	maxAttempts  = 32
	maxLost      = 64
)
