package httpapi

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// serve gives one request to h, in process.
func serve(h http.Handler, method, path, token, body string) (int, string) {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	h.ServeHTTP(deadlines{w}, r)
	return w.Code, w.Body.String()
}

// deadlines is a recorder that takes deadlines, as a server's writer does.
type deadlines struct{ *httptest.ResponseRecorder }

func (deadlines) SetWriteDeadline(time.Time) error { return nil }
func (deadlines) SetReadDeadline(time.Time) error  { return nil }

// certificate is one for 127.0.0.1, and who trusts it.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// listen serves w on a listener of its own and returns its address.
func (w *surfaceWorld) listen(cert *tls.Certificate, surfaces ...string) string {
	w.t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	srv, l := w.api.Server(context.WithoutCancel(w.t.Context()), tcp, surfaces...)
	go func() {
		if cert == nil {
			srv.Serve(l)
			return
		}
		srv.TLSConfig = &tls.Config{Certificates: []tls.Certificate{*cert}}
		srv.ServeTLS(l, "", "")
	}()
	w.t.Cleanup(func() { srv.Close() })
	return tcp.Addr().String()
}

// Every way to speak HTTP that a client may choose gives the same stream.
func TestProtocols(t *testing.T) {
	t.Parallel()
	w := newSurfaceWorld(t, nil)
	cert, pool := certificate(t)
	plain, secure := w.listen(nil), w.listen(&cert)
	tests := []struct {
		name, url string
		http2     bool
		proto     string
	}{
		{"HTTP/1.1", "http://" + plain, false, "HTTP/1.1"},
		{"HTTP/2 with prior knowledge", "http://" + plain, true, "HTTP/2.0"},
		{"HTTP/1.1 under TLS", "https://" + secure, false, "HTTP/1.1"},
		{"HTTP/2 by ALPN", "https://" + secure, true, "HTTP/2.0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, Protocols: &http.Protocols{}}
			tr.Protocols.SetHTTP1(!tt.http2)
			tr.Protocols.SetHTTP2(tt.http2)
			tr.Protocols.SetUnencryptedHTTP2(tt.http2)
			defer tr.CloseIdleConnections()
			call := func(token, body string) (*http.Response, string) {
				t.Helper()
				req, err := http.NewRequestWithContext(t.Context(), "POST", tt.url+"/anthropic/v1/messages", strings.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("X-Api-Key", token)
				resp, err := tr.RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				b, err := io.ReadAll(resp.Body)
				if err != nil {
					t.Fatal(err)
				}
				return resp, string(b)
			}
			resp, body := call(w.alice, `{"model":"databricks-gpt","stream":true,"pad":"`+strings.Repeat("x", 300_000)+`"}`)
			if resp.Proto != tt.proto || resp.StatusCode != 200 || !strings.HasSuffix(body, "event: end\ndata: {}\n\n") {
				t.Errorf("got %s %d %s", resp.Proto, resp.StatusCode, body)
			}
			// A refusal before the body is read leaves an HTTP/2 connection open.
			for range 3 {
				if resp, body := call("dapi-wrong", strings.Repeat("x", 100_000)); resp.StatusCode != 401 || !strings.Contains(body, "authentication_error") {
					t.Errorf("with a wrong token: got %d %s", resp.StatusCode, body)
				}
			}
			if _, body := call(w.alice, `{"model":"databricks-gpt"}`); !strings.Contains(body, "true") {
				t.Errorf("after refusals: got %s", body)
			}
		})
	}
}

// Headers of some KiB are taken, with underscores in their names too; larger
// ones are refused with a sentence, and the largest in few words.
func TestHeaderSizes(t *testing.T) {
	t.Parallel()
	w := newSurfaceWorld(t, nil)
	at := w.listen(nil)
	tests := []struct {
		size   int
		status int
		want   string
	}{
		{1000, 200, "true"},
		{60_000, 200, "true"},
		{70_000, 431, "this gateway takes 65536. The largest is X-Codex-Turn-Metadata, with 70000 bytes."},
		{200_000, 431, "this gateway takes 65536"},
		{400_000, 431, ""},
	}
	for _, tt := range tests {
		c, err := net.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		body := `{"model":"databricks-gpt"}`
		go fmt.Fprintf(c, "POST /openai/v1/chat/completions HTTP/1.1\r\nHost: x\r\nUser-Agent: codex_exec/0.104.0\r\nx-api-key: %s\r\nsession_id: s-9\r\nx-codex-turn-metadata: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", w.alice, strings.Repeat("m", tt.size), len(body), body)
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Errorf("%d bytes: %v", tt.size, err)
			continue
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != tt.status || !strings.Contains(string(b), tt.want) {
			t.Errorf("%d bytes: got %d %s, %v, want %d %s", tt.size, resp.StatusCode, b, err, tt.status, tt.want)
		}
	}
	rows := w.log.Rows()
	if len(rows) != 2 || rows[0]["session_id"] != "s-9" {
		t.Errorf("got the rows %v", rows)
	}
}
