// Package supervisor answers a Supervisor request: it asks the model, runs the
// hosted calls the model makes, gives it their results, and so on until there
// is an answer or the client has to act. There is one loop over one record of
// what happened; streams and plain responses are renderings of that record.
package supervisor

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"time"

	"github.com/sallyport-gateway/sallyport/core/access"
	"github.com/sallyport-gateway/sallyport/core/egress"
	"github.com/sallyport-gateway/sallyport/core/router"
	"github.com/sallyport-gateway/sallyport/core/supervisor/render"
	"github.com/sallyport-gateway/sallyport/core/toolset"
	"github.com/sallyport-gateway/sallyport/core/usage"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// Deps is what a Supervisor stands on.
type Deps struct {
	// Check tells, before anything is done, whether the caller may use the
	// model; the router's Check.
	Check func(p *access.Principal, model string) error
	// Generate asks a model for one turn; the router's Generate.
	Generate func(ctx context.Context, p *access.Principal, c router.Call) iter.Seq2[openresponses.Event, error]
	Tools    *toolset.Toolset

	Log    *slog.Logger // nil means none
	Limits Limits
}

// Limits bounds a run. The zero value is the default.
type Limits struct {
	Turns      int           // turns of the model; 0 means 25
	SideBySide int           // hosted calls at once, more wait; 0 means 16
	Hold       time.Duration // how long a stream waits for the model before it begins; 0 means 1 s
}

func (l Limits) withDefaults() Limits {
	if l.Turns == 0 {
		l.Turns = 25
	}
	if l.SideBySide == 0 {
		l.SideBySide = 16
	}
	if l.Hold == 0 {
		l.Hold = time.Second
	}
	return l
}

// Supervisor runs requests. It is safe for use from many goroutines.
type Supervisor struct {
	deps   Deps
	limits Limits
	log    *slog.Logger
}

// New makes a Supervisor.
func New(d Deps) (*Supervisor, error) {
	if d.Check == nil || d.Generate == nil || d.Tools == nil {
		return nil, fmt.Errorf("supervisor: Check, Generate and Tools are required")
	}
	s := &Supervisor{deps: d, limits: d.Limits.withDefaults(), log: d.Log}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	return s, nil
}

// Run is one request to answer.
type Run struct {
	ID          string // of the response; "" makes one
	Principal   *access.Principal
	Request     *openresponses.Request
	Dialect     render.Dialect
	Source      *usage.Source // the HTTP request, for the rows of its calls; nil for none
	Traceparent string
	Header      http.Header
	Created     time.Time // zero means now
}

// Run answers one request. With emit it sends the events of the stream as they
// arise, one at a time; without, it only returns the final response.
//
// An error means that nothing was sent, and the request failed as a whole;
// it is an *apierror.Error. To keep that way open, response.created waits
// for the model's first event, for at most a second. After that every failure
// is told by the events error and response.failed, and the returned response
// says the same. An error of emit ends the run: there is nobody to tell, and
// Run returns what there is. The login that a connection needs (OAuth) is
// always told by a response with status failed.
//
// When ctx ends, the model and the tools are stopped; Run returns when all of
// them have.
func (s *Supervisor) Run(ctx context.Context, r Run, emit func(render.Event) error) ([]byte, error) {
	if r.ID == "" {
		r.ID = render.NewID("resp_")
	}
	if r.Created.IsZero() {
		r.Created = time.Now()
	}
	if r.Source == nil {
		r.Source = &usage.Source{}
	}
	if err := checkRequest(r.Request); err != nil {
		return nil, err
	}
	past, err := readHistory(r.Request.Input)
	if err != nil {
		return nil, err
	}
	if err := s.deps.Check(r.Principal, r.Request.Model); err != nil {
		return nil, apierror.From(err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	l := &loop{s: s, run: r, past: past, input: past.items, cancel: cancel, started: time.Now()}
	set, err := s.deps.Tools.Open(ctx, r.Principal, r.Request, r.Source, egress.Depth(r.Header))
	if err == nil {
		defer set.Close() // when no call is left
		l.set = set
		err = l.checkFunctions()
	}
	if err != nil && !apierror.Is(err, apierror.OAuth) {
		return nil, s.shown(err)
	}
	l.startWriter(emit)
	if err == nil {
		stop := l.holdBegin(emit != nil)
		err = l.turns(ctx)
		stop()
	}
	return l.end(ctx, err)
}

// shown is the error as a client may see it; what it may not is logged.
func (s *Supervisor) shown(err error) *apierror.Error {
	e := apierror.From(err)
	if e.Code == apierror.Internal {
		s.log.Error("run failed", "error", err)
	}
	return e
}

// errGone marks that the client does not take events any more.
var errGone = errors.New("the client is gone")
