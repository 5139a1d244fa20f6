package router

import (
	"testing"

	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

func TestMeterBelieves(t *testing.T) {
	t.Parallel()
	type u = openresponses.Usage
	guess := u{Input: 10, Output: 5, Reasoning: 2, Estimated: true} // of 40, 20 and 8 bytes
	tests := []struct {
		name  string
		said  *u
		ended bool
		want  u
	}{
		{"nothing", nil, true, guess},
		{"what can be true", &u{Input: 3, CacheRead: 4, Output: 1}, true, u{Input: 3, CacheRead: 4, Output: 1}},
		{"a count below zero", &u{Input: 3, Output: -1}, true, guess},
		{"a count beyond belief", &u{Input: 1e18, Output: 1}, true, guess},
		{"a cache count below zero", &u{Input: 3, CacheWrite1h: -4, Output: 1}, true, guess},
		{"no input", &u{Output: 6}, true, u{Input: 10, Output: 6, Estimated: true}},
		{"only cached input", &u{CacheRead: 9, Output: 6}, true, u{CacheRead: 9, Output: 6}},
		{"no output", &u{Input: 3}, true, u{Input: 3, Output: 5, Reasoning: 2, Estimated: true}},
		{"all zero", &u{}, true, guess},
		{"less output than came, in the middle", &u{Input: 3, Output: 1}, false, u{Input: 3, Output: 5, Reasoning: 2, Estimated: true}},
	}
	for _, tt := range tests {
		m := meter{said: tt.said, sent: 40, text: 20, thoughts: 8}
		if got := m.total(tt.ended); got != tt.want {
			t.Errorf("%s: got %+v, want %+v", tt.name, got, tt.want)
		}
	}
	// A reply without text, such as one of calls with no arguments, may cost nothing to say.
	silent := meter{said: &u{Input: 3}, sent: 40}
	if got := silent.total(true); got != (u{Input: 3}) {
		t.Errorf("a silent reply: got %+v", got)
	}
}
