package access

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// refuse turns a verdict that is no yes into the error to show. What it writes
// may depend on the caller's own rights and on the words of the request, never
// on whether a denied object exists.
func (s *snapshot) refuse(m *member, p Privilege, on Securable, v verdict) error {
	if v.n == 0 {
		return apierror.New(apierror.NotFound, "There is no %s.%s", plain(on.String()), s.nearby(m, on))
	}
	if v.never {
		return apierror.New(apierror.Denied, "Permission denied for %s: what is in the catalog system belongs to the gateway and is only read; nobody can have %s on it.", plain(on.String()), v.need[0])
	}
	var lacks, grants []string
	for i := range v.n {
		what, at := v.need[i], on
		for up := on; up.Kind != Metastore && levelOf(at.Kind) != v.missing[i]; up = up.parent() {
			at = up.parent()
		}
		lacks = append(lacks, fmt.Sprintf("%s on %s", what, plain(at.String())))
		grants = append(grants, entryFor(what, at, m.name))
	}
	hidden := "it does not exist, or "
	if on.Kind == Tool {
		hidden = "" // what a gateway serves is no secret
	}
	return apierror.New(apierror.Denied, "Permission denied for %s: %s%s lacks %s. %s can add under access.grants in the gateway's configuration: %s.", plain(on.String()), hidden, plain(m.name),
		strings.Join(lacks, " and "), s.helper(), strings.Join(grants, ", "))
}

// helper says who can grant, which is who may change the configuration. It does
// not name the owner: that would tell that the object exists.
func (s *snapshot) helper() string {
	switch n := len(s.admins); {
	case n == 0:
		return "Whoever runs the gateway"
	case n <= 3:
		return "An administrator (" + strings.Join(s.admins, ", ") + ")"
	default:
		return "An administrator (" + strings.Join(s.admins[:3], ", ") + " and others)"
	}
}

// entryFor is the entry of access.grants that would help, in YAML.
func entryFor(p Privilege, on Securable, to string) string {
	text := strings.ReplaceAll(on.Kind, "_", " ")
	if on.Name != "" {
		text += " " + quoteName(on)
	}
	return fmt.Sprintf("{to: %s, privileges: [%s], on: %s}", yamlText(to), p, yamlText(text))
}

// quoteName puts the parts of a name that need it into backquotes, as
// ParseSecurable reads them.
func quoteName(on Securable) string {
	n := 1
	if on.Kind == Schema {
		n = 2
	} else if schemaLevel(on.Kind) {
		n = 3
	}
	parts := strings.SplitN(on.Name, ".", n)
	for i, p := range parts {
		if strings.ContainsRune(p, ' ') || on.Kind != Model && strings.Contains(p, ".") {
			parts[i] = "`" + p + "`"
		}
	}
	return strings.Join(parts, ".")
}

// yamlText is s as a YAML string inside braces: plain where that is safe.
func yamlText(s string) string {
	if len(s) > 300 {
		return show(s)
	}
	safe := s != "" && strings.Trim(s[:1], "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
	for _, r := range s {
		safe = safe && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune(" .@_-+/`", r))
	}
	switch strings.ToLower(s) {
	case "null", "true", "false", "yes", "no", "on", "off", "y", "n":
		safe = false
	}
	if !safe || strings.HasSuffix(s, " ") {
		return strconv.Quote(s) // its escapes are YAML's too
	}
	return s
}

// nearby suggests an object with a like name among those that m may use.
func (s *snapshot) nearby(m *member, on Securable) string {
	var names []string
	for o, id := range s.index {
		if o.Kind != on.Kind || !s.nodes[id].exists {
			continue
		}
		if v := s.check(m, natural(o.Kind), o); v.n == 0 {
			names = append(names, o.Name)
		}
	}
	slices.Sort(names)
	return didYouMean(on.Name, names)
}

// natural is the privilege to use an object of kind.
func natural(kind string) Privilege {
	switch kind {
	case Catalog:
		return UseCatalog
	case Schema:
		return UseSchema
	case Table, VectorSearchIndex:
		return Select
	case Function, Model:
		return Execute
	case Volume:
		return ReadVolume
	case Connection:
		return UseConnection
	case GenieSpace:
		return CanRun
	case App:
		return CanUse
	case Tool:
		return UseTool
	case ServingEndpoint, KnowledgeAssistant:
		return CanQuery
	}
	return CanView
}

// CheckScope returns nil if the token of p carries scope, else
// apierror.Denied that names it.
func (s *Service) CheckScope(p *Principal, scope string) error {
	if p != nil && p.HasScope(scope) {
		return nil
	}
	have := "none"
	if p != nil && len(p.Scopes) > 0 {
		have = strings.Join(p.Scopes, ", ")
	}
	// The first sentence is the one that clients of the original look for.
	return apierror.New(apierror.Denied, "Invalid scope, required scopes: %s. The token of this request carries: %s. Use a token that has the scope %s, or all.", scope, have, scope)
}

// Helper names who can help a caller: "An administrator (root@example.com)",
// or whoever runs the gateway. It begins a sentence.
func (s *Service) Helper() string { return s.snap.Load().helper() }
