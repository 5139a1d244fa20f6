package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/sallyport-gateway/sallyport/core/access"
	"github.com/sallyport-gateway/sallyport/core/pluginhost"
	"github.com/sallyport-gateway/sallyport/core/sqlapi"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// ControlSocket is the name, below the data directory, of the socket by which
// commands reach a running gateway. Only processes of the gateway's own user
// are answered.
const ControlSocket = "control.sock"

// maxSocketPath is the most letters a unix socket's path may have (sun_path,
// the smaller of Linux and macOS).
const maxSocketPath = 103

// TokenRequest asks for a token.
type TokenRequest struct {
	Principal string        `json:"principal"`
	Comment   string        `json:"comment,omitempty"`
	Lifetime  time.Duration `json:"lifetime,omitempty"` // 0 means access.DefaultLifetime; negative means for ever
	Scopes    []string      `json:"scopes,omitempty"`   // none means all
}

// Tokens is what `sallyport token` needs: a running gateway's control socket,
// or the access service over the store when none runs.
type Tokens interface {
	CreateToken(ctx context.Context, r TokenRequest) (secret string, t access.TokenInfo, err error)
	ListTokens(ctx context.Context) ([]access.TokenInfo, error)
	RevokeToken(ctx context.Context, id string) error
}

// ServeControl answers on the control socket until ctx ends.
func (g *Gateway) ServeControl(ctx context.Context) error {
	path := filepath.Join(g.cfg.Data.Dir, ControlSocket)
	if len(path) > maxSocketPath {
		g.log.Warn("the path of the data directory is too long for a control socket; commands use the state database directly", "path", path)
		return nil
	}
	if c, err := net.Dial("unix", path); err == nil {
		c.Close()
		return fmt.Errorf("another gateway uses the data directory %s", g.cfg.Data.Dir)
	}
	os.Remove(path) // left by a gateway that was killed
	l, err := net.Listen("unix", path)
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return fmt.Errorf("control socket: %w", err)
	}
	srv := &http.Server{Handler: g.control(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, ConnContext: withPeer}
	go func() { // ends with srv, which ends with ctx
		<-ctx.Done()
		srv.Close()
	}()
	go srv.Serve(l)
	return nil
}

