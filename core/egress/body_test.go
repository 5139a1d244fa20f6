package egress

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-gateway/sallyport/core/secret"
)

func TestBodyEnds(t *testing.T) {
	t.Parallel()
	zeros := make([]byte, 4<<20)
	tests := []struct {
		name    string
		handler http.HandlerFunc
		max     int64
		want    int  // bytes read
		kind    Kind // "" for io.EOF
		limits  Timeouts
	}{
		{name: "whole", want: 5, handler: func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") }},
		{name: "exactly the bound", want: 5, max: 5, handler: func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") }},
		{name: "over the bound", want: 4, max: 4, kind: TooLarge, handler: func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") }},
		{name: "gzip", want: 5, handler: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			io.WriteString(z, "hello")
			z.Close()
		}},
		{name: "deflate", want: 5, handler: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "deflate")
			z := zlib.NewWriter(w)
			io.WriteString(z, "hello")
			z.Close()
		}},
		{name: "gzip bomb", want: 1 << 20, max: 1 << 20, kind: TooLarge, handler: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			z.Write(zeros)
			z.Close()
		}},
		{name: "not gzip at all", kind: Encoding, handler: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			io.WriteString(w, "hello, this is no gzip at all")
		}},
		{name: "damaged gzip", want: 5, kind: Encoding, handler: func(w http.ResponseWriter, r *http.Request) {
			var b bytes.Buffer
			z := gzip.NewWriter(&b)
			io.WriteString(z, "hello")
			z.Close()
			b.Bytes()[b.Len()-6] ^= 0xff // in the checksum
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(b.Bytes())
		}},
		{name: "cut", want: 5, kind: Cut, handler: func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "hello")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}},
		{name: "cut before the announced length", want: 5, kind: Cut, handler: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "10")
			io.WriteString(w, "hello")
		}},
		{name: "hang after the head", limits: Timeouts{FirstByte: 200 * time.Millisecond}, kind: FirstByte, handler: func(w http.ResponseWriter, r *http.Request) {
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}},
		{name: "hang", limits: Timeouts{Idle: 200 * time.Millisecond}, want: 5, kind: Idle, handler: func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "hello")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, tt.handler)
			a := account(t, Config{}, AccountConfig{BaseURL: s.URL, MaxBody: tt.max, Timeouts: tt.limits})
			res, err := a.Do(t.Context(), Request{Path: "x"})
			if err != nil {
				t.Fatalf("Do: %v", err)
			}
			defer res.Body.Close()
			body, err := io.ReadAll(res.Body)
			if len(body) != tt.want || KindOf(err) != tt.kind {
				t.Errorf("read %d bytes, %v of kind %q; want %d and kind %q", len(body), err, KindOf(err), tt.want, tt.kind)
			}
			if _, again := res.Body.Read(make([]byte, 1)); err != nil && !errors.Is(again, err) {
				t.Errorf("a further Read gives %v, want the same error again", again)
			}
		})
	}
}

func TestStreamMayBeLonger(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Accept-Encoding"); got != "identity" {
			t.Errorf("Accept-Encoding = %q, want identity for a stream", got)
		}
		w.Write(make([]byte, 100))
	})
	for bound, kind := range map[int64]Kind{13: "", 12: TooLarge} { // eight times as much: 104, 96
		a := account(t, Config{}, AccountConfig{BaseURL: s.URL, MaxBody: bound})
		res, err := a.Do(t.Context(), Request{Path: "x", Stream: true})
		if err != nil {
			t.Fatalf("Do: %v", err)
		}
		if _, err := io.Copy(io.Discard, res.Body); KindOf(err) != kind {
			t.Errorf("bound %d: error = %v of kind %q, want %q", bound, err, KindOf(err), kind)
		}
		res.Body.Close()
	}
}

// A model that writes slowly is not idle: the bound is on each silence.
func TestBodyDripIsNotIdle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := &Account{name: "acct", firstByte: time.Minute, idle: time.Minute, maxBody: 1 << 20, key: newKeyring(secret.Value{})}
		r, w := io.Pipe()
		b := a.await(t.Context())
		b.ending.covers(r)
		b.answered()
		if err := b.open(&http.Response{Header: http.Header{}, Body: r}, time.Minute); err != nil {
			t.Fatal(err)
		}
		go func() {
			for range 100 {
				time.Sleep(59 * time.Second)
				if _, err := w.Write([]byte("x")); err != nil {
					return
				}
			}
		}()
		begin := time.Now()
		got, err := io.ReadAll(b)
		if len(got) != 100 || KindOf(err) != Idle {
			t.Errorf("read %d bytes, %v; want 100 and an idle timeout", len(got), err)
		}
		if took := time.Since(begin); took != 101*time.Minute-100*time.Second {
			t.Errorf("took %s, want 100 × 59 s and then one minute", took)
		}
		b.Close()
		synctest.Wait()
	})
}

// Time that the consumer takes is not the service's silence.
func TestBodySlowConsumerIsNotIdle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := &Account{name: "acct", firstByte: time.Second, idle: time.Second, maxBody: 1 << 20, key: newKeyring(secret.Value{})}
		b := a.await(t.Context())
		b.answered()
		if err := b.open(&http.Response{Header: http.Header{}, Body: io.NopCloser(bytes.NewReader([]byte("abc")))}, time.Second); err != nil {
			t.Fatal(err)
		}
		var got []byte
		for p := make([]byte, 1); ; time.Sleep(time.Hour) {
			n, err := b.Read(p)
			got = append(got, p[:n]...)
			if err != nil {
				if err != io.EOF {
					t.Errorf("Read = %v, want io.EOF", err)
				}
				break
			}
		}
		if string(got) != "abc" || b.ended() != nil {
			t.Errorf("read %q, ended for %v; want abc and no end", got, b.ended())
		}
		b.Close()
	})
}

func TestFinishKeepsTheConnection(t *testing.T) {
	t.Parallel()
	from := map[string]int{}
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		from[r.RemoteAddr]++
		fmt.Fprintf(w, "data and a rest")
	})
	a := account(t, Config{}, AccountConfig{BaseURL: s.URL})
	for range 2 {
		res, err := a.Do(t.Context(), Request{Path: "x"})
		if err != nil {
			t.Fatalf("Do: %v", err)
		}
		if _, err := io.ReadFull(res.Body, make([]byte, 4)); err != nil {
			t.Fatalf("Read: %v", err)
		}
		res.Body.Finish()
	}
	if len(from) != 1 {
		t.Errorf("requests by connection = %v, want both on one", from)
	}
}

func TestHTTP2AndCertificates(t *testing.T) {
	t.Parallel()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto) }))
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())

	a := account(t, Config{RootCAs: roots}, AccountConfig{BaseURL: s.URL})
	res, err := a.Do(t.Context(), Request{Path: "x"})
	if err != nil {
		t.Fatalf("Do: %v", err)
	}
	defer res.Body.Close()
	if got, err := io.ReadAll(res.Body); string(got) != "HTTP/2.0" {
		t.Errorf("protocol = %q, %v, want HTTP/2.0", got, err)
	}

	strict := account(t, Config{}, AccountConfig{BaseURL: s.URL})
	if _, err := strict.Do(t.Context(), Request{Path: "x"}); KindOf(err) != Connect {
		t.Errorf("Do with an unknown certificate = %v, want kind connect", err)
	}
}
