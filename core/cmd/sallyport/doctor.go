//go:build unix

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/sallyport-gateway/sallyport/core/config"
	"github.com/sallyport-gateway/sallyport/core/gateway"
	"github.com/sallyport-gateway/sallyport/core/pluginhost"
	"github.com/sallyport-gateway/sallyport/core/toolset"
)

func doctorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "say whether a gateway can run here, and what confines its plugins",
		Long:  "Look at everything a gateway needs: this system and what it confines plugins with, the plugins and whether they are trusted, the data directory, the addresses. Nothing is changed. The exit code is 1 when something would stop `sallyport serve`.",
		Args:  noArgs,
	}
	file := configFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		d := &doctor{out: cmd.OutOrStdout()}
		d.system()
		cfg, err := load(*file)
		if err != nil {
			d.bad("configuration", "%v", err)
			cfg = &config.Config{} // of the launcher and the system something can be said all the same
		} else {
			d.ok("configuration", "%s", describeFile(cfg))
		}
		d.confinement(cfg)
		running := false
		if err == nil {
			d.whole(cmd.Context(), cfg, d.plugins(cfg))
			d.code(cfg)
			if running = d.data(cfg); running {
				d.health(cmd.Context(), cfg)
			}
			d.address("listen", cfg.Listen.Address, running)
			if cfg.Metrics != "" {
				d.address("metrics", cfg.Metrics, running)
			}
		}
		if d.problems > 0 {
			return fmt.Errorf("%d of these would stop `sallyport serve`", d.problems)
		}
		if running {
			fmt.Fprintln(d.out, "\nA gateway runs over this data directory, so a second one would be refused. Nothing else would stop `sallyport serve`.")
			return nil
		}
		fmt.Fprintln(d.out, "\nNothing would stop `sallyport serve`.")
		return nil
	}
	return cmd
}

// doctor writes the report: a line for each thing looked at.
type doctor struct {
	out      io.Writer
	problems int // things that would stop serve
}

func (d *doctor) line(mark, what, format string, args ...any) {
	fmt.Fprintf(d.out, "%-4s  %-13s  %s\n", mark, what, fmt.Sprintf(format, args...))
}

func (d *doctor) ok(what, format string, args ...any)   { d.line("ok", what, format, args...) }
func (d *doctor) note(what, format string, args ...any) { d.line("note", what, format, args...) }
func (d *doctor) bad(what, format string, args ...any) {
	d.problems++
	d.line("STOP", what, format, args...)
}

func (d *doctor) system() {
	kernel := ""
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		kernel = ", " + unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:])
	}
	d.ok("system", "%s/%s%s; sallyport %s", runtime.GOOS, runtime.GOARCH, kernel, version)
	name := ""
	if u, err := user.Current(); err == nil {
		name = u.Username + ", "
	}
	if os.Geteuid() == 0 {
		d.note("user", "%suid 0: plugins run under user ids of their own, but a mistake of the gateway itself would have root's rights; an ordinary user is enough", name)
		return
	}
	d.ok("user", "%suid %d", name, os.Geteuid())
}

func describeFile(cfg *config.Config) string {
	if cfg.File() == "" {
		return "built in (no --config)"
	}
	return cfg.File()
}

func (d *doctor) confinement(cfg *config.Config) {
	c := pluginhost.Config{Launcher: cfg.Launcher, Unconfined: cfg.Unconfined == "allow"}
	granted, err := c.Confinement()
	d.ok("kernel", "landlock=%d seccomp=%t no_new_privs=%t", granted.Landlock, granted.Seccomp, granted.NoNewPrivs)
	for _, gap := range granted.Missing {
		d.note("kernel", "%s", gap)
	}
	switch {
	case err != nil:
		d.bad("confinement", "%v", err)
	case c.Unconfined && !granted.Full():
		d.note("confinement", "unconfined: allow is set; a bad plugin reaches what the gateway's user may where the kernel grants less")
	case c.Unconfined:
		d.note("confinement", "unconfined: allow is set and not needed here; leave it out")
	default:
		d.ok("confinement", "every plugin process is confined, by the launcher that was found")
	}
}

