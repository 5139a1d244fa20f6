package access

import (
	"slices"
	"strings"
	"unicode"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// The kinds of securable objects. Metastore contains everything; a catalog
// contains schemas; a schema contains tables (and views), volumes, functions,
// models and indexes; the others hang on the metastore.
const (
	Metastore          = "metastore"
	Catalog            = "catalog"
	Schema             = "schema"
	Table              = "table"
	Volume             = "volume"
	Function           = "function"
	Model              = "model"
	VectorSearchIndex  = "vector_search_index"
	Connection         = "connection"
	ExternalLocation   = "external_location"
	GenieSpace         = "genie_space"
	Dashboard          = "dashboard"
	KnowledgeAssistant = "knowledge_assistant"
	ServingEndpoint    = "serving_endpoint"
	App                = "app"
	Tool               = "tool" // a tool type that a plugin serves
)

var kinds = []string{
	Metastore, Catalog, Schema, Table, Volume, Function, Model, VectorSearchIndex, Connection, ExternalLocation,
	GenieSpace, Dashboard, KnowledgeAssistant, ServingEndpoint, App, Tool,
}

// kindSynonyms are other names for kinds, as grants use them.
var kindSynonyms = map[string]string{
	"view": Table, "database": Schema, "registered_model": Model, "model_service": Model, "index": VectorSearchIndex,
	"uc_function": Function, "uc_connection": Connection, "lakeview_dashboard": Dashboard,
	"tool_type": Tool,
}

// SystemCatalog is the catalog of the gateway's own objects: models, and the
// tables it writes about itself. Nobody has a right to change them.
const SystemCatalog = "system"

// ModelSchema is the schema that the flat model names live in. Every principal
// may USE it and its catalog.
const ModelSchema = "system.ai"

// Securable names an object that rights can be granted on.
type Securable struct {
	Kind string // one of the constants
	Name string // canonical: lower-case, dotted; "" for the metastore
}

// Object is an object that exists.
type Object struct {
	Securable
	Parent Securable // zero: what the kind and the name imply
	Owner  string    // a user, service principal or group; "" leaves it to the administrators
}

// ModelNamed is the model that callers know by its flat name, with or without
// the prefix "system.ai.".
func ModelNamed(name string) Securable {
	name = strings.ToLower(name)
	if strings.HasPrefix(name, ModelSchema+".") {
		return Securable{Model, name}
	}
	return Securable{Model, ModelSchema + "." + name}
}

// String gives "table main.sales.reviews".
func (s Securable) String() string {
	if s.Name == "" {
		return s.Kind
	}
	return strings.ReplaceAll(s.Kind, "_", " ") + " " + s.Name
}

// schemaLevel reports whether objects of kind live in a schema.
func schemaLevel(kind string) bool {
	switch kind {
	case Table, Volume, Function, Model, VectorSearchIndex:
		return true
	}
	return false
}

// contains reports whether an object of kind outer can hold, at any depth, one
// of kind inner.
func contains(outer, inner string) bool {
	switch outer {
	case Metastore:
		return inner != Metastore
	case Catalog:
		return inner == Schema || schemaLevel(inner)
	case Schema:
		return schemaLevel(inner)
	}
	return false
}

// parent is the object that s lies in by its kind and name.
func (s Securable) parent() Securable {
	switch {
	case s.Kind == Metastore:
		return Securable{}
	case s.Kind == Schema:
		if catalog, _, ok := strings.Cut(s.Name, "."); ok {
			return Securable{Catalog, catalog}
		}
	case schemaLevel(s.Kind):
		if i := secondDot(s.Name); i > 0 {
			return Securable{Schema, s.Name[:i]}
		}
	}
	return Securable{Kind: Metastore}
}

// inSystem reports whether s is the catalog system or lies in it.
func (s Securable) inSystem() bool {
	for s.Kind != Metastore && s.Kind != "" {
		if s == (Securable{Catalog, SystemCatalog}) {
			return true
		}
		s = s.parent()
	}
	return false
}

// secondDot is the index of the second dot of s, or -1. What follows may hold
// dots: flat model names do.
func secondDot(s string) int {
	i := strings.IndexByte(s, '.')
	if i < 0 {
		return -1
	}
	j := strings.IndexByte(s[i+1:], '.')
	if j < 0 {
		return -1
	}
	return i + 1 + j
}

// ParseKind reads a kind in any case, with spaces, underscores or hyphens, and
// knows common synonyms. An unknown kind gives apierror.Invalid.
func ParseKind(s string) (string, error) {
	name := strings.ReplaceAll(strings.ToLower(words(s)), " ", "_")
	if k, ok := kindSynonyms[name]; ok {
		return k, nil
	}
	if slices.Contains(kinds, name) {
		return name, nil
	}
	return "", apierror.New(apierror.Invalid, "There is no kind of object called %s.%s", show(s), didYouMean(name, kinds))
}

// ParseSecurable reads a kind and a name as a GRANT statement has them:
// "table main.sales.reviews", "schema system.ai", "model databricks-gpt-5-2",
// "genie space 01ef…", "metastore". Parts of a name may stand in backquotes.
// What is wrong is apierror.Invalid.
func ParseSecurable(s string) (Securable, error) {
	fields := strings.Fields(s)
	if len(fields) == 0 {
		return Securable{}, apierror.New(apierror.Invalid, `An object is written as its kind and its name: "table main.sales.reviews".`)
	}
	// Kinds have up to three words; the longest that is one wins.
	for n := min(3, len(fields)); n > 0; n-- {
		kind, err := ParseKind(strings.Join(fields[:n], " "))
		if err != nil {
			if n == 1 {
				return Securable{}, err
			}
			continue
		}
		return canonical(kind, strings.Join(fields[n:], " "))
	}
	return Securable{}, nil
}

func canonical(kind, name string) (Securable, error) {
	if kind == Metastore {
		return Securable{Kind: Metastore}, nil
	}
	parts, ok := splitName(name)
	bad := func(want string) (Securable, error) {
		return Securable{}, apierror.New(apierror.Invalid, "%s is no name of a %s: it has the form %s.", show(name), strings.ReplaceAll(kind, "_", " "), want)
	}
	switch joined := strings.Join(parts, "."); {
	case !ok:
		return bad("of words between dots; a part with other letters stands in backquotes")
	case (kind == Catalog || kind == Tool) && len(parts) != 1:
		return bad(kind)
	case kind == Schema && len(parts) != 2:
		return bad("catalog.schema")
	case kind == Model && len(parts) < 3:
		return ModelNamed(joined), nil
	case kind != Model && schemaLevel(kind) && len(parts) != 3:
		return bad("catalog.schema." + kind)
	default:
		return Securable{kind, joined}, nil
	}
}

// splitName cuts a dotted name into lower-case parts without their backquotes.
func splitName(name string) ([]string, bool) {
	var parts []string
	rest := strings.TrimSpace(name)
	for {
		var part string
		if after, quoted := strings.CutPrefix(rest, "`"); quoted {
			end := strings.IndexByte(after, '`')
			if end < 0 {
				return nil, false
			}
			part, rest = after[:end], after[end+1:]
		} else {
			end := strings.IndexAny(rest, ".` ")
			if end < 0 {
				end = len(rest)
			}
			part, rest = rest[:end], rest[end:]
		}
		if part == "" || len(part) > 255 || strings.ContainsFunc(part, unicode.IsControl) {
			return nil, false
		}
		parts = append(parts, strings.ToLower(part))
		if rest == "" {
			return parts, true
		}
		if rest[0] != '.' {
			return nil, false
		}
		rest = rest[1:]
	}
}

// NewSecurable is the object of a kind, by any of its names, that name names.
// Kinds that are not known here, of tool types to come, are taken as they are;
// nothing can be granted on them, so a check of one is denied.
func NewSecurable(kind, name string) (Securable, error) {
	k, err := ParseKind(kind)
	if err != nil {
		return Securable{strings.ToLower(kind), strings.ToLower(name)}, nil
	}
	return canonical(k, name)
}
