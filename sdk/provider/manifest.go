package provider

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// Limits of what a manifest says of surfaces, dialects and natives.
const (
	maxEntries = 256     // of each list
	maxWord    = 256     // bytes of a path, a header's name or a sign
	maxEvent   = 4 << 10 // bytes of a whole server-sent event
)

var (
	nameForm = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)
	// One segment of a path: the model's place, which a method may follow, or
	// letters that need no escape.
	segmentForm = regexp.MustCompile(`^(\{model\}(:[A-Za-z][A-Za-z0-9_]*)?|[A-Za-z0-9._~:@-]+)$`)
	headerForm  = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

	errorForms  = []string{"openai", "anthropic", "gemini", "openresponses"}
	streamForms = []string{StreamBody, StreamAlways, StreamNever}
	ops         = []Op{Generate, CountTokens, Embed, Compact}

	// neverCarried are headers that no plugin sees: credentials, and those of the
	// connection.
	neverCarried = []string{
		"Authorization", "Proxy-Authorization", "Cookie", "X-Api-Key", "Api-Key", "X-Goog-Api-Key", "X-Databricks-Ai-Gateway-Token",
		"Host", "Connection", "Content-Length", "Transfer-Encoding", "Upgrade",
	}
)

// Check reports what is wrong with the dialects, surfaces and natives of a
// manifest, beginning with the field. The other fields have their own checks
// where they are used.
func (m Manifest) Check() error {
	for field, n := range map[string]int{"dialects": len(m.Dialects), "surfaces": len(m.Surfaces), "natives": len(m.Natives)} {
		if n > maxEntries {
			return fmt.Errorf("%s: has %d entries; at most %d are allowed", field, n, maxEntries)
		}
	}
	var known []string
	for i, d := range m.Dialects {
		if err := d.check(known); err != nil {
			return fmt.Errorf("dialects[%d].%w", i, err)
		}
		known = append(known, d.Name)
	}
	var names, bases []string
	for i, s := range m.Surfaces {
		if err := s.check(known, names, bases); err != nil {
			return fmt.Errorf("surfaces[%d].%w", i, err)
		}
		names, bases = append(names, s.Name), append(bases, s.Base)
	}
	for i, n := range m.Natives {
		if err := n.check(known); err != nil {
			return fmt.Errorf("natives[%d].%w", i, err)
		}
		if k := slices.IndexFunc(m.Natives, func(o Native) bool { return o.Dialect == n.Dialect && o.Op == n.Op }); k < i {
			return fmt.Errorf("natives[%d]: the dialect %q has an entry for %s already, natives[%d]", i, n.Dialect, n.Op, k)
		}
	}
	return nil
}

// Dialect returns the dialect of that name, and whether the manifest has it.
func (m Manifest) Dialect(name string) (Dialect, bool) {
	for _, d := range m.Dialects {
		if d.Name == name {
			return d, true
		}
	}
	return Dialect{}, false
}

func (d Dialect) check(others []string) error {
	if err := checkName(d.Name, others); err != nil {
		return err
	}
	if !slices.Contains(errorForms, d.Errors) {
		return fmt.Errorf("errors: %q is not one of %s", d.Errors, strings.Join(errorForms, ", "))
	}
	for field, words := range map[string][]string{"ends": d.Ends, "failures": d.Failures, "max_tokens": d.MaxTokens, "model": d.Model, "session": d.Session, "text": d.Text} {
		if err := checkWords(field, words); err != nil {
			return err
		}
	}
	for field, frame := range map[string]string{"cut": d.Cut, "ping": d.Ping} {
		if frame != "" && (len(frame) > maxEvent || !strings.HasSuffix(frame, "\n\n")) {
			return fmt.Errorf("%s: must end in an empty line, like every server-sent event, and have at most %d bytes", field, maxEvent)
		}
	}
	return nil
}

