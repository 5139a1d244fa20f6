package httpapi

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/sallyport-gateway/sallyport/core/router"
	"github.com/sallyport-gateway/sallyport/core/spelling"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// Front is a plugin that speaks with clients in dialects of its own.
type Front struct {
	Plugin   string // name, for errors
	Manifest provider.Manifest
	Front    provider.Front
}

// SurfaceConfig is what an operator says of one surface.
type SurfaceConfig struct {
	Enabled   *bool             `yaml:"enabled"`    // nil means true
	Allow     []string          `yaml:"allow"`      // users, service principals and groups; none means everybody. Administrators always may
	Aliases   map[string]string `yaml:"aliases"`    // names that clients use, * stands for any text; the longest that matches counts, and before the names that models have
	Default   string            `yaml:"default"`    // model for names that no model answers to; "" refuses them
	DenyBetas []string          `yaml:"deny_betas"` // values of anthropic-beta and openai-beta that are refused; * stands for any text
}

// SurfacesConfig is the section `surfaces`, by the surface's name.
type SurfacesConfig map[string]SurfaceConfig

// Validate checks what can be said without knowing surfaces and models. It
// reports every fault, each with the key it is at.
func (c SurfacesConfig) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for _, name := range slices.Sorted(maps.Keys(c)) {
		s := c[name]
		for i, a := range s.Allow {
			if strings.TrimSpace(a) == "" {
				bad("surfaces.%s.allow[%d]: is empty; name a user, a service principal or a group", name, i)
			}
		}
		for _, from := range slices.Sorted(maps.Keys(s.Aliases)) {
			switch to := s.Aliases[from]; {
			case router.Canonical(from) == "":
				bad("surfaces.%s.aliases: a name is empty; write the name that clients use, or * for every name", name)
			case strings.TrimSpace(to) == "" || strings.Contains(to, "*"):
				bad("surfaces.%s.aliases.%s: must be the name of one model, not %q", name, from, to)
			}
		}
		for i, b := range s.DenyBetas {
			if strings.TrimSpace(b) == "" || strings.ContainsAny(b, ", ") {
				bad("surfaces.%s.deny_betas[%d]: must be one value of a beta header, such as context-1m-*", name, i)
			}
		}
	}
	return errors.Join(errs...)
}

// Surfaces are the surfaces that plugins declare, with what the operator says
// of them. It is immutable. A nil one has none.
type Surfaces struct {
	list  []*surface          // by name
	exact map[string][]*entry // by the path as most clients write it
	all   []*entry            // in the order of list
}

// surface is one family of paths.
type surface struct {
	provider.Surface
	plugin  string
	front   provider.Front
	manner  manner // of errors that no route is to blame for
	entries []*entry
	carry   []string // Carry, as a request's headers have the names

	disabled  bool
	allow     []string
	aliases   []alias // the longest first
	fallback  string  // model for foreign names
	denyBetas []string
}

type alias struct{ from, to string }

// kind is what an entry does.
type kind uint8

const (
	callModel  kind = iota // POST: hands the request to the router
	listModels             // GET
	oneModel               // GET of one of the list
	probe                  // HEAD and GET, open
)

// entry is a path of a surface.
type entry struct {
	*surface
	kind    kind
	path    string // from the root, as it is declared
	pattern pattern
	route   provider.SurfaceRoute
	dialect provider.Dialect
	manner  manner
	apiType string // "anthropic/v1/messages", for the usage rows
}

func (e *entry) methods() []string {
	switch e.kind {
	case callModel:
		return []string{http.MethodPost}
	case probe:
		return []string{http.MethodHead, http.MethodGet}
	}
	return []string{http.MethodGet}
}

// vendorSurfaces are those on which the vendor's own SDK calls, beside OpenAI's
// clients: their errors are written for both.
var vendorSurfaces = []string{"openai", "mlflow"}

