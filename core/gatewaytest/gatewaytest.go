// Package gatewaytest runs a real gateway on a free port: the real
// configuration reader, the real plugin processes, the real HTTP surface. It
// runs in the test's process, or, as a Process that can be killed, in its own.
// Only the model providers behind it are scripted.
package gatewaytest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/core/config"
	"github.com/sallyport-gateway/sallyport/core/gateway"
)

// Gateway is a running gateway.
type Gateway struct {
	*gateway.Gateway
	URL string
	t   testing.TB
	log *syncBuffer
}

// Start runs the gateway that the configuration text describes until the test
// ends. Relative paths of the text resolve against dir. The listening address
// is always a free port of 127.0.0.1; the plugins are the bundled ones and
// those in the directories plugins.
func Start(t testing.TB, text, dir string, plugins ...string) *Gateway {
	t.Helper()
	cfg, err := config.Parse([]byte(text), dir)
	if err != nil {
		t.Fatalf("config: %v", err)
	}
	return StartConfig(t, cfg, plugins...)
}

// StartConfig is Start for a configuration that was read already.
func StartConfig(t testing.TB, cfg *config.Config, plugins ...string) *Gateway {
	t.Helper()
	cfg.Listen.Address = "127.0.0.1:0"
	cfg.Plugins = append([]string{Plugins(t)}, plugins...)
	cfg.Launcher, cfg.Worker = Launcher(t), Program(t)
	log := &syncBuffer{}
	g, err := gateway.New(t.Context(), cfg, "test", slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		t.Fatalf("gateway: %v", err)
	}
	l, err := gateway.Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- g.Serve(ctx, l) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("serve: %v", err)
		}
		if err := g.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if t.Failed() {
			t.Logf("the gateway's log:\n%s", log.String())
		}
	})
	return &Gateway{Gateway: g, URL: "http://" + l.Addr().String(), t: t, log: log}
}

// Log is everything the gateway has logged so far.
func (g *Gateway) Log() string { return g.log.String() }

// Token makes a token for a principal of the configuration.
func (g *Gateway) Token(principal string, scopes ...string) string {
	g.t.Helper()
	token, _, err := gateway.Direct(g.Access()).CreateToken(g.t.Context(), gateway.TokenRequest{Principal: principal, Scopes: scopes})
	if err != nil {
		g.t.Fatalf("token for %s: %v", principal, err)
	}
	return token
}

// Post sends body (JSON text, or a value to encode) and returns the status and
// the whole reply.
func (g *Gateway) Post(token, path string, body any, header ...string) (int, http.Header, []byte) {
	g.t.Helper()
	var r io.Reader
	switch b := body.(type) {
	case string:
		r = strings.NewReader(b)
	case []byte:
		r = bytes.NewReader(b)
	default:
		j, err := json.Marshal(b)
		if err != nil {
			g.t.Fatal(err)
		}
		r = bytes.NewReader(j)
	}
	req, err := http.NewRequestWithContext(g.t.Context(), http.MethodPost, g.URL+path, r)
	if err != nil {
		g.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		g.t.Fatalf("POST %s: %v", path, err)
	}
	defer resp.Body.Close()
	reply, err := io.ReadAll(resp.Body)
	if err != nil {
		g.t.Fatalf("POST %s: %v", path, err)
	}
	return resp.StatusCode, resp.Header, reply
}

// Root is the project's top directory.
func Root(t testing.TB) string {
	t.Helper()
	_, file, _, ok := runtime.Caller(0)
	if !ok || !filepath.IsAbs(file) { // built with -trimpath
		dir, err := os.Getwd()
		if err != nil {
			t.Fatal(err)
		}
		for ; ; dir = filepath.Dir(dir) {
			if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
				return dir
			}
			if dir == filepath.Dir(dir) {
				t.Fatal("no go.mod above the test's directory")
			}
		}
	}
	return filepath.Join(filepath.Dir(file), "..", "..")
}

var build struct {
	sync.Once
	err error
	out []byte
}

// Plugins is the directory of the bundled plugins, built if need be. `make
// test` builds them first and says so in SALLYPORT_BUILT.
func Plugins(t testing.TB) string {
	t.Helper()
	root := Root(t)
	if os.Getenv("SALLYPORT_BUILT") == "" {
		build.Do(func() {
			cmd := exec.Command("make", "-s", "build")
			cmd.Dir = root
			build.out, build.err = cmd.CombinedOutput()
		})
		if build.err != nil {
			t.Fatalf("make build: %v\n%s", build.err, build.out)
		}
	}
	return filepath.Join(root, "bin", "plugins")
}

// Launcher is the program that confines plugins, built if need be.
func Launcher(t testing.TB) string { return filepath.Join(bin(t), "sallyport-confine") }

// bin is where the programs are: bin, or a directory of one's own with a build
// of sallyport and sallyport-confine, named by SALLYPORT_BIN.
func bin(t testing.TB) string {
	if dir := os.Getenv("SALLYPORT_BIN"); dir != "" {
		return dir
	}
	return filepath.Dir(Plugins(t))
}

// AddPlugin adds a plugin, a program or a directory, to the plugins directory
// dir, as an operator would.
func AddPlugin(t testing.TB, dir, plugin string) {
	t.Helper()
	program := filepath.Join(filepath.Dir(Plugins(t)), "sallyport")
	out, err := exec.CommandContext(t.Context(), program, "plugin", "add", "--yes", "--to", dir, plugin).CombinedOutput()
	if err != nil {
		t.Fatalf("sallyport plugin add %s: %v\n%s", plugin, err, out)
	}
}

// Eventually waits until ok holds, and fails the test if it does not within
// limit.
func Eventually(t testing.TB, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); ; time.Sleep(10 * time.Millisecond) {
		if ok() {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("waited %v: %s", limit, what)
		}
	}
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
