package gateway

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/sallyport-gateway/sallyport/core/config"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// Reloaded is what a reload did.
type Reloaded struct {
	Restart  []string `json:"restart"`  // keys of the file that changed and act at the next start only
	Warnings []string `json:"warnings"` // what `check` would complain of
}

// Reload reads the configuration again and applies it. A file that is wrong is
// refused, in an error that says why, and the gateway goes on as it was.
func (g *Gateway) Reload(ctx context.Context) (Reloaded, error) {
	if g.current.Load() == nil {
		return Reloaded{}, errClosed
	}
	if g.Load == nil {
		return Reloaded{}, apierror.New(apierror.Unsupported, "This gateway was started without a way to read its configuration again.")
	}
	cfg, err := g.Load()
	if err != nil {
		return Reloaded{}, g.refused(err)
	}
	for _, line := range append(cfg.NotInForce(), cfg.MissingSecrets()...) {
		g.log.Warn(line)
	}
	done, err := g.Apply(ctx, cfg)
	if errors.Is(err, errClosed) {
		return Reloaded{}, err
	}
	if err != nil {
		return Reloaded{}, g.refused(err)
	}
	return done, nil
}

// refused says that a configuration was not taken.
func (g *Gateway) refused(err error) error {
	g.log.Error("the new configuration was refused; the gateway goes on with the old one", "error", err)
	return apierror.Wrap(apierror.Invalid, err, "The new configuration was refused, and the gateway goes on with the old one: %v", err)
}

// Apply puts cfg in the place of the current configuration. It builds
// everything that requests are served with anew and swaps it in at once, so
// that each request is served by the old configuration or by the new one, and
// none is dropped. After an error everything is as it was. Keys that say where
// the gateway listens and keeps its data act at the next start only; Reloaded
// names those that changed. A gateway that is closed applies nothing more.
func (g *Gateway) Apply(ctx context.Context, cfg *config.Config) (done Reloaded, err error) {
	g.applying.Lock()
	defer g.applying.Unlock()
	old, err := g.use()
	if err != nil {
		return done, err
	}
	defer old.leave()
	done = Reloaded{Restart: fixed(g.cfg, cfg), Warnings: []string{}}
	settings, err := toolSettings(cfg)
	if err != nil {
		return done, err
	}
	// Plugins first: what they say of themselves decides whether the rest fits.
	plugins, err := g.plugins.Configure(ctx, settings, perUser(cfg))
	if err != nil {
		return done, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, plugins.Undo())
		}
	}()
	if err := g.tables.Define(ctx, definitions(cfg)); err != nil {
		return done, err
	}
	if err := g.access.Stage(cfg.Access); err != nil {
		return done, fmt.Errorf("access: %w", err)
	}
	defer g.access.Discard()
	gen, err := g.build(cfg)
	if err != nil {
		return done, err
	}
	gen.catalog.Succeed(old.catalog)
	gen.state.Models.Inherit(old.state.Models)
	if err = g.limits.Apply(cfg.Limits()); err == nil {
		if err = g.access.Commit(); err != nil {
			err = errors.Join(err, g.limits.Apply(old.cfg.Limits()))
		}
	}
	if err != nil {
		gen.leave()
		return done, err
	}
	g.install(gen)
	old.leave() // the gateway's own use
	plugins.Keep()
	g.restoreLimits(ctx)
	if err := g.certificates.reload(); err != nil {
		g.log.Warn("the certificate could not be read again; the old one is used", "error", err)
	}
	done.Warnings = append(append(done.Warnings, g.warnings(ctx)...), g.plugins.Problems()...)
	for _, line := range done.Warnings {
		g.log.Warn(line)
	}
	for _, key := range done.Restart {
		g.log.Warn("changed in the configuration, and in force after the next start only", "key", key)
	}
	done.Warnings = append(done.Warnings, g.reopenCode()...)
	g.log.Info("the new configuration is in force", "file", cfg.File())
	return done, nil
}

// fixed names the keys that are read at the start only, and were other then.
func fixed(old, cfg *config.Config) []string {
	keys := []string{}
	for _, k := range []struct {
		name    string
		was, is any
	}{
		{"listen", old.Listen, cfg.Listen},
		{"listeners", old.Listeners, cfg.Listeners},
		{"metrics", old.Metrics, cfg.Metrics},
		{"data", old.Data, cfg.Data},
		{"plugins", old.Plugins, cfg.Plugins},
		{"unconfined", old.Unconfined, cfg.Unconfined},
		{"requests", old.Requests, cfg.Requests},
		{"tables", old.Tables, cfg.Tables},
	} {
		if !reflect.DeepEqual(k.was, k.is) {
			keys = append(keys, k.name)
		}
	}
	return append(keys, changedCode(old, cfg)...)
}