// NewSurfaces joins what plugins declare with cfg. Errors name the plugin, the
// surface and the path, or the key of the configuration.
func NewSurfaces(fronts []Front, cfg SurfacesConfig, models *router.Router) (*Surfaces, error) {
	s := &Surfaces{exact: map[string][]*entry{}}
	errs := []error{cfg.Validate()}
	names := map[string]*surface{}
	for _, f := range fronts {
		if err := f.Manifest.Check(); err != nil {
			errs = append(errs, fmt.Errorf("plugin %s: manifest: %w", f.Plugin, err))
			continue
		}
		for _, decl := range f.Manifest.Surfaces {
			sf, err := newSurface(f, decl)
			if err == nil && names[decl.Name] != nil {
				err = fmt.Errorf("plugin %s declares it too", names[decl.Name].plugin)
			}
			if err == nil {
				err = s.add(sf)
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("plugin %s: surface %q: %w", f.Plugin, decl.Name, err))
				continue
			}
			names[decl.Name] = sf
		}
	}
	slices.SortFunc(s.list, func(a, b *surface) int { return strings.Compare(a.Name, b.Name) })
	for _, name := range slices.Sorted(maps.Keys(cfg)) {
		if names[name] == nil {
			errs = append(errs, unknownSurface(name, slices.Sorted(maps.Keys(names))))
			continue
		}
		errs = append(errs, names[name].configure(cfg[name], models))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return s, nil
}

func unknownSurface(name string, known []string) error {
	hint := ""
	if best := spelling.Nearest(name, known); best != "" {
		hint = fmt.Sprintf(" Did you mean %q?", best)
	}
	if len(known) == 0 {
		return fmt.Errorf("surfaces.%s: no plugin declares surfaces", name)
	}
	return fmt.Errorf("surfaces.%s: no plugin declares this surface; there are %s.%s", name, strings.Join(known, ", "), hint)
}

// newSurface reads a declaration of a manifest that is well-formed.
func newSurface(f Front, decl provider.Surface) (*surface, error) {
	if f.Front == nil {
		return nil, errors.New("the plugin does not implement provider.Front")
	}
	if decl.Base == gatewayPrefix || strings.HasPrefix(decl.Base, gatewayPrefix+"/") {
		return nil, fmt.Errorf("base %q: every surface is served below %s anyway", decl.Base, gatewayPrefix)
	}
	sf := &surface{Surface: decl, plugin: f.Plugin, front: f.Front}
	for _, name := range decl.Carry {
		sf.carry = append(sf.carry, http.CanonicalHeaderKey(name))
	}
	at := func(k kind, path string) (*entry, error) {
		p, err := parsePattern(decl.Base + path)
		if err != nil {
			return nil, err
		}
		e := &entry{surface: sf, kind: k, path: decl.Base + path, pattern: p}
		sf.entries = append(sf.entries, e)
		return e, nil
	}
	for i, rt := range decl.Routes {
		if rt.Op == provider.Compact {
			return nil, fmt.Errorf("path %s: the operation %s is not offered to clients", rt.Path, rt.Op)
		}
		e, err := at(callModel, rt.Path)
		if err != nil {
			return nil, err
		}
		e.route = rt
		e.dialect, _ = f.Manifest.Dialect(rt.Dialect)
		e.manner = manner{envelopes[e.dialect.Errors], true}
		if e.dialect.Errors == "openai" && slices.Contains(vendorSurfaces, decl.Name) {
			e.manner.envelope = vendorEnvelope
		}
		e.apiType = strings.TrimPrefix(strings.NewReplacer("/models/{model}:", "/", "{model}:", "", "/{model}", "").Replace(e.path), "/")
		if i == 0 {
			sf.manner = e.manner
		}
	}
	var others []error
	if decl.Models != "" {
		for k, path := range []string{decl.Models, decl.Models + "/{model}"} {
			_, err := at(listModels+kind(k), path)
			others = append(others, err)
		}
	}
	for _, path := range decl.Probes {
		_, err := at(probe, strings.TrimSuffix(path, "/"))
		others = append(others, err)
	}
	for _, e := range sf.entries {
		if e.kind != callModel {
			e.manner = sf.manner
		}
	}
	return sf, errors.Join(others...)
}