// plugins returns what it said of those that are not used.
func (d *doctor) plugins(cfg *config.Config) (unused []string) {
	for _, dir := range cfg.Plugins {
		d.ok("plugins", "directory %s", dir)
	}
	h, err := pluginhost.New(pluginhost.Config{Dirs: cfg.Plugins, Launcher: cfg.Launcher}, slog.New(slog.DiscardHandler))
	if err != nil {
		d.bad("plugins", "%v", err)
		return nil
	}
	defer closeHost(h)
	unused = h.Problems() // reads every file
	engine := false
	for _, p := range h.Plugins() {
		if p.State == pluginhost.Refused || p.State == pluginhost.Unlisted {
			continue
		}
		d.ok("plugins", "%s %s %s", p.Kind, p.Name, p.Version)
		engine = engine || p.Kind == "engine"
	}
	for _, line := range unused {
		d.note("plugins", "%s", reloadWith(line, cfg.File()))
	}
	if !engine {
		d.note("SQL engine", "none: tables cannot be queried; building it needs a C++ compiler (apt-get install g++, then make build)")
	}
	return unused
}

// whole looks at what only the parts together can tell, as `sallyport check`
// does: settings against the plugins' schemas, grants, tables, secrets. It leaves
// out what was told already.
func (d *doctor) whole(ctx context.Context, cfg *config.Config, told []string) {
	warnings, err := gateway.Check(ctx, cfg)
	if err != nil {
		d.bad("configuration", "%v", err)
	}
	for _, line := range slices.Concat(cfg.NotInForce(), cfg.MissingSecrets(), warnings) {
		if !slices.Contains(told, line) {
			d.note("configuration", "%s", line)
		}
	}
}

// code looks at what runs the programs of models. Nothing of it stops serve; a
// language that models are offered and cannot have makes /health degraded.
func (d *doctor) code(cfg *config.Config) {
	c := gateway.CodeExecution(cfg)
	there := strings.Join(c.Languages, ", ")
	switch {
	case cfg.CodeExecution.Offer == toolset.OfferNever:
		d.ok("code", "models are offered to run no programs (offer: never); plugins can have them run in %s", cmp.Or(there, "no language"))
	case there != "":
		d.ok("code", "models can run programs in %s; offered: %s", there, cfg.CodeExecution.Offer)
	}
	for _, line := range c.Notes {
		d.note("code", "%s", line)
	}
	if len(c.Lost) > 0 {
		d.note("code", "models lack %s: `sallyport serve` starts without, and GET /health says degraded, until that is made good or code_execution offers less", strings.Join(c.Lost, ", "))
	}
}

// data reports whether a gateway runs over the data directory.
func (d *doctor) data(cfg *config.Config) (running bool) {
	dir := cfg.Data.Dir
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		parent := filepath.Dir(dir)
		for {
			if _, err := os.Stat(parent); err == nil || parent == filepath.Dir(parent) {
				break
			}
			parent = filepath.Dir(parent)
		}
		if unix.Access(parent, unix.W_OK) != nil {
			d.bad("data", "%s does not exist, and this user may not make it in %s", dir, parent)
			return false
		}
		d.ok("data", "%s will be made at the first start", dir)
		return false
	case err != nil:
		d.bad("data", "%v", err)
		return false
	case !info.IsDir():
		d.bad("data", "%s is not a directory", dir)
		return false
	case unix.Access(dir, unix.W_OK) != nil:
		d.bad("data", "%s cannot be written by this user", dir)
		return false
	}
	if c, err := net.DialTimeout("unix", filepath.Join(dir, gateway.ControlSocket), time.Second); err == nil {
		c.Close()
		d.note("data", "%s, in which a gateway runs now", dir)
		return true
	}
	d.ok("data", "%s", dir)
	return false
}

// health tells what GET /health of the gateway that runs has to say: it may have
// begun before what was looked at here was put right.
func (d *doctor) health(ctx context.Context, cfg *config.Config) {
	running, err := gateway.Control(cfg.Data.Dir)
	var problems []string
	if err == nil {
		problems, err = running.Problems(ctx)
	}
	if err != nil {
		d.note("gateway", "the one that runs could not be asked how it is: %v", err)
		return
	}
	for _, p := range problems {
		d.note("gateway", "GET /health of the one that runs says: %s", p)
	}
	if len(problems) == 0 {
		d.ok("gateway", "GET /health of the one that runs says ok")
	}
}

// address tries to listen. That it is taken is no problem when a gateway of
// this configuration runs.
func (d *doctor) address(what, addr string, running bool) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", addr)
	if err == nil {
		l.Close()
		d.ok(what, "%s is free", addr)
		return
	}
	if running && errors.Is(err, unix.EADDRINUSE) {
		d.ok(what, "%s is taken, by the gateway that runs", addr)
		return
	}
	d.bad(what, "%v", err)
}
