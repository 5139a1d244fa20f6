package main

import (
	"strings"
	"testing"
)

func TestStopper(t *testing.T) {
	t.Parallel()
	tests := []struct{ sequences, text, want, hit string }{
		{"", "abc", "abc", ""},
		{"END", "one END two", "one ", "END"},
		{"END", "one EN", "one EN", ""},
		{"END", "EEND", "E", "END"},
		{"abab", "aabab", "a", "abab"},
		{"b,ab", "xab", "x", "ab"},
		{"\n\n", "a\nb\n\nc", "a\nb", "\n\n"},
		{"é", "caf\u00e9s", "caf", "é"},
		{"x", "", "", ""},
	}
	for _, tt := range tests {
		for _, size := range []int{1, 2, 3, 100} {
			s := stopper{}
			if tt.sequences != "" {
				s.sequences = strings.Split(tt.sequences, ",")
			}
			var got string
			for rest := tt.text; rest != ""; {
				n := min(size, len(rest))
				got += s.pass(rest[:n])
				rest = rest[n:]
			}
			got += s.rest()
			if got != tt.want || s.hit != tt.hit {
				t.Errorf("%q in pieces of %d, stopped at %q: got %q, hit %q, want %q, hit %q", tt.text, size, tt.sequences, got, s.hit, tt.want, tt.hit)
			}
		}
	}
}
