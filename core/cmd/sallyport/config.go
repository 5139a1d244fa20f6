//go:build unix

package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
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
// bundled plugins beside the program when the file names no directory.
func load(file string) (*config.Config, error) {
	cfg, err := readConfig(file)
	if err != nil {
		return nil, err
	}
	for _, d := range cfg.Plugins {
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
	return cfg, nil
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
			_, notes := gateway.CodeExecution(cfg)
			for _, line := range notes {
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
		Short: "print the configuration with all defaults filled in; secrets are never shown",
		Args:  noArgs,
	}
	file := configFlag(show)
	show.Flags().Bool("effective", true, "with the defaults filled in")
	show.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := load(*file)
		if err != nil {
			return err
		}
		var text strings.Builder
		if err := yaml.NewEncoder(&text, yaml.OmitEmpty(), yaml.Indent(2), yaml.IndentSequence(true)).Encode(cfg); err != nil {
			return err
		}
		_, err = io.WriteString(cmd.OutOrStdout(), secret.RedactURLs(text.String()))
		return err
	}
	return group(&cobra.Command{Use: "config", Short: "look at the configuration"}, show)
}
