//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/sallyport-gateway/sallyport/core/access"
	"github.com/sallyport-gateway/sallyport/core/config"
	"github.com/sallyport-gateway/sallyport/core/gateway"
	"github.com/sallyport-gateway/sallyport/examples/samples"
)

// adminToken is the name, below the data directory, of the file with the
// administrator's first token.
const adminToken = "admin-token"

func serveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "run the gateway",
		Long: "Run the gateway. Without a configuration file it serves the demo model and sample tables on " + config.DefaultAddress +
			", keeps its data in ./sallyport-data, and adds every provider whose usual environment variable is set.",
		Args: noArgs,
	}
	file := configFlag(cmd)
	welcome := cmd.Flags().Bool("welcome", false, "print the URL, the administrator's token and a first request")
	listen := cmd.Flags().String("listen", "", "`address` to listen on, in place of the configured one")
	dev := cmd.Flags().StringArray("dev", nil, "plugin under development, `NAME[=DIR]`: built, run and built again after each change, without being added")
	quarantine := cmd.Flags().Bool("quarantine", false, "start although records in the middle of the ledger cannot be read: set the damaged file aside and go on without them")
	level := cmd.Flags().String("log-level", "info", "debug, info, warn or error")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		log, err := logger(cmd.ErrOrStderr(), *level)
		if err != nil {
			return usageError{err}
		}
		if *listen != "" {
			if err := config.Address(*listen); err != nil {
				return usageError{fmt.Errorf("--listen: %w", err)}
			}
		}
		developing, err := developed(*dev)
		if err != nil {
			return usageError{err}
		}
		read := func() (*config.Config, error) {
			cfg, err := load(*file)
			if err != nil {
				return nil, err
			}
			if *listen != "" {
				cfg.Listen.Address = *listen
			}
			cfg.Dev, cfg.Tables.Quarantine = developing, *quarantine
			return cfg, nil
		}
		return serve(cmd.Context(), read, *welcome, cmd.OutOrStdout(), log)
	}
	return cmd
}

func serve(ctx context.Context, read func() (*config.Config, error), welcome bool, stdout io.Writer, log *slog.Logger) error {
	limitMemory()
	ignoreFileSizeSignal()
	slog.SetDefault(log)
	cfg, err := read()
	if err != nil {
		return err
	}
	l, err := gateway.Listen(cfg) // before anything is written: a taken port is the usual mistake
	if err != nil {
		return err
	}
	defer l.Close()
	if err := gateway.CheckData(cfg.Data.Dir); err != nil { // before the samples are written there
		return err
	}
	if err := makeOwnPlugins(cfg); err != nil {
		return err
	}
	if dir := cfg.Samples(); dir != "" {
		if err := writeSamples(dir, log); err != nil {
			return err
		}
	}
	for _, line := range cfg.NotInForce() {
		log.Warn(line)
	}
	for _, line := range cfg.MissingSecrets() {
		log.Warn(line)
	}
	g, err := gateway.New(ctx, cfg, version, log)
	if err != nil {
		return err
	}
	defer g.Close()
	g.Load = read
	defer reloadOnHangup(ctx, g)()
	if err := g.ServeControl(ctx); err != nil {
		return err
	}
	token, until, fresh, err := firstToken(ctx, cfg, g)
	if err != nil {
		return err
	}
	if fresh {
		log.Info("the administrator has a token", "principal", cfg.Administrator(), "file", filepath.Join(cfg.Data.Dir, adminToken), "until", day(until))
	}
	url := g.URL(l.Addr())
	if f, ok := stdout.(*os.File); welcome || fresh && ok && term.IsTerminal(int(f.Fd())) {
		greet(stdout, cfg, url, token, until)
	}
	log.Info("serving", "url", url, "version", version)
	return g.Serve(ctx, l)
}

// reloadOnHangup has SIGHUP read the configuration again, until the func it
// returns is called. What came of it is in the log.
func reloadOnHangup(ctx context.Context, g *gateway.Gateway) (stop func()) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-hangup:
				g.Reload(ctx) // logs its error
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() {
		signal.Stop(hangup)
		cancel()
		<-ended
	}
}

