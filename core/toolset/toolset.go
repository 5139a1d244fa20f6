// Package toolset turns the tools that a request declares into functions the
// model can call, and runs the calls. Whatever a tool reads, it reads with the
// rights of the request's caller, and that authority ends with the call.
package toolset

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"time"

	"github.com/dgraph-io/ristretto/v2"

	"github.com/sallyport-gateway/sallyport/core/access"
	"github.com/sallyport-gateway/sallyport/core/catalog"
	"github.com/sallyport-gateway/sallyport/core/egress"
	"github.com/sallyport-gateway/sallyport/core/router"
	"github.com/sallyport-gateway/sallyport/core/usage"
	"github.com/sallyport-gateway/sallyport/sdk/engine"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

// View is what one caller may see of the catalog; catalog.View is one.
type View interface {
	Check(kind, name, privilege string) error
	Object(ctx context.Context, kind, name string) (tool.Object, error)
	Query(ctx context.Context, q catalog.Query) iter.Seq2[engine.Batch, error]
}

// Deps is what a Toolset stands on.
type Deps struct {
	// Tool finds the plugin that serves a tool type for a principal, who may
	// have a process of their own. It is asked again before a retry, so that a
	// plugin that died is replaced.
	Tool func(typ, principal string) (tool.Tool, tool.Manifest, bool)
	// Types lists the tool types that plugins serve.
	Types func() []string
	// Scope checks that the caller's token has a scope; nil means every token
	// has every scope.
	Scope func(p *access.Principal, scope string) error
	// View is the catalog as the caller may see it.
	View func(p *access.Principal) View
	// Generate is a tool's way to a model, the router's Generate; nil means tools
	// have none.
	Generate func(ctx context.Context, p *access.Principal, c router.Call) iter.Seq2[openresponses.Event, error]
	// Usage records every hosted call; nil records nothing.
	Usage *usage.Recorder
	// Config is the operator's side of the tool types, as Bind accepted it.
	Config Config
	// Code is code execution; the zero value is none.
	Code Code
	// Egress makes the accounts of the targets in Config; nil if there are none.
	Egress *egress.Egress

	Log    *slog.Logger // nil means none
	Limits Limits
}

// Limits bounds what tools may do to a run. The zero value is the default.
type Limits struct {
	Open       time.Duration // of opening one type's declarations; 0 means 60 s
	Call       time.Duration // of one call; 0 means 120 s
	ResultText int           // bytes of a result that the model sees; 0 means 64 KiB
	CacheBytes int64         // of cached openings; 0 means 8 MiB
	CacheFor   time.Duration // 0 means 60 s
}

func (l Limits) withDefaults() Limits {
	if l.Open == 0 {
		l.Open = 60 * time.Second
	}
	if l.Call == 0 {
		l.Call = 120 * time.Second
	}
	if l.ResultText == 0 {
		l.ResultText = 64 << 10
	}
	if l.CacheBytes == 0 {
		l.CacheBytes = 8 << 20
	}
	if l.CacheFor == 0 {
		l.CacheFor = time.Minute
	}
	return l
}

// maxTools bounds the declarations of one request.
const maxTools = 256

// Toolset opens declared tools. It is safe for use from many goroutines.
type Toolset struct {
	deps   Deps
	limits Limits
	log    *slog.Logger
	opened *ristretto.Cache[string, tool.Opened]
	copies *imageCache // of tables, for programs

	targets map[string]targets // by tool type; never changed
}

// New makes a Toolset. Close it.
func New(d Deps) (*Toolset, error) {
	if d.Tool == nil || d.Types == nil || d.View == nil {
		return nil, fmt.Errorf("toolset: Tool, Types and View are required")
	}
	t := &Toolset{deps: d, limits: d.Limits.withDefaults(), log: d.Log}
	if t.log == nil {
		t.log = slog.New(slog.DiscardHandler)
	}
	var err error
	if d.Egress != nil {
		if t.targets, err = d.Config.bind(d.Egress); err != nil {
			t.closeTargets()
			return nil, err
		}
	}
	t.opened, err = ristretto.NewCache(&ristretto.Config[string, tool.Opened]{
		NumCounters: 10_000,
		MaxCost:     t.limits.CacheBytes,
		BufferItems: 64,
	})
	if err == nil {
		t.copies, err = newImageCache(d.Code.CacheBytes)
	}
	if err != nil {
		t.closeTargets()
		return nil, fmt.Errorf("toolset: cache: %w", err)
	}
	return t, nil
}

// Close ends the cache's goroutines and the idle connections to targets.
func (t *Toolset) Close() {
	t.opened.Close()
	t.copies.kept.Close()
	t.closeTargets()
}

func (t *Toolset) closeTargets() {
	for _, ts := range t.targets {
		for _, a := range ts {
			a.Close()
		}
	}
}

// Open reads the declarations of a request, checks scopes and privileges, and
// asks the plugins for their functions, before any model is called. src is the
// HTTP request that declares them, nil for none; depth is how many gateways it
// has passed, see egress.Depth. Errors are
// *apierror.Error: one that lists every declared type that nothing serves here
// (Unsupported), Invalid with the declaration's field in Param, or Denied. Close
// the Set.
func (t *Toolset) Open(ctx context.Context, p *access.Principal, req *openresponses.Request, src *usage.Source, depth int) (*Set, error) {
	ds, err := t.declarations(p.Name, req.Tools)
	if err != nil {
		return nil, err
	}
	s := &Set{toolset: t, principal: p, source: src, depth: depth, byName: map[string]*Function{}}
	if len(ds) > 0 {
		s.view = t.deps.View(p)
	}
	for _, d := range ds {
		if err := s.authorize(ctx, d); err != nil {
			return nil, err
		}
	}
	for _, group := range byType(ds) {
		if err := s.open(ctx, group); err != nil {
			return nil, err
		}
	}
	s.codeFunctions(req.Tools, len(ds))
	if err := s.name(req.Tools); err != nil {
		return nil, err
	}
	return s, nil
}
