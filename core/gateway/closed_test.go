package gateway_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/config"
	"github.com/sallyport-gateway/sallyport/core/gateway"
	"github.com/sallyport-gateway/sallyport/core/gatewaytest"
	"github.com/sallyport-gateway/sallyport/core/sqlapi"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// fresh builds a gateway that nobody serves yet.
func fresh(t *testing.T, cfg *config.Config) *gateway.Gateway {
	t.Helper()
	g, err := gateway.New(t.Context(), cfg, "test", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// A gateway that is closed answers everything with an error that says so.
func TestClosedGatewayAnswers(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	cfg := reloadable(t, dir, "", mayAll)
	g := fresh(t, cfg)
	g.Load = func() (*config.Config, error) { return reloadable(t, dir, "", mayAll), nil }
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	if err := g.ServeControl(ctx); err != nil {
		t.Fatal(err)
	}
	control, err := gateway.Control(cfg.Data.Dir)
	if err != nil {
		t.Fatal(err)
	}
	l, err := gateway.Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + l.Addr().String()
	served := make(chan error, 1)
	go func() { served <- g.Serve(ctx, l) }()
	gatewaytest.Eventually(t, waitLong, "the gateway to serve", func() bool {
		resp, err := http.Get(url + "/health")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	if err := g.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	closed := func(what string, err error) {
		t.Helper()
		if apierror.CodeOf(err) != apierror.Unavailable || !strings.Contains(err.Error(), "told to end") {
			t.Errorf("%s of a closed gateway: %v", what, err)
		}
	}
	_, err = g.Apply(t.Context(), cfg)
	closed("Apply", err)
	_, err = g.Reload(t.Context())
	closed("Reload", err)
	_, err = g.SQL(t.Context(), sqlapi.Statement{Statement: "SELECT 1"})
	closed("SQL", err)
	_, err = control.Reload(t.Context())
	closed("reload over the control socket", err)
	_, err = control.URL(t.Context())
	closed("the URL", err)
	if n := len(g.Routes()); n == 0 {
		t.Error("a closed gateway has no routes at all")
	}
	for _, path := range []string{"/health", "/mlflow/v1/models", "/no/such/path"} {
		resp, err := http.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("GET %s of a closed gateway: status %d, want 503", path, resp.StatusCode)
		}
	}
	stop()
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
	l, err = gateway.Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	closed("Serve", g.Serve(t.Context(), l))
	if err := g.Close(); err != nil {
		t.Errorf("Close once more: %v", err)
	}
}

// A gateway can be closed while a configuration is being applied: that one is
// in force first, or is refused, and Close returns.
func TestCloseWhileApplying(t *testing.T) {
	t.Parallel()
	for range 3 {
		dir := shortDir(t)
		g := fresh(t, reloadable(t, dir, "", mayAll))
		applied := make(chan struct{}, 8)
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				for {
					_, err := g.Apply(t.Context(), reloadable(t, dir, second, mayAll))
					if apierror.CodeOf(err) == apierror.Unavailable {
						return
					}
					if err != nil {
						t.Errorf("Apply: %v", err)
						return
					}
					select {
					case applied <- struct{}{}:
					default:
					}
				}
			})
		}
		<-applied
		if err := g.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		wg.Wait()
	}
}

// untouched is a listener that nobody may accept from.
type untouched struct {
	net.Listener
	t *testing.T
}

func (u untouched) Accept() (net.Conn, error) {
	u.t.Error("the first address answers although another cannot")
	return nil, errors.New("not to be accepted from")
}

// Nothing is answered anywhere when one address cannot be served.
func TestServeOpensAllOrNothing(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { taken.Close() }) // after the subtests
	missing := config.TLS{Cert: "/no/such/cert.pem", Key: "/no/such/key.pem"}
	for name, tt := range map[string]struct {
		change func(*config.Config)
		want   string
	}{
		"a certificate that is not there": {func(c *config.Config) {
			c.Listeners = []config.Listener{{Address: "127.0.0.1:0", Surfaces: []string{"cursor"}, TLS: missing}}
		}, "/no/such/cert.pem"},
		"an address that is taken": {func(c *config.Config) {
			c.Listeners = []config.Listener{{Address: "127.0.0.1:0", Surfaces: []string{"cursor"}}, {Address: taken.Addr().String(), Surfaces: []string{"cursor"}}}
		}, taken.Addr().String()},
		"metrics where something else is": {func(c *config.Config) { c.Metrics = taken.Addr().String() }, "metrics"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := reloadable(t, shortDir(t), "", mayAll)
			tt.change(cfg)
			g := fresh(t, cfg)
			defer g.Close()
			l, err := gateway.Listen(cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			if err := g.Serve(t.Context(), untouched{l, t}); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Serve: %v, want an error with %q", err, tt.want)
			}
		})
	}
}
