package httpapi

import (
	"fmt"
	"net/url"
	"strings"
)

// pattern is the path of a route.
type pattern []segment

// segment is a literal part of a path, or the place of a name with, behind it,
// what stands there in the path: ":generateContent".
type segment struct {
	name bool
	text string
}

// parsePattern reads a path such as "/v1beta/models/{model}:generateContent".
func parsePattern(path string) (pattern, error) {
	if !strings.HasPrefix(path, "/") {
		return nil, fmt.Errorf("path %q does not begin with a slash", path)
	}
	var p pattern
	named := false
	for s := range strings.SplitSeq(path[1:], "/") {
		rest, name := strings.CutPrefix(s, "{model}")
		switch {
		case name && named:
			return nil, fmt.Errorf("path %q has {model} twice", path)
		case name && rest != "" && (rest[0] != ':' || !plainSegment(rest[1:]) || strings.Contains(rest[1:], ":")):
			return nil, fmt.Errorf("path %q: behind {model} may stand only a colon and a method's name", path)
		case !name && !plainSegment(s):
			return nil, fmt.Errorf("path %q: %q is neither {model} nor a segment of letters, digits and -_.~:@", path, s)
		}
		named = named || name
		p = append(p, segment{name, rest})
	}
	return p, nil
}

// muxPattern reads a path of the core's own routes, as http.ServeMux has them.
func muxPattern(path string) pattern {
	var p pattern
	for s := range strings.SplitSeq(strings.TrimPrefix(strings.TrimSuffix(path, "/{$}"), "/"), "/") {
		if strings.HasPrefix(s, "{") {
			p = append(p, segment{name: true})
		} else {
			p = append(p, segment{text: s})
		}
	}
	return p
}

// plainSegment reports whether s means the same in every spelling of a path.
func plainSegment(s string) bool {
	for _, c := range []byte(s) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-_.~:@", c) >= 0) {
			return false
		}
	}
	return s != "" && s != "." && s != ".."
}

// match reports whether the segments are those of p, and the name among them,
// the last where there are several.
func (p pattern) match(segments []string) (name string, ok bool) {
	if len(segments) != len(p) {
		return "", false
	}
	for i, s := range segments {
		if !p[i].name {
			if s != p[i].text {
				return "", false
			}
			continue
		}
		name, ok = strings.CutSuffix(s, p[i].text)
		if !ok || name == "" {
			return "", false
		}
	}
	return name, true
}

// overlaps reports whether some path is matched by both.
func (p pattern) overlaps(q pattern) bool {
	if len(p) != len(q) {
		return false
	}
	for i, a := range p {
		b := q[i]
		switch {
		case a.name && b.name && !strings.HasSuffix(a.text, b.text) && !strings.HasSuffix(b.text, a.text),
			a.name && !b.name && (len(b.text) <= len(a.text) || !strings.HasSuffix(b.text, a.text)),
			b.name && !a.name && (len(a.text) <= len(b.text) || !strings.HasSuffix(a.text, b.text)),
			!a.name && !b.name && a.text != b.text:
			return false
		}
	}
	return true
}

// segments splits a request's path into its decoded segments. Slashes that are
// doubled or at the end are no segments: clients join a base URL and a path in
// every way. An encoded slash stays within its segment, as names of models may
// hold one. Nil for a path that is not well-formed.
func segments(u *url.URL) []string {
	path := u.EscapedPath()
	out := make([]string, 0, 8)
	for part := range strings.SplitSeq(path, "/") {
		if part == "" {
			continue
		}
		s, err := url.PathUnescape(part)
		if err != nil {
			return nil
		}
		out = append(out, s)
	}
	return out
}
