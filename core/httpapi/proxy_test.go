package httpapi

import (
	"log/slog"
	"net/http/httptest"
	"net/netip"
	"testing"
)

// Only what a trusted proxy wrote counts, however much else stands there.
func TestClientIP(t *testing.T) {
	t.Parallel()
	a := New(fixed(&State{}), Limits{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}}, "test", slog.New(slog.DiscardHandler))
	tests := []struct {
		peer    string
		headers []string
		want    string
	}{
		{"192.0.2.1:5", nil, "192.0.2.1"},
		{"192.0.2.1:5", []string{"X-Forwarded-For", "198.51.100.7"}, "192.0.2.1"},
		{"10.0.0.1:5", nil, "10.0.0.1"},
		{"10.0.0.1:5", []string{"X-Forwarded-For", "198.51.100.7"}, "198.51.100.7"},
		{"10.0.0.1:5", []string{"X-Forwarded-For", "6.6.6.6, 198.51.100.7"}, "198.51.100.7"},
		{"10.0.0.1:5", []string{"X-Forwarded-For", "6.6.6.6, 198.51.100.7, 10.0.0.2"}, "198.51.100.7"},
		{"10.0.0.1:5", []string{"X-Forwarded-For", "6.6.6.6", "X-Forwarded-For", "198.51.100.7"}, "198.51.100.7"},
		{"10.0.0.1:5", []string{"X-Forwarded-For", "10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"10.0.0.1:5", []string{"X-Forwarded-For", "6.6.6.6, nonsense"}, "10.0.0.1"},
		{"10.0.0.1:5", []string{"X-Forwarded-For", "198.51.100.7:4711"}, "198.51.100.7"},
		{"[fd00::1]:5", []string{"X-Forwarded-For", "2001:db8::7"}, "2001:db8::7"},
		{"[::ffff:10.0.0.1]:5", []string{"X-Forwarded-For", "198.51.100.7"}, "198.51.100.7"},
		{"10.0.0.1:5", []string{"Forwarded", `for=6.6.6.6, For="[2001:db8::7]:4711";proto=https;by=10.0.0.1`}, "2001:db8::7"},
		{"10.0.0.1:5", []string{"Forwarded", "for=6.6.6.6, for=_hidden"}, "10.0.0.1"},
		{"10.0.0.1:5", []string{"Forwarded", "for=6.6.6.6, proto=https"}, "10.0.0.1"},
		{"10.0.0.1:5", []string{"Forwarded", "for=6.6.6.6", "X-Forwarded-For", "198.51.100.7"}, "198.51.100.7"},
		{"@", []string{"X-Forwarded-For", "198.51.100.7"}, "@"},
	}
	for _, tt := range tests {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = tt.peer
		for i := 0; i < len(tt.headers); i += 2 {
			r.Header.Add(tt.headers[i], tt.headers[i+1])
		}
		if got := a.clientIP(r); got != tt.want {
			t.Errorf("%s with %q: got %s, want %s", tt.peer, tt.headers, got, tt.want)
		}
	}
}
