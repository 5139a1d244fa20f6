package egress

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/sallyport-gateway/sallyport/core/secret"
)

// However a body comes in pieces, the key is gone and all else is there.
func TestScrubber(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, in, key, want string }{
		{"nothing to find", "plain text", "sk-abc", "plain text"},
		{"once", "key=sk-abc;", "sk-abc", "key=***;"},
		{"alone", "sk-abc", "sk-abc", "***"},
		{"twice in a row", "sk-abcsk-abc", "sk-abc", "******"},
		{"begins again inside", "sk-sk-abc!", "sk-abc", "sk-***!"},
		{"cut at the end", "x sk-ab", "sk-abc", "x sk-ab"},
		{"escaped", "q=a%2Bb%2Fc%3D&", "a+b/c=", "q=***&"},
		{"both forms", "a+b/c= a%2Bb%2Fc%3D", "a+b/c=", "*** ***"},
		{"too short to look for", "abcde", "abcde", "abcde"},
		{"no key", "text", "", "text"},
		{"empty", "", "sk-abc", ""},
	}
	ways := map[string]func(io.Reader) io.Reader{
		"whole":        func(r io.Reader) io.Reader { return r },
		"byte by byte": iotest.OneByteReader,
		"halves":       iotest.HalfReader,
		"end at once":  iotest.DataErrReader,
	}
	for _, tt := range tests {
		for way, split := range ways {
			for _, size := range []int{1, 3, 4096} {
				r := newScrubber(split(strings.NewReader(tt.in)), tt.key)
				var got strings.Builder
				_, err := io.CopyBuffer(&got, struct{ io.Reader }{r}, make([]byte, size))
				if err != nil || got.String() != tt.want {
					t.Errorf("%s, %s, by %d: got %q, %v, want %q", tt.name, way, size, got.String(), err, tt.want)
				}
			}
		}
	}
}

// What could be the beginning of a key is not given out when the rest never
// comes because the body broke off.
func TestScrubberOfABrokenBody(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	r := newScrubber(io.MultiReader(strings.NewReader("x sk-ab"), iotest.ErrReader(broken)), "sk-abc")
	got, err := io.ReadAll(r)
	if string(got) != "x " || !errors.Is(err, broken) {
		t.Errorf("got %q, %v", got, err)
	}
}

// A plain request shows nothing of the key, whatever the service answers, and
// everything else as it is.
func TestDoPlain(t *testing.T) {
	t.Parallel()
	const key = "sk-plain+0123456789"
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Echo", r.Header.Get("X-Token"))
		w.Header().Set("Location", "http://elsewhere.example/?token="+r.Header.Get("X-Token"))
		switch r.URL.Path {
		case "/moved":
			w.WriteHeader(http.StatusFound)
		case "/refused":
			w.WriteHeader(http.StatusForbidden)
		}
		for range 3 {
			io.WriteString(w, "you sent "+r.Header.Get("X-Token")+" sk-plain%2B0123456789. ")
			w.(http.Flusher).Flush()
		}
	})
	a := account(t, Config{}, AccountConfig{BaseURL: s.URL, Key: secret.Of(key), Credential: Credential{Scheme: SchemeHeader, Name: "x-token"}})
	for path, status := range map[string]int{"fine": 200, "moved": 302, "refused": 403} {
		res, err := a.Do(t.Context(), Request{Path: path, Plain: true, Header: http.Header{"X-Token": {"the caller's own"}}})
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if want := strings.Repeat("you sent *** ***. ", 3); res.Status != status || string(body) != want || err != nil {
			t.Errorf("%s: got %d %q, %v; want %d %q", path, res.Status, body, err, status, want)
		}
		if res.Header.Get("X-Echo") != "***" || res.Header.Get("Location") != "http://elsewhere.example/?token=***" {
			t.Errorf("%s: headers %v", path, res.Header)
		}
	}
}

// Wrong tells a request that nobody could make from one that this account
// refuses.
func TestDoSaysWhoseFaultARefusalIs(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {})
	tests := []struct {
		name  string
		req   Request
		key   string
		wrong bool
		text  string
	}{
		{"path", Request{Path: "/x"}, canary, true, "the path of the request is not relative"},
		{"query", Request{Query: "a b"}, canary, true, "the query of the request cannot be read"},
		{"method", Request{Method: "TRACE"}, canary, true, "the method of the request"},
		{"header name", Request{Header: http.Header{"a b": {"c"}}}, canary, true, `"a b" is not a name that a header can have`},
		{"header value", Request{Header: http.Header{"X-A": {"c\r\nX-B: d"}}}, canary, true, "the header X-A of the request holds line breaks"},
		{"key in the query", Request{Query: "key=1"}, canary, true, "the query of the request already holds"},
		{"key", Request{}, "a b c d e f g", false, "holds spaces"},
		{"loop", Request{Depth: MaxDepth}, canary, false, "has passed 3 gateways"},
	}
	for _, tt := range tests {
		a := account(t, Config{}, AccountConfig{BaseURL: s.URL, Key: secret.Of(tt.key), Credential: Credential{Scheme: SchemeQuery, Name: "key"}})
		_, err := a.Do(t.Context(), tt.req)
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Kind != Refused || e.Wrong != tt.wrong || !strings.Contains(e.Text, tt.text) {
			t.Errorf("%s: Do = %v, want a refusal with %q that is the request's fault: %t", tt.name, err, tt.text, tt.wrong)
		}
	}
}
