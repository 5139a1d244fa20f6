package spelling

import (
	"strings"
	"testing"
)

func TestNearest(t *testing.T) {
	t.Parallel()
	known := []string{"table", "volume", "web_search", "listen", "base_url", "SELECT"}
	tests := []struct{ word, want string }{
		{"tabel", "table"}, {"Table", "table"}, {"volumes", "volume"}, {"websearch", "web_search"}, {"lissten", "listen"}, {"base_ulr", "base_url"}, {"selct", "SELECT"},
		{"genie", ""}, {"", ""}, {"x", ""}, {"t", ""}, {strings.Repeat("table", 100), ""},
	}
	for _, tt := range tests {
		if got := Nearest(tt.word, known); got != tt.want {
			t.Errorf("Nearest(%q) = %q, want %q", tt.word, got, tt.want)
		}
	}
}

func FuzzDistance(f *testing.F) {
	f.Add("kitten", "sitting")
	f.Add("", "a")
	f.Fuzz(func(t *testing.T, a, b string) {
		if len(a) > maxWord || len(b) > maxWord {
			return
		}
		d := distance(a, b, 1000)
		if d != distance(b, a, 1000) {
			t.Errorf("distance of %q and %q is not symmetric", a, b)
		}
		if (d == 0) != (a == b) || d > max(len(a), len(b)) {
			t.Errorf("distance(%q, %q) = %d", a, b, d)
		}
	})
}
