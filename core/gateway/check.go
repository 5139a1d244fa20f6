package gateway

import (
	"context"
	"log/slog"
	"os"

	"github.com/sallyport-gateway/sallyport/core/config"
)

// Check builds the gateway that cfg describes, without serving it and without
// touching its data. What would stop `serve` is the error; warnings are what it
// would only complain of.
func Check(ctx context.Context, cfg *config.Config) (warnings []string, err error) {
	dir, err := os.MkdirTemp("", "sallyport-check-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	trial := *cfg
	trial.Data.Dir, trial.Data.Log, trial.Data.Tables = dir, dir+"/log", dir+"/tables"
	trial.Data.State = "sqlite:" + dir + "/state.db"
	g, err := New(ctx, &trial, "check", slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	warnings = append(g.warnings(ctx), g.plugins.Problems()...)
	return warnings, g.Close()
}
