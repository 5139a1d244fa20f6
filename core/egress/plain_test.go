package egress

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/core/secret"
	"github.com/sallyport-gateway/sallyport/sdk/socket"
)

const okay = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// scripted answers on each connection with one text after the other, as it is,
// once it has read a whole request; "" ends the connection, as does the last of
// several. It counts the connections.
func scripted(t *testing.T, texts ...[]string) (base string, made *atomic.Int32) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	made = new(atomic.Int32)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			n := int(made.Add(1))
			t.Cleanup(func() { c.Close() })
			all.Go(func() {
				r := bufio.NewReader(c)
				for _, text := range texts[min(n, len(texts))-1] {
					req, err := http.ReadRequest(r)
					if err != nil {
						return
					}
					io.Copy(io.Discard, req.Body)
					if text == "" {
						c.Close()
						return
					}
					io.WriteString(c, text)
				}
				if len(texts[min(n, len(texts))-1]) > 1 {
					c.Close()
				}
			})
		}
	})
	t.Cleanup(func() { ln.Close(); all.Wait() })
	return "http://" + ln.Addr().String(), made
}

// say asks once and gives status and body.
func say(t *testing.T, a *Account, r Request) (int, string, error) {
	t.Helper()
	res, err := a.Do(t.Context(), r)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return res.Status, string(body), err
}

// waiting is the connection that an account keeps.
func waiting(t *testing.T, a *Account) net.Conn {
	t.Helper()
	a.plain.mu.Lock()
	defer a.plain.mu.Unlock()
	if len(a.plain.idle) != 1 {
		t.Fatalf("%d connections wait, want one", len(a.plain.idle))
	}
	return a.plain.idle[0].conn
}

func TestPlainAnswers(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, text string
		method     string
		status     int
		body       string
		kept       bool
	}{
		{"known length", okay, "POST", 200, "ok", true},
		{"chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n", "POST", 200, "ok", true},
		{"nothing", "HTTP/1.1 204 No Content\r\n\r\n", "POST", 204, "", true},
		{"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 70\r\n\r\n", "HEAD", 200, "", true},
		{"early hints", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + okay, "POST", 200, "ok", true},
		{"the service wants to close", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", "POST", 200, "ok", false},
		{"HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", "POST", 200, "ok", false},
		{"more than was asked for", okay + okay, "POST", 200, "ok", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			base, made := scripted(t, []string{tt.text, tt.text})
			a := account(t, Config{}, AccountConfig{BaseURL: base})
			for range 2 {
				status, body, err := say(t, a, Request{Method: tt.method, Path: "x"})
				if status != tt.status || body != tt.body || err != nil {
					t.Errorf("got %d %q, %v, want %d %q", status, body, err, tt.status, tt.body)
				}
			}
			if kept := made.Load() == 1; kept != tt.kept {
				t.Errorf("connection used again = %t, want %t", kept, tt.kept)
			}
		})
	}
}

// A status that ends no exchange is no answer.
func TestNoAnswer(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"HTTP/1.1 101 Switching Protocols\r\n\r\n", "HTTP/1.1 000 Nothing\r\n\r\n", "HTTP/1.1 099 Nothing\r\nContent-Length: 2\r\n\r\nok"} {
		base, _ := scripted(t, []string{text, ""})
		_, err := account(t, Config{}, AccountConfig{BaseURL: base}).Do(t.Context(), Request{Method: "POST", Path: "x"})
		if e, ok := errors.AsType[*Error](err); !ok || e.Kind != Cut || !e.Sent {
			t.Errorf("%.15q: %v", text, err)
		}
	}
}

// A kept connection that died meanwhile is noticed before it is used.
func TestPlainLeavesDeadConnections(t *testing.T) {
	t.Parallel()
	for name, second := range map[string]string{"the service ended it": "end", "the service complained": "HTTP/1.1 408 Request Timeout\r\n\r\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			told := make(chan struct{})
			var made atomic.Int32
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if made.Add(1) > 1 {
					io.WriteString(w, "ok")
					return
				}
				c, _, _ := w.(http.Hijacker).Hijack()
				io.WriteString(c, okay)
				<-told
				if second != "end" {
					io.WriteString(c, second)
					<-r.Context().Done()
				}
				c.Close()
			}))
			t.Cleanup(s.Close)
			a := account(t, Config{}, AccountConfig{BaseURL: s.URL})
			if _, body, err := say(t, a, Request{Path: "x"}); body != "ok" || err != nil {
				t.Fatalf("got %q, %v", body, err)
			}
			c := waiting(t, a)
			close(told)
			for socket.Quiet(c) {
				time.Sleep(time.Millisecond)
			}
			if _, body, err := say(t, a, Request{Path: "x"}); body != "ok" || err != nil {
				t.Errorf("got %q, %v, want an answer over a fresh connection", body, err)
			}
		})
	}
}

