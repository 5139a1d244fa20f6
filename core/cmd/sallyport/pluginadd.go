//go:build unix

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/sallyport-gateway/sallyport/core/config"
	"github.com/sallyport-gateway/sallyport/core/pluginhost"
	"github.com/sallyport-gateway/sallyport/core/pluginlock"
)

func pluginAddCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "add PATH...",
		Short: "accept plugins: what they are now is what the gateway runs",
		Long: `Accept plugins. PATH is a program, a script, or a directory with an executable called "plugin" in it.

It is copied into the directory "plugins" in the data directory of the configuration, unless it lies in a plugins
directory already; its files are hashed; and it is run, confined, to ask what it offers and needs. The gateway runs it
only as long as every file is the same to the byte. Adding a plugin again accepts its new version. A gateway that runs
uses it after "sallyport reload".`,
		Args: someArgs(1, -1, "the path of a plugin"),
	}
	where := placeFlags(cmd)
	how := describeFlags(cmd)
	read := cmd.Flags().StringArray("read", nil, "`path` that the plugin may read, beside what it needs anyway; can be repeated")
	yes := cmd.Flags().Bool("yes", false, "accept without a question")
	quiet := cmd.Flags().BoolP("quiet", "q", false, "with --yes: do not show what is accepted, only what has changed")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, err := where.config()
		if err != nil {
			return err
		}
		a := &adder{
			where: where, gateway: cfg, cfg: how.host(cfg), interpreter: *how.interpreter, yes: *yes, quiet: *quiet && *yes, ctx: cmd.Context(),
			out: cmd.OutOrStdout(), in: cmd.InOrStdin(), log: slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil)),
		}
		for _, r := range *read {
			if r, err = filepath.Abs(r); err != nil {
				return err
			}
			if _, err := os.Stat(r); err != nil {
				return fmt.Errorf("--read: %w", err)
			}
			if err := pluginlock.CheckRead(r); err != nil {
				return fmt.Errorf("--read: %w", err)
			}
			a.read = append(a.read, r)
		}
		var errs []error
		for _, path := range args {
			if filepath.Base(path) == pluginlock.FileName {
				continue // of bin/plugins/*
			}
			if err := a.add(path); err != nil {
				errs = append(errs, err)
			}
		}
		return errors.Join(errs...)
	}
	return cmd
}

// adder is one `plugin add`.
type adder struct {
	where       place
	gateway     *config.Config
	to          string // plugins directory of the plugin that is added
	cfg         pluginhost.Config
	interpreter string
	read        []string
	yes, quiet  bool
	ctx         context.Context
	out         io.Writer
	in          io.Reader
	log         *slog.Logger
}

// choose decides on the plugins directory: that of --to, or the configured one
// in which the plugin lies, or the configuration's own. What is gone from it
// leaves its list.
func (a *adder) choose(c *pluginhost.Candidate) error {
	to, err := *a.where.to, error(nil)
	dirs := a.gateway.Plugins
	if to != "" {
		err = os.MkdirAll(to, 0o755)
	} else if i := slices.IndexFunc(dirs, func(d string) bool { return sameDir(d, c.Root) }); i >= 0 {
		to = dirs[i]
	} else {
		to, err = a.gateway.OwnPlugins(), makeOwnPlugins(a.gateway)
	}
	if err == nil {
		to, err = filepath.Abs(to)
	}
	if err != nil || to == a.to {
		return err
	}
	a.to = to
	return a.dropGone()
}