func (s Surface) check(dialects, names, bases []string) error {
	if err := checkName(s.Name, names); err != nil {
		return err
	}
	if err := checkPath("base", s.Base); err != nil {
		return err
	}
	if strings.Contains(s.Base, "{") {
		return fmt.Errorf("base: %q may not hold {model}", s.Base)
	}
	if slices.Contains(bases, s.Base) {
		return fmt.Errorf("base: %q is that of another surface", s.Base)
	}
	for i, h := range s.Carry {
		if !headerForm.MatchString(h) || len(h) > maxWord {
			return fmt.Errorf("carry[%d]: %q is no name of a header", i, h)
		}
		if slices.Contains(neverCarried, http.CanonicalHeaderKey(h)) {
			return fmt.Errorf("carry[%d]: %q is never handed to a plugin", i, h)
		}
	}
	if len(s.Probes) > maxEntries || len(s.Routes) > maxEntries {
		return fmt.Errorf("routes: and probes may have at most %d entries each", maxEntries)
	}
	for i, p := range s.Probes {
		if p == "" || p == "/" {
			continue
		}
		if err := checkPath(fmt.Sprintf("probes[%d]", i), p); err != nil {
			return err
		}
	}
	if s.Models != "" {
		if err := checkPath("models", s.Models); err != nil {
			return err
		}
	}
	if len(s.Routes) == 0 {
		return fmt.Errorf("routes: a surface has at least one")
	}
	for i, r := range s.Routes {
		if err := r.check(dialects); err != nil {
			return fmt.Errorf("routes[%d].%w", i, err)
		}
		if k := slices.IndexFunc(s.Routes, func(o SurfaceRoute) bool { return o.Path == r.Path }); k < i {
			return fmt.Errorf("routes[%d].path: %q is that of routes[%d] too", i, r.Path, k)
		}
	}
	return nil
}

func (r SurfaceRoute) check(dialects []string) error {
	if err := checkPath("path", r.Path); err != nil {
		return err
	}
	if err := checkUse(r.Dialect, r.Op, dialects); err != nil {
		return err
	}
	if !slices.Contains(streamForms, r.Stream) {
		return fmt.Errorf("stream: %q is neither empty nor %q nor %q", r.Stream, StreamAlways, StreamNever)
	}
	return nil
}

func (n Native) check(dialects []string) error {
	if err := checkUse(n.Dialect, n.Op, dialects); err != nil {
		return err
	}
	if err := checkPath("path", "/"+n.Path); err != nil {
		return err
	}
	if n.StreamPath != "" {
		return checkPath("stream_path", "/"+n.StreamPath)
	}
	return nil
}

func checkUse(dialect string, op Op, dialects []string) error {
	if !slices.Contains(dialects, dialect) {
		return fmt.Errorf("dialect: %q is not among the manifest's dialects", dialect)
	}
	if !slices.Contains(ops, op) {
		return fmt.Errorf("op: %q is not one of %v", op, ops)
	}
	return nil
}

func checkName(name string, others []string) error {
	if !nameForm.MatchString(name) {
		return fmt.Errorf("name: %q must consist of a-z 0-9 - _, at most 64", name)
	}
	if slices.Contains(others, name) {
		return fmt.Errorf("name: %q is there twice", name)
	}
	return nil
}

// checkPath looks at a path that begins with a slash.
func checkPath(field, path string) error {
	rest, ok := strings.CutPrefix(path, "/")
	if !ok || len(path) > maxWord {
		return fmt.Errorf("%s: %q must begin with / and have at most %d bytes", field, path, maxWord)
	}
	for s := range strings.SplitSeq(rest, "/") {
		if !segmentForm.MatchString(s) || s == "." || s == ".." {
			return fmt.Errorf("%s: %q has the segment %q; segments have letters, digits and . _ ~ : @ -, or are {model}, {model}:method", field, path, s)
		}
	}
	if strings.Count(path, "{model}") > 1 {
		return fmt.Errorf("%s: %q has {model} twice", field, path)
	}
	return nil
}

func checkWords(field string, words []string) error {
	if len(words) > maxEntries {
		return fmt.Errorf("%s: has %d entries; at most %d are allowed", field, len(words), maxEntries)
	}
	for i, w := range words {
		if w == "" || len(w) > maxWord || strings.ContainsFunc(w, func(c rune) bool { return !unicode.IsPrint(c) }) {
			return fmt.Errorf("%s[%d]: %q must be printable, in one line of 1 to %d bytes", field, i, w, maxWord)
		}
	}
	return nil
}
