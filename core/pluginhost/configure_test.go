package pluginhost

import (
	"strings"
	"testing"
)

// What a change that is taken back leaves: the list of now, with those of before
// whose place nobody has taken.
func TestRestored(t *testing.T) {
	t.Parallel()
	at := func(name, path, digest string) *plugin {
		p := &plugin{path: path, digest: digest}
		p.Kind, p.Name = "provider", name
		return p
	}
	refused := &plugin{path: "/a", refused: "its file is gone"}
	a, b := at("a", "/a", "1"), at("b", "/b", "1")
	changed, moved := at("a", "/a", "2"), at("a", "/new/a", "1")
	tests := map[string]struct {
		before, now, found []*plugin
		want               []*plugin
	}{
		"gone":             {[]*plugin{a, b}, []*plugin{b}, []*plugin{at("b", "/b", "1")}, []*plugin{b, a}},
		"refused":          {[]*plugin{a, b}, []*plugin{refused, b}, []*plugin{{path: "/a", refused: "its file is gone"}, at("b", "/b", "1")}, []*plugin{b, a}},
		"added anew":       {[]*plugin{a}, []*plugin{changed}, []*plugin{at("a", "/a", "2")}, []*plugin{changed}},
		"moved":            {[]*plugin{a}, []*plugin{moved}, []*plugin{at("a", "/new/a", "1")}, []*plugin{moved}},
		"new":              {[]*plugin{a}, []*plugin{a, b}, []*plugin{at("a", "/a", "1"), at("b", "/b", "1")}, []*plugin{a, b}},
		"no list":          {[]*plugin{a, b}, []*plugin{b}, nil, []*plugin{a, b}},
		"refused all over": {[]*plugin{refused}, nil, nil, nil},
	}
	for name, tt := range tests {
		got := restored(tt.before, tt.now, tt.found)
		same := len(got) == len(tt.want)
		for k := range got {
			same = same && got[k] == tt.want[k]
		}
		if !same {
			t.Errorf("%s: got %s, want %s", name, paths(got), paths(tt.want))
		}
	}
}

func paths(ps []*plugin) string {
	var all []string
	for _, p := range ps {
		all = append(all, p.path+"@"+p.digest)
	}
	return strings.Join(all, " ")
}
