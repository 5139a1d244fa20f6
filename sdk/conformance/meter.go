package conformance

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// line is v as one line of JSON.
func line(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return "not JSON: " + err.Error() + "\n"
	}
	return string(b) + "\n"
}

// meters reports whether a reply names how many tokens were written, at a place
// that the manifest's meter lists.
func meters(m provider.Meter, body []byte) bool {
	for _, doc := range documents(body) {
		for _, f := range m.Fields {
			if f.Count == provider.OutputTokens && number(doc, strings.Split(f.Path, ".")) {
				return true
			}
		}
	}
	return false
}

// documents are the JSON values of a reply: the whole, the members of a list,
// or the data of its events.
func documents(body []byte) []any {
	var v any
	if json.Unmarshal(body, &v) == nil {
		if list, ok := v.([]any); ok {
			return list
		}
		return []any{v}
	}
	var all []any
	for l := range bytes.Lines(body) {
		data, ok := bytes.CutPrefix(bytes.TrimSpace(l), []byte("data:"))
		if ok && json.Unmarshal(data, &v) == nil {
			all = append(all, v)
			v = nil
		}
	}
	return all
}

// number reports whether there is a number above zero at a path.
func number(v any, path []string) bool {
	if len(path) == 0 {
		n, ok := v.(float64)
		return ok && n > 0
	}
	m, ok := v.(map[string]any)
	return ok && number(m[path[0]], path[1:])
}
