package egress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/sallyport-gateway/sallyport/core/secret"
)

const canary = "sk-canary-7f3a+/=x"

// account makes an account at base, closed when the test ends.
func account(t *testing.T, cfg Config, c AccountConfig) *Account {
	t.Helper()
	e, err := New(cfg)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	c.Name = "acct"
	a, err := e.Account(c)
	if err != nil {
		t.Fatalf("Account: %v", err)
	}
	t.Cleanup(a.Close)
	return a
}

func serve(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

func TestDoSendsWhatItShould(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		cred  Credential
		check func(r *http.Request) string // the fault, if any
	}{
		{"none", Credential{Scheme: SchemeNone}, func(r *http.Request) string {
			if strings.Contains(fmt.Sprint(r.Header, r.URL), "canary") {
				return "the key was sent"
			}
			return ""
		}},
		{"bearer", Credential{Scheme: SchemeBearer}, func(r *http.Request) string {
			return differs(r.Header.Get("Authorization"), "Bearer "+canary)
		}},
		{"header", Credential{Scheme: SchemeHeader, Name: "x-api-key"}, func(r *http.Request) string {
			return differs(r.Header.Get("X-Api-Key"), canary) + differs(r.Header.Get("Authorization"), "")
		}},
		{"query", Credential{Scheme: SchemeQuery, Name: "key"}, func(r *http.Request) string {
			return differs(r.URL.Query().Get("key"), canary) + differs(r.URL.Query().Get("alt"), "sse")
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			fault := make(chan string, 1)
			s := serve(t, func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				f := tt.check(r) + differs(string(body), "hello") + differs(r.URL.Path, "/v1/messages") +
					differs(r.Header.Get("User-Agent"), "sallyport/1.2") + differs(r.Header.Get(DepthHeader), "2") +
					differs(r.Header.Get("Anthropic-Version"), "1") + differs(r.Header.Get("Cookie"), "") + differs(r.Header.Get("X-Forwarded-For"), "")
				fault <- f
				w.Header().Set("Set-Cookie", "a=b")
				w.Header().Set("Request-Id", "r1")
				io.WriteString(w, "ok")
			})
			a := account(t, Config{Version: "1.2"}, AccountConfig{BaseURL: s.URL + "/v1", Credential: tt.cred, Key: secret.Of(canary)})
			res, err := a.Do(t.Context(), Request{Path: "messages", Query: "alt=sse", Body: []byte("hello"), Depth: 1, Header: http.Header{
				"anthropic-version": {"1"}, "Cookie": {"c=d"}, "Authorization": {"Bearer stolen"}, "X-Forwarded-For": {"1.2.3.4"}, "User-Agent": {"curl"},
			}})
			if err != nil {
				t.Fatalf("Do: %v", err)
			}
			defer res.Body.Close()
			if f := <-fault; f != "" {
				t.Error(f)
			}
			if body, err := io.ReadAll(res.Body); err != nil || string(body) != "ok" {
				t.Errorf("body = %q, %v, want ok", body, err)
			}
			if got := res.Header.Get("Set-Cookie"); got != "" {
				t.Errorf("Set-Cookie = %q, want it removed", got)
			}
			if got := res.Header.Get("Request-Id"); got != "r1" {
				t.Errorf("Request-Id = %q, want r1", got)
			}
		})
	}
}

func differs(got, want string) string {
	if got == want {
		return ""
	}
	return fmt.Sprintf("got %q, want %q; ", got, want)
}

