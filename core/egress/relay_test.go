package egress

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
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
		{"alt=sse&fields=candidates&%24fields=x&$%66ields=x&%24alt=media&Fields=y&fields%5B%5D=z&prettyPrint=false&quotaUser=u&userProject=p&access_token=t&callback=f&%24httpHeaders=a&alt=proto&x=1", "",
			"api-version=7&alt=sse&prettyPrint=false&x=1&key=sk-0123456789", "sallyport/dev"},
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

// What a service says back of the key does not reach the client, whatever the
// status and form of the reply, and no complete line waits for it.
func TestRelayedRepliesAreScrubbed(t *testing.T) {
	t.Parallel()
	const key = "sk-0123456789"
	said := make(chan struct{})
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		for _, name := range []string{"X-Goog-FieldMask", "X-Goog-User-Project", "X_Goog_FieldMask"} {
			if v, ok := r.Header[http.CanonicalHeaderKey(name)]; ok {
				t.Errorf("the service was sent %s: %q", name, v)
			}
		}
		text := fmt.Sprintf(`{"message":"you sent %s and sk%%2d0123456789"}`, r.Header.Get("X-Token"))
		switch r.URL.Path {
		case "/stream":
			w.Header().Set("Content-Type", "text/event-stream")
			for _, piece := range []string{"event: error\n", "data: " + text[:20], text[20:] + "\n\n"} {
				io.WriteString(w, piece)
				w.(http.Flusher).Flush()
				if strings.HasSuffix(piece, "\n") {
					<-said // the line is read while nothing follows
				}
			}
		case "/gzip":
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			io.WriteString(z, text)
			z.Close()
		case "/400":
			w.WriteHeader(http.StatusBadRequest)
			fallthrough
		default:
			io.WriteString(w, text)
		}
	})
	a := account(t, Config{}, AccountConfig{BaseURL: s.URL, Key: secret.Of(key), Credential: Credential{Scheme: SchemeHeader, Name: "x-token"}})
	for _, path := range []string{"200", "400", "gzip", "stream"} {
		res, err := a.Do(t.Context(), Request{Path: path, Relay: true, Stream: path == "stream",
			Header: http.Header{"X-Goog-Fieldmask": {"a"}, "X_goog_fieldmask": {"a"}, "X-Goog-User-Project": {"p"}}})
		if err != nil {
			t.Fatal(err)
		}
		var got strings.Builder
		for buf := make([]byte, 100); err == nil; {
			var n int
			n, err = res.Body.Read(buf)
			got.Write(buf[:n])
			if n > 0 && buf[n-1] == '\n' {
				said <- struct{}{}
			}
		}
		res.Body.Close()
		want := `{"message":"you sent *** and ***"}`
		if path == "stream" {
			want = "event: error\ndata: " + want + "\n\n"
		}
		if err != io.EOF || got.String() != want {
			t.Errorf("%s: got %q, %v, want %q", path, got.String(), err, want)
		}
	}
}

// BenchmarkScrub is a piece of a reply that has no key in it.
func BenchmarkScrub(b *testing.B) {
	f := newFinder("sk-ant-api03-abcdefghijklmnopqrstuvwxyz-0123456789-ABCDEFG")
	text := []byte(strings.Repeat(`data: {"type":"content_block_delta","delta":{"text":"some \"words\"\n"}}`+"\n\n", 100))
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if f.first(text, false) >= 0 {
			b.Fatal("found")
		}
	}
}
