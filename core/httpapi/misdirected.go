package httpapi

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// misdirected is the sentence for a path at which nothing is served, and the
// surface that was meant if that can be seen. Mostly it is the base URL of a
// client that is wrong: clients differ in what they add to it.
func (s *Surfaces) misdirected(u *url.URL, only []string, public string) (string, *surface) {
	nothing := fmt.Sprintf("Nothing is served at %s.", clip(u.Path))
	if s == nil {
		return nothing + " Responses are at " + gatewayPrefix + "/mlflow/v1/responses.", nil
	}
	segs := below(segments(u))
	here := slices.DeleteFunc(slices.Clone(s.list), func(sf *surface) bool { return len(only) > 0 && !slices.Contains(only, sf.Name) })
	likely := nearest(here, segs)
	if meant := endingIn(likely, segs); len(meant) > 0 {
		var bases []string
		at := ""
		if len(only) > 0 { // the public URL is that of the other address
			public, at = "", " at this address"
		}
		for _, e := range meant {
			if b := public + e.Base; !slices.Contains(bases, b) {
				bases = append(bases, b)
			}
		}
		added := strings.TrimPrefix(meant[0].path, meant[0].Base)
		return fmt.Sprintf("%s The base URL of the client is not right: it adds %s to it by itself, so it must be %s%s.", nothing, added, strings.Join(bases, " or "), at), meant[0].surface
	}
	if len(likely) == 1 && len(here) > 1 {
		var served []string
		for _, e := range likely[0].entries {
			if e.kind == callModel || e.kind == listModels {
				served = append(served, e.methods()[0]+" "+e.path)
			}
		}
		return fmt.Sprintf("%s The surface %s serves %s.", nothing, likely[0].Name, strings.Join(served, ", ")), likely[0]
	}
	if len(only) > 0 {
		return fmt.Sprintf("%s This address carries only the surface %s.", nothing, strings.Join(only, " and the surface ")), nil
	}
	var bases []string
	for _, sf := range here {
		bases = append(bases, sf.Base)
	}
	return fmt.Sprintf("%s Responses are at %s/mlflow/v1/responses, coding tools at %s.", nothing, gatewayPrefix, strings.Join(bases, ", ")), nil
}

// nearest are those of list that a path may be meant for: the one whose base
// begins it, else those whose base begins as it does, else all.
func nearest(list []*surface, segs []string) []*surface {
	var at *surface
	var like []*surface
	for _, sf := range list {
		base := strings.Split(sf.Base[1:], "/")
		if len(segs) >= len(base) && slices.Equal(segs[:len(base)], base) && (at == nil || len(sf.Base) > len(at.Base)) {
			at = sf
		}
		if len(segs) > 0 && segs[0] == base[0] {
			like = append(like, sf)
		}
	}
	switch {
	case at != nil:
		return []*surface{at}
	case len(like) > 0:
		return like
	}
	return list
}

// endingIn are the paths of list that end, below their base, as segs do: of
// those with the most segments in common.
func endingIn(list []*surface, segs []string) (meant []*entry) {
	longest := 0
	for _, sf := range list {
		for _, e := range sf.entries {
			tail := e.pattern[strings.Count(sf.Base, "/"):]
			if e.kind == probe || len(tail) == 0 || len(tail) > len(segs) || len(tail) < longest {
				continue
			}
			if _, ok := tail.match(segs[len(segs)-len(tail):]); !ok {
				continue
			}
			if len(tail) > longest {
				longest, meant = len(tail), nil
			}
			meant = append(meant, e)
		}
	}
	return meant
}