// add accepts one plugin.
func (a *adder) add(path string) error {
	if err := apart(path, *a.where.to, a.gateway); err != nil {
		return err
	}
	c, err := pluginhost.Find(path, a.interpreter)
	if err != nil {
		return err
	}
	if err := a.choose(c); err != nil {
		return err
	}
	here := a.here(c)
	before, err := a.check(c, here)
	if err != nil {
		return err
	}
	if here && before != nil { // what was accepted beside its files is not in the directory
		if a.interpreter == "" && len(before.Interpreter) > 0 && len(c.Entry.Interpreter) > 0 && c.Entry.Interpreter[0] != before.Interpreter[0] {
			if c, err = pluginhost.Find(path, before.Interpreter[0]); err != nil {
				return err
			}
		}
		if len(a.read) == 0 {
			found := slices.DeleteFunc(c.Entry.Read, func(r string) bool { return slices.Contains(before.Read, r) })
			c.Entry.Read = slices.Concat(before.Read, found)
		}
	}
	c.Entry.Read = append(c.Entry.Read, a.read...)
	if before != nil && a.same(before, &c.Entry) {
		if !a.quiet {
			fmt.Fprintf(a.out, "%s: nothing has changed since it was added\n", c.Entry.Top())
		}
		return nil
	}
	described, err := c.Describe(a.ctx, a.cfg, a.log)
	if err != nil {
		return err
	}
	l := &listed{dir: c.Root, entry: c.Entry, described: described}
	if err := a.free(l); err != nil {
		return err
	}
	if !a.quiet {
		if err := l.print(a.out); err != nil {
			return err
		}
	}
	if err := a.ask(before != nil); err != nil {
		return err
	}
	c.Entry.Added = time.Now().UTC().Truncate(time.Second)
	err = pluginlock.Update(a.to, func(lock *pluginlock.Lock) error {
		if err := a.freeIn(lock, a.to, l); err != nil {
			return err
		}
		if !here {
			if err := a.copy(c); err != nil {
				return err
			}
		}
		lock.Put(c.Entry)
		return nil
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(a.out, "added %s\n", l.title())
	if env := pluginhost.Environment(c.Entry.Interpreter); env != "" {
		fmt.Fprintf(a.out, "not pinned: its virtual environment %q; whoever can write there decides what the plugin does\n", env)
	}
	if !a.quiet {
		fmt.Fprintf(a.out, "A gateway that runs already uses it after `%s`.\n", a.where.reload())
	}
	return nil
}

// here reports whether the plugin lies in the plugins directory.
func (a *adder) here(c *pluginhost.Candidate) bool {
	return sameDir(a.to, c.Root)
}

// check finds the entry that the plugin would replace. A plugin from elsewhere
// may only take the place of one that was added, or of its very copy.
func (a *adder) check(c *pluginhost.Candidate, here bool) (*pluginlock.Plugin, error) {
	if err := pluginlock.CheckDir(a.to); err != nil {
		return nil, err
	}
	lock, err := pluginlock.Read(a.to)
	if err != nil {
		return nil, err
	}
	if before := lock.Find(c.Entry.Main); before != nil {
		return before, nil
	}
	target := filepath.Join(a.to, c.Entry.Top())
	info, err := os.Lstat(target)
	switch {
	case here || errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case info.Mode()&fs.ModeSymlink == 0: // its copy, whose entry was removed, may be replaced
		if files, err := pluginlock.Survey(a.to, c.Entry.Main); err == nil && maps.Equal(files, c.Entry.Files) {
			return nil, nil
		}
	}
	what := "file"
	if info.IsDir() {
		what = "directory"
	}
	return nil, fmt.Errorf("the %s %s is there already, is in no list, and is not what you add: look whether anybody needs it, and delete it (rm -r %s) or rename yours", what, target, target)
}

// same reports whether an entry says of the plugin what it would say again, and
// its files are in place.
func (a *adder) same(before, now *pluginlock.Plugin) bool {
	return maps.Equal(before.Files, now.Files) && slices.Equal(before.Interpreter, now.Interpreter) && slices.Equal(before.Read, now.Read) &&
		before.Verify(a.to) == nil
}

// free refuses a plugin when another one in a directory of the gateway is of the
// same kind and name.
func (a *adder) free(l *listed) error {
	for _, dir := range a.gateway.Plugins {
		lock, err := pluginlock.Read(dir)
		if err != nil {
			return err
		}
		if err := a.freeIn(lock, dir, l); err != nil {
			return err
		}
	}
	return nil
}

// freeIn is free for one directory.
func (a *adder) freeIn(lock *pluginlock.Lock, dir string, l *listed) error {
	for _, e := range lock.Plugins {
		if e.Main == l.entry.Main && sameDir(dir, a.to) {
			continue // it takes its place
		}
		d, err := pluginhost.ParseDescription(e.Description)
		if err == nil && d.Kind == l.described.Kind && d.Name == l.described.Name {
			return fmt.Errorf("two plugins for one %s: %s offers %q, and so does %s, which was added; to use the new one run: sallyport plugin remove %s%s",
				d.Kind, filepath.Join(l.dir, l.entry.Top()), d.Name, filepath.Join(dir, e.Top()), e.Top(), a.where.says(a.gateway, dir))
		}
	}
	return nil
}

func sameDir(a, b string) bool {
	x, err := os.Stat(a)
	y, err2 := os.Stat(b)
	return err == nil && err2 == nil && os.SameFile(x, y)
}

// ask has the operator accept what was printed.
func (a *adder) ask(again bool) error {
	if a.yes {
		return nil
	}
	f, ok := a.in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return usageError{errors.New("nobody can be asked whether to accept this plugin; add --yes to accept it")}
	}
	question := "Add this plugin?"
	if again {
		question = "Accept this in the place of what was added before?"
	}
	fmt.Fprint(a.out, question+" [y/N] ")
	line, err := bufio.NewReader(a.in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if answer := strings.ToLower(strings.TrimSpace(line)); answer != "y" && answer != "yes" {
		return errors.New("not added")
	}
	return nil
}

// copy puts the files into the plugins directory, in the place of those of an
// earlier version. They are checked while they are copied.
func (a *adder) copy(c *pluginhost.Candidate) error {
	tmp, err := os.MkdirTemp(a.to, ".add-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := c.Entry.Copy(c.Root, tmp); err != nil {
		return err
	}
	top := c.Entry.Top()
	target := filepath.Join(a.to, top)
	old := ""
	if c.Entry.Dir() != "" { // a directory is not replaced by a rename
		old = filepath.Join(tmp, ".old")
		if err := os.Rename(target, old); errors.Is(err, fs.ErrNotExist) {
			old = ""
		} else if err != nil {
			return err
		}
	}
	err = os.Rename(filepath.Join(tmp, top), target)
	if err != nil && old != "" {
		err = errors.Join(err, os.Rename(old, target))
	}
	return err
}

// dropGone takes out of the list what is not in the directory any more.
func (a *adder) dropGone() error {
	if err := pluginlock.CheckDir(a.to); err != nil {
		return err
	}
	var gone []string
	err := pluginlock.Update(a.to, func(lock *pluginlock.Lock) error {
		for _, e := range lock.Plugins {
			if _, err := os.Lstat(filepath.Join(a.to, e.Top())); errors.Is(err, fs.ErrNotExist) {
				gone = append(gone, e.Top())
			}
		}
		for _, top := range gone {
			lock.Remove(top)
		}
		return nil
	})
	for _, top := range gone {
		fmt.Fprintf(a.out, "removed %s from the list: it is gone\n", top)
	}
	return err
}
