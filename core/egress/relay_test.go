package egress

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/secret"
)

// A client's request leaves with the operator's query, key and length, and a
// reply loses what was about the connection.
func TestRelay(t *testing.T) {
	t.Parallel()
	var query, body, agent, length string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		query, body, agent, length = r.URL.RawQuery, string(b), r.UserAgent(), r.Header.Get("Content-Length")
		w.Header().Set("Connection", "X-Hop")
		w.Header().Set("X-Hop", "1")
		w.Header().Set("X-Kept", "2")
	}))
	t.Cleanup(s.Close)
	e, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	a, err := e.Account(AccountConfig{Name: "p", BaseURL: s.URL + "/v1?api-version=7", Credential: Credential{Scheme: SchemeQuery, Name: "key"}, Key: secret.Of("sk-0123456789")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	for _, tt := range []struct {
		query, agent string
		want         string
		wantAgent    string
	}{
		{"beta=true&alt=sse", "agent/1", "api-version=7&beta=true&alt=sse&key=sk-0123456789", "agent/1"},
		{"API_Version=9&beta=1&key=theirs&Key%5B0%5D=x", "", "api-version=7&beta=1&key=sk-0123456789", "sallyport/dev"},
		{"key=theirs", "bad\x01agent", "api-version=7&key=sk-0123456789", "sallyport/dev"},
	} {
		h := http.Header{}
		if tt.agent != "" {
			h.Set("User-Agent", tt.agent)
		}
		res, err := a.Do(t.Context(), Request{Path: "x", Query: tt.query, Header: h, Relay: true, Pieces: [3][]byte{[]byte(`{"a":`), []byte("1"), []byte("}")}})
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if query != tt.want || agent != tt.wantAgent || body != `{"a":1}` || length != "7" {
			t.Errorf("%q: sent ?%s by %q with %q of %s bytes, want ?%s by %q", tt.query, query, agent, body, length, tt.want, tt.wantAgent)
		}
		if res.Header.Get("X-Hop") != "" || res.Header.Get("X-Kept") != "2" {
			t.Errorf("reply headers = %v, want those of the connection gone", res.Header)
		}
	}
}
