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
	"github.com/sallyport-gateway/sallyport/core/ratelimit"
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
	limits  *ratelimit.Service
	code    code
	api     *httpapi.API
	version string
	url     string // how clients reach the gateway; set when it listens
	backups sync.Mutex

	// Load reads the configuration again, for Reload; nil when there is no way.
	// It is set before Serve.
	Load func() (*config.Config, error)

	applying     sync.Mutex // one Apply at a time
	certificates certificates
	current      atomic.Pointer[generation]
	generations  sync.WaitGroup // those that were current and are not closed
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
	if err := g.openLimits(ctx, cfg); err != nil {
		return nil, err
	}
	gen, err := g.build(cfg)
	if err != nil {
		return nil, err
	}
	g.install(gen)
	for _, line := range g.warnings(ctx) {
		log.Warn(line)
	}
	limits := cfg.Requests
	limits.TrustedProxies = cfg.Listen.Proxies()
	g.api = httpapi.New(g.lease, limits, version, log)
	return g, nil
}

// build makes everything that requests are served with from cfg. After an
// error nothing of it is left.
func (g *Gateway) build(cfg *config.Config) (_ *generation, err error) {
	gen := newGeneration(cfg)
	defer func() {
		if err != nil {
			gen.leave()
		}
	}()
	var eng engine.Engine
	if e, manifest, ok := g.plugins.Engine("duckdb"); ok {
		eng = catalog.Described{Engine: e, Manifest: manifest}
	} else {
		g.log.Warn("no SQL engine: tables cannot be queried; building it needs a C++ compiler (see README)")
	}
	gen.catalog, err = catalog.New(cfg.Catalog, cfg.Dir(), g.ownTables(cfg), g.access, eng, g.log)
	if err != nil {
		return nil, fmt.Errorf("catalog: %w", err)
	}
	gen.closers = append(gen.closers, func() { gen.catalog.Close() })
	outward := cfg.Egress
	outward.Version = g.version
	out, err := egress.New(outward)
	if err != nil {
		return nil, fmt.Errorf("egress: %w", err)
	}
	models, err := router.New(router.Config{Providers: cfg.Providers, Models: cfg.Models}, g.plugins, out, g.access, g.usage, g.limits, g.log)
	if err != nil {
		return nil, err
	}
	gen.closers = append(gen.closers, models.Close)
	tools, err := g.buildTools(gen, models, out)
	if err != nil {
		return nil, err
	}
	gen.closers = append(gen.closers, tools.Close)
	loop, err := supervisor.New(supervisor.Deps{Check: models.Check, Generate: models.Generate, Tools: tools, Log: g.log})
	if err != nil {
		return nil, fmt.Errorf("supervisor: %w", err)
	}
	surfaces, err := httpapi.NewSurfaces(g.fronts(), cfg.Surfaces, models)
	if err != nil {
		return nil, err
	}
	url := g.url
	if cfg.PublicURL != "" {
		url = cfg.PublicURL
	}
	gen.state = &httpapi.State{
		Access: g.access, Models: models, Supervisor: loop, Catalog: gen.catalog, PublicURL: url, Health: g.health,
		Surfaces: surfaces, Limits: g.limits,
		Reload: func(ctx context.Context) (any, error) { return g.Reload(ctx) },
	}
	return gen, nil
}

// fronts are the plugins that offer surfaces.
func (g *Gateway) fronts() []httpapi.Front {
	var fs []httpapi.Front
	for _, f := range g.plugins.Fronts() {
		fs = append(fs, httpapi.Front{Plugin: f.Plugin, Manifest: f.Manifest, Front: f.Front})
	}
	return fs
}

// Serve answers requests on l, and on the configuration's further listeners,
// until ctx ends, then lets running requests finish for as long as the
// configuration allows. Nothing is answered anywhere before everything that may
// fail at the start has been done.
func (g *Gateway) Serve(ctx context.Context, l net.Listener) error {
	if err := g.setURL(g.URL(l.Addr())); err != nil {
		return err
	}
	g.openCode()
	base, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	doors, err := g.open(base, l)
	if err != nil {
		return err
	}
	metricsEnded, err := g.serveMetrics(base)
	if err != nil {
		closeAll(doors[1:])
		return err
	}
	defer func() { stop(); <-metricsEnded }()
	ended := make(chan error, len(doors))
	servers := make([]*http.Server, len(doors))
	for i, d := range doors {
		servers[i] = d.server
		go func() { ended <- d.serve() }()
	}
	select {
	case err = <-ended:
		for _, srv := range servers {
			srv.Close()
		}
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	period := g.cfg.Shutdown
	if gen, err := g.use(); err == nil {
		period = gen.cfg.Shutdown
		gen.leave()
	}
	g.log.Info("shutting down: running requests may finish; a second signal ends them at once", "grace", period)
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), period)
	defer cancel()
	if shutdown(grace, servers) != nil {
		g.log.Warn("requests were still running at the end of the grace time", "grace", period)
		stop() // their contexts end, so streams get their last event
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
		defer cancel()
		if shutdown(last, servers) != nil {
			for _, srv := range servers {
				srv.Close()
			}
		}
	}
	for range servers {
		if serr := <-ended; serr != nil && !errors.Is(serr, http.ErrServerClosed) {
			return fmt.Errorf("serve: %w", serr)
		}
	}
	return nil
}

// shutdown ends all servers together.
func shutdown(ctx context.Context, servers []*http.Server) error {
	errs := make([]error, len(servers))
	var wg sync.WaitGroup
	for i, srv := range servers {
		wg.Go(func() { errs[i] = srv.Shutdown(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// setURL says how clients reach the gateway.
func (g *Gateway) setURL(url string) error {
	g.applying.Lock()
	defer g.applying.Unlock()
	gen, err := g.use()
	if err != nil {
		return err
	}
	defer gen.leave()
	g.url = url
	if gen.cfg.PublicURL == "" {
		gen.state.PublicURL = url // nothing is served yet
	}
	return nil
}

// Close stops the plugins, writes the rows that wait, and closes the ledger and
// the state database.
func (g *Gateway) Close() error {
	g.backups.Lock() // one that is being made ends with the control socket
	defer g.backups.Unlock()
	var errs []error
	g.applying.Lock()    // a configuration that is being applied is in force first, or the last
	if g.limits != nil { // its alerts go out as the current generation says
		errs = append(errs, g.limits.Close())
	}
	retired := g.current.Swap(nil)
	g.applying.Unlock() // one that waits learns that there is nothing to apply it to
	if retired != nil {
		retired.leave()
	}
	g.generations.Wait()
	errs = append(errs, g.closeCode())
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
