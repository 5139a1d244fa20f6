package egress

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/secret"
)

func TestAccountRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in   AccountConfig
		want string
	}{
		{AccountConfig{BaseURL: "example.com"}, "base_url must begin with"},
		{AccountConfig{BaseURL: "https://h", Credential: Credential{Scheme: "sigv4"}}, "not one of none, bearer, header, query"},
		{AccountConfig{BaseURL: "https://h", Credential: Credential{Scheme: SchemeHeader}}, "not the name of a header"},
		{AccountConfig{BaseURL: "https://h", Credential: Credential{Scheme: SchemeHeader, Name: "Host"}}, "not the name of a header"},
		{AccountConfig{BaseURL: "https://h", Credential: Credential{Scheme: SchemeHeader, Name: "a b"}}, "not the name of a header"},
		{AccountConfig{BaseURL: "https://h", Credential: Credential{Scheme: SchemeQuery, Name: "a&b"}}, "not the name of a query parameter"},
		{AccountConfig{BaseURL: "https://h", Credential: Credential{Scheme: SchemeBearer, Name: "x"}}, "takes no name"},
		{AccountConfig{BaseURL: "https://h", Timeouts: Timeouts{Idle: -1}}, "timeouts.idle is negative"},
		{AccountConfig{BaseURL: "https://h", MaxBody: -1}, "negative"},
	}
	e, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		if _, err := e.Account(tt.in); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Account(%+v) = %v, want an error with %q", tt.in, err, tt.want)
		}
	}
	for _, cfg := range []Config{{Proxy: "socks9://x"}, {Proxy: "http://u:hunter22@p"}, {NoProxy: "x"}} {
		if _, err := New(cfg); err == nil || strings.Contains(err.Error(), "hunter22") {
			t.Errorf("New(%+v) = %v, want an error without the password", cfg, err)
		}
	}
}

// The environment alone does not decide where requests go; the configuration
// may say that it does.
func TestProxy(t *testing.T) {
	proxy := serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "by proxy to "+r.URL.Host) })
	t.Setenv("HTTP_PROXY", proxy.URL)
	t.Setenv("NO_PROXY", "")
	tests := []struct {
		cfg  Config
		want string
		kind Kind
	}{
		{Config{}, "", Connect},
		{Config{Proxy: "environment"}, "by proxy to nowhere.invalid", ""},
		{Config{Proxy: proxy.URL}, "by proxy to nowhere.invalid", ""},
		{Config{Proxy: proxy.URL, NoProxy: ".invalid"}, "", Connect},
	}
	for _, tt := range tests {
		a := account(t, tt.cfg, AccountConfig{BaseURL: "http://nowhere.invalid", Key: secret.Of(canary), Credential: Credential{Scheme: SchemeBearer}})
		res, err := a.Do(t.Context(), Request{Path: "x"})
		got := ""
		if err == nil {
			body, _ := io.ReadAll(res.Body)
			got = string(body)
			res.Body.Close()
		}
		if got != tt.want || KindOf(err) != tt.kind {
			t.Errorf("with %+v: got %q, %v; want %q, kind %q", tt.cfg, got, err, tt.want, tt.kind)
		}
	}
}
