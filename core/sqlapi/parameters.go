package sqlapi

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// Parameter is a value for the markers :name of a statement. It is bound, never
// written into the SQL.
type Parameter struct {
	Name  string  `json:"name"`
	Value *string `json:"value,omitempty"` // in text form; nil is NULL
	Type  string  `json:"type,omitempty"`  // STRING, which "" means too; see bound
}

// maxParameters is how many parameters a statement may have.
const maxParameters = 256

// name is what a parameter may be called.
var name = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// escaped is what stands before a text in which a backslash escapes: E'it\'s'.
var escaped = regexp.MustCompile(`(?:^|[^\pL\pN_$])[eE]$`)

// decimal is the type of a decimal parameter.
var decimal = regexp.MustCompile(`^(?:DECIMAL|DEC|NUMERIC)(\( *[0-9]{1,2} *(?:, *[0-9]{1,2} *)?\))?$`)

// bind gives sql with its markers in the engine's form, $1 and so on, and the
// values to bind to them. Markers are found outside of texts, quoted names and
// comments.
func bind(sql string, ps []Parameter) (string, []any, error) {
	if len(ps) == 0 {
		return sql, nil, nil
	}
	if len(ps) > maxParameters {
		return "", nil, apierror.At(apierror.Invalid, "parameters", "There are %d parameters; at most %d are taken.", len(ps), maxParameters)
	}
	marks, args, used := map[string]string{}, make([]any, len(ps)), map[string]bool{}
	for i, p := range ps {
		at := fmt.Sprintf("parameters[%d]", i)
		if !name.MatchString(p.Name) {
			return "", nil, apierror.At(apierror.Invalid, at+".name", "%s.name must be a word of letters, digits and underscores: the SQL refers to it as :word. Parameters by position are not taken.", at)
		}
		if _, twice := marks[p.Name]; twice {
			return "", nil, apierror.At(apierror.Invalid, at+".name", "%s.name: there are two parameters called %s.", at, p.Name)
		}
		cast, arg, err := p.bound(at)
		if err != nil {
			return "", nil, err
		}
		args[i], marks[p.Name] = arg, "$"+strconv.Itoa(i+1)
		if cast != "" {
			marks[p.Name] = "CAST(" + marks[p.Name] + " AS " + cast + ")"
		}
	}
	var out strings.Builder
	done := 0
	for i := 0; i < len(sql); {
		end := skip(sql, i)
		if end > i {
			i = end
			continue
		}
		marker := word(sql[i+1:])
		if sql[i] != ':' || marker == "" || attached(sql, i) {
			i++
			continue
		}
		if sql[max(0, i-1)] == '[' {
			return "", nil, apierror.At(apierror.Invalid, "statement", "[:%s may mean a list of the parameter or a slice up to a column; write [(:%s) or [NULL:%s.", marker, marker, marker)
		}
		mark, ok := marks[marker]
		if !ok {
			return "", nil, apierror.At(apierror.Invalid, "parameters", "The SQL has the marker :%s, and there is no parameter of that name.", marker)
		}
		out.WriteString(sql[done:i])
		out.WriteString(mark)
		used[marker] = true
		i += 1 + len(marker)
		done = i
	}
	out.WriteString(sql[done:])
	for i, p := range ps {
		if !used[p.Name] {
			return "", nil, apierror.At(apierror.Invalid, fmt.Sprintf("parameters[%d].name", i), "The SQL has no marker :%s for parameters[%d].", p.Name, i)
		}
	}
	return out.String(), args, nil
}

