// Package gateway builds the gateway from its configuration, top to bottom. It
// is the only place where the parts meet.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport-gateway/sallyport/core/access"
	"github.com/sallyport-gateway/sallyport/core/catalog"
	"github.com/sallyport-gateway/sallyport/core/config"
	"github.com/sallyport-gateway/sallyport/core/egress"
	"github.com/sallyport-gateway/sallyport/core/httpapi"
	"github.com/sallyport-gateway/sallyport/core/pluginhost"
	"github.com/sallyport-gateway/sallyport/core/router"
	"github.com/sallyport-gateway/sallyport/core/store"
	"github.com/sallyport-gateway/sallyport/core/supervisor"
	"github.com/sallyport-gateway/sallyport/core/tables"
	"github.com/sallyport-gateway/sallyport/core/usage"
	"github.com/sallyport-gateway/sallyport/sdk/engine"
)

// Gateway is a built gateway. Serve it once, then Close it.
type Gateway struct {
	cfg     *config.Config
	log     *slog.Logger
	db      *store.DB
	access  *access.Service
	tables  *tables.Set
	usage   *usage.Recorder // nil when calls are not recorded
	plugins *pluginhost.Host
	state   atomic.Pointer[httpapi.State]
	api     *httpapi.API
	version string
	closers []func() // of the state, in the order they were made
	backups sync.Mutex

	problems     func(context.Context) []string // of the catalog's tables
	toolWarnings []string                       // of the configuration's tools
}

// New builds a gateway. It starts no plugin that is not needed and does not
// listen yet. On an error nothing is left running.
func New(ctx context.Context, cfg *config.Config, version string, log *slog.Logger) (_ *Gateway, err error) {
	g := &Gateway{cfg: cfg, log: log, version: version}
	defer func() {
		if err != nil {
			g.Close()
		}
	}()
	if err := openData(cfg.Data.Dir); err != nil {
		return nil, err
	}
	if g.db, err = store.Open(ctx, cfg.Data.State, log); err != nil {
		return nil, err
	}
	if g.access, err = access.New(cfg.Access, g.db, log); err != nil {
		return nil, fmt.Errorf("access: %w", err)
	}
	settings, err := toolSettings(cfg)
	if err != nil {
		return nil, err
	}
	plugins := pluginhost.Config{
		Dirs: cfg.Plugins, Settings: settings, PerUser: perUser(cfg), Dev: cfg.Dev,
		Launcher: cfg.Launcher, Unconfined: cfg.Unconfined == "allow",
		TableDirs: func() []string { return append(cfg.Catalog.Locations(cfg.Dir()), cfg.Data.Tables) },
	}
	granted, err := plugins.Confinement()
	if err != nil {
		return nil, err
	}
	log.Info("confinement", "landlock", granted.Landlock, "seccomp", granted.Seccomp, "no_new_privs", granted.NoNewPrivs)
	for _, gap := range granted.Missing {
		log.Warn("confinement of plugins is not whole: " + gap)
	}
	if g.plugins, err = pluginhost.New(plugins, log); err != nil {
		return nil, err
	}
	if err := g.openTables(ctx, cfg); err != nil {
		return nil, err
	}
	g.sweepBackups()
	st, err := g.build(cfg)
	if err != nil {
		return nil, err
	}
	g.state.Store(st)
	for _, line := range g.warnings(ctx) {
		log.Warn(line)
	}
	g.api = httpapi.New(g.state.Load, cfg.Requests, version, log)
	return g, nil
}

// build makes the complete immutable state that requests are served with.
func (g *Gateway) build(cfg *config.Config) (*httpapi.State, error) {
	var eng engine.Engine
	if e, manifest, ok := g.plugins.Engine("duckdb"); ok {
		eng = catalog.Described{Engine: e, Manifest: manifest}
	} else {
		g.log.Warn("no SQL engine: tables cannot be queried; building it needs a C++ compiler (see README)")
	}
	cat, err := catalog.New(cfg.Catalog, cfg.Dir(), g.ownTables(cfg), g.access, eng, g.log)
	if err != nil {
		return nil, fmt.Errorf("catalog: %w", err)
	}
	outward := cfg.Egress
	outward.Version = g.version
	out, err := egress.New(outward)
	if err != nil {
		return nil, fmt.Errorf("egress: %w", err)
	}
	models, err := router.New(router.Config{Providers: cfg.Providers, Models: cfg.Models}, g.plugins, out, g.access, g.usage, g.log)
	if err != nil {
		return nil, err
	}
	tools, err := g.buildTools(cfg, cat, models, out)
	if err != nil {
		return nil, err
	}
	loop, err := supervisor.New(supervisor.Deps{Check: models.Check, Generate: models.Generate, Tools: tools, Log: g.log})
	if err != nil {
		return nil, fmt.Errorf("supervisor: %w", err)
	}
	g.problems = cat.Problems
	g.closers = append(g.closers, tools.Close, models.Close, func() { cat.Close() })
	return &httpapi.State{Access: g.access, Models: models, Supervisor: loop, Catalog: cat, PublicURL: cfg.PublicURL, Health: g.health}, nil
}

