package router

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sallyport-gateway/sallyport/core/spelling"
	"github.com/sallyport-gateway/sallyport/core/usage"
)

// Validate checks all that can be said without asking a translator. It
// reports every fault it finds, each with the key it is at.
func (c Config) Validate() error {
	var v faults
	for _, name := range slices.Sorted(maps.Keys(c.Providers)) {
		c.Providers[name].validate(&v, name)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Models)) {
		c.validateModel(&v, name)
	}
	c.validateNames(&v)
	c.validatePayloads(&v)
	return errors.Join(v...)
}

type faults []error

func (v *faults) add(format string, args ...any) { *v = append(*v, fmt.Errorf(format, args...)) }

func (p Provider) validate(v *faults, name string) {
	at := "providers." + name
	if !flat(name) {
		v.add("%s: the name may hold letters, digits, - and _ only", at)
	}
	if p.Translator == "" {
		v.add("%s: translator is missing; it names the plugin that speaks the provider's dialect, such as openai", at)
	}
	if p.Timeouts.Connect < 0 || p.Timeouts.FirstByte < 0 || p.Timeouts.Idle < 0 {
		v.add("%s.timeouts: a timeout cannot be negative; leave it out for the default", at)
	}
}

func (c Config) validateModel(v *faults, name string) {
	m, at := c.Models[name], "models."+name
	if !flat(name) {
		v.add("%s: the name may hold letters, digits, - and _ only; other spellings can be listed under aliases", at)
	}
	if len(m.Destinations) == 0 {
		v.add("%s: destinations is empty; a model needs at least one {provider, model}", at)
	}
	seen := map[string]string{}
	for i, d := range m.Destinations {
		c.validateDestination(v, fmt.Sprintf("%s.destinations[%d]", at, i), d, seen)
	}
	for i, d := range m.Fallback {
		here := fmt.Sprintf("%s.fallback[%d]", at, i)
		c.validateDestination(v, here, d, seen)
		if d.Traffic != nil {
			v.add("%s.traffic: a fallback takes no share of the traffic; remove the key", here)
		}
	}
	validateTraffic(v, at, m.Destinations)
	if m.Context.Input < 0 || m.Context.Output < 0 {
		v.add("%s.context: a number of tokens cannot be negative", at)
	}
	if t := m.InferenceTable; t != nil {
		t.validate(v, at+".inference_table")
	}
	switch m.Output {
	case "", "databricks", "openai", "openresponses":
	default:
		v.add("%s.output: %q is not one of databricks, openai, openresponses", at, m.Output)
	}
}

func (c Config) validateDestination(v *faults, at string, d Destination, seen map[string]string) {
	if d.Model == "" {
		v.add("%s: model is missing; it is the provider's own name of the model", at)
	}
	if _, ok := c.Providers[d.Provider]; d.Provider == "" {
		v.add("%s: provider is missing; it names an entry of providers", at)
	} else if !ok {
		meant := ""
		if near := spelling.Nearest(d.Provider, slices.Sorted(maps.Keys(c.Providers))); near != "" {
			meant = fmt.Sprintf("; did you mean %q?", near)
		}
		v.add("%s.provider: there is no %q under providers%s", at, d.Provider, meant)
	}
	if before, ok := seen[d.Provider+"\x00"+d.Model]; ok {
		v.add("%s: the same provider and model as %s; one of them has no effect", at, before)
	} else {
		seen[d.Provider+"\x00"+d.Model] = at
	}
	if d.Price != nil {
		if err := d.Price.Validate(); err != nil {
			v.add("%s.price.%w", at, err)
		}
	}
}

func (t InferenceTable) validate(v *faults, at string) {
	catalog, schema, ok := strings.Cut(t.Parent, ".")
	switch {
	case !ok || !identifier(catalog) || !identifier(schema):
		v.add("%s.parent: %q is not catalog.schema, each of letters, digits and _", at, t.Parent)
	case strings.EqualFold(catalog, "system"):
		v.add("%s.parent: %q is in the catalog system, where the gateway keeps its own tables; name another one", at, t.Parent)
	}
	if !identifier(t.Prefix) {
		v.add("%s.prefix: %q is not of letters, digits and _; the table is called after it, <prefix>_payload", at, t.Prefix)
	}
	if t.MaxBytes < 0 || t.MaxBytes > usage.DefaultPayloadMax {
		v.add("%s.max_bytes: %d is not between 1 and %d; leave it out for the most", at, t.MaxBytes, usage.DefaultPayloadMax)
	}
}

// validatePayloads checks that models which share an inference table say the
// same of it.
func (c Config) validatePayloads(v *faults) {
	first := map[string]string{} // table to the model that named it first
	for _, name := range slices.Sorted(maps.Keys(c.Models)) {
		t := c.Models[name].InferenceTable
		if t == nil {
			continue
		}
		before, ok := first[t.Name()]
		if !ok {
			first[t.Name()] = name
			continue
		}
		if c.Models[before].InferenceTable.MaxBytes != t.MaxBytes {
			v.add("models.%s.inference_table: models.%s writes to the same table %s with another max_bytes; make them equal, or choose another prefix", name, before, t.Name())
		}
	}
}

func validateTraffic(v *faults, at string, ds []Destination) {
	set, sum := 0, 0
	for i, d := range ds {
		if d.Traffic == nil {
			continue
		}
		set++
		sum += *d.Traffic
		if *d.Traffic < 0 || *d.Traffic > 100 {
			v.add("%s.destinations[%d].traffic: %d is not a percentage between 0 and 100", at, i, *d.Traffic)
			return
		}
	}
	switch {
	case set == 0:
	case set < len(ds):
		v.add("%s.destinations: traffic is set for %d of %d; set it for all of them, or for none to share equally", at, set, len(ds))
	case sum != 100:
		v.add("%s.destinations: traffic adds up to %d; it has to be 100", at, sum)
	}
}

// validateNames checks that no two models answer to the same name.
func (c Config) validateNames(v *faults) {
	owner := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(c.Models)) {
		if before, ok := owner[canonical(name)]; ok {
			v.add("models.%s: the same name as models.%s; names do not differ by case", name, before)
			continue
		}
		owner[canonical(name)] = name
	}
	aliases := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(c.Models)) {
		for i, a := range c.Models[name].Aliases {
			at := fmt.Sprintf("models.%s.aliases[%d]", name, i)
			key := canonical(a)
			switch other, taken := owner[key]; {
			case key == "" || strings.ContainsFunc(a, func(r rune) bool { return r <= ' ' || r == 0x7f }):
				v.add("%s: %q is not a name", at, a)
				continue
			case taken && other == name:
				v.add("%s: %q is the model's own name; remove it", at, a)
			case taken:
				v.add("%s: %q is the name of another model", at, a)
			}
			if other, taken := aliases[key]; taken && other == name {
				v.add("%s: %q is listed twice", at, a)
			} else if taken {
				v.add("%s: %q is already an alias of models.%s", at, a, other)
			} else {
				aliases[key] = name
			}
		}
	}
}

// identifier reports whether s can be a part of a table's name without quotes,
// in any reader's SQL.
func identifier(s string) bool {
	return flat(s) && !strings.Contains(s, "-") && (s[0] < '0' || s[0] > '9')
}

// flat reports whether s is a name without structure.
func flat(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' && i > 0) {
			return false
		}
	}
	return s != "" && len(s) <= 128
}