// bound is the value to bind, and the type to cast it to in the SQL where the
// engine cannot be given it as such.
func (p Parameter) bound(at string) (cast string, arg any, err error) {
	typ := strings.ToUpper(strings.TrimSpace(p.Type))
	bad := func(what string) (string, any, error) {
		return "", nil, apierror.At(apierror.Invalid, at+".value", "%s.value: %q is no %s.", at, clip(*p.Value), what)
	}
	switch {
	case typ == "" || typ == "STRING":
		cast = ""
	case typ == "DATE", typ == "DOUBLE", typ == "FLOAT", typ == "BOOLEAN", typ == "BIGINT", typ == "SMALLINT", typ == "TINYINT":
		cast = typ
	case typ == "INT" || typ == "INTEGER":
		cast = "INTEGER"
	case typ == "LONG":
		cast = "BIGINT"
	case typ == "TIMESTAMP":
		cast = "TIMESTAMP WITH TIME ZONE"
	case typ == "TIMESTAMP_NTZ":
		cast = "TIMESTAMP"
	case typ == "VOID":
		if p.Value != nil {
			return bad("VOID, which has no value")
		}
		return "", nil, nil
	case decimal.MatchString(typ):
		cast = "DECIMAL" + decimal.FindStringSubmatch(typ)[1]
		if cast == "DECIMAL" {
			cast = "DECIMAL(10,0)" // as the vendor has it
		}
	default:
		return "", nil, apierror.At(apierror.Unsupported, at+".type", "%s.type: %q cannot be bound; the types are STRING, BOOLEAN, TINYINT, SMALLINT, INT, BIGINT, FLOAT, DOUBLE, DECIMAL(p,s), DATE, TIMESTAMP, TIMESTAMP_NTZ and VOID.", at, clip(p.Type))
	}
	if p.Value == nil {
		return cast, nil, nil
	}
	switch cast { // bound as what they are, so that LIMIT takes them
	case "BIGINT", "INTEGER", "SMALLINT", "TINYINT":
		bits := map[string]int{"BIGINT": 64, "INTEGER": 32, "SMALLINT": 16, "TINYINT": 8}[cast]
		n, err := strconv.ParseInt(strings.TrimSpace(*p.Value), 10, bits)
		if err != nil {
			return bad(typ)
		}
		return "", n, nil
	}
	return cast, *p.Value, nil
}

// attached reports whether the colon at i belongs to what is before it: a::b,
// {'a':b}, x[1:n], alias:value.
func attached(sql string, i int) bool {
	if strings.HasPrefix(sql[i+1:], ":") {
		return true
	}
	r, _ := utf8.DecodeLastRuneInString(sql[:i])
	return unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune(":\"'`)]}$_", r)
}

// word is the name at the start of s.
func word(s string) string {
	for i := range len(s) {
		if c := s[i]; c != '_' && (c|0x20 < 'a' || c|0x20 > 'z') && (i == 0 || c < '0' || c > '9') {
			return s[:i]
		}
	}
	return s
}

// skip is the place behind the text, quoted name or comment that begins at i;
// i itself when none does.
func skip(sql string, i int) int {
	rest := sql[i:]
	switch {
	case strings.HasPrefix(rest, "--"):
		return i + lineEnd(rest)
	case strings.HasPrefix(rest, "/*"):
		depth := 0
		for j := 0; j+1 < len(rest); j++ {
			switch rest[j : j+2] {
			case "/*":
				depth, j = depth+1, j+1
			case "*/":
				if depth, j = depth-1, j+1; depth == 0 {
					return i + j + 1
				}
			}
		}
		return len(sql)
	case rest[0] == '\'' || rest[0] == '"' || rest[0] == '`':
		escapes := rest[0] == '\'' && escaped.MatchString(sql[max(0, i-5):i])
		for j := 1; j < len(rest); j++ {
			switch {
			case escapes && rest[j] == '\\':
				j++
			case rest[j] == rest[0]:
				return i + j + 1 // a doubled one opens again at once
			}
		}
		return len(sql)
	case rest[0] == '$':
		tag := "$" + word(rest[1:]) + "$"
		if strings.HasPrefix(rest, tag) {
			if end := strings.Index(rest[len(tag):], tag); end >= 0 {
				return i + len(tag) + end + len(tag)
			}
			return len(sql)
		}
	}
	return i
}

func lineEnd(s string) int {
	if n := strings.IndexByte(s, '\n'); n >= 0 {
		return n
	}
	return len(s)
}

// clip shortens what somebody wrote for a message.
func clip(s string) string {
	if r := []rune(s); len(r) > 100 {
		return string(r[:100]) + "…"
	}
	return s
}