// warnings has a sentence for each grant without object, each tool whose
// configuration is not complete, and each table that cannot be read now.
func (g *Gateway) warnings(ctx context.Context) []string {
	return slices.Concat(g.access.Unmatched(), g.toolWarnings, g.problems(ctx))
}

// Listen opens the configured address.
func Listen(cfg *config.Config) (net.Listener, error) {
	l, err := net.Listen("tcp", cfg.Listen.Address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w (is another gateway running? choose another port with --listen or in the configuration)", cfg.Listen.Address, errors.Unwrap(err))
	}
	return l, nil
}

// Serve answers requests on l until ctx ends, then lets running requests
// finish for as long as the configuration allows.
func (g *Gateway) Serve(ctx context.Context, l net.Listener) error {
	st := *g.state.Load()
	st.PublicURL = g.URL(l.Addr())
	g.state.Store(&st)
	base, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	metricsEnded, err := g.serveMetrics(base)
	if err != nil {
		return err
	}
	defer func() { stop(); <-metricsEnded }()
	srv, l := g.api.Server(base, l)
	ended := make(chan error, 1)
	go func() {
		if t := g.cfg.Listen.TLS; t.Cert != "" {
			ended <- srv.ServeTLS(l, t.Cert, t.Key)
			return
		}
		ended <- srv.Serve(l)
	}()
	select {
	case err := <-ended:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	g.log.Info("shutting down: running requests may finish; a second signal ends them at once", "grace", g.cfg.Shutdown)
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.cfg.Shutdown)
	defer cancel()
	err = srv.Shutdown(grace)
	if err != nil {
		g.log.Warn("requests were still running at the end of the grace time", "grace", g.cfg.Shutdown)
		stop() // their contexts end, so streams get their last event
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
		defer cancel()
		if srv.Shutdown(last) != nil {
			srv.Close()
		}
	}
	if serr := <-ended; serr != nil && !errors.Is(serr, http.ErrServerClosed) {
		return fmt.Errorf("serve: %w", serr)
	}
	return nil
}

// Close stops the plugins, writes the rows that wait, and closes the ledger and
// the state database.
func (g *Gateway) Close() error {
	g.backups.Lock() // one that is being made ends with the control socket
	defer g.backups.Unlock()
	var errs []error
	for _, c := range slices.Backward(g.closers) {
		c()
	}
	if g.plugins != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		errs = append(errs, g.plugins.Close(ctx))
	}
	errs = append(errs, g.closeTables())
	if g.access != nil {
		errs = append(errs, g.access.Close())
	}
	if g.db != nil {
		errs = append(errs, g.db.Close())
	}
	return errors.Join(errs...)
}

// Access is the gateway's access service, for the command's own needs.
func (g *Gateway) Access() *access.Service { return g.access }

// URL is how clients reach the gateway when it listens at addr: the configured
// public URL, else addr itself; this machine when addr is every interface.
func (g *Gateway) URL(addr net.Addr) string {
	if g.cfg.PublicURL != "" {
		return g.cfg.PublicURL
	}
	scheme, host := "http", addr.String()
	if g.cfg.Listen.TLS.Cert != "" {
		scheme = "https"
	}
	if a, ok := addr.(*net.TCPAddr); ok && a.IP.IsUnspecified() {
		host = net.JoinHostPort("127.0.0.1", strconv.Itoa(a.Port))
	}
	return scheme + "://" + host
}

// private makes dir for this user only. A directory that others may enter is
// refused: it holds tokens.
func private(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	if info.Mode().Perm()&0o077 == 0 {
		return nil
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		abs, _ := filepath.Abs(dir)
		return fmt.Errorf("data directory %s can be entered by others and is not ours to close: %w", abs, err)
	}
	return nil
}

// Routes is the whole HTTP surface.
func (g *Gateway) Routes() []httpapi.Route { return g.api.Routes() }

// Plugins describes every plugin and its process.
func (g *Gateway) Plugins() []pluginhost.Info { return g.plugins.Plugins() }
