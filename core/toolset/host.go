package toolset

import (
	"context"
	"iter"
	"slices"
	"sync/atomic"

	"github.com/sallyport-gateway/sallyport/core/catalog"
	"github.com/sallyport-gateway/sallyport/core/router"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/engine"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

// host makes the Host of one Open or Call. Its authority is the caller's, and
// ends when end is called: later use fails with apierror.Canceled, and what is
// still running is stopped.
//
// # Isolation
//
// A tool reaches only the tables that this request declares, whatever else
// the caller may read; and each of them is checked again when it is read. So do
// the programs that it has run in the sandbox. Of
// the world outside it reaches the targets of its own type, see fetch.
func (s *Set) host(call context.Context, typ string, m tool.Manifest) (h *tool.Host, end func()) {
	a := &authority{call: call}
	service := tool.Service{
		Object: func(ctx context.Context, kind, name string) (tool.Object, error) {
			ctx, stop, err := a.enter(ctx)
			if err != nil {
				return tool.Object{}, err
			}
			defer stop()
			if !slices.ContainsFunc(s.objects, func(o object) bool { return o.kind == kind && o.name == name }) {
				s.strayed.Store(true)
			}
			return s.object(ctx, kind, name)
		},
		Query: func(ctx context.Context, q tool.Query) iter.Seq2[engine.Batch, error] {
			return guarded(ctx, a, func(ctx context.Context) iter.Seq2[engine.Batch, error] {
				tables := append([]string{}, s.tables...) // never nil, which would mean everything
				return s.view.Query(ctx, catalog.Query{SQL: q.SQL, Args: q.Args, Tables: tables, MaxRows: q.MaxRows, MaxBytes: q.MaxBytes})
			})
		},
		Fetch: func(ctx context.Context, target string, r tool.Outbound) (*tool.Inbound, error) {
			s.strayed.Store(true)
			return s.fetch(ctx, a, typ, m, target, r)
		},
		Progress: func(ctx context.Context, p tool.Progress) error {
			_, stop, err := a.enter(ctx)
			if err != nil {
				return err
			}
			stop()
			s.toolset.log.DebugContext(ctx, "tool progress", "fraction", p.Fraction)
			return nil
		},
	}
	if s.toolset.deps.Code.box() != nil {
		service.Exec = func(ctx context.Context, p tool.Program) (tool.Output, error) {
			ctx, stop, err := a.enter(ctx)
			if err != nil {
				return tool.Output{}, err
			}
			defer stop()
			s.strayed.Store(true)
			return s.exec(ctx, p)
		}
	}
	if s.toolset.deps.Generate != nil {
		service.Generate = func(ctx context.Context, r *openresponses.Request) iter.Seq2[openresponses.Event, error] {
			s.strayed.Store(true)
			return guarded(ctx, a, func(ctx context.Context) iter.Seq2[openresponses.Event, error] {
				return s.toolset.deps.Generate(ctx, s.principal, router.Call{Request: r, Source: s.source, Depth: s.depth})
			})
		}
	}
	return tool.NewHost(service), func() { a.ended.Store(true) }
}

// authority is the time in which a Host works.
type authority struct {
	call  context.Context // of the Open or Call; it is canceled when that ends
	ended atomic.Bool
}

// enter joins the lifetime of the call to ctx. The caller calls stop.
func (a *authority) enter(ctx context.Context) (joined context.Context, stop func(), err error) {
	if a.ended.Load() {
		return nil, nil, errEnded()
	}
	joined, cancel := context.WithCancelCause(ctx)
	release := context.AfterFunc(a.call, func() { cancel(context.Cause(a.call)) })
	return joined, func() { release(); cancel(nil) }, nil
}

func errEnded() error {
	return apierror.New(apierror.Canceled, "The call that this host belonged to is over.")
}

// guarded runs a stream for as long as the authority lasts.
func guarded[T any](ctx context.Context, a *authority, run func(ctx context.Context) iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var zero T
		ctx, stop, err := a.enter(ctx)
		if err != nil {
			yield(zero, err)
			return
		}
		defer stop()
		for v, err := range run(ctx) {
			if a.ended.Load() {
				yield(zero, errEnded())
				return
			}
			if !yield(v, err) {
				return
			}
		}
	}
}
