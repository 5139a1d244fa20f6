//go:build unix

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport-gateway/sallyport/core/config"
	"github.com/sallyport-gateway/sallyport/core/gateway"
	"github.com/sallyport-gateway/sallyport/core/pluginhost"
	"github.com/sallyport-gateway/sallyport/core/pluginlock"
)

func pluginCommand() *cobra.Command {
	return group(&cobra.Command{Use: "plugin", Short: "add, remove and look at plugins"},
		pluginListCommand(), pluginAddCommand(), pluginRemoveCommand(), pluginDescribeCommand(), pluginNewCommand(),
		pluginTestCommand(), pluginRunCommand(), pluginRecordCommand())
}

func pluginListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "list the plugins, those that are refused, and those that nobody added",
		Long: "List the plugins with their state. When the gateway of this configuration runs, with what they have done so far:\n" +
			"calls, errors, times of the last five to ten minutes, restarts and memory.",
		Args: noArgs,
	}
	file := configFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := load(*file)
		if err != nil {
			return err
		}
		h, err := pluginhost.New(pluginhost.Config{Dirs: cfg.Plugins}, slog.New(slog.DiscardHandler)) // why a plugin is refused stands in the list
		if err != nil {
			return err
		}
		defer closeHost(h)
		h.Problems() // when the files are checked
		running, err := gateway.Control(cfg.Data.Dir)
		if err != nil { // none runs
			return listPlugins(cmd.OutOrStdout(), *file, h.Plugins())
		}
		live, err := running.Plugins(cmd.Context())
		if err != nil {
			return fmt.Errorf("the gateway that runs over %s: %w", cfg.Data.Dir, err)
		}
		return listRunning(cmd.OutOrStdout(), *file, live, h.Plugins())
	}
	return cmd
}

// listPlugins shows what a gateway would use.
func listPlugins(out io.Writer, file string, infos []pluginhost.Info) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "KIND\tNAME\tVERSION\tSTATE\tFILE")
	for _, p := range infos {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", p.Kind, p.Name, p.Version, p.State, p.Path)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, p := range infos {
		if p.LastError != "" {
			fmt.Fprintf(out, "%s: %s\n", p.Name, reloadWith(p.LastError, file))
		}
	}
	return nil
}

// listRunning shows what the plugins of a gateway do, and what a reload would
// change.
func listRunning(out io.Writer, file string, live, next []pluginhost.Info) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "KIND\tNAME\tVERSION\tSTATE\tCALLS\tERRORS\tP50\tP99\tRESTARTS\tMEMORY\tFILE")
	for _, p := range live {
		state := string(p.State)
		if p.Dev {
			state += " (dev: NOT PINNED)"
		}
		memory, p50, p99 := "-", "-", "-"
		if p.Memory > 0 {
			memory = fmt.Sprintf("%d MiB", p.Memory>>20)
		}
		if p.P50 > 0 {
			p50, p99 = p.P50.Round(10*time.Microsecond).String(), p.P99.Round(10*time.Microsecond).String()
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%s\t%s\t%d\t%s\t%s\n", p.Kind, p.Name, p.Version, state,
			p.Calls, p.Errors, p50, p99, p.Restarts, memory, p.Path)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	reload := reloadWith("sallyport reload", file)
	unused := func(p pluginhost.Info) bool { return p.State == pluginhost.Unlisted || p.State == pluginhost.Refused }
	listed := make(map[string]bool)
	for _, p := range next {
		listed[p.Path] = p.State != pluginhost.Unlisted
	}
	used := make(map[string]pluginhost.Info)
	for _, p := range live {
		used[p.Path] = p
		if p.LastError != "" {
			fmt.Fprintf(out, "%s: %s\n", p.Name, reloadWith(p.LastError, file))
		}
		if !listed[p.Path] && !unused(p) && !p.Dev {
			fmt.Fprintf(out, "%s: was removed since the gateway read its list, which goes on with it until `%s`\n", p.Name, reload)
		}
	}
	for _, p := range next {
		switch was, known := used[p.Path]; {
		case p.State == pluginhost.Refused && known && !was.Dev && !strings.HasPrefix(was.LastError, p.LastError):
			fmt.Fprintf(out, "%s: %s\n", p.Name, reloadWith(p.LastError, file))
		case p.Kind == "": // told above, or nothing to tell
		case !known || was.State == pluginhost.Unlisted:
			fmt.Fprintf(out, "%s: was added since the gateway read its list; `%s` has it used\n", p.Name, reload)
		case p.Version != was.Version && !was.Dev:
			fmt.Fprintf(out, "%s: version %s was added since the gateway read its list, which goes on with %s until `%s`\n", p.Name, p.Version, was.Version, reload)
		}
	}
	return nil
}

