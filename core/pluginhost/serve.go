package pluginhost

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/boot"
	"github.com/sallyport-gateway/sallyport/sdk/engine"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

// Translator returns the translator that providers name in `translator:`.
// Calls give apierror.Unavailable while its plugin is not there.
func (h *Host) Translator(name string) (provider.Translator, provider.Manifest, bool) {
	s, p, ok := h.find(boot.Provider, name)
	if !ok {
		return nil, provider.Manifest{}, false
	}
	return pluginTranslator{s}, p.Provider, true
}

// TranslatorNames lists the names that Translator knows.
func (h *Host) TranslatorNames() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var names []string
	for _, p := range h.plugins {
		if p.usable() && p.Kind == boot.Provider {
			names = append(names, p.Name)
		}
	}
	slices.Sort(names)
	return names
}

// FrontInfo is a plugin with surfaces for clients.
type FrontInfo struct {
	Plugin   string // Manifest.Name
	Manifest provider.Manifest
	Front    provider.Front
}

// Fronts returns every plugin that can be used and has surfaces, by name. Like
// a Translator, and in the same process, its Front is started when it is first
// asked and gives apierror.Unavailable while its plugin is not there.
func (h *Host) Fronts() []FrontInfo {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []FrontInfo
	for _, p := range h.plugins {
		if p.usable() && p.Kind == boot.Provider && len(p.Provider.Surfaces) > 0 {
			all = append(all, FrontInfo{p.Name, p.Provider, pluginFront{h.slots[keyOf(p, "")]}})
		}
	}
	slices.SortFunc(all, func(a, b FrontInfo) int { return strings.Compare(a.Plugin, b.Plugin) })
	return all
}

// Tool returns the tool that serves a tool type for a principal. A type with
// a process for each user never shares one between two principals.
func (h *Host) Tool(typ, principal string) (tool.Tool, tool.Manifest, bool) {
	s, p, ok := h.find(boot.Tool, typ)
	if !ok {
		return nil, tool.Manifest{}, false
	}
	t := pluginTool{slot: s}
	if h.options.Load().perUser[typ] {
		t.user = func() (*slot, func(), error) { return h.userSlot(p, principal) }
	}
	return t, p.Tool, true
}

// Engine returns a SQL engine.
func (h *Host) Engine(name string) (engine.Engine, engine.Manifest, bool) {
	s, p, ok := h.find(boot.Engine, name)
	if !ok {
		return nil, engine.Manifest{}, false
	}
	return pluginEngine{s}, p.Engine, true
}

// pluginTranslator is a Translator served by whatever process its slot has.
type pluginTranslator struct{ slot *slot }

var _ provider.Translator = pluginTranslator{}

// Begin tries a second process when the first could not even be reached: then
// nothing was asked of it yet.
func (t pluginTranslator) Begin(ctx context.Context, turn provider.Turn) (ex provider.Exchange, err error) {
	start := time.Now()
	defer func() { t.slot.stats.took(opBegin, start, err) }()
	ex, err = t.begin(ctx, turn)
	if errors.Is(err, errUnreached) && ctx.Err() == nil {
		ex, err = t.begin(ctx, turn)
	}
	return ex, err
}

func (t pluginTranslator) begin(ctx context.Context, turn provider.Turn) (provider.Exchange, error) {
	p, err := t.slot.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer p.calls.add(-1) // from here on the client counts the exchange
	return p.translator.Begin(ctx, turn)
}

// pluginFront is a Front served by whatever process its slot has.
type pluginFront struct{ slot *slot }

var _ provider.Front = pluginFront{}

// Accept tries a second process when the first could not even be reached.
func (f pluginFront) Accept(ctx context.Context, r provider.ClientRequest) (d provider.Dialogue, err error) {
	start := time.Now()
	defer func() { f.slot.stats.took(opAccept, start, err) }()
	d, err = f.accept(ctx, r)
	if errors.Is(err, errUnreached) && ctx.Err() == nil {
		d, err = f.accept(ctx, r)
	}
	return d, err
}

func (f pluginFront) accept(ctx context.Context, r provider.ClientRequest) (provider.Dialogue, error) {
	p, err := f.slot.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer p.calls.add(-1) // from here on the client counts the dialogue
	return p.translator.Accept(ctx, r)
}

// pluginTool is a Tool served by whatever process its slot has, or the slot that
// works for its user alone.
type pluginTool struct {
	slot *slot
	user func() (s *slot, leave func(), err error) // nil when all share a process
}

var _ tool.Tool = pluginTool{}

func (t pluginTool) acquire(ctx context.Context) (p *process, release func(), err error) {
	s, leave := t.slot, func() {}
	if t.user != nil {
		if s, leave, err = t.user(); err != nil {
			return nil, nil, err
		}
	}
	if p, err = s.acquire(ctx); err != nil {
		leave()
		return nil, nil, err
	}
	return p, func() { p.calls.add(-1); leave() }, nil
}

func (t pluginTool) Open(ctx context.Context, ds []tool.Declaration, h *tool.Host) (o tool.Opened, err error) {
	start := time.Now()
	defer func() { t.slot.stats.took(opOpen, start, err) }()
	p, release, err := t.acquire(ctx)
	if err != nil {
		return tool.Opened{}, err
	}
	defer release()
	o, err = p.tool.Open(ctx, ds, h)
	return o, p.ended(ctx, err)
}

func (t pluginTool) Call(ctx context.Context, c tool.Call, h *tool.Host) (r tool.Result, err error) {
	start := time.Now()
	defer func() { t.slot.stats.took(opCall, start, err) }()
	p, release, err := t.acquire(ctx)
	if err != nil {
		return tool.Result{}, err
	}
	defer release()
	r, err = p.tool.Call(ctx, c, h)
	return r, p.ended(ctx, err)
}

// pluginEngine is an Engine served by whatever process its slot has.
type pluginEngine struct{ slot *slot }

var _ engine.Engine = pluginEngine{}

func (e pluginEngine) Inspect(ctx context.Context, sql string) (st engine.Statement, err error) {
	start := time.Now()
	defer func() { e.slot.stats.took(opInspect, start, err) }()
	p, err := e.slot.acquire(ctx)
	if err != nil {
		return engine.Statement{}, err
	}
	defer p.calls.add(-1)
	st, err = p.engine.Inspect(ctx, sql)
	return st, p.ended(ctx, err)
}

func (e pluginEngine) Query(ctx context.Context, q engine.Query) iter.Seq2[engine.Batch, error] {
	return func(yield func(engine.Batch, error) bool) {
		var err error // of the query as a whole
		start := time.Now()
		defer func() { e.slot.stats.took(opQuery, start, err) }()
		p, err := e.acquire(ctx, q)
		if err != nil {
			yield(engine.Batch{}, err)
			return
		}
		defer p.calls.add(-1)
		for b, failed := range p.engine.Query(ctx, q) {
			err = p.ended(ctx, failed)
			if !yield(b, err) {
				return
			}
		}
	}
}

// ended tells a call that failed because the process ended from one that the
// plugin itself answered with apierror.Unavailable.
func (pr *process) ended(ctx context.Context, err error) error {
	if err == nil {
		pr.served.Store(true)
	}
	if !apierror.Is(err, apierror.Unavailable) || ctx.Err() != nil {
		return err
	}
	if !waitClosed(pr.program.ended, lostWait) {
		return err
	}
	return pr.lost(err, 0)
}
