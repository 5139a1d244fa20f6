package gateway

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"github.com/sallyport-gateway/sallyport/core/catalog"
	"github.com/sallyport-gateway/sallyport/core/config"
	"github.com/sallyport-gateway/sallyport/core/httpapi"
	"github.com/sallyport-gateway/sallyport/core/tables"
	"github.com/sallyport-gateway/sallyport/core/usage"
)

// openTables opens the ledger and the tables that the gateway writes, and
// settles the calls that an earlier process left open.
func (g *Gateway) openTables(ctx context.Context, cfg *config.Config) (err error) {
	own := cfg.Tables
	own.Kinds = []*tables.Kind{usage.UsageKind(), usage.PayloadKind()}
	g.tables, err = tables.Open(ctx, tables.Dirs{Log: cfg.Data.Log, Tables: cfg.Data.Tables}, own, definitions(cfg), g.db, g.log)
	if err != nil {
		return err
	}
	if cfg.Unrecorded {
		return nil
	}
	g.usage, err = usage.New(ctx, g.tables, usage.Config{
		Usage: usage.UsageTable, StatusOf: httpapi.Status, SpillDir: filepath.Join(cfg.Data.Log, "spill"), Log: g.log,
	})
	if err != nil {
		return fmt.Errorf("usage: %w", err)
	}
	return nil
}

// definitions are the tables that cfg asks for.
func definitions(cfg *config.Config) []tables.Definition {
	usageKind, payloadKind := usage.UsageKind(), usage.PayloadKind()
	defs := []tables.Definition{{
		Name: usage.UsageTable, Kind: usageKind, Retention: cfg.Tables.Retention(usageKind.Name),
		Comment: "One row per call of a model or a hosted tool: who, what, how many tokens, at what cost",
	}}
	for _, name := range cfg.PayloadTables() {
		defs = append(defs, tables.Definition{
			Name: name, Kind: payloadKind, Retention: cfg.Tables.Retention(payloadKind.Name),
			Comment: "One row per call of a model: the request and the reply",
		})
	}
	return defs
}

// ownTables are the tables of the gateway as the catalog sees them. Tables that
// an earlier configuration asked for can still be read, unless this one gives
// their name to another.
func (g *Gateway) ownTables(cfg *config.Config) catalog.Own {
	own := catalog.Own{Fresh: g.tables.Fresh}
	dirs := g.tables.Locations()
	for _, d := range definitions(cfg) {
		own.Tables = append(own.Tables, catalog.OwnTable{Name: d.Name, Location: dirs[d.Name], Comment: d.Comment})
		delete(dirs, d.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(dirs)) {
		if !cfg.Catalog.Has(name) {
			own.Tables = append(own.Tables, catalog.OwnTable{Name: name, Location: dirs[name], Comment: "Kept from an earlier configuration; nothing is added to it"})
		}
	}
	return own
}

// health is what `/health` says.
func (g *Gateway) health() httpapi.Health {
	var h httpapi.Health
	for _, p := range slices.Concat(g.tables.Health(), g.usage.Health()) {
		h.Problems = append(h.Problems, p.Part+": "+p.Message)
		h.Failing = h.Failing || p.Fatal
	}
	code, problems := g.codeHealth()
	h.Code, h.Problems = code, append(h.Problems, problems...)
	return h
}

// closeTables writes what is left to write.
func (g *Gateway) closeTables() error {
	var errs []error
	if g.usage != nil {
		errs = append(errs, g.usage.Close())
	}
	if g.tables != nil {
		errs = append(errs, g.tables.Close())
	}
	return errors.Join(errs...)
}