// What cannot have reached the service, or does no more when it comes twice, is
// sent again, once; all else is not.
func TestPlainSendsAgain(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		req   Request
		first []string // what the first connection says
		broke bool     // nothing can be written to it any more
		again bool
	}{
		{name: "nothing was written", req: Request{Body: []byte("x")}, first: []string{okay}, broke: true, again: true},
		{name: "a POST", req: Request{Body: []byte("x")}, first: []string{okay, ""}},
		{name: "a GET", req: Request{Method: "GET"}, first: []string{okay, ""}, again: true},
		{name: "a POST with a key", req: Request{Body: []byte("x"), Header: http.Header{"Idempotency-Key": {"1"}}}, first: []string{okay, ""}, again: true},
		{name: "a GET with half an answer", req: Request{Method: "GET"}, first: []string{okay, "HTTP/1.1 200"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			base, made := scripted(t, tt.first, []string{okay, okay})
			a := account(t, Config{}, AccountConfig{BaseURL: base})
			if _, _, err := say(t, a, tt.req); err != nil {
				t.Fatal(err)
			}
			if c := waiting(t, a); tt.broke {
				c.(interface{ CloseWrite() error }).CloseWrite()
			}
			_, _, err := say(t, a, tt.req)
			if tt.again && err != nil {
				t.Errorf("Do = %v, want an answer", err)
			}
			if e, ok := err.(*Error); !tt.again && (!ok || e.Kind != Cut || !e.Sent) {
				t.Errorf("Do = %v, want it cut after it was sent", err)
			}
			if again := made.Load() == 2; again != tt.again {
				t.Errorf("%d connections, want a second one: %t", made.Load(), tt.again)
			}
		})
	}
}

// A service that answers before it has read a large request is heard, and its
// connection is not used again.
func TestPlainHearsEarlyAnswers(t *testing.T) {
	t.Parallel()
	var made atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		made.Add(1)
		c, rw, _ := w.(http.Hijacker).Hijack()
		t.Cleanup(func() { c.Close() })
		rw.WriteString("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
		rw.Flush()
	}))
	t.Cleanup(s.Close)
	a := account(t, Config{}, AccountConfig{BaseURL: s.URL})
	large := make([]byte, 24<<20) // more than sockets hold
	for range 2 {
		if status, body, err := say(t, a, Request{Path: "x", Body: large}); status != 413 || body != "no" || err != nil {
			t.Errorf("got %d %q, %v, want 413", status, body, err)
		}
	}
	if made.Load() != 2 {
		t.Errorf("%d connections, want two", made.Load())
	}
}

func TestPlainLargeBodies(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Write(body)
	})
	a := account(t, Config{}, AccountConfig{BaseURL: s.URL})
	for _, n := range []int{0, 1, joinPieces/3 - 1, joinPieces/3 + 1, 3 << 20} {
		parts := [3][]byte{bytes.Repeat([]byte("a"), n), bytes.Repeat([]byte("b"), n), bytes.Repeat([]byte("c"), n)}
		want := string(bytes.Join(parts[:], nil))
		for range 2 {
			_, got, err := say(t, a, Request{Path: "x", Pieces: parts})
			if got != want || err != nil {
				t.Errorf("3×%d bytes: %d came back, %v", n, len(got), err)
			}
		}
	}
	waiting(t, a)
}

// Many requests at once, some of which are given up, meet their own answers.
func TestPlainMixesNothingUp(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		for _, part := range bytes.SplitAfter(body, []byte(",")) {
			w.Write(part)
			if len(part)%2 == 0 {
				w.(http.Flusher).Flush()
			}
		}
	})
	a := account(t, Config{}, AccountConfig{BaseURL: s.URL})
	var all sync.WaitGroup
	for g := range 16 {
		all.Go(func() {
			for i := range 30 {
				want := strings.Repeat(fmt.Sprintf("%d-%d,", g, i), 1+rand.IntN(500))
				ctx, cancel := context.WithCancel(t.Context())
				given := rand.IntN(4) == 0
				if given {
					time.AfterFunc(time.Duration(rand.IntN(1000))*time.Microsecond, cancel)
				}
				res, err := a.Do(ctx, Request{Path: "x", Body: []byte(want)})
				if err == nil {
					var got []byte
					if rand.IntN(8) == 0 {
						_, err = io.ReadFull(res.Body, make([]byte, 3))
					} else if got, err = io.ReadAll(res.Body); err == nil && string(got) != want {
						t.Errorf("got %.40q, want %.40q", got, want)
					}
					res.Body.Close()
				}
				if err != nil && (!given || KindOf(err) != Canceled) {
					t.Errorf("error %v; given up: %t", err, given)
				}
				cancel()
			}
		})
	}
	all.Wait()
}

