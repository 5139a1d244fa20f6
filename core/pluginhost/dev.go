package pluginhost

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sallyport-gateway/sallyport/core/pluginlock"
)

// Dev is a plugin under development: what its directory holds is built and run,
// again after each change, and no list says what it has to be. It is confined
// like any other. It takes the place of a plugin of the same name that was
// added.
type Dev struct {
	Name string
	Dir  string // a directory of Go files with a main package, a plugin that is a directory, or a script
}

const (
	devPoll  = 300 * time.Millisecond // how often the files are looked at
	devStart = 24 * time.Hour         // from start to handshake: a debugger may hold the process
)

// developer watches one Dev.
type developer struct {
	host *Host
	dev  Dev
	log  *slog.Logger
	out  string   // of the last build, "" if none
	dirs []string // of the Go packages that the program is made of
}

// everything lets records of every level through: a developer sees what the
// plugin logs whatever the gateway's own level is.
type everything struct{ slog.Handler }

func (everything) Enabled(context.Context, slog.Level) bool { return true }

func (e everything) WithAttrs(a []slog.Attr) slog.Handler {
	return everything{e.Handler.WithAttrs(a)}
}

func (e everything) WithGroup(name string) slog.Handler { return everything{e.Handler.WithGroup(name)} }

// logOf is the log of a plugin's processes.
func (h *Host) logOf(p *plugin) *slog.Logger {
	log := h.log
	if p.dev {
		log = slog.New(everything{log.Handler()})
	}
	return log.With("plugin", p.Name)
}

// startDev builds the plugins under development and watches their files.
func (h *Host) startDev() error {
	for _, d := range h.cfg.Dev {
		dir, err := filepath.Abs(d.Dir)
		if err != nil {
			return err
		}
		w := &developer{host: h, dev: Dev{d.Name, dir}, log: slog.New(everything{h.log.Handler()}).With("plugin", d.Name)}
		w.log.Warn("THIS PLUGIN IS NOT PINNED: whatever its directory holds is run, confined, after each change", "dir", dir)
		w.dirs = w.packages()
		seen := w.fingerprint()
		if err := w.update(); err != nil {
			return fmt.Errorf("plugin %q under development: %w", d.Name, err)
		}
		h.wg.Go(func() { w.watch(seen) })
	}
	return nil
}

// watch builds again whenever a file has changed and nothing changes any more.
func (w *developer) watch(seen string) {
	tick := time.NewTicker(devPoll)
	defer tick.Stop()
	for last := seen; ; {
		select {
		case <-w.host.ctx.Done():
			return
		case <-tick.C:
		}
		now := w.fingerprint()
		if now == seen || now != last {
			last = now
			continue
		}
		w.dirs = w.packages() // an import may be new
		seen = w.fingerprint()
		last = seen
		if err := w.update(); err != nil && w.host.ctx.Err() == nil {
			w.log.Error("the change is not used, what ran before goes on")
			for line := range strings.Lines(err.Error()) {
				w.log.Error(strings.TrimRight(line, "\n"))
			}
		}
	}
}

// update builds the plugin, asks it what it is, and puts it in the place of its
// last version.
func (w *developer) update() error {
	begin := time.Now()
	path, err := w.build()
	if err != nil {
		return err
	}
	p, err := w.load(path)
	if err != nil {
		w.discard(path)
		return err
	}
	switch used, err := w.host.develop(p); {
	case err != nil:
		w.discard(path)
		return err
	case !used:
		w.discard(path)
		w.log.Info("the change makes no difference to the plugin")
		return nil
	}
	old := w.out
	w.out = path
	w.discard(old)
	w.log.Info("plugin built and in use", "elapsed", time.Since(begin).Round(time.Millisecond))
	w.host.wg.Go(func() { w.host.warm(p) })
	return nil
}

func (w *developer) load(path string) (*plugin, error) {
	c, err := Find(path, "")
	if err != nil {
		return nil, err
	}
	h := w.host
	d, err := c.describe(h.ctx, h.run, h.starter, h.cfg, w.log)
	if err != nil {
		return nil, err
	}
	if d.Name != w.dev.Name {
		return nil, fmt.Errorf("it calls itself %s %q; start the gateway with --dev %s", d.Kind, d.Name, d.Name)
	}
	return &plugin{
		Described: d, path: w.dev.Dir, digest: digest(c.Entry), settings: h.options.Load().settings[d.Name], dev: true,
		image: &image{run: h.run, root: c.Root, entry: c.Entry},
	}, nil
}

