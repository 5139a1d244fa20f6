package client

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// tomlFile is a TOML file.
type tomlFile struct{}

func (tomlFile) decode(text []byte) (map[string]any, error) {
	m := map[string]any{}
	if err := toml.Unmarshal(bytes.TrimPrefix(text, bom), &m); err != nil {
		return nil, fmt.Errorf("it is no TOML: %w", err)
	}
	return m, nil
}

// entry is a key with its value, or a table's header.
type entry struct {
	path       []string // from the top of the file
	header     bool
	array      bool // [[header]]
	start, end int  // of the key with its value; of the header's line
	value      int  // where the value begins
}

// entries are those of text in order.
func entries(text []byte) ([]entry, error) {
	var out []entry
	var table []string
	p := unstable.Parser{}
	p.Reset(text)
	for p.NextExpression() {
		e := p.Expression()
		if e.Kind != unstable.KeyValue && e.Kind != unstable.Table && e.Kind != unstable.ArrayTable {
			continue
		}
		var names []string
		first, behind := -1, 0
		for it := e.Key(); it.Next(); {
			n := it.Node()
			names = append(names, string(n.Data))
			if first < 0 {
				first = int(n.Raw.Offset)
			}
			behind = int(n.Raw.Offset + n.Raw.Length)
		}
		if e.Kind != unstable.KeyValue {
			table = names
			out = append(out, entry{path: slices.Clone(names), header: true, array: e.Kind == unstable.ArrayTable, start: lineStart(text, first), end: lineEnd(text, behind)})
			continue
		}
		value := behind + bytes.IndexByte(text[behind:], '=') + 1
		for value < len(text) && (text[value] == ' ' || text[value] == '\t') {
			value++
		}
		out = append(out, entry{path: append(slices.Clone(table), names...), start: int(e.Raw.Offset), end: int(e.Raw.Offset + e.Raw.Length), value: value})
	}
	if err := p.Error(); err != nil {
		return nil, fmt.Errorf("it is no TOML: %w", err)
	}
	return out, nil
}

func lineStart(text []byte, at int) int { return bytes.LastIndexByte(text[:at], '\n') + 1 }

// lineEnd is behind the line break of the line at at.
func lineEnd(text []byte, at int) int {
	if i := bytes.IndexByte(text[at:], '\n'); i >= 0 {
		return at + i + 1
	}
	return len(text)
}

func key(es []entry, path []string) (entry, bool) {
	i := slices.IndexFunc(es, func(e entry) bool { return !e.header && slices.Equal(e.path, path) })
	if i < 0 {
		return entry{}, false
	}
	return es[i], true
}

func (f tomlFile) raw(text []byte, path []string) (string, bool, error) {
	es, err := entries(text)
	if err != nil {
		return "", false, err
	}
	if e, ok := key(es, path); ok {
		return string(text[e.value:e.end]), true, nil
	}
	m, err := f.decode(text)
	if err != nil {
		return "", false, err
	}
	if _, ok := find(m, path); ok {
		return "", false, fmt.Errorf("%s: %w", strings.Join(path, "."), errForm)
	}
	return "", false, nil
}

var bareKey = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

func tomlKey(name string) string {
	if bareKey.MatchString(name) {
		return name
	}
	return tomlFile{}.literal(name)
}

func tomlPath(path []string) string {
	names := make([]string, len(path))
	for i, p := range path {
		names[i] = tomlKey(p)
	}
	return strings.Join(names, ".")
}

func (tomlFile) set(text []byte, path []string, value string) ([]byte, error) {
	es, err := entries(text)
	if err != nil {
		return nil, err
	}
	if e, ok := key(es, path); ok {
		return splice(text, e.value, e.end, value), nil
	}
	newline := "\n"
	if bytes.Contains(text, []byte("\r\n")) {
		newline = "\r\n"
	}
	table, line := path[:len(path)-1], tomlKey(path[len(path)-1])+" = "+value+newline
	if len(table) == 0 {
		return insertTop(text, es, line, newline), nil
	}
	at := -1 // behind the table's last line
	for i, e := range es {
		if e.header && !e.array && slices.Equal(e.path, table) {
			at = e.end
			for _, k := range es[i+1:] {
				if k.header {
					break
				}
				at = lineEnd(text, k.end)
			}
		}
	}
	if at >= 0 {
		if at > 0 && text[at-1] != '\n' {
			line = newline + line
		}
		return splice(text, at, at, line), nil
	}
	head := "[" + tomlPath(table) + "]" + newline
	if len(text) > 0 {
		head = newline + head
		if text[len(text)-1] != '\n' {
			head = newline + head
		}
	}
	return splice(text, len(text), len(text), head+line), nil
}

// insertTop puts a line behind the last key that belongs to no table, or
// before the first table and the comments right above it.
func insertTop(text []byte, es []entry, line, newline string) []byte {
	at, any := 0, false
	for _, e := range es {
		if e.header {
			break
		}
		at, any = lineEnd(text, e.end), true
	}
	switch {
	case any && text[at-1] != '\n':
		line = newline + line
	case any:
	case len(es) > 0:
		at = es[0].start
		for at > 0 {
			before := lineStart(text, at-1)
			if !bytes.HasPrefix(bytes.TrimLeft(text[before:at], " \t"), []byte("#")) {
				break
			}
			at = before
		}
		line += newline
	default:
		at = len(text)
		if at > 0 && text[at-1] != '\n' {
			line = newline + line
		}
	}
	return splice(text, at, at, line)
}

func splice(text []byte, from, to int, with string) []byte {
	return slices.Concat(text[:from], []byte(with), text[to:])
}

func (tomlFile) remove(text []byte, path []string) ([]byte, error) {
	es, err := entries(text)
	if err != nil {
		return nil, err
	}
	if e, ok := key(es, path); ok {
		return splice(text, lineStart(text, e.start), lineEnd(text, e.end), ""), nil
	}
	i := slices.IndexFunc(es, func(e entry) bool { return e.header && !e.array && slices.Equal(e.path, path) })
	if i < 0 {
		return text, nil
	}
	from := es[i].start
	if blank := lineStart(text, max(from-1, 0)); from > 0 && len(bytes.TrimSpace(text[blank:from])) == 0 {
		from = blank // the empty line above it
	}
	return splice(text, from, es[i].end, ""), nil
}

// literal writes basic strings, which take the escapes of JSON.
func (tomlFile) literal(v any) string {
	if list, ok := v.([]string); ok {
		out := make([]string, len(list))
		for i, s := range list {
			out[i] = tomlFile{}.literal(s)
		}
		return "[" + strings.Join(out, ", ") + "]"
	}
	b, _ := json.Marshal(v) // a string or a bool
	return strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&").Replace(string(b))
}
