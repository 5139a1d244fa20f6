//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/sallyport-gateway/sallyport/core/config"
	"github.com/sallyport-gateway/sallyport/core/gateway"
)

// serverCommands are those that run a gateway or work on its files.
func serverCommands() []*cobra.Command {
	return []*cobra.Command{serveCommand(), usageCommand(), tablesCommand(), checkCommand(), configCommand(), doctorCommand(), backupCommand(), pluginCommand(), workerCommand()}
}

// localFlag adds --config to a command that can ask the gateway of this
// machine as well.
func localFlag(cmd *cobra.Command) *string { return configFlag(cmd) }

// withLocal calls f with the gateway of the configuration, or its data.
func withLocal(cmd *cobra.Command, file string, f func(querier) error) error {
	return withData(cmd, file, func(d gateway.Data) error { return f(d) })
}

// withData calls f with the gateway that runs over the data of the
// configuration. When none does, it opens one over it that serves nobody.
func withData(cmd *cobra.Command, file string, f func(gateway.Data) error) error {
	cfg, err := readConfig(file)
	if err != nil {
		return err
	}
	if running, err := gateway.Control(cfg.Data.Dir); err == nil {
		return f(running)
	}
	if err := dataHere(cfg, file); err != nil {
		return err
	}
	if cfg, err = load(file); err != nil {
		return err
	}
	level := slog.LevelError // what it says at its start is about serving
	g, err := gateway.New(cmd.Context(), cfg, version, slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: level})))
	if err != nil {
		return err
	}
	err = f(g)
	return errors.Join(err, g.Close())
}

// dataHere refuses the directory that no configuration was named for, unless a
// gateway has run there: it is the wrong one. A configuration that was named may
// have its data made before its gateway first runs.
func dataHere(cfg *config.Config, file string) error {
	if file != "" {
		return nil
	}
	if _, err := os.Stat(cfg.Data.Log); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no data in %s: start a gateway here with `sallyport serve`, or name the configuration of another one with --config", cfg.Data.Dir)
	}
	return nil
}

// localGateway is the URL of the gateway of the configuration and the file
// with its administrator's token, when it runs.
func localGateway(ctx context.Context, file string) (address, tokenFile string, err error) {
	cfg, err := readConfig(file)
	if err != nil {
		return "", "", err
	}
	running, err := gateway.Control(cfg.Data.Dir)
	if err != nil {
		return "", "", fmt.Errorf("no gateway runs over %s: start one with `sallyport serve`, or name another one with %s and %s", cfg.Data.Dir, urlVar, tokenVar)
	}
	// It is asked, and not its configuration: an address may come from --listen,
	// and a token goes only to the gateway that it is of.
	if address, err = running.URL(ctx); err != nil {
		return "", "", fmt.Errorf("the URL of the gateway over %s: %w", cfg.Data.Dir, err)
	}
	if u, err := url.Parse(address); err == nil {
		if ip := net.ParseIP(u.Hostname()); u.Hostname() == "" || ip != nil && ip.IsUnspecified() {
			u.Host = net.JoinHostPort("127.0.0.1", u.Port())
			address = u.String()
		}
	}
	tokenFile, err = filepath.Abs(filepath.Join(cfg.Data.Dir, adminToken))
	return address, tokenFile, err
}

// reloadLocal has the gateway of the configuration read it again.
func reloadLocal(cmd *cobra.Command, file string) (reloaded, error) {
	cfg, err := readConfig(file)
	if err != nil {
		return reloaded{}, err
	}
	running, err := gateway.Control(cfg.Data.Dir)
	if err != nil {
		return reloaded{}, fmt.Errorf("no gateway runs over %s", cfg.Data.Dir)
	}
	done, err := running.Reload(cmd.Context())
	return reloaded(done), err
}
