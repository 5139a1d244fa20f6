package toolset

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sallyport-gateway/sallyport/core/access"
	"github.com/sallyport-gateway/sallyport/core/egress"
	"github.com/sallyport-gateway/sallyport/core/settings"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

// targets are the bound targets of one tool type, by name.
type targets map[string]*egress.Account

// Bind checks the configuration against the manifests of the plugins that are
// there. It reports every fault it finds, each with the key it is at; warnings
// are sentences about what works, but not as its author may think. A type that
// no plugin serves now is a warning, so that a plugin can be taken away and
// come back; one that is written almost like a type that is served is a fault.
func (c Config) Bind(served []string, manifest func(typ string) tool.Manifest) (warnings []string, err error) {
	var errs []error
	for _, typ := range slices.Sorted(maps.Keys(c)) {
		if !slices.Contains(served, typ) {
			if err := c.unserved(typ, served); err != nil {
				errs = append(errs, err)
				continue
			}
			warnings = append(warnings, fmt.Sprintf("tools.%s: no plugin serves this tool type, so the entry has no effect; "+
				"`sallyport plugin add` adds one, `sallyport plugin list` shows those that were found", typ))
			continue
		}
		m := manifest(typ)
		for _, name := range slices.Sorted(maps.Keys(c[typ].Targets)) {
			if !slices.Contains(m.Targets, name) {
				errs = append(errs, fmt.Errorf("tools.%s.targets.%s: the plugin has no target of that name (%s)%s", typ, name, has(m.Targets), meant(name, m.Targets)))
			}
		}
		if _, err := settings.Check("the plugin for "+typ+" tools", m.Config, c[typ].Settings); err != nil {
			errs = append(errs, fmt.Errorf("tools.%s.settings: %w", typ, err))
		}
	}
	for _, typ := range slices.Sorted(slices.Values(served)) {
		m := manifest(typ)
		for _, name := range m.Targets {
			if _, bound := c[typ].Targets[name]; !bound {
				warnings = append(warnings, fmt.Sprintf("tools.%s.targets.%s: is not set, so the plugin for %s tools cannot reach its target %q: {url: …} says where it is", typ, name, typ, name))
			}
		}
		if _, configured := c[typ]; !configured {
			if _, err := settings.Check("the plugin for "+typ+" tools", m.Config, nil); err != nil {
				warnings = append(warnings, fmt.Sprintf("tools.%s.settings: %v", typ, err))
			}
		}
	}
	return warnings, errors.Join(errs...)
}

// unserved is the fault of a type that nobody serves, nil when it may just be
// away.
func (c Config) unserved(typ string, served []string) error {
	if canonical, _ := canonicalType(typ); canonical != typ {
		return fmt.Errorf("tools.%s: the tool type is called %s here", typ, canonical)
	}
	if isHostedType(typ) {
		return nil
	}
	known := slices.Clone(served)
	for _, h := range hostedTypes {
		known = append(known, h.name)
	}
	known = slices.DeleteFunc(known, func(k string) bool { _, also := c[k]; return also })
	if near := meant(typ, known); near != "" {
		return fmt.Errorf("tools.%s: no plugin serves this tool type%s", typ, near)
	}
	return nil
}

func has(names []string) string {
	if len(names) == 0 {
		return "it has none"
	}
	return "it has " + strings.Join(names, ", ")
}

// bind makes the accounts of the targets that manifests name. Close them.
func (c Config) bind(out *egress.Egress) (map[string]targets, error) {
	all := map[string]targets{}
	var errs []error
	for typ, t := range c {
		all[typ] = targets{}
		for name, target := range t.Targets {
			target = target.withDefaults()
			a, err := out.Account(egress.AccountConfig{
				Name: typ + "/" + name, BaseURL: target.URL, Private: target.Private, Credential: target.Credential,
				Key: target.Key, Timeouts: target.Timeouts, MaxBody: target.MaxResponse,
			})
			if err != nil {
				errs = append(errs, fmt.Errorf("tools.%s.targets.%s: %w", typ, name, err))
				continue
			}
			all[typ][name] = a
		}
	}
	return all, errors.Join(errs...)
}

// Objects are the tool types as objects that rights can be granted on.
func Objects(types []string) []access.Object {
	var out []access.Object
	for _, typ := range types {
		out = append(out, access.Object{Securable: access.Securable{Kind: access.Tool, Name: typ}})
	}
	return out
}
