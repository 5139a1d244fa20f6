package egress

import (
	"net/url"
	"strings"
	"testing"
)

func TestParseTargetRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct{ in, want string }{
		{"", "must begin with"},
		{"ftp://example.com", "must begin with"},
		{"//example.com", "must begin with"},
		{"https://", "names no host"},
		{"https://user:hunter22@example.com", "use key"},
		{"https://example.com/#x", "fragment"},
		{"https://example.com/a/../b", ". or .."},
		{"https://example.com/a//b", "empty segment"},
		{"https://exa mple.com/hunter22", "is not a URL"},
		{"https://example.com/?a=%zz", "query"},
	}
	for _, tt := range tests {
		_, err := parseTarget(tt.in, false)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("parseTarget(%q) = %v, want an error with %q", tt.in, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter22") {
			t.Errorf("parseTarget(%q): the error repeats a secret: %v", tt.in, err)
		}
	}
}

func TestResolve(t *testing.T) {
	t.Parallel()
	tests := []struct {
		base, path, query string
		want              string // "" when refused
	}{
		{"https://h/v1", "responses", "", "https://h/v1/responses"},
		{"https://h/v1/", "responses", "", "https://h/v1/responses"},
		{"https://h", "v1/messages", "", "https://h/v1/messages"},
		{"https://h", "", "", "https://h"},
		{"https://h", "v1beta/models/gemini-2.5-flash:streamGenerateContent", "alt=sse", "https://h/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse"},
		{"https://h", "models/a%2Fb/go", "", "https://h/models/a%2Fb/go"},
		{"https://h/x%2Fy", "z", "", "https://h/x%2Fy/z"},
		{"https://h?api-version=1", "r", "a=b", "https://h/r?api-version=1&a=b"},
		{"https://h?api-version=1", "r", "", "https://h/r?api-version=1"},
		{"https://h", "/responses", "", ""},
		{"https://h", "//evil.example/x", "", ""},
		{"https://h", "https://evil.example/x", "", ""},
		{"https://h", "..", "", ""},
		{"https://h", "a/../b", "", ""},
		{"https://h", "a/%2e%2e/b", "", ""},
		{"https://h", "a%2f..%2fb", "", ""},
		{"https://h", "./a", "", ""},
		{"https://h", "a//b", "", ""},
		{"https://h", "a/", "", ""},
		{"https://h", "a;v=1/b;c", "", "https://h/a;v=1/b;c"},
		{"https://h", "a%25b/100%25", "", "https://h/a%25b/100%25"},
		{"https://h/api", "..;/admin", "", ""},
		{"https://h/api", "..;a=b/admin", "", ""},
		{"https://h/api", "x/..%3b/admin", "", ""},
		{"https://h/api", "%2e%2E%3Bx/admin", "", ""},
		{"https://h/api", ".;/a", "", ""},
		{"https://h/api", "%252e%252e/admin", "", ""},
		{"https://h/api", "%252E./admin", "", ""},
		{"https://h/api", "..%252fadmin", "", ""},
		{"https://h/api", "..%255cadmin", "", ""},
		{"https://h/api", "..%253b/admin", "", ""},
		{"https://h/api", "%25%32%65%25%32%65/admin", "", ""},
		{"https://h/api", "%25252e/admin", "", ""},
		{"https://h", "a\\b", "", ""},
		{"https://h", "a%5cb", "", ""},
		{"https://h", "a?b=c", "", ""},
		{"https://h", "a#b", "", ""},
		{"https://h", "a%0d%0ab", "", ""},
		{"https://h", "a%00", "", ""},
		{"https://h", "a%zz", "", ""},
		{"https://h", "a", "b=%zz", ""},
		{"https://h", "a", "b=c#d", ""},
		{"https://h", "a", "b=\x01", ""},
		{"https://h", "a", "b=c HTTP/1.1", ""},
	}
	for _, tt := range tests {
		tg, err := parseTarget(tt.base, false)
		if err != nil {
			t.Fatalf("parseTarget(%q): %v", tt.base, err)
		}
		u, err := tg.resolve(tt.path, tt.query)
		if tt.want == "" {
			if err == nil {
				t.Errorf("resolve(%q, %q) = %s, want it refused", tt.path, tt.query, u)
			}
			continue
		}
		if err != nil {
			t.Errorf("resolve(%q, %q): %v", tt.path, tt.query, err)
		} else if u.String() != tt.want {
			t.Errorf("resolve(%q, %q) = %s, want %s", tt.path, tt.query, u, tt.want)
		}
	}
}

// Whatever the path, a request stays on the configured scheme, host and path.
func FuzzResolve(f *testing.F) {
	for _, s := range []string{"responses", "a/../b", "%2e%2e/x", "//h", "http://h", "a%2F..%2Fb", "x:y", "@h", ":80", "a?b", "%", "\x00", "..;/x", "..%3b/x", "%252e%252e/x", "%25%32e/x"} {
		f.Add(s, "alt=sse")
	}
	f.Fuzz(func(t *testing.T, path, query string) {
		tg, err := parseTarget("https://host.example:8443/base/v1", false)
		if err != nil {
			t.Fatal(err)
		}
		u, err := tg.resolve(path, query)
		if err != nil {
			return
		}
		again, err := url.Parse(u.String())
		if err != nil {
			t.Fatalf("resolve(%q, %q) gives %q, which is not a URL: %v", path, query, u, err)
		}
		if again.Scheme != "https" || again.Host != "host.example:8443" || again.User != nil || again.Fragment != "" {
			t.Errorf("resolve(%q, %q) leaves the host: %s", path, query, u)
		}
		once := again.JoinPath().Path
		twice := once
		if s, err := url.PathUnescape(once); err == nil {
			twice = s
		}
		for _, seen := range []string{once, twice} {
			for seg := range strings.SplitSeq(seen, "/") {
				if seg, _, _ = strings.Cut(seg, ";"); seg == "." || seg == ".." {
					t.Errorf("resolve(%q, %q) goes up: %s", path, query, u)
				}
			}
		}
		clean := once
		if clean != "/base/v1" && !strings.HasPrefix(clean, "/base/v1/") {
			t.Errorf("resolve(%q, %q) leaves the path: %s", path, query, clean)
		}
	})
}
