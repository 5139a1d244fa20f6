package router

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// natives are the dialects that a provider speaks itself with the account's
// settings.
func natives(m provider.Manifest, settings json.RawMessage) []provider.Native {
	var set map[string]any
	_ = json.Unmarshal(settings, &set) // no settings are none
	var all []provider.Native
	for _, n := range m.Natives {
		speaks := true
		for key, value := range n.Unless {
			if v, ok := set[key]; ok && fmt.Sprint(v) == value {
				speaks = false
			}
		}
		if speaks {
			all = append(all, n)
		}
	}
	return all
}

// dialects names what the account's provider speaks itself for an operation.
func (a *account) dialects(op provider.Op) []string {
	var names []string
	for _, n := range a.natives {
		if n.Op == op && !slices.Contains(names, n.Dialect) {
			names = append(names, n.Dialect)
		}
	}
	return names
}

// lane is the way by which the request goes to d as it is; nil when it has to
// be translated: the provider speaks another dialect, the clients of the route
// do not keep to theirs, or the conversation holds state that only translators
// can read.
func (s *serving) lane(d destination) *provider.Native {
	if s.Translated || s.Scan.state || d.account.out == nil {
		return nil
	}
	for i := range d.account.natives {
		if n := &d.account.natives[i]; n.Op == s.Op && n.Dialect == s.Dialect.Name {
			return n
		}
	}
	return nil
}

// relayed gives path and body of the request for a destination: the client's
// body with the provider's name of the model in the place of ours. A dialect
// that has the name in its path may repeat it in the body.
func relayed(n *provider.Native, scan *Scan, model string, stream bool) (path string, body [3][]byte) {
	path = n.Path
	if stream && n.StreamPath != "" {
		path = n.StreamPath
	}
	if before, after, ok := strings.Cut(path, "{model}"); ok {
		// A name that repeats the segment before it, as in models/gemini-x, is
		// the same name.
		parent := before[strings.LastIndexByte(strings.TrimSuffix(before, "/"), '/')+1:]
		name := strings.ReplaceAll(url.PathEscape(strings.TrimPrefix(model, parent)), "%2F", "/")
		path = before + name + after
		if said, _ := scan.String("model"); strings.HasPrefix(said, parent) && !strings.HasPrefix(model, parent) {
			model = parent + model
		}
	}
	m, ok := scan.member("model")
	if !ok {
		return path, [3][]byte{scan.body}
	}
	return path, [3][]byte{scan.body[:m.value], openresponses.AppendString(nil, model), scan.body[m.end:]}
}
