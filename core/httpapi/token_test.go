package httpapi

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

func TestToken(t *testing.T) {
	t.Parallel()
	tests := []struct {
		url     string
		headers []string
		want    string
		refused string // part of the sentence
	}{
		{"/", nil, "", ""},
		{"/", []string{"Authorization", "Bearer t"}, "t", ""},
		{"/", []string{"Authorization", "bearer   t "}, "t", ""},
		{"/", []string{"X-Api-Key", "t"}, "t", ""},
		{"/", []string{"X-Goog-Api-Key", "t"}, "t", ""},
		{"/?alt=sse&key=t", nil, "t", ""},
		{"/", []string{"Authorization", "Bearer a", "X-Api-Key", "b"}, "a", ""},
		{"/", []string{"Authorization", "Bearer sk-of-the-provider", "X-Databricks-AI-Gateway-Token", "t"}, "t", ""},
		{"/", []string{"Authorization", "Basic dTpw", "X-Api-Key", "t"}, "t", ""},
		{"/", []string{"Authorization", "Basic dTpw"}, "", "scheme basic"},
		{"/", []string{"Authorization", "Bearer "}, "", "no token behind Bearer"},
		{"/", []string{"Authorization", "Bearer"}, "", "no token behind Bearer"},
		{"/", []string{"Authorization", "dapi-secret"}, "", "only one word"},
		{"/", []string{"Authorization", "dapi-secret x"}, "", "does not begin with Bearer"},
	}
	for _, tt := range tests {
		r := httptest.NewRequest("POST", tt.url, nil)
		for i := 0; i < len(tt.headers); i += 2 {
			r.Header.Set(tt.headers[i], tt.headers[i+1])
		}
		got, err := token(r)
		if got != tt.want || (err == nil) != (tt.refused == "") {
			t.Errorf("%s %q: got %q, %v, want %q", tt.url, tt.headers, got, err, tt.want)
		}
		if err != nil && (!apierror.Is(err, apierror.Unauthenticated) || !strings.Contains(err.Error(), tt.refused) || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "dTpw")) {
			t.Errorf("%q: got %v, want %q and nothing secret", tt.headers, err, tt.refused)
		}
	}
}

func TestWithoutCredentials(t *testing.T) {
	t.Parallel()
	tests := []struct{ in, want string }{
		{"", ""},
		{"beta=true", "beta=true"},
		{"alt=sse&key=secret", "alt=sse"},
		{"key=secret", ""},
		{"KEY=secret&a=%20b&&c", "a=%20b&&c"},
		{"k%65y=secret&alt=sse", "alt=sse"},
		{"access_token=secret&x=1;2", "x=1;2"},
		{"monkey=1&keys=2", "monkey=1&keys=2"},
		{"%zzkey=secret&a=b", "a=b"},
		{"a=b&key", "a=b"},
	}
	for _, tt := range tests {
		if got := withoutCredentials(tt.in); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.in, got, tt.want)
		}
	}
}
