package main

import (
	"context"
	"fmt"
	"log/slog"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport-gateway/sallyport/core/pluginhost"
)

func pluginCommand() *cobra.Command {
	list := &cobra.Command{Use: "list", Short: "list the plugins that would be used", Args: noArgs}
	file := configFlag(list)
	list.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := load(*file)
		if err != nil {
			return err
		}
		// Why a plugin is refused stands in the list.
		h, err := pluginhost.New(pluginhost.Config{Dirs: cfg.Plugins}, slog.New(slog.DiscardHandler))
		if err != nil {
			return err
		}
		defer closeHost(h)
		w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
		fmt.Fprintln(w, "KIND\tNAME\tVERSION\tSTATE\tFILE")
		for _, p := range h.Plugins() {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", p.Kind, p.Name, p.Version, p.State, p.Path)
		}
		if err := w.Flush(); err != nil {
			return err
		}
		for _, p := range h.Plugins() {
			if p.LastError != "" {
				fmt.Fprintf(cmd.OutOrStdout(), "%s %s: %s\n", p.Name, p.State, p.LastError)
			}
		}
		return nil
	}
	return group(&cobra.Command{Use: "plugin", Short: "look at the plugins"}, list)
}

func closeHost(h *pluginhost.Host) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	h.Close(ctx)
}
