package gateway_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/core/config"
	"github.com/sallyport-gateway/sallyport/core/gatewaytest"
)

// certify writes a certificate for 127.0.0.1 with the serial number to dir and
// adds it to the pool.
func certify(t *testing.T, dir string, serial int64, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	cert := &x509.Certificate{SerialNumber: big.NewInt(serial), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "cert.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	write(t, filepath.Join(dir, "key.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})))
	if parsed, err := x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	} else {
		pool.AddCert(parsed)
	}
}

var listening = regexp.MustCompile(`msg=listening address=(\S+)`)

// A second listener carries its surface alone, both speak TLS and HTTP/2, and
// a certificate that was renewed is shown after a reload. One that cannot be
// read leaves the old one in use.
func TestSecondListenerAndCertificates(t *testing.T) {
	t.Parallel()
	dir, pool := shortDir(t), x509.NewCertPool()
	certify(t, dir, 1, pool)
	files := config.TLS{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	configured := func() *config.Config {
		cfg := reloadable(t, dir, "", mayAll)
		cfg.Listen.TLS = files
		cfg.Listeners = []config.Listener{{Address: "127.0.0.1:0", TLS: files, Surfaces: []string{"cursor"}}}
		return cfg
	}
	g := gatewaytest.StartConfig(t, configured())
	var second string
	gatewaytest.Eventually(t, waitLong, "the second address", func() bool {
		m := listening.FindStringSubmatch(g.Log())
		if m != nil {
			second = "https://" + m[1]
		}
		return m != nil
	})
	first := "https" + strings.TrimPrefix(g.URL, "http")
	token := g.Token("ann@example.com")

	// ask makes a request on a connection of its own.
	ask := func(method, url string, body any) (status int, text string, serial int64) {
		t.Helper()
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}}
		defer client.CloseIdleConnections()
		b, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		all, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if resp.ProtoMajor != 2 {
			t.Errorf("%s %s was answered in %s, want HTTP/2", method, url, resp.Proto)
		}
		return resp.StatusCode, string(all), resp.TLS.PeerCertificates[0].SerialNumber.Int64()
	}
	chat := object{"model": "first", "messages": []object{{"role": "user", "content": "Hello"}}}
	response := object{"model": "first", "input": "Hello"}
	for _, tt := range []struct {
		method, path    string
		body            object
		first, onSecond int
	}{
		{"GET", "/health", nil, 200, 200},
		{"POST", "/cursor/v1/chat/completions", chat, 200, 200},
		{"POST", "/ai-gateway/cursor/v1/chat/completions", chat, 200, 200},
		{"GET", "/cursor/v1/models", nil, 200, 200},
		{"POST", "/mlflow/v1/responses", response, 200, 404},
		{"GET", "/mlflow/v1/models", nil, 200, 404},
		{"GET", "/me", nil, 200, 404},
		{"POST", "/api/2.0/sallyport/reload", object{}, 403, 404},
		{"POST", "/oidc/v1/token", object{}, 400, 404},
	} {
		for url, want := range map[string]int{first: tt.first, second: tt.onSecond} {
			status, text, serial := ask(tt.method, url+tt.path, tt.body)
			if status != want || serial != 1 {
				t.Errorf("%s %s%s: status %d with certificate %d, want %d with 1: %.300s", tt.method, url, tt.path, status, serial, want, text)
			}
		}
	}
	if t.Failed() {
		return
	}
	shown := func(want int64) {
		t.Helper()
		for _, url := range []string{first, second} {
			if _, _, serial := ask("GET", url+"/health", nil); serial != want {
				t.Errorf("%s shows certificate %d, want %d", url, serial, want)
			}
		}
	}
	certify(t, dir, 2, pool)
	shown(1) // until somebody says so
	if _, err := g.Apply(t.Context(), configured()); err != nil {
		t.Fatal(err)
	}
	shown(2)
	write(t, files.Cert, "no certificate")
	if _, err := g.Apply(t.Context(), configured()); err != nil {
		t.Errorf("a certificate that cannot be read kept a configuration out: %v", err)
	}
	shown(2)
	if !strings.Contains(g.Log(), "the certificate could not be read again; the old one is used") {
		t.Error("the log says nothing of the certificate that could not be read")
	}
}
