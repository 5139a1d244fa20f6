package config

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sallyport-gateway/sallyport/core/spelling"
)

// Doubts has a sentence for each entry that is well written and probably not
// what was meant: a limit, budget or surface for somebody who does not exist,
// and a budget over models that cost nothing because no price is known.
func (c *Config) Doubts() []string {
	var lines []string
	who := c.principals()
	known := func(path, kind, name string) {
		names := who[kind]
		if kind == "" {
			names = slices.Concat(who["user"], who["service_principal"], who["group"])
		}
		if slices.Contains(names, name) {
			return
		}
		line := fmt.Sprintf("%s: there is no %s %q, so it has no effect", path, strings.ReplaceAll(cmp.Or(kind, "user, service principal or group"), "_", " "), name)
		if near := spelling.Nearest(name, names); near != "" {
			line += fmt.Sprintf("; did you mean %q?", near)
		}
		lines = append(lines, line)
	}
	of := func(path, text string) {
		kind, name, _ := strings.Cut(text, " ")
		if kind == "user" || kind == "service_principal" || kind == "group" {
			known(path, kind, strings.TrimSpace(name))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Surfaces)) {
		for i, p := range c.Surfaces[name].Allow {
			known(fmt.Sprintf("surfaces.%s.allow[%d]", name, i), "", p)
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

// principals are the names of users, service principals and groups.
func (c *Config) principals() map[string][]string {
	who := map[string][]string{}
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