func (g *Gateway) control() http.Handler {
	mux := http.NewServeMux()
	direct := Direct(g.access)
	mux.HandleFunc("POST /tokens", func(w http.ResponseWriter, r *http.Request) {
		var q TokenRequest
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10)).Decode(&q); err != nil {
			answer(w, nil, apierror.New(apierror.Invalid, "bad request: %v", err))
			return
		}
		secret, t, err := direct.CreateToken(r.Context(), q)
		answer(w, created{secret, t}, err)
	})
	mux.HandleFunc("GET /tokens", func(w http.ResponseWriter, r *http.Request) {
		ts, err := direct.ListTokens(r.Context())
		answer(w, ts, err)
	})
	mux.HandleFunc("DELETE /tokens/{id}", func(w http.ResponseWriter, r *http.Request) {
		answer(w, struct{}{}, direct.RevokeToken(r.Context(), r.PathValue("id")))
	})
	mux.HandleFunc("POST /sql", func(w http.ResponseWriter, r *http.Request) {
		var s sqlapi.Statement
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&s); err != nil {
			answer(w, nil, apierror.New(apierror.Invalid, "bad request: %v", err))
			return
		}
		unhurried(w)
		reply, err := g.SQL(r.Context(), s)
		answer(w, reply, err)
	})
	mux.HandleFunc("GET /tables", func(w http.ResponseWriter, r *http.Request) {
		unhurried(w)
		infos, err := g.Tables(r.Context())
		answer(w, infos, told(err))
	})
	mux.HandleFunc("POST /tables/flush", func(w http.ResponseWriter, r *http.Request) {
		unhurried(w)
		answer(w, struct{}{}, told(g.FlushTables(r.Context())))
	})
	mux.HandleFunc("GET /url", func(w http.ResponseWriter, _ *http.Request) {
		gen, err := g.use()
		if err != nil {
			answer(w, nil, err)
			return
		}
		defer gen.leave()
		answer(w, gen.state.PublicURL, nil)
	})
	mux.HandleFunc("GET /problems", func(w http.ResponseWriter, _ *http.Request) { answer(w, g.health().Problems, nil) })
	mux.HandleFunc("POST /reload", func(w http.ResponseWriter, r *http.Request) {
		unhurried(w)
		done, err := g.Reload(r.Context())
		answer(w, done, told(err))
	})
	mux.HandleFunc("POST /backup", g.serveBackup)
	mux.HandleFunc("GET /plugins", func(w http.ResponseWriter, _ *http.Request) { answer(w, g.Plugins(), nil) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if uid, ok := peerUID(r.Context()); !ok || uid != os.Getuid() {
			answer(w, nil, apierror.New(apierror.Denied, "only the user who runs the gateway may use its control socket"))
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// unhurried takes the time limit on reading a request, which was read, from a
// handler that may need longer: net/http would end its context by it.
func unhurried(w http.ResponseWriter) { http.NewResponseController(w).SetReadDeadline(time.Time{}) }

// told is err with its whole text, which may name paths: who asks is the user
// who runs the gateway.
func told(err error) error {
	if _, ok := errors.AsType[*apierror.Error](err); err == nil || ok {
		return err
	}
	return apierror.Wrap(apierror.Unavailable, err, "%v", err)
}

type created struct {
	Secret string           `json:"secret"`
	Token  access.TokenInfo `json:"token"`
}

func answer(w http.ResponseWriter, v any, err error) {
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		v = apierror.From(err)
	}
	json.NewEncoder(w).Encode(v)
}

// Direct works on the store itself.
func Direct(s *access.Service) Tokens { return direct{s} }

type direct struct{ s *access.Service }

func (d direct) CreateToken(ctx context.Context, r TokenRequest) (string, access.TokenInfo, error) {
	return d.s.CreateToken(ctx, access.NewToken(r))
}
func (d direct) ListTokens(ctx context.Context) ([]access.TokenInfo, error) {
	return d.s.ListTokens(ctx, "")
}
func (d direct) RevokeToken(ctx context.Context, id string) error { return d.s.RevokeToken(ctx, id) }

// Control reaches the gateway that runs over the data directory dir. It
// returns an error when none runs there.
func Control(dir string) (*Running, error) {
	path := filepath.Join(dir, ControlSocket)
	c, err := net.Dial("unix", path)
	if err != nil {
		return nil, err
	}
	c.Close()
	return &Running{&http.Client{Timeout: sqlapi.Wall + 30*time.Second, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
	}}}, nil
}

// Running is a gateway that runs in another process of this user.
type Running struct{ c *http.Client }

var _ Tokens = (*Running)(nil)

// Plugins describes its plugins and their processes.
func (m *Running) Plugins(ctx context.Context) ([]pluginhost.Info, error) {
	var v []pluginhost.Info
	return v, m.do(ctx, "GET", "/plugins", nil, &v)
}

// CreateToken makes a token.
func (m *Running) CreateToken(ctx context.Context, r TokenRequest) (string, access.TokenInfo, error) {
	var v created
	err := m.do(ctx, "POST", "/tokens", r, &v)
	return v.Secret, v.Token, err
}

// ListTokens lists all tokens.
func (m *Running) ListTokens(ctx context.Context) ([]access.TokenInfo, error) {
	var v []access.TokenInfo
	return v, m.do(ctx, "GET", "/tokens", nil, &v)
}

// RevokeToken ends a token.
func (m *Running) RevokeToken(ctx context.Context, id string) error {
	if id == "" {
		return errors.New("which token? give the id that `sallyport token list` shows")
	}
	return m.do(ctx, "DELETE", "/tokens/"+id, nil, &struct{}{})
}

// URL is how clients reach the running gateway.
func (m *Running) URL(ctx context.Context) (string, error) {
	var url string
	err := m.do(ctx, "GET", "/url", nil, &url)
	return url, err
}

// Problems has a sentence for each thing that makes GET /health say that the
// running gateway is degraded or failing.
func (m *Running) Problems(ctx context.Context) ([]string, error) {
	var v []string
	return v, m.do(ctx, "GET", "/problems", nil, &v)
}

// Reload has the running gateway read its configuration again.
func (m *Running) Reload(ctx context.Context) (Reloaded, error) {
	var done Reloaded
	err := m.do(ctx, "POST", "/reload", nil, &done)
	return done, err
}

func (m *Running) do(ctx context.Context, method, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://gateway"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := m.c.Do(req)
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		e := new(apierror.Error)
		if err := json.NewDecoder(resp.Body).Decode(e); err != nil {
			return fmt.Errorf("control socket: status %d", resp.StatusCode)
		}
		return e
	}
	return json.NewDecoder(resp.Body).Decode(out)
}