func closeHost(h *pluginhost.Host) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	h.Close(ctx)
}

// place are the flags that say which plugins directories are meant.
type place struct{ to, file *string }

func placeFlags(cmd *cobra.Command) place {
	return place{
		to:   cmd.Flags().String("to", "", "plugins `directory` (default: plugins in the data directory of the configuration)"),
		file: configFlag(cmd),
	}
}

// config is the configuration, with the directory of --to in the place of the
// configured ones.
func (p place) config() (*config.Config, error) {
	if *p.to != "" && *p.file == "" {
		return &config.Config{Plugins: []string{*p.to}}, nil
	}
	cfg, err := readConfig(*p.file)
	if err == nil && *p.to != "" {
		cfg.Plugins = []string{*p.to}
	}
	return cfg, err
}

// reload is the command that has a gateway of the configuration use what has
// changed.
func (p place) reload() string { return reloadWith("sallyport reload", *p.file) }

// says are the flags that a command needs to mean the plugins directory dir of
// cfg.
func (p place) says(cfg *config.Config, dir string) string {
	if !isOwn(cfg, dir) {
		return " --to " + absolute(dir)
	}
	if *p.file == "" {
		return ""
	}
	return " --config " + *p.file
}

// isOwn reports whether dir is the configuration's own plugins directory.
func isOwn(cfg *config.Config, dir string) bool {
	return cfg.Data.Dir != "" && sameDir(dir, cfg.OwnPlugins())
}

func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// runFlags are the flags of a command that runs a plugin to ask what it is.
type runFlags struct {
	interpreter *string
	unconfined  *bool
}

func describeFlags(cmd *cobra.Command) runFlags {
	return runFlags{
		interpreter: cmd.Flags().String("interpreter", "", "`program` that runs a script, in the place of the one in its first line"),
		unconfined:  cmd.Flags().Bool("unconfined", false, "ask the plugin what it is also where this system cannot confine it"),
	}
}

// host is what running a plugin for a moment needs.
func (f runFlags) host(cfg *config.Config) pluginhost.Config {
	return pluginhost.Config{Launcher: cfg.Launcher, Unconfined: *f.unconfined || cfg.Unconfined == "allow"}
}

func pluginRemoveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "remove NAME",
		Short: "take a plugin out of the list: the gateway does not run it any more",
		Long: "Take a plugin out of the list of its plugins directory. NAME is the plugin's name, or that of its file or directory.\n" +
			"The copy that `plugin add` made of it in the data directory of the configuration is deleted, unless it was changed. Plugins\n" +
			"of other directories, such as the bundled ones, are removed only with --to DIR. A gateway that runs uses the plugin until\n" +
			"`sallyport reload`.",
		Args: someArgs(1, 1, "the name of a plugin"),
	}
	where := placeFlags(cmd)
	files := cmd.Flags().Bool("delete", false, "delete its files too")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, err := where.config()
		if err != nil {
			return err
		}
		found, err := findListed(cfg.Plugins, args[0])
		if err != nil {
			return err
		}
		own := isOwn(cfg, found.dir)
		if !own && *where.to == "" {
			return fmt.Errorf("%s is not removed: it lies in %s, which other gateways may use too; to remove it from all of them run: sallyport plugin remove %s%s",
				found.title(), absolute(found.dir), found.entry.Top(), where.says(cfg, found.dir))
		}
		path := filepath.Join(found.dir, found.entry.Top())
		var left error
		err = pluginlock.Update(found.dir, func(l *pluginlock.Lock) error {
			e := l.Find(found.entry.Main)
			if e != nil && own && !*files {
				left = e.DeleteCopy(found.dir)
			}
			l.Remove(found.entry.Top())
			return nil
		})
		if err != nil {
			return err
		}
		out := cmd.OutOrStdout()
		switch {
		case *files:
			if err := os.RemoveAll(path); err != nil {
				return err
			}
			fmt.Fprintf(out, "removed %s and deleted %s\n", found.title(), path)
		case own && left == nil:
			fmt.Fprintf(out, "removed %s and deleted its copy %s\n", found.title(), path)
		case own && !errors.Is(left, fs.ErrNotExist):
			fmt.Fprintf(out, "removed %s; its files are still in %s, because %v\n", found.title(), path, left)
		case own:
			fmt.Fprintf(out, "removed %s; its files were gone\n", found.title())
		default:
			fmt.Fprintf(out, "removed %s; its files are still in %s\n", found.title(), path)
		}
		fmt.Fprintf(out, "A gateway that runs uses it until `%s`.\n", where.reload())
		return nil
	}
	return cmd
}

func pluginDescribeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "describe NAME|PATH",
		Short: "show what a plugin offers and needs",
		Long:  "Show what a plugin offers and needs: one that was added, by its name, or any other by its path.\nThe latter is run, confined, to ask it.",
		Args:  someArgs(1, 1, "a plugin's name or path"),
	}
	where := placeFlags(cmd)
	how := describeFlags(cmd)
	raw := cmd.Flags().Bool("json", false, "print the description as the plugin gave it")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, err := where.config()
		if err != nil {
			return err
		}
		found, err := findListed(cfg.Plugins, args[0])
		if err != nil {
			if _, serr := os.Stat(args[0]); serr != nil {
				return err
			}
			c, ferr := pluginhost.Find(args[0], *how.interpreter)
			if ferr != nil {
				return ferr
			}
			found = &listed{dir: c.Root}
			if found.described, err = c.Describe(cmd.Context(), how.host(cfg), slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))); err != nil {
				return err
			}
			found.entry = c.Entry
		}
		if *raw {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\n", compact(found.entry.Description))
			return err
		}
		return found.print(cmd.OutOrStdout())
	}
	return cmd
}

func compact(raw json.RawMessage) []byte {
	b, err := json.Marshal(raw)
	if err != nil {
		return raw
	}
	return b
}

// listed is an entry of a list with what it describes.
type listed struct {
	dir       string
	entry     pluginlock.Plugin
	described pluginhost.Described
}

// findListed looks for a plugin by its own name, or by that of its file or
// directory, also as a path.
func findListed(dirs []string, name string) (*listed, error) {
	var found []listed
	var names []string
	for _, dir := range dirs {
		lock, err := pluginlock.Read(dir)
		if err != nil {
			return nil, err
		}
		for _, e := range lock.Plugins {
			l := listed{dir: dir, entry: e}
			l.described, err = pluginhost.ParseDescription(e.Description)
			if err != nil {
				l.described.Name = e.Top()
			}
			names = append(names, l.described.Name)
			if path, err := filepath.Abs(name); name == e.Top() || name == l.described.Name || err == nil && path == filepath.Join(dir, e.Top()) {
				found = append(found, l)
			}
		}
	}
	switch {
	case len(names) == 0:
		return nil, fmt.Errorf("no plugin was added to %s yet: sallyport plugin add PATH", strings.Join(dirs, ", "))
	case len(found) == 0:
		slices.Sort(names)
		return nil, fmt.Errorf("no plugin %q is in the list of %s; there is %s", name, strings.Join(dirs, ", "), strings.Join(slices.Compact(names), ", "))
	case len(found) > 1:
		var paths []string
		for _, l := range found {
			paths = append(paths, filepath.Join(l.dir, l.entry.Top()))
		}
		return nil, fmt.Errorf("%d plugins are called %q; name one by its path: %s", len(found), name, strings.Join(paths, ", "))
	}
	return &found[0], nil
}

func (l *listed) title() string {
	return fmt.Sprintf("%s %s %s", l.described.Kind, l.described.Name, l.described.Version)
}

// someArgs is the Args of a command that takes between least and most of them;
// most < 0 means any number.
func someArgs(least, most int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return usageError{fmt.Errorf("%s needs %s", cmd.CommandPath(), what)}
		case most >= 0 && len(args) > most:
			return usageError{fmt.Errorf("%s takes %s alone: what is %q?", cmd.CommandPath(), what, args[most])}
		}
		return nil
	}
}