func TestDoFailures(t *testing.T) {
	t.Parallel()
	dead := serve(t, func(http.ResponseWriter, *http.Request) {})
	deadURL := dead.URL
	dead.Close()
	hang := func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	tests := []struct {
		name    string
		handler http.HandlerFunc
		base    string
		req     Request
		key     string
		kind    Kind
		sent    bool
		limits  Timeouts
	}{
		{name: "nobody listens", base: deadURL, kind: Connect},
		{name: "unknown name", base: "http://nowhere.invalid", kind: Connect},
		{name: "no head", limits: Timeouts{FirstByte: 300 * time.Millisecond}, handler: hang, kind: FirstByte, sent: true},
		{name: "cut before the head", kind: Cut, sent: true, handler: func(w http.ResponseWriter, r *http.Request) {
			c, _, _ := w.(http.Hijacker).Hijack()
			c.Close()
		}},
		{name: "garbage instead of a head", kind: Cut, sent: true, handler: func(w http.ResponseWriter, r *http.Request) {
			c, _, _ := w.(http.Hijacker).Hijack()
			io.WriteString(c, "\x00\x01garbage\r\n\r\n")
			c.Close()
		}},
		{name: "head too large", kind: Cut, sent: true, handler: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Big", strings.Repeat("x", 2*maxHeaderBytes))
		}},
		{name: "redirect elsewhere", kind: Redirect, sent: true, handler: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://169.254.169.254/latest", http.StatusFound)
		}},
		{name: "redirect on the same host", kind: Redirect, sent: true, handler: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/other", http.StatusTemporaryRedirect)
		}},
		{name: "unasked compression", kind: Encoding, sent: true, handler: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "br")
		}},
		{name: "too deep", handler: hang, req: Request{Depth: MaxDepth}, kind: Refused},
		{name: "path goes up", handler: hang, req: Request{Path: "../x"}, kind: Refused},
		{name: "strange method", handler: hang, req: Request{Method: "CONNECT"}, kind: Refused},
		{name: "query already holds the key", handler: hang, req: Request{Query: "key=1"}, kind: Refused},
		{name: "key with a line break", handler: hang, key: canary + "\r\nX: y", kind: Refused},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			base := tt.base
			if tt.handler != nil {
				base = serve(t, tt.handler).URL
			}
			key := tt.key
			if key == "" {
				key = canary
			}
			a := account(t, Config{}, AccountConfig{BaseURL: base, Key: secret.Of(key),
				Credential: Credential{Scheme: SchemeQuery, Name: "key"}, Timeouts: tt.limits})
			res, err := a.Do(t.Context(), tt.req)
			if err == nil {
				res.Body.Close()
				t.Fatalf("Do gave status %d, want an error of kind %q", res.Status, tt.kind)
			}
			if KindOf(err) != tt.kind {
				t.Errorf("Do = %v of kind %q, want kind %q", err, KindOf(err), tt.kind)
			}
			if e, _ := errors.AsType[*Error](err); e.Sent != tt.sent {
				t.Errorf("Sent = %t, want %t", e.Sent, tt.sent)
			}
			if strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), "canary") {
				t.Errorf("the error holds the key: %#v", err)
			}
		})
	}
}

func TestDoCancelReachesTheService(t *testing.T) {
	t.Parallel()
	for _, when := range []string{"before the head", "in the body"} {
		t.Run(when, func(t *testing.T) {
			t.Parallel()
			begun, gone := make(chan struct{}), make(chan struct{})
			s := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if when == "in the body" {
					io.WriteString(w, "x")
					w.(http.Flusher).Flush()
				}
				close(begun)
				<-r.Context().Done()
				close(gone)
			})
			a := account(t, Config{}, AccountConfig{BaseURL: s.URL})
			ctx, cancel := context.WithCancel(t.Context())
			go func() { <-begun; cancel() }()
			res, err := a.Do(ctx, Request{Path: "x"})
			if err == nil {
				_, err = io.ReadAll(res.Body)
				res.Body.Close()
			}
			if KindOf(err) != Canceled || !errors.Is(err, context.Canceled) {
				t.Errorf("error = %v of kind %q, want cancelled", err, KindOf(err))
			}
			<-gone // the test's own deadline fails it when the service is not told
		})
	}
}

