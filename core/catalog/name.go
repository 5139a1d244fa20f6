package catalog

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// Name is the canonical name of an object in a schema: lower-case.
type Name struct{ Catalog, Schema, Object string }

// String gives "main.sales.reviews".
func (n Name) String() string { return n.Catalog + "." + n.Schema + "." + n.Object }

// quoted is the name as SQL has it whatever its letters are: identifier allows
// no quote in a part.
func (n Name) quoted() string { return `"` + n.Catalog + `"."` + n.Schema + `"."` + n.Object + `"` }

// ParseName reads a name of exactly three parts. A part may stand in backquotes
// or double quotes. Letter case makes no difference. What is wrong is
// apierror.Invalid.
func ParseName(s string) (Name, error) {
	parts, ok := splitName(s)
	if !ok || len(parts) != 3 {
		return Name{}, apierror.New(apierror.Invalid, "%s is no name of an object in the catalog: it has three parts, catalog.schema.name, as in main.sales.reviews.", show(s))
	}
	return Name{parts[0], parts[1], parts[2]}, nil
}

// badIdentifier says what identifier asks for.
const badIdentifier = "a name has 1 to 255 letters; spaces, dots, slashes, quotes and control characters are not allowed in it"

// identifier reports whether s can be a part of a name. Its length is counted
// in characters, as people do.
// Source: Unity Catalog, "Names".
func identifier(s string) bool {
	return s != "" && utf8.RuneCountInString(s) <= 255 && !strings.ContainsFunc(s, func(r rune) bool {
		return r == '.' || r == '/' || r == '\\' || r == '`' || r == '"' || r == '\'' || unicode.IsSpace(r) || !unicode.IsPrint(r)
	})
}

// splitName cuts a dotted name into its lower-case parts without quotes.
func splitName(s string) ([]string, bool) {
	var parts []string
	rest := strings.TrimSpace(s)
	for len(parts) < 8 {
		var part string
		if rest != "" && (rest[0] == '`' || rest[0] == '"') {
			end := strings.IndexByte(rest[1:], rest[0])
			if end < 0 {
				return nil, false
			}
			part, rest = rest[1:1+end], rest[end+2:]
		} else {
			end := strings.IndexAny(rest, ".`\"")
			if end < 0 {
				end = len(rest)
			}
			part, rest = rest[:end], rest[end:]
		}
		if !identifier(part) {
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
	return nil, false
}

// show quotes what somebody wrote for a message: short, and on one line.
func show(s string) string {
	const most = 100
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '�'
		}
		return r
	}, `"`+s+`"`)
}