func TestPlainWaitsNotForEver(t *testing.T) {
	t.Parallel()
	base, _ := scripted(t, []string{okay, okay})
	a := account(t, Config{}, AccountConfig{BaseURL: base})
	if _, _, err := say(t, a, Request{Path: "x"}); err != nil {
		t.Fatal(err)
	}
	c := waiting(t, a)
	a.plain.sweep()
	waiting(t, a) // not yet
	a.plain.mu.Lock()
	a.plain.idle[0].since = time.Now().Add(-idleTime)
	a.plain.mu.Unlock()
	a.plain.sweep()
	if _, err := c.Write([]byte("x")); err == nil || a.plain.take() != nil {
		t.Errorf("a connection that waited too long: write %v, want it closed", err)
	}
}

// Requests under way when an account is closed go on, and leave nothing.
func TestPlainClose(t *testing.T) {
	t.Parallel()
	base, _ := scripted(t, []string{okay, okay})
	a := account(t, Config{}, AccountConfig{BaseURL: base})
	res, err := a.Do(t.Context(), Request{Path: "x"})
	if err != nil {
		t.Fatal(err)
	}
	a.Close()
	if body, err := io.ReadAll(res.Body); string(body) != "ok" || err != nil {
		t.Errorf("got %q, %v", body, err)
	}
	res.Body.Close()
	if a.plain.take() != nil {
		t.Error("a connection waits at a closed account")
	}
}

// A name that a translator wrote in two ways is one header.
func TestPlainSendsEachNameOnce(t *testing.T) {
	t.Parallel()
	seen := make(chan http.Header, 1)
	s := serve(t, func(w http.ResponseWriter, r *http.Request) { seen <- r.Header })
	a := account(t, Config{}, AccountConfig{BaseURL: s.URL})
	for range 20 { // whatever the order in which a map is walked
		res, err := a.Do(t.Context(), Request{Path: "x", Header: http.Header{"x-kept": {"1"}, "X-Kept": {"1"}, "X-KEPT": {"1"}, "X-Other": {"2", "3"}}})
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if h := <-seen; len(h["X-Kept"]) != 1 || len(h["X-Other"]) != 2 {
			t.Fatalf("sent %v, want X-Kept once and X-Other twice", h)
		}
	}
}

// sink is a connection that keeps what is written.
type sink struct {
	net.Conn
	bytes.Buffer
}

func (s *sink) Write(p []byte) (int, error) { return s.Buffer.Write(p) }
func (s *sink) Read(p []byte) (int, error)  { return s.Buffer.Read(p) }
func (s *sink) Close() error                { return nil }

// Whatever a caller asks for is read by a service as one request: this one.
func FuzzPlainSend(f *testing.F) {
	f.Add("POST", "messages", "a=b", "X-Kept", "value", "body")
	f.Add("GET", "v1/models/a%2Fb:x", "", "x-two", "a, b", "")
	f.Add("PUT", "a b", "q=%20", "Host", "elsewhere", "\r\n\r\n")
	f.Add("HEAD", "x\r\nX: y", "a\nb", "X-Y\r\nZ", "1\r\nX-Z: 2", "GET / HTTP/1.1\r\n\r\n")
	e, err := New(Config{})
	if err != nil {
		f.Fatal(err)
	}
	a, err := e.Account(AccountConfig{Name: "p", BaseURL: "http://example.com/base", Credential: Credential{Scheme: SchemeBearer}, Key: secret.Of("sk-0123456789")})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, method, path, query, name, value, body string) {
		r := Request{Method: method, Path: path, Query: query, Header: http.Header{name: {value}}, Pieces: [3][]byte{nil, []byte(body)}}
		req, err := a.request(&r)
		if err != nil {
			return
		}
		if req, err = a.attach(req, "sk-0123456789"); err != nil {
			t.Fatal(err)
		}
		out := new(sink)
		if err := newLine(out).send(a.plain.host, &req, r.pieces()); err != nil {
			t.Fatal(err)
		}
		whole := out.String()
		in := bufio.NewReader(&out.Buffer)
		got, err := http.ReadRequest(in)
		if err != nil {
			t.Fatalf("%q: %v", whole, err)
		}
		said, err := io.ReadAll(got.Body)
		rest, _ := io.ReadAll(in)
		want, _ := url.ParseRequestURI(req.url.RequestURI())
		if err != nil || string(said) != body || len(rest) > 0 || got.Host != "example.com" || got.Method != req.method || got.URL.String() != want.String() ||
			got.Header.Get("Authorization") != "Bearer sk-0123456789" {
			t.Fatalf("%q is read as %s %s at %s with %q, and %q behind it, %v", whole, got.Method, got.URL, got.Host, said, rest, err)
		}
		if n := got.Header.Get("Content-Length"); n != "" && n != strconv.Itoa(len(body)) {
			t.Errorf("Content-Length %s of %d bytes", n, len(body))
		}
		got.Header.Del("Content-Length")
		meant := req.http().Header
		for k, vs := range got.Header {
			if len(meant[k]) != len(vs) || strings.TrimSpace(meant[k][0]) != strings.TrimSpace(vs[0]) {
				t.Errorf("header %s is read as %q, want %q", k, vs, meant[k])
			}
		}
	})
}
