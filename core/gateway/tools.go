package gateway

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/sallyport-gateway/sallyport/core/access"
	"github.com/sallyport-gateway/sallyport/core/config"
	"github.com/sallyport-gateway/sallyport/core/egress"
	"github.com/sallyport-gateway/sallyport/core/pluginhost"
	"github.com/sallyport-gateway/sallyport/core/router"
	"github.com/sallyport-gateway/sallyport/core/toolset"
	"github.com/sallyport-gateway/sallyport/sdk/boot"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

// toolSettings are the settings of the tool plugins as JSON, by tool type. They
// are checked against the manifests in buildTools, before any process starts.
func toolSettings(cfg *config.Config) (map[string]json.RawMessage, error) {
	all := map[string]json.RawMessage{}
	for typ, t := range cfg.Tools {
		if len(t.Settings) == 0 {
			continue
		}
		text, err := json.Marshal(t.Settings)
		if err != nil {
			return nil, fmt.Errorf("tools.%s.settings: cannot be written as JSON: %w", typ, err)
		}
		all[typ] = text
	}
	return all, nil
}

// perUser are the tool types of which each user has a process.
func perUser(cfg *config.Config) map[string]bool {
	types := map[string]bool{}
	for typ, t := range cfg.Tools {
		if t.Isolation == toolset.PerUser {
			types[typ] = true
		}
	}
	return types
}

// buildTools joins the operator's side of the tool types with the plugins that
// serve them, and announces the types to access.
func (g *Gateway) buildTools(gen *generation, models *router.Router, out *egress.Egress) (*toolset.Toolset, error) {
	cfg, types := gen.cfg, g.toolTypes()
	warnings, err := cfg.Tools.Bind(types, g.toolManifest)
	if err != nil {
		return nil, err
	}
	gen.toolWarnings = warnings
	if err := g.access.SetObjects("tools", toolset.Objects(types)); err != nil {
		return nil, fmt.Errorf("tools: %w", err)
	}
	tools, err := toolset.New(toolset.Deps{
		Tool:     g.plugins.Tool,
		Types:    g.toolTypes,
		Scope:    g.access.CheckScope,
		View:     func(p *access.Principal) toolset.View { return gen.catalog.As(p) },
		Config:   cfg.Tools,
		Code:     g.toolCode(cfg),
		Egress:   out,
		Generate: models.Generate,
		Usage:    g.usage,
		Log:      g.log,
	})
	if err != nil {
		return nil, fmt.Errorf("tools: %w", err)
	}
	return tools, nil
}

// toolManifest is what the plugin of a tool type says of itself.
func (g *Gateway) toolManifest(typ string) tool.Manifest {
	_, m, _ := g.plugins.Tool(typ, "")
	return m
}

// toolTypes lists the tool types that plugins serve, each once.
func (g *Gateway) toolTypes() []string {
	var types []string
	for _, p := range g.plugins.Plugins() {
		if p.Kind == boot.Tool && p.State != pluginhost.Refused && p.State != pluginhost.Unlisted {
			types = append(types, p.Name)
		}
	}
	slices.Sort(types)
	return slices.Compact(types)
}
