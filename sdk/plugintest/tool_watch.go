package plugintest

import (
	"context"
	"io"
	"iter"
	"sync/atomic"

	"github.com/sallyport-gateway/sallyport/sdk/engine"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

// watched is the author's tool with an eye on it: how many calls are inside,
// and whether a Host is used after its call.
type watched struct {
	impl   tool.Tool
	inside atomic.Int64
	left   chan struct{} // a token for each return while somebody waits
	late   atomic.Int64
}

func watch(impl tool.Tool) *watched { return &watched{impl: impl, left: make(chan struct{}, 1)} }

// Open implements tool.Tool.
func (w *watched) Open(ctx context.Context, ds []tool.Declaration, h *tool.Host) (tool.Opened, error) {
	h, leave := w.enter(h)
	defer leave()
	return w.impl.Open(ctx, ds, h)
}

// Call implements tool.Tool.
func (w *watched) Call(ctx context.Context, c tool.Call, h *tool.Host) (tool.Result, error) {
	h, leave := w.enter(h)
	defer leave()
	return w.impl.Call(ctx, c, h)
}

// enter gives a Host that counts uses after leave.
func (w *watched) enter(h *tool.Host) (*tool.Host, func()) {
	var over atomic.Bool
	w.inside.Add(1)
	touch := func() {
		if over.Load() {
			w.late.Add(1)
		}
	}
	seen := tool.NewHost(tool.Service{
		Object: func(ctx context.Context, kind, name string) (tool.Object, error) {
			touch()
			return h.Object(ctx, kind, name)
		},
		Query: func(ctx context.Context, q tool.Query) iter.Seq2[engine.Batch, error] {
			touch()
			return h.Query(ctx, q)
		},
		Generate: func(ctx context.Context, r *openresponses.Request) iter.Seq2[openresponses.Event, error] {
			touch()
			return h.Generate(ctx, r)
		},
		Embed: func(ctx context.Context, model string, in []string) ([][]float32, error) {
			touch()
			return h.Embed(ctx, model, in)
		},
		Exec: func(ctx context.Context, p tool.Program) (tool.Output, error) {
			touch()
			return h.Exec(ctx, p)
		},
		List: func(ctx context.Context, dir string) ([]tool.Entry, error) {
			touch()
			return h.List(ctx, dir)
		},
		Open: func(ctx context.Context, path string) (io.ReadCloser, error) {
			touch()
			return h.Open(ctx, path)
		},
		Fetch: func(ctx context.Context, target string, r tool.Outbound) (*tool.Inbound, error) {
			touch()
			return h.Fetch(ctx, target, r)
		},
		Progress: func(ctx context.Context, p tool.Progress) error {
			touch()
			return h.Progress(ctx, p)
		},
	})
	return seen, func() {
		over.Store(true)
		w.inside.Add(-1)
		select {
		case w.left <- struct{}{}:
		default:
		}
	}
}