func TestDoErrorBodyHoldsNoKey(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Echo", r.Header.Get("Authorization"))
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprintf(w, `{"error":"wrong key %s"}`, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	})
	a := account(t, Config{}, AccountConfig{BaseURL: s.URL, Key: secret.Of(canary), Credential: Credential{Scheme: SchemeBearer}})
	res, err := a.Do(t.Context(), Request{Path: "x"})
	if err != nil {
		t.Fatalf("Do: %v", err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || string(body) != `{"error":"wrong key ***"}` {
		t.Errorf("body = %q, %v, want the key replaced by ***", body, err)
	}
	if got := res.Header.Get("X-Echo"); got != "Bearer ***" {
		t.Errorf("X-Echo = %q, want the key replaced", got)
	}
	if got := a.Scrub("x " + canary + " y"); got != "x *** y" {
		t.Errorf("Scrub = %q, want x *** y", got)
	}
}

func TestDoKeyRotates(t *testing.T) {
	t.Parallel()
	got := make(chan string, 1)
	s := serve(t, func(w http.ResponseWriter, r *http.Request) { got <- r.Header.Get("Authorization") })
	file := filepath.Join(t.TempDir(), "key")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("first-key\n")
	a := account(t, Config{}, AccountConfig{BaseURL: s.URL, Key: secret.File(file), Credential: Credential{Scheme: SchemeBearer}})
	call := func() string {
		res, err := a.Do(t.Context(), Request{Path: "x"})
		if err != nil {
			t.Fatalf("Do: %v", err)
		}
		res.Body.Close()
		return <-got
	}
	forget := func() { // as if the file had been looked at long ago
		a.key.mu.Lock()
		a.key.seen = time.Time{}
		a.key.mu.Unlock()
	}
	if k := call(); k != "Bearer first-key" {
		t.Errorf("key = %q, want the first", k)
	}
	write("the-second-key\n")
	forget()
	if k := call(); k != "Bearer the-second-key" {
		t.Errorf("key = %q after rotation, want the second", k)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	forget()
	if k := call(); k != "Bearer the-second-key" {
		t.Errorf("key = %q while the file is missing, want the last one known", k)
	}
}

func TestDoWithoutReadableKey(t *testing.T) {
	t.Parallel()
	s := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("the request was sent without a key") })
	a := account(t, Config{}, AccountConfig{BaseURL: s.URL, Key: secret.File(filepath.Join(t.TempDir(), "none")), Credential: Credential{Scheme: SchemeBearer}})
	if _, err := a.Do(t.Context(), Request{Path: "x"}); KindOf(err) != Refused {
		t.Errorf("Do = %v, want it refused", err)
	}
	if a.KeyError() == nil {
		t.Error("KeyError = nil, want why the key cannot be read")
	}
}

// A name server decides where a name leads, so it must not be able to lead a
// request into the gateway's own network.
func TestDoChecksAddressesAfterDNS(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "inside") })
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	resolver := nameServer(t, map[string]string{
		"rebind.example.com.": "127.0.0.1", "lan.example.com.": "10.9.8.7", "cgnat.example.com.": "100.64.0.9",
		"meta.example.com.": "169.254.169.254", "zero.example.com.": "0.0.0.0", "svc.internal.": "127.0.0.1",
	})
	tests := []struct {
		host    string
		private bool
		kind    Kind // "" when it gets through
	}{
		{"rebind.example.com", false, Refused},
		{"lan.example.com", false, Refused},
		{"cgnat.example.com", false, Refused},
		{"meta.example.com", false, Refused},
		{"zero.example.com", false, Refused},
		{"meta.example.com", true, Refused},
		{"zero.example.com", true, Refused},
		{"rebind.example.com", true, ""},
		{"svc.internal", false, ""},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%s private=%t", tt.host, tt.private), func(t *testing.T) {
			t.Parallel()
			a := account(t, Config{Resolver: resolver}, AccountConfig{BaseURL: "http://" + net.JoinHostPort(tt.host, port), Private: tt.private})
			res, err := a.Do(t.Context(), Request{Path: "x"})
			if err == nil {
				res.Body.Close()
			}
			if KindOf(err) != tt.kind {
				t.Errorf("Do = %v of kind %q, want %q", err, KindOf(err), tt.kind)
			}
		})
	}
}

// nameServer answers A questions from a table, over UDP on loopback.
func nameServer(t *testing.T, table map[string]string) *net.Resolver {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { pc.Close(); <-done })
	go func() {
		defer close(done)
		buf := make([]byte, 1500)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			q := m.Questions[0]
			m.Response, m.Authoritative, m.Additionals = true, true, nil
			ip, known := table[strings.ToLower(q.Name.String())]
			if !known {
				m.RCode = dnsmessage.RCodeNameError
			} else if q.Type == dnsmessage.TypeA {
				m.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1},
					Body:   &dnsmessage.AResource{A: [4]byte(net.ParseIP(ip).To4())},
				}}
			}
			if out, err := m.Pack(); err == nil {
				pc.WriteTo(out, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", pc.LocalAddr().String())
	}}
}

func TestDepth(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in   []string
		want int
	}{
		{nil, 0}, {[]string{"0"}, 0}, {[]string{"2"}, 2}, {[]string{"1", "2"}, 2}, {[]string{"3"}, 3},
		{[]string{"99"}, MaxDepth}, {[]string{"-1"}, MaxDepth}, {[]string{"x"}, MaxDepth}, {[]string{""}, MaxDepth},
	}
	for _, tt := range tests {
		if got := Depth(http.Header{DepthHeader: tt.in}); got != tt.want {
			t.Errorf("Depth(%q) = %d, want %d", tt.in, got, tt.want)
		}
	}
}