// discard removes a build; what is executed stays until it ends.
func (w *developer) discard(path string) {
	if path != "" && path != w.dev.Dir {
		os.RemoveAll(filepath.Dir(path))
	}
}

// build makes the program. A plugin that is not built is its own.
func (w *developer) build() (string, error) {
	if !isGo(w.dev.Dir) {
		return w.dev.Dir, nil
	}
	to, err := w.host.run.process()
	if err != nil {
		return "", err
	}
	program := filepath.Join(to, filepath.Base(w.dev.Dir))
	// Without optimisation, so that a debugger shows what was written.
	cmd := exec.CommandContext(w.host.ctx, "go", "build", "-gcflags", "all=-N -l", "-o", program, ".")
	cmd.Dir = w.dev.Dir
	if out, err := cmd.CombinedOutput(); err != nil {
		os.RemoveAll(to)
		return "", fmt.Errorf("go build: %w\n%s", err, strings.TrimSpace(string(out)))
	}
	return program, nil
}

// packages are the directories of the packages that a Go program is made of, but
// for those that do not change: the standard library and downloaded modules.
func (w *developer) packages() []string {
	if !isGo(w.dev.Dir) {
		return nil
	}
	cmd := exec.CommandContext(w.host.ctx, "go", "list", "-deps", "-f", "{{if not .Standard}}{{.Dir}}{{end}}", ".")
	cmd.Dir = w.dev.Dir
	out, err := cmd.Output()
	if err != nil {
		return w.dirs
	}
	var dirs []string
	for line := range strings.Lines(string(out)) {
		dir := strings.TrimSpace(line)
		if dir != "" && !strings.Contains(filepath.ToSlash(dir), "/pkg/mod/") {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// isGo reports whether dir holds Go files, and no plugin that is ready to run.
func isGo(dir string) bool {
	if isProgram(dir) {
		return false
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	return err == nil && len(files) > 0
}

// fingerprint changes when a file of the plugin does.
func (w *developer) fingerprint() string {
	sum := sha256.New()
	note := func(path string, info fs.FileInfo) {
		fmt.Fprintln(sum, path, info.Size(), info.ModTime().UnixNano(), info.Mode())
	}
	if isGo(w.dev.Dir) {
		for _, dir := range append([]string{w.dev.Dir}, w.dirs...) {
			entries, _ := os.ReadDir(dir) // a directory that is gone is a change too
			for _, e := range entries {
				if info, err := e.Info(); err == nil && info.Mode().IsRegular() && !strings.HasPrefix(e.Name(), ".") {
					note(filepath.Join(dir, e.Name()), info)
				}
			}
		}
		return hex.EncodeToString(sum.Sum(nil))
	}
	filepath.WalkDir(w.dev.Dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if path != w.dev.Dir && pluginlock.Excluded(e.Name()) {
			if e.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		if info, err := e.Info(); err == nil && !info.IsDir() {
			note(path, info)
		}
		return nil
	})
	return hex.EncodeToString(sum.Sum(nil))
}

// develop puts a new version of a plugin under development into the pool, and
// reports whether it differs from the last one.
func (h *Host) develop(p *plugin) (used bool, err error) {
	h.reload.Lock()
	defer h.reload.Unlock()
	h.mu.Lock()
	others := slices.DeleteFunc(slices.Clone(h.plugins), func(o *plugin) bool { return o.dev && o.path == p.path })
	h.mu.Unlock()
	c, err := h.swap(overrule(others, p), h.options.Load())
	if err != nil {
		return false, err
	}
	c.Keep()
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Contains(h.plugins, p), nil
}

// overrule puts plugins under development in the place of others of their name.
func overrule(ps []*plugin, devs ...*plugin) []*plugin {
	ps = slices.DeleteFunc(ps, func(p *plugin) bool {
		return slices.ContainsFunc(devs, func(d *plugin) bool { return !p.dev && p.slot() == d.slot() })
	})
	return append(ps, devs...)
}

// warm starts a plugin under development, so that its author sees at once
// whether it does.
func (h *Host) warm(p *plugin) {
	s, _, ok := h.find(p.Kind, p.Name)
	if !ok || h.options.Load().perUser[p.Name] {
		return
	}
	if proc, err := s.acquire(h.ctx); err == nil {
		proc.calls.add(-1)
	} else if h.ctx.Err() == nil && !errors.Is(err, context.Canceled) {
		h.logOf(p).Error("plugin did not start", "error", err)
	}
}
