package toolset

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

const maxName = 64

// name gives every function the name that the model calls it, and puts the
// client's own functions beside the hosted ones.
func (s *Set) name(ts []openresponses.Tool) error {
	s.nameHosted()
	for _, f := range s.hosted {
		s.byName[f.Tool.Name] = f
	}
	for i := range ts {
		if ts[i].Type != "function" {
			continue
		}
		param := fmt.Sprintf("tools[%d].name", i)
		name := ts[i].Name
		if !openresponses.ValidName(name) {
			return apierror.At(apierror.Invalid, param, "function tool 'name' must match ^[a-zA-Z0-9_-]{1,64}$")
		}
		if other := s.byName[name]; other != nil && other.Client {
			return apierror.At(apierror.Invalid, param, "The function name %q is declared twice; give each function a name of its own.", name)
		} else if other != nil && other.language != nil {
			return apierror.At(apierror.Invalid, param, "The function name %q belongs to code execution, which this gateway offers to the model (%s); rename your function.", name, other.Object)
		} else if other != nil {
			return apierror.At(apierror.Invalid, param, "The function name %q belongs to the hosted tool in tools[%d] (%s); rename your function.", name, other.Declaration, other.Object)
		}
		t := ts[i]
		f := &Function{Tool: t, Client: true, Declaration: i}
		s.byName[name] = f
		s.functions = append(s.functions, f)
	}
	slices.SortStableFunc(s.hosted, func(a, b *Function) int { return a.Declaration - b.Declaration })
	s.functions = append(s.functions, s.hosted...)
	slices.SortStableFunc(s.functions, func(a, b *Function) int { return a.Declaration - b.Declaration })
	return nil
}

// nameHosted maps dotted names to what models accept. A name that is too
// long, holds other letters or is not the only one of its kind gets its first
// 54 characters and a hash of its declaration, so that it stays the same
// whatever else is declared in whatever order.
func (s *Set) nameHosted() {
	count := map[string]int{}
	for _, f := range s.hosted {
		count[plainName(f.Object)]++
	}
	taken := map[string]bool{}
	for _, f := range s.hosted {
		name := plainName(f.Object)
		if count[name] > 1 || !openresponses.ValidName(strings.ReplaceAll(f.Object, ".", "__")) {
			name = hashedName(name, f.declaration.hash(""))
			for n := 1; taken[name]; n++ { // one declaration with several such functions
				name = hashedName(plainName(f.Object), f.declaration.hash(f.Object+"#"+strconv.Itoa(n)))
			}
		}
		taken[name] = true
		f.Tool.Name = name
	}
}

// plainName is the name with each dot as two underscores and each letter that
// models do not accept as one.
func plainName(object string) string {
	var b strings.Builder
	for _, r := range object {
		switch {
		case r == '.':
			b.WriteString("__")
		case r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-':
			b.WriteRune(r)
		default:
			b.WriteByte('_')
		}
	}
	return b.String()
}

func hashedName(name, hash string) string {
	const keep = maxName - 10
	if len(name) > keep {
		name = name[:keep]
	}
	return name + "_" + hash
}
