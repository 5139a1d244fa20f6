package toolset

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sallyport-gateway/sallyport/core/spelling"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// hostedTypes are the tool types of the Supervisor API, with the other names
// that programs in the wild use for them.
var hostedTypes = []struct {
	name    string
	aliases []string
}{
	{"genie_space", []string{"genie"}},
	{"dashboard", []string{"lakeview_dashboard"}},
	{"uc_function", []string{"unity_catalog_function"}},
	{"table", []string{"uc_table"}},
	{"vector_search_index", nil},
	{"knowledge_assistant", nil},
	{"serving_endpoint", []string{"agent_endpoint"}},
	{"app", nil},
	{"uc_connection", []string{"external_mcp_server", "mcp"}},
	{"web_search", []string{"databricks_web_search"}},
	{"volume", nil},
}

// mcpType is the type whose calls go to an MCP server.
const mcpType = "uc_connection"

// canonicalType is the type that a declared name means, and every spelling of
// it. A name outside the list means itself.
func canonicalType(declared string) (typ string, spellings []string) {
	for _, h := range hostedTypes {
		if h.name == declared || slices.Contains(h.aliases, declared) {
			return h.name, append([]string{h.name}, h.aliases...)
		}
	}
	return declared, []string{declared}
}

func isHostedType(typ string) bool {
	for _, h := range hostedTypes {
		if h.name == typ {
			return true
		}
	}
	return false
}

// missing gathers the declared types that nobody serves here.
type missing struct {
	unknown, unserved []string // as declared, each once
	at                map[string][]int
	served            []string
}

func (m *missing) add(list *[]string, declared string, index int) {
	if m.at == nil {
		m.at = map[string][]int{}
	}
	if m.at[declared] == nil {
		*list = append(*list, declared)
	}
	m.at[declared] = append(m.at[declared], index)
}

// err is one error about all of them, nil when there is none.
func (m *missing) err() error {
	if len(m.unknown) == 0 && len(m.unserved) == 0 {
		return nil
	}
	var b strings.Builder
	code, first := apierror.Unsupported, ""
	if len(m.unserved) > 0 {
		first = m.unserved[0]
		fmt.Fprintf(&b, "No plugin on this gateway serves these tool types yet: %s. ", m.list(m.unserved))
	}
	if len(m.unknown) > 0 {
		code, first = apierror.Invalid, m.unknown[0]
		if len(m.unknown) == 1 {
			fmt.Fprintf(&b, "There is no such tool type: %s.", m.list(m.unknown))
		} else {
			fmt.Fprintf(&b, "There are no such tool types: %s.", m.list(m.unknown))
		}
		for _, u := range m.unknown {
			if s := m.suggest(u); s != "" {
				fmt.Fprintf(&b, " Did you mean %q instead of %q?", s, shorten(u))
			}
		}
		b.WriteByte(' ')
	}
	here := append([]string{"function"}, m.served...)
	fmt.Fprintf(&b, "Available here: %s.", strings.Join(here, ", "))
	if len(m.unserved) > 0 {
		b.WriteString(" Remove the others from \"tools\", or ask the operator for a plugin that serves them.")
	}
	return apierror.At(code, fmt.Sprintf("tools[%d]", m.at[first][0]), "%s", b.String())
}

func (m *missing) list(names []string) string {
	parts := make([]string, len(names))
	for i, n := range names {
		places := make([]string, len(m.at[n]))
		for j, index := range m.at[n] {
			places[j] = fmt.Sprintf("tools[%d]", index)
		}
		parts[i] = fmt.Sprintf("%s (%s)", shorten(n), strings.Join(places, ", "))
	}
	return strings.Join(parts, ", ")
}

// suggest is the known type nearest to what was written, "" if none is near.
func (m *missing) suggest(declared string) string {
	known := append([]string{"function"}, m.served...)
	for _, h := range hostedTypes {
		known = append(append(known, h.name), h.aliases...)
	}
	return spelling.Nearest(declared, known)
}

// shorten keeps a message readable when the name is absurd.
func shorten(s string) string {
	if len(s) <= 64 {
		return s
	}
	return strings.ToValidUTF8(s[:64], "") + "…"
}

// declarations reads the hosted tools among ts, declared by a principal.
// Identical ones are one.
func (t *Toolset) declarations(principal string, ts []openresponses.Tool) ([]*declaration, error) {
	if len(ts) > maxTools {
		return nil, apierror.At(apierror.Invalid, "tools", "The request declares %d tools; at most %d are allowed.", len(ts), maxTools)
	}
	served := t.deps.Types()
	slices.Sort(served)
	gone := missing{served: slices.Compact(served)}
	var ds []*declaration
	seen := map[string]bool{}
	var invalid error // told only when every type is served
	for i := range ts {
		declared := ts[i].Type
		if declared == "function" {
			continue
		}
		typ, spellings := canonicalType(declared)
		if slices.Contains(gone.served, declared) {
			typ, spellings = declared, []string{declared}
		}
		_, manifest, ok := t.deps.Tool(typ, principal)
		switch {
		case ok:
			d, err := readDeclaration(i, &ts[i], declared, typ, spellings, manifest)
			if err != nil {
				if invalid == nil {
					invalid = err
				}
				continue
			}
			if !seen[d.key()] {
				seen[d.key()] = true
				ds = append(ds, d)
			}
		case isHostedType(typ):
			gone.add(&gone.unserved, declared, i)
		default:
			gone.add(&gone.unknown, declared, i)
		}
	}
	if err := gone.err(); err != nil {
		return nil, err
	}
	return ds, invalid
}
