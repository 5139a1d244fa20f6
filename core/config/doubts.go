package config

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sallyport-gateway/sallyport/core/access"
	"github.com/sallyport-gateway/sallyport/core/spelling"
)

// Doubts has a sentence for each entry that is well written and probably not
// what was meant: a limit, budget or surface for somebody who does not exist,
// and a budget over models that cost nothing because no price is known.
func (c *Config) Doubts() []string {
	var lines []string
	who := c.principals()
	all := slices.Concat(who["user"], who["service_principal"], who["group"])
	known := func(path, kind, name, effect string) {
		names := who[kind]
		if kind == "" {
			names = all
		}
		if slices.Contains(names, name) {
			return
		}
		line := fmt.Sprintf("%s: there is no %s %q, so %s", path, strings.ReplaceAll(cmp.Or(kind, "user, service principal or group"), "_", " "), name, effect)
		if near := spelling.Nearest(name, names); near != "" {
			line += fmt.Sprintf("; did you mean %q?", near)
		}
		lines = append(lines, line)
	}
	of := func(path, text string) {
		kind, name, _ := strings.Cut(text, " ")
		if kind == "user" || kind == "service_principal" || kind == "group" {
			known(path, kind, strings.TrimSpace(name), noEffect)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Surfaces)) {
		s := c.Surfaces[name]
		effect := noEffect
		if (s.Enabled == nil || *s.Enabled) && !slices.ContainsFunc(s.Allow, func(p string) bool { return slices.Contains(all, p) }) {
			effect = "nobody but administrators may use this surface"
		}
		for i, p := range s.Allow {
			known(fmt.Sprintf("surfaces.%s.allow[%d]", name, i), "", p, effect)
		}
	}
	var free []string
	for _, name := range slices.Sorted(maps.Keys(c.Models)) {
		m := c.Models[name]
		for i, l := range m.Limits {
			of(fmt.Sprintf("models.%s.limits[%d].of", name, i), l.Of)
		}
		for _, d := range slices.Concat(m.Destinations, m.Fallback) {
			if d.Price == nil && !slices.Contains(free, name) {
				free = append(free, name)
			}
		}
	}
	for i, b := range c.Budgets {
		of(fmt.Sprintf("budgets[%d].of", i), b.Of)
	}
	if len(c.Budgets) > 0 && len(free) > 0 {
		lines = append(lines, fmt.Sprintf("budgets: without a price these models spend nothing of any budget: %s", strings.Join(free, ", ")))
	}
	return lines
}

// noEffect is what comes of a limit or budget for somebody who does not exist.
const noEffect = "it has no effect"

// principals are the names of users, service principals and groups, the built-in
// one too.
func (c *Config) principals() map[string][]string {
	who := map[string][]string{"group": {access.AccountUsers}}
	add := func(kind, name string, groups []string) {
		who[kind] = append(who[kind], name)
		who["group"] = append(who["group"], groups...)
	}
	for _, u := range c.Access.Users {
		add("user", u.Name, u.Groups)
	}
	for _, p := range c.Access.ServicePrincipals {
		add("service_principal", p.Name, p.Groups)
	}
	for _, g := range c.Access.Groups {
		add("group", g.Name, g.Groups)
	}
	return who
}
