package egress

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"time"

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
		{"lower-case escapes", "q=a%2bb%2fc%3d&", "a+b/c=", "q=***&"},
		{"some bytes escaped", "q=a+b%2Fc=&%61+b/c%3d", "a+b/c=", "q=***&***"},
		{"escaped in JSON", `"a+b\/c="`, "a+b/c=", `"***"`},
		{"escaped in JSON by number", `"a\u002bb\u002Fc\u003d"`, "a+b/c=", `"***"`},
		{"a key with a backslash", `a\bcdef a\\bcdef`, `a\bcdef`, "*** ***"},
		{"a key with a percent sign", `a%2Fcdef a%252Fcdef`, `a%2Fcdef`, "*** ***"},
		{"half an escape", "sk-%61b% sk\\u002", "sk-abc", "sk-%61b% sk\\u002"},
		{"base64", "c2stYWJj", "sk-abc", "***"},
		{"base64 with an end", "x=c2stYWJjZA==;", "sk-abcd", "x=***==;"},
		{"base64, standard", "c2t+fj8/Pw==", "sk~~???", "***=="},
		{"base64, standard, in JSON", `c2t+fj8\/Pw==`, "sk~~???", "***=="},
		{"base64, URL", "c2t-fj8_Pw", "sk~~???", "***"},
		{"base64 behind a user", "dXNlcjpzay1hYmNk", "sk-abcd", "dXNlcjp***"},
		{"not quite base64", "c2stYWJ c2stYWJK", "sk-abc", "c2stYWJ c2stYWJK"},
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

// An error's text is cut, but never through a key, which would leave a part.
func TestErrorBodyIsScrubbedBeforeTheCut(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		io.WriteString(w, strings.Repeat("x", maxErrorBody-len(canary)/2)+r.Header.Get("X-Token")+" and more")
	})
	a := account(t, Config{}, AccountConfig{BaseURL: s.URL, Key: secret.Of(canary), Credential: Credential{Scheme: SchemeHeader, Name: "x-token"}})
	for _, plain := range []bool{true, false} {
		res, err := a.Do(t.Context(), Request{Path: "x", Plain: plain})
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		rest := strings.TrimLeft(string(body), "x")
		if err != nil || len(body) > maxErrorBody || rest != "*** and more"[:len(canary)/2] {
			t.Errorf("plain %t: %d bytes that end with %q, %v", plain, len(body), rest, err)
		}
	}
}

// A key does not come in pieces, nor does a request go where its headers say.
func TestDoPlainDropsHeaders(t *testing.T) {
	t.Parallel()
	const key = "sk-plain+0123456789"
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		for k := range r.Header {
			if k != "X-Token" && k != "User-Agent" && k != "Accept-Encoding" && k != DepthHeader && k != "Accept" {
				t.Errorf("%s was sent", k)
			}
		}
		http.ServeContent(w, r, "echo.txt", time.Time{}, strings.NewReader("you sent "+r.Header.Get("X-Token")))
	})
	a := account(t, Config{}, AccountConfig{BaseURL: s.URL, Key: secret.Of(key), Credential: Credential{Scheme: SchemeHeader, Name: "x-token"}})
	for _, name := range []string{
		"Range", "range", "If-Range", "X-Original-URL", "x_original_url", "X-Original-URI", "X-Rewrite-URL", "X.Rewrite.Url",
		"X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X_Forwarded_For", "X_Api_Key", "Proxy_Authorization",
		"X-Token", "x-token",
	} {
		res, err := a.Do(t.Context(), Request{Method: "GET", Plain: true, Header: http.Header{name: {"bytes=0-12"}, "Accept": {"*/*"}}})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if res.Status != http.StatusOK || string(body) != "you sent ***" || err != nil {
			t.Errorf("%s: got %d %q, %v", name, res.Status, body, err)
		}
	}
}

