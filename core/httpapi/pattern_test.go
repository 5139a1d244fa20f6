package httpapi

import (
	"net/url"
	"strings"
	"testing"
)

func TestPattern(t *testing.T) {
	t.Parallel()
	const generate = "/gemini/v1beta/models/{model}:generateContent"
	tests := []struct {
		pattern, path string
		name          string
		ok            bool
	}{
		{"/anthropic/v1/messages", "/anthropic/v1/messages", "", true},
		{"/anthropic/v1/messages", "//anthropic//v1/messages/", "", true},
		{"/anthropic/v1/messages", "/anthropic/v1/%6dessages", "", true},
		{"/anthropic/v1/messages", "/anthropic/v1/Messages", "", false},
		{"/anthropic/v1/messages", "/anthropic/v1/messages/batches", "", false},
		{"/anthropic/v1/messages", "/anthropic/v1", "", false},
		{"/anthropic/v1/messages", "/anthropic/x/../v1/messages", "", false},
		{"/anthropic/v1/messages", "/anthropic/v1%2Fmessages", "", false},
		{generate, "/gemini/v1beta/models/gemini-2.5-pro:generateContent", "gemini-2.5-pro", true},
		{generate, "/gemini/v1beta/models/gemini-2.5-pro%3AgenerateContent", "gemini-2.5-pro", true},
		{generate, "/gemini/v1beta/models/tuned%2Fmine:generateContent", "tuned/mine", true},
		{generate, "/gemini/v1beta/models/gpt%20x:latest:generateContent/", "gpt x:latest", true},
		{generate, "/gemini/v1beta/models/claude%5B1m%5D:generateContent", "claude[1m]", true},
		{generate, "/gemini/v1beta/models/:generateContent", "", false},
		{generate, "/gemini/v1beta/models/m:streamGenerateContent", "", false},
		{generate, "/gemini/v1beta/models/m", "", false},
		{"/x/models/{model}", "/x/models/m:generateContent", "m:generateContent", true},
	}
	for _, tt := range tests {
		p, err := parsePattern(tt.pattern)
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse("http://h" + tt.path)
		if err != nil {
			t.Fatal(err)
		}
		if name, ok := p.match(segments(u)); ok != tt.ok || ok && name != tt.name {
			t.Errorf("%s at %s: got %q, %v, want %q, %v", tt.pattern, tt.path, name, ok, tt.name, tt.ok)
		}
	}
}

func TestParsePatternRefuses(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"", "v1", "/v1/", "//v1", "/v1/../x", "/v1/.", "/v1/{id}", "/{model}/{model}", "/v1/{model}x", "/v1/{model}:", "/v1/{model}:a:b", "/v1/x{model}", "/v1/a%20b", "/v1/a b", "/v1?x"} {
		if p, err := parsePattern(path); err == nil {
			t.Errorf("%q: got %v, want an error", path, p)
		} else if !strings.Contains(err.Error(), "path") {
			t.Errorf("%q: got %q, which does not name the path", path, err)
		}
	}
}

func TestPatternsOverlap(t *testing.T) {
	t.Parallel()
	tests := []struct {
		a, b string
		want bool
	}{
		{"/v1/messages", "/v1/messages", true},
		{"/v1/messages", "/v1/messages/count", false},
		{"/v1/models/{model}", "/v1/models/x", true},
		{"/v1/models/{model}:run", "/v1/models/x", false},
		{"/v1/models/{model}:run", "/v1/models/{model}:stop", false},
		{"/v1/models/{model}:run", "/v1/models/{model}", true},
		{"/{model}/a", "/a/{model}", true},
		{"/{model}/a", "/b/c", false},
	}
	for _, tt := range tests {
		a, aerr := parsePattern(tt.a)
		b, berr := parsePattern(tt.b)
		if aerr != nil || berr != nil {
			t.Fatal(aerr, berr)
		}
		if a.overlaps(b) != tt.want || b.overlaps(a) != tt.want {
			t.Errorf("%s and %s: got %v and %v, want %v", tt.a, tt.b, a.overlaps(b), b.overlaps(a), tt.want)
		}
	}
	if p, q := muxPattern("/api/2.0/sql/statements/{$}"), muxPattern("/api/2.0/sql/statements/{id}/cancel"); p.overlaps(q) || !p.overlaps(muxPattern("/api/2.0/sql/statements")) || !q.overlaps(muxPattern("/api/2.0/sql/{x}/y/cancel")) {
		t.Error("patterns of the core are not read as http.ServeMux reads them")
	}
}

// Whatever the path, matching does not panic, a name is never empty, and what
// matches in one spelling matches when it is written plainly.
func FuzzPattern(f *testing.F) {
	var patterns []pattern
	for _, text := range []string{"/anthropic/v1/messages", "/gemini/v1beta/models/{model}:generateContent", "/openai/v1/models/{model}"} {
		p, err := parsePattern(text)
		if err != nil {
			f.Fatal(err)
		}
		patterns = append(patterns, p)
	}
	for _, path := range []string{"/", "", "/anthropic/v1/messages", "/gemini/v1beta/models/a%2Fb:generateContent", "/openai//v1/models/x%", "/ai-gateway/openai/v1/models/%00", "/%2e%2e/x"} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		u, err := url.Parse("http://h/" + strings.TrimPrefix(path, "/"))
		if err != nil {
			return
		}
		segs := below(segments(u))
		for _, p := range patterns {
			name, ok := p.match(segs)
			if !ok {
				continue
			}
			var plain strings.Builder
			named := false
			for _, s := range p {
				plain.WriteByte('/')
				if s.name {
					named = true
					plain.WriteString(url.PathEscape(name))
				}
				plain.WriteString(s.text)
			}
			if named == (name == "") {
				t.Fatalf("%q matches %v with the name %q", path, p, name)
			}
			again, err := url.Parse("http://h" + plain.String())
			if err != nil {
				t.Fatal(err)
			}
			if n, ok := p.match(segments(again)); !ok || n != name {
				t.Fatalf("%q matches with %q, but %q with %q, %v", path, name, plain.String(), n, ok)
			}
		}
	})
}