// add puts sf beside the others, unless one of its paths is taken.
func (s *Surfaces) add(sf *surface) error {
	core := (*API)(nil).coreRoutes()
	var taken []*entry
	for _, e := range sf.entries {
		twice := false
		for _, o := range slices.Concat(s.all, taken) {
			if !o.pattern.overlaps(e.pattern) || !slices.ContainsFunc(o.methods(), func(m string) bool { return slices.Contains(e.methods(), m) }) {
				continue
			}
			if twice = o.surface == sf && e.kind == probe && o.kind == probe; !twice {
				return fmt.Errorf("path %s is also that of plugin %s, surface %q", e.path, o.plugin, o.Name)
			}
		}
		for _, rt := range core {
			if slices.Contains(e.methods(), rt.Method) && muxPattern(rt.Path).overlaps(e.pattern) {
				return fmt.Errorf("path %s is the gateway's own: %s %s", e.path, rt.Method, rt.Path)
			}
		}
		if !twice {
			taken = append(taken, e)
		}
	}
	sf.entries = taken
	s.list = append(s.list, sf)
	for _, e := range taken {
		s.all = append(s.all, e)
		if !strings.Contains(e.path, "{") {
			for _, prefix := range []string{"", gatewayPrefix} {
				s.exact[prefix+e.path] = append(s.exact[prefix+e.path], e)
			}
		}
	}
	return nil
}

// configure applies what the operator says of sf.
func (sf *surface) configure(c SurfaceConfig, models *router.Router) error {
	var errs []error
	known := func(key, name string) {
		if !models.Known(name) {
			errs = append(errs, fmt.Errorf("surfaces.%s.%s: there is no model %q", sf.Name, key, name))
		}
	}
	sf.disabled = c.Enabled != nil && !*c.Enabled
	sf.allow = c.Allow
	for _, from := range slices.Sorted(maps.Keys(c.Aliases)) {
		known("aliases."+from, c.Aliases[from])
		sf.aliases = append(sf.aliases, alias{router.Canonical(from), c.Aliases[from]})
	}
	slices.SortStableFunc(sf.aliases, func(a, b alias) int { return len(b.from) - len(a.from) })
	if sf.fallback = c.Default; sf.fallback != "" {
		known("default", sf.fallback)
	}
	for _, b := range c.DenyBetas {
		sf.denyBetas = append(sf.denyBetas, strings.ToLower(b))
	}
	return errors.Join(errs...)
}

// Names are the names of all surfaces, sorted.
func (s *Surfaces) Names() []string {
	var names []string
	if s != nil {
		for _, sf := range s.list {
			names = append(names, sf.Name)
		}
	}
	return names
}

// found is what there is at a path.
type found struct {
	entry *entry
	name  string   // of the model, where the path has it
	allow []string // methods, when none of the entries there has the one asked for
}

// find looks for method and path among the surfaces called in only, or all.
func (s *Surfaces) find(method string, u *url.URL, only []string) (f found, ok bool) {
	if s == nil {
		return f, false
	}
	take := func(e *entry, name string) bool {
		if len(only) > 0 && !slices.Contains(only, e.Name) {
			return false
		}
		for _, m := range e.methods() {
			if m == method {
				f, ok = found{entry: e, name: name}, true
				return true
			}
		}
		f, ok = found{entry: e, allow: append(f.allow, e.methods()...)}, true
		return false
	}
	if u.RawPath == "" { // nothing is escaped
		for _, e := range s.exact[u.Path] {
			if take(e, "") {
				return f, true
			}
		}
		if ok {
			return f, true
		}
	}
	segs := below(segments(u))
	for _, e := range s.all {
		if name, match := e.pattern.match(segs); match && take(e, name) {
			return f, true
		}
	}
	return f, ok
}

// below takes the vendor's prefix off a path.
func below(segs []string) []string {
	if len(segs) > 0 && "/"+segs[0] == gatewayPrefix {
		return segs[1:]
	}
	return segs
}
