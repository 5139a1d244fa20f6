package client

import (
	"bytes"
	"fmt"
	"strings"
)

// dotenv is a file of lines KEY=value, as Gemini CLI and Qwen Code read it. A
// value has no line breaks.
type dotenv struct{}

// setting is a line that sets a variable.
type setting struct {
	line           int
	name           string
	prefix, suffix string // around the value, as written
	value          string
}

// settings are the lines of text that set a variable. Values over several
// lines are not looked into.
func settings(text []byte) []setting {
	var out []setting
	for i, line := range strings.Split(string(text), "\n") {
		body := strings.TrimSuffix(line, "\r")
		rest := strings.TrimLeft(body, " \t")
		if after, ok := strings.CutPrefix(rest, "export "); ok {
			rest = strings.TrimLeft(after, " \t")
		}
		name, value, ok := strings.Cut(rest, "=")
		name = strings.TrimRight(name, " \t")
		if !ok || name == "" || strings.HasPrefix(name, "#") || strings.ContainsAny(name, " \t\"'") {
			continue
		}
		s := setting{line: i, name: name, value: strings.TrimLeft(value, " \t")}
		s.prefix = strings.TrimSuffix(body, s.value)
		s.suffix = line[len(body):]
		out = append(out, s)
	}
	return out
}

// unquoted is the value without quotes and the comment behind it.
func unquoted(v string) string {
	if v != "" && strings.ContainsRune("\"'`", rune(v[0])) {
		if end := strings.IndexByte(v[1:], v[0]); end >= 0 {
			return v[1 : 1+end]
		}
		return v
	}
	if i := strings.IndexByte(v, '#'); i >= 0 {
		v = v[:i]
	}
	return strings.TrimSpace(v)
}

func (dotenv) decode(text []byte) (map[string]any, error) {
	m := map[string]any{}
	for _, s := range settings(text) {
		m[s.name] = unquoted(s.value) // the last one counts
	}
	return m, nil
}

func last(text []byte, path []string) (setting, bool, error) {
	if len(path) != 1 {
		return setting{}, false, fmt.Errorf("a variable has one name")
	}
	var found setting
	ok := false
	for _, s := range settings(text) {
		if s.name == path[0] {
			found, ok = s, true
		}
	}
	return found, ok, nil
}

func (dotenv) raw(text []byte, path []string) (string, bool, error) {
	s, ok, err := last(text, path)
	return s.value, ok, err
}

func (dotenv) set(text []byte, path []string, value string) ([]byte, error) {
	s, ok, err := last(text, path)
	if err != nil {
		return nil, err
	}
	if ok {
		lines := strings.Split(string(text), "\n")
		lines[s.line] = s.prefix + value + s.suffix
		return []byte(strings.Join(lines, "\n")), nil
	}
	newline := "\n"
	if bytes.Contains(text, []byte("\r\n")) {
		newline = "\r\n"
	}
	out := bytes.Clone(text)
	if len(out) > 0 && out[len(out)-1] != '\n' {
		out = append(out, newline...)
	}
	return append(out, path[0]+"="+value+newline...), nil
}

func (dotenv) remove(text []byte, path []string) ([]byte, error) {
	if len(path) != 1 {
		return nil, fmt.Errorf("a variable has one name")
	}
	lines := strings.SplitAfter(string(text), "\n")
	var gone []int
	for _, s := range settings(text) {
		if s.name == path[0] {
			gone = append(gone, s.line)
		}
	}
	var b strings.Builder
	for i, l := range lines {
		if len(gone) > 0 && gone[0] == i {
			gone = gone[1:]
			continue
		}
		b.WriteString(l)
	}
	return []byte(b.String()), nil
}

// literal writes names, URLs and tokens, none of which needs quotes.
func (dotenv) literal(v any) string { return fmt.Sprint(v) }
