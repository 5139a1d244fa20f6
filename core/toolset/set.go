package toolset

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/sallyport-gateway/sallyport/core/access"
	"github.com/sallyport-gateway/sallyport/core/catalog"
	"github.com/sallyport-gateway/sallyport/core/usage"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

// Set is the opened tools of one request. It is safe for use from many
// goroutines once Open has returned it.
type Set struct {
	toolset   *Toolset
	principal *access.Principal
	source    *usage.Source // the request, for the rows of its calls
	depth     int           // gateways it has passed
	view      View
	objects   []object    // that the request declares, each once
	tables    []string    // of them: what Host.Query reaches
	strayed   atomic.Bool // an Open looked at something else
	hosted    []*Function
	functions []*Function
	byName    map[string]*Function
	session   session // of the programs that the model runs
}

// object is a named object that a declaration names, checked.
type object struct{ kind, name, version string }

// Function is one function as the model sees it.
type Function struct {
	Tool   openresponses.Tool // a function tool under the model's name for it
	Client bool               // the client runs it; the fields below are empty

	Type        string // of the tool behind it: "table"
	Declaration int    // its place in the request's tools; behind the last if nothing declares it
	Object      string // dotted name, as the plugin said it
	Effect      tool.Effect
	Approval    tool.Approval

	declaration *declaration
	state       []byte
	language    *language // of a function that runs programs; nil of others
}

// maxFunctions and maxState bound what plugins may offer one request.
const (
	maxFunctions = 1024
	maxState     = 64 << 10
)

// Functions lists the functions for the model, hosted and the client's, in
// the order of their declarations.
func (s *Set) Functions() []openresponses.Tool {
	ts := make([]openresponses.Tool, len(s.functions))
	for i, f := range s.functions {
		ts[i] = f.Tool
	}
	return ts
}

// Hosted lists the hosted functions in that order.
func (s *Set) Hosted() []*Function { return s.hosted }

// Function finds a function by the name that the model calls it.
func (s *Set) Function(name string) (*Function, bool) {
	f, ok := s.byName[name]
	return f, ok
}

// authorize checks that the caller may use the declared tool at all, and
// learns the canonical name and version of its object.
func (s *Set) authorize(ctx context.Context, d *declaration) error {
	if d.manifest.Scope != "" && s.toolset.deps.Scope != nil {
		if err := s.toolset.deps.Scope(s.principal, d.manifest.Scope); err != nil {
			return about(err, fmt.Sprintf("tools[%d]", d.Index))
		}
	}
	ref := d.manifest.Object
	if ref == nil {
		return about(s.authorizeType(d), fmt.Sprintf("tools[%d].type", d.Index))
	}
	param := d.param(ref.Field)
	if err := s.view.Check(ref.Kind, d.Object, ref.Privilege); err != nil {
		return about(err, param)
	}
	o, err := s.object(ctx, ref.Kind, d.Object)
	switch {
	case apierror.Is(err, apierror.Unsupported): // a kind of which the catalog keeps grants only
	case err != nil:
		return about(err, param)
	case o.Name != "":
		d.Object, d.version = o.Name, o.Version
	}
	found := object{ref.Kind, d.Object, d.version}
	if slices.Contains(s.objects, found) {
		return nil
	}
	s.objects = append(s.objects, found)
	if ref.Kind == access.Table {
		s.tables = append(s.tables, d.Object)
	}
	return nil
}

// authorizeType checks the right to a tool type whose declarations name no
// object to have rights on. The vendor's own types are open to everybody, as
// they are there.
func (s *Set) authorizeType(d *declaration) error {
	if d.manifest.Object != nil || isHostedType(d.typ) || d.typ == CodeType {
		return nil
	}
	return s.view.Check(access.Tool, d.typ, access.UseTool.String())
}

// object describes an object to a plugin. A table whose files cannot be read is
// described as that: the other tools of the request are of use without it, and
// the model learns of it, at the latest when it calls.
func (s *Set) object(ctx context.Context, kind, name string) (tool.Object, error) {
	o, err := s.view.Object(ctx, kind, name)
	if !errors.Is(err, catalog.ErrUnreadable) {
		return o, err
	}
	canonical, cerr := catalog.Canonical(kind, name)
	if cerr != nil {
		return o, err
	}
	s.toolset.log.Warn("declared object cannot be read", "kind", kind, "object", canonical, "error", err)
	return tool.Object{Kind: kind, Name: canonical, Comment: apierror.From(err).Message}, nil
}

