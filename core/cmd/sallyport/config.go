//go:build unix

package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/sallyport-gateway/sallyport/core/config"
	"github.com/sallyport-gateway/sallyport/core/gateway"
	"github.com/sallyport-gateway/sallyport/core/secret"
	"github.com/sallyport-gateway/sallyport/core/toolset"
)

// configFlag adds --config to a command.
func configFlag(cmd *cobra.Command) *string {
	return cmd.Flags().StringP("config", "c", "", "configuration `file` (default: built in)")
}

// load reads the configuration, or makes the built-in one, and finds the
// bundled plugins beside the program when the file names no directory. The
// configuration's own plugins are among Plugins when there are any.
func load(file string) (*config.Config, error) {
	cfg, err := readConfig(file)
	if err != nil {
		return nil, err
	}
	for _, d := range cfg.Plugins { // its own is there, or not among them
		if _, err := os.Stat(d); errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("plugins: the directory %s does not exist: make it, or build the bundled plugins with `make build`", d)
		}
	}
	return cfg, nil
}

// readConfig is load for commands that make the plugin directory themselves.
func readConfig(file string) (*config.Config, error) {
	var cfg *config.Config
	var err error
	if file != "" {
		cfg, err = config.Load(file)
	} else {
		var dir string
		if dir, err = os.Getwd(); err == nil {
			cfg, err = config.Default(dir)
		}
	}
	if err != nil {
		return nil, err
	}
	if len(cfg.Plugins) == 0 {
		exe, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("where is this program: %w", err)
		}
		if exe, err = filepath.EvalSymlinks(exe); err != nil {
			return nil, fmt.Errorf("where is this program: %w", err)
		}
		cfg.Plugins = []string{filepath.Join(filepath.Dir(exe), "plugins")}
	}
	useOwnPlugins(cfg)
	return cfg, nil
}

// useOwnPlugins has a gateway of cfg use its own plugins directory, if it is
// there. A file may name it as well.
func useOwnPlugins(cfg *config.Config) {
	own := cfg.OwnPlugins()
	if info, err := os.Stat(own); err != nil || !info.IsDir() || slices.ContainsFunc(cfg.Plugins, func(d string) bool { return sameDir(d, own) }) {
		return
	}
	cfg.Plugins = append(cfg.Plugins, own)
}

// makeOwnPlugins makes that directory, so that what is added to it later is
// used after a reload.
func makeOwnPlugins(cfg *config.Config) error {
	if err := os.MkdirAll(cfg.Data.Dir, 0o700); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	if err := os.Mkdir(cfg.OwnPlugins(), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("data directory: %w", err)
	}
	useOwnPlugins(cfg)
	return nil
}

func checkCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "check a configuration file",
		Args:  noArgs,
	}
	file := configFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := load(*file)
		if err != nil {
			return err
		}
		warnings, err := gateway.Check(cmd.Context(), cfg)
		if err != nil {
			return err
		}
		out := cmd.OutOrStdout()
		for _, line := range cfg.NotInForce() {
			fmt.Fprintln(out, "note:", line)
		}
		if cfg.CodeExecution.Offer != toolset.OfferNever {
			for _, line := range gateway.CodeExecution(cfg).Notes {
				fmt.Fprintln(out, "note: code execution:", line)
			}
		}
		for _, line := range append(cfg.MissingSecrets(), warnings...) {
			fmt.Fprintln(out, "warning:", line)
		}
		if *file == "" {
			fmt.Fprintln(out, "no file was named: the built-in configuration is valid; check a file with --config FILE")
			return nil
		}
		fmt.Fprintln(out, "the configuration is valid")
		return nil
	}
	return cmd
}

func configCommand() *cobra.Command {
	show := &cobra.Command{
		Use:   "show",
		Short: "print the configuration with all defaults filled in",
		Long: "Print the configuration as it acts: what the file says, and the default of everything else that has one. Keys\n" +
			"are shown as where they are kept; what the file itself holds, in a URL or the arguments of a command, is shown as it is.\n" +
			"examples/gateway.yaml has every key and what it means.",
		Args: noArgs,
	}
	file := configFlag(show)
	show.Flags().Bool("effective", true, "with the defaults filled in")
	show.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := load(*file)
		if err != nil {
			return err
		}
		var text strings.Builder
		if err := yaml.NewEncoder(&text, yaml.OmitEmpty(), yaml.Indent(2), yaml.IndentSequence(true)).Encode(cfg.Effective()); err != nil {
			return err
		}
		_, err = io.WriteString(cmd.OutOrStdout(), secret.RedactURLs(text.String()))
		return err
	}
	return group(&cobra.Command{Use: "config", Short: "look at the configuration"}, show)
}