// Other requests keep them: a translator knows its service, and sees the key's
// error texts only.
func TestDoKeepsRangeOfOthers(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Header.Get("Range")) })
	a := account(t, Config{}, AccountConfig{BaseURL: s.URL + "?version=1"})
	res, err := a.Do(t.Context(), Request{Query: "version=2", Header: http.Header{"Range": {"bytes=0-1"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); string(body) != "bytes=0-1" || err != nil {
		t.Errorf("Range = %q, %v", body, err)
	}
}

// What a service might take for the credential, or for a parameter of the
// configured URL, is refused.
func TestDoRefusesLookalikes(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {})
	header, query := Credential{Scheme: SchemeHeader, Name: "X-Key"}, Credential{Scheme: SchemeQuery, Name: "api_key"}
	tests := []struct {
		name string
		cred Credential
		req  Request
		text string // "" when it is sent
	}{
		{"underscore", header, Request{Header: http.Header{"X_Key": {"a"}}}, `the header "X_key" of the request may be read as X-Key, which is where the key goes`},
		{"underscore, lower case", header, Request{Header: http.Header{"x_key": {"a"}}}, "where the key goes"},
		{"dot", header, Request{Header: http.Header{"X.Key": {"a"}}}, "where the key goes"},
		{"dash where the credential has none", Credential{Scheme: SchemeHeader, Name: "x_key"}, Request{Header: http.Header{"X-Key": {"a"}}}, "where the key goes"},
		{"another name", header, Request{Header: http.Header{"X-Keys": {"a"}, "XKey": {"b"}}}, ""},
		{"parameter of the URL", header, Request{Plain: true, Query: "a=b&tenant=2"}, `the query of the request holds "tenant", which only the configured URL`},
		{"in capitals", header, Request{Plain: true, Query: "TENANT=2"}, `holds "TENANT"`},
		{"escaped", header, Request{Plain: true, Query: "t%65nant=2"}, `holds "tenant"`},
		{"as a list", header, Request{Plain: true, Query: "tenant[]=2"}, `holds "tenant[]"`},
		{"without a value", header, Request{Plain: true, Query: "tenant"}, `holds "tenant"`},
		{"like the credential", query, Request{Plain: true, Query: "API-Key=2"}, `holds "API-Key"`},
		{"the credential", query, Request{Query: "api_key=2"}, "which is where the key goes"},
		{"other parameters", query, Request{Plain: true, Query: "tenants=2&key=3"}, ""},
	}
	for _, tt := range tests {
		a := account(t, Config{}, AccountConfig{BaseURL: s.URL + "/v1?tenant=1", Key: secret.Of(canary), Credential: tt.cred})
		res, err := a.Do(t.Context(), tt.req)
		if err == nil {
			res.Body.Close()
		}
		if tt.text == "" {
			if err != nil {
				t.Errorf("%s: Do = %v", tt.name, err)
			}
			continue
		}
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Kind != Refused || !e.Wrong || !strings.Contains(e.Text, tt.text) {
			t.Errorf("%s: Do = %v, want a refusal with %q", tt.name, err, tt.text)
		}
	}
}

// BenchmarkScrubber reads text in which everything may be the key's beginning
// as often as in any JSON.
func BenchmarkScrubber(b *testing.B) {
	text := strings.Repeat(`{"name":"sk-abd","path":"a\/b","value":"c2stYWJ 100%"},`, 1<<14)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := io.Copy(io.Discard, struct{ io.Reader }{newScrubber(strings.NewReader(text), "sk-abc/0123456789")}); err != nil {
			b.Fatal(err)
		}
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

// naive is first without the shortcut.
func (f *finder) naive(text []byte, last bool) int {
	for i := range text {
		if _, found := f.at(text[i:], last); found != no {
			return i
		}
	}
	return -1
}

// However a key is spelled, wherever it lies, and wherever the text ends, the
// pairs of bytes that are looked at give it away.
func TestFirst(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"sk-abc", `a/b"\%`, "ÿþýüûú"} {
		f := newFinder(key)
		for _, form := range f.forms {
			for way := range 5 { // each character in one of its spellings
				var said strings.Builder
				for i, c := range form {
					all := spellings(c)
					said.WriteString(all[(i*i+way)%len(all)])
				}
				for before := range step + 1 {
					text := []byte(strings.Repeat(".", before) + said.String())
					for end := range len(text) + 1 {
						for _, last := range []bool{false, true} {
							if got, want := f.first(text[:end], last), f.naive(text[:end], last); got != want {
								t.Fatalf("key %q: first(%q, %t) = %d, want %d", key, text[:end], last, got, want)
							}
						}
					}
				}
			}
		}
	}
}

func FuzzFirst(f *testing.F) {
	f.Add("sk-abc", "x sk-abc", true)
	f.Add("a+b/c=", `"a\u002bb\/c%3d`, false)
	f.Fuzz(func(t *testing.T, key, text string, last bool) {
		if n := newFinder(key); n != nil {
			if got, want := n.first([]byte(text), last), n.naive([]byte(text), last); got != want {
				t.Errorf("key %q: first(%q, %t) = %d, want %d", key, text, last, got, want)
			}
		}
	})
}