// writeSamples makes the sample tables at the first start. Files that are
// there already stay: they may be from another seed.
func writeSamples(dir string, log *slog.Logger) error {
	if _, err := os.Stat(filepath.Join(dir, samples.StoresFile)); err == nil { // the last one written
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("samples: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	log.Info("writing the sample tables", "dir", dir)
	return samples.Write(dir, samples.Seed)
}

// firstToken gives the first administrator a token at the first start, and at
// one after its end, and keeps it in a file that only this user may read. It is
// valid until then; the zero time is for ever, or not known.
func firstToken(ctx context.Context, cfg *config.Config, g *gateway.Gateway) (token string, until time.Time, fresh bool, err error) {
	path := filepath.Join(cfg.Data.Dir, adminToken)
	if b, err := os.ReadFile(path); err == nil {
		token := strings.TrimSpace(string(b))
		if p, err := g.Access().Authenticate(ctx, token); err == nil {
			all, err := g.Access().ListTokens(ctx, p.Name)
			if err != nil {
				return "", until, false, fmt.Errorf("administrator's token: %w", err)
			}
			if i := slices.IndexFunc(all, func(t access.TokenInfo) bool { return t.ID == p.TokenID }); i >= 0 {
				until = all[i].Expires
			}
			return token, until, false, nil
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", until, false, fmt.Errorf("administrator's token: %w", err)
	}
	admin := cfg.Administrator()
	if admin == "" {
		return "", until, false, nil
	}
	token, info, err := gateway.Direct(g.Access()).CreateToken(ctx, gateway.TokenRequest{Principal: admin, Comment: "first token of the administrator"})
	if err != nil {
		return "", until, false, fmt.Errorf("administrator's token: %w", err)
	}
	f, err := os.CreateTemp(cfg.Data.Dir, ".token-*") // 0600, and never through a link that lies there
	if err == nil {
		_, err = fmt.Fprintln(f, token)
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err == nil {
			err = os.Rename(f.Name(), path)
		}
		if err != nil {
			os.Remove(f.Name())
		}
	}
	if err != nil {
		return "", until, false, fmt.Errorf("administrator's token: %w", err)
	}
	return token, info.Expires, true, nil
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// greet prints what a newcomer needs for a first request.
func greet(w io.Writer, cfg *config.Config, url, token string, until time.Time) {
	about := "Ask the demo model about the sample table of customer reviews:"
	body := `{"model": "databricks-demo", "input": "What is the average stars by country?", "tools": [{"type": "table", "table": {"name": "main.sales.reviews"}}]}`
	if _, ok := cfg.Models["databricks-demo"]; !ok || cfg.Samples() == "" || !cfg.Catalog.Has("main.sales.reviews") {
		about = "A first request:"
		body = fmt.Sprintf(`{"model": %q, "input": "Hello!"}`, slices.Min(slices.Collect(maps.Keys(cfg.Models))))
	}
	if token == "" {
		token = "<token>"
		fmt.Fprintln(w, "\nThe configuration has no administrator; make a token with `sallyport token create --principal NAME`.")
	}
	lasts := ""
	if !until.IsZero() {
		lasts = fmt.Sprintf("\n         until %s UTC; the first start after that makes another, and `sallyport token create` makes more at any time", day(until))
	}
	trust := ""
	if ca := filepath.Join(filepath.Dir(cfg.Listen.TLS.Cert), caCertFile); cfg.Listen.TLS.Cert != "" && isFile(ca) { // of `sallyport cert`
		trust = " --cacert '" + ca + "'"
	}
	fmt.Fprintf(w, `
Sallyport is ready.

  URL    %[1]s
  token  %[2]s%[6]s

%[3]s

  curl -s%[5]s %[1]s/ai-gateway/mlflow/v1/responses \
    -H "Authorization: Bearer %[2]s" \
    -H "Content-Type: application/json" \
    -d '%[4]s'

Stop with Ctrl-C.

`, url, token, about, body, trust, lasts)
}