// about adds the field at fault to an error that names none.
func about(err error, param string) error {
	e, ok := errors.AsType[*apierror.Error](err)
	if !ok || e.Param != "" {
		return err
	}
	named := *e
	named.Param = param
	return &named
}

// open asks the plugin of one type for the functions of its declarations.
func (s *Set) open(ctx context.Context, ds []*declaration) error {
	typ := ds[0].typ
	opened, err := s.openCached(ctx, typ, ds)
	if err != nil {
		if e, ok := errors.AsType[*apierror.Error](err); ok {
			return e
		}
		return apierror.Wrap(apierror.Internal, err, "The plugin for %s tools failed to open them.", typ)
	}
	if len(opened.Connections) > 0 {
		return apierror.At(apierror.Unsupported, fmt.Sprintf("tools[%d]", opened.Connections[0].Declaration),
			"This tool needs an MCP connection, which this gateway does not offer yet.")
	}
	for _, f := range opened.Functions {
		i := slices.IndexFunc(ds, func(d *declaration) bool { return d.Index == f.Declaration })
		if err := checkFunction(f, i >= 0); err != nil {
			return apierror.Wrap(apierror.Internal, err, "The plugin for %s tools offered a function that cannot be used.", typ)
		}
		if len(s.hosted) == maxFunctions {
			return apierror.At(apierror.Invalid, "tools", "The declared tools offer more than %d functions; declare fewer.", maxFunctions)
		}
		s.hosted = append(s.hosted, &Function{
			Tool: openresponses.Tool{Type: "function", Description: f.Description, Parameters: f.Parameters},
			Type: typ, Declaration: f.Declaration, Object: f.Name, Effect: f.Effect, Approval: f.Approval,
			declaration: ds[i], state: f.State,
		})
	}
	return nil
}

func checkFunction(f tool.Function, declared bool) error {
	switch {
	case !declared:
		return fmt.Errorf("function %q belongs to declaration %d, which it was not given", f.Name, f.Declaration)
	case f.Name == "":
		return fmt.Errorf("a function of declaration %d has no name", f.Declaration)
	case len(f.State) > maxState:
		return fmt.Errorf("function %q has a state of %d bytes; at most %d are allowed", f.Name, len(f.State), maxState)
	case len(f.Parameters) > 0 && jsonKind(f.Parameters) != "an object" || len(f.Parameters) > 0 && !json.Valid(f.Parameters):
		return fmt.Errorf("function %q has parameters that are no JSON object", f.Name)
	}
	return nil
}

// openCached asks the plugin, or remembers what it said of the same
// declarations to the same caller. The caller's rights on the declared objects
// have been checked just before; an opening that looked at anything else is
// never remembered, so there is nothing that a change could make wrong unseen.
func (s *Set) openCached(ctx context.Context, typ string, ds []*declaration) (tool.Opened, error) {
	t := s.toolset
	key := s.cacheKey(ds)
	if key != "" {
		if opened, ok := t.opened.Get(key); ok {
			return opened, nil
		}
	}
	plain := make([]tool.Declaration, len(ds))
	for i, d := range ds {
		plain[i] = d.Declaration
	}
	ctx, cancel := context.WithTimeout(ctx, t.limits.Open)
	defer cancel()
	s.strayed.Store(false)
	var opened tool.Opened
	err := s.attempt(ctx, typ, tool.ReadOnly, func(ctx context.Context, tl tool.Tool, h *tool.Host, _ int) (err error) {
		opened, err = tl.Open(ctx, plain, h)
		return err
	})
	if err == nil && key != "" && !s.strayed.Load() {
		cost := int64(len(key) + 256)
		for _, f := range opened.Functions {
			cost += int64(len(f.Name) + len(f.Description) + len(f.Parameters) + len(f.State) + 128)
		}
		t.opened.SetWithTTL(key, opened, cost, t.limits.CacheFor)
	}
	return opened, err
}

// cacheKey holds all that an opening may depend on: the caller, the
// declarations, and the version of every object that the plugin can reach. It
// is "" when a version is unknown.
func (s *Set) cacheKey(ds []*declaration) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%q %q %q %q", s.principal.Name, s.principal.Scopes, ds[0].typ, ds[0].manifest.Version)
	for _, d := range ds {
		if d.version == "" {
			return ""
		}
		fmt.Fprintf(&b, " %d %s", d.Index, d.canonical)
	}
	for _, o := range s.objects {
		fmt.Fprintf(&b, " %q %q %q", o.kind, o.name, o.version)
	}
	return b.String()
}
