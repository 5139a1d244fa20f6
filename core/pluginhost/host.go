// Package pluginhost starts, watches, restarts and drains plugin processes, and
// hands out the interfaces of the sdk that they serve. A plugin is always a
// process of its own: what it does wrong costs its own calls only, and it sees
// nothing of the gateway but those calls.
package pluginhost

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// Config says where plugins are and how they are run.
type Config struct {
	Dirs     []string                   // directories of plugin programs; relative ones against the working directory
	Settings map[string]json.RawMessage // the operator's settings by plugin name, whatever the kind: a JSON object each
	RunDir   string                     // parent of the private run directory; "" means the system's directory for temporary files

	StartTimeout time.Duration // from start to handshake; 0 means 10 s
	DrainTimeout time.Duration // for the calls of a process that is replaced or stopped; 0 means 30 s
	HealthEvery  time.Duration // between health checks; 0 means 10 s
	Breaker      Breaker
	Command      Command // builds the commands of plugins; nil runs the program as it is
}

// Host runs the plugins of one gateway process.
type Host struct {
	cfg     Config
	log     *slog.Logger
	run     *runDir
	starter *starter
	metrics *metrics
	ctx     context.Context // ends with Close: of the host's own work, not of calls
	cancel  context.CancelFunc
	wg      sync.WaitGroup // every goroutine of the host

	reload sync.Mutex // one Reload or Close at a time

	mu      sync.Mutex
	plugins []*plugin
	slots   map[key]*slot
	closed  bool
}

// New looks for plugins in cfg.Dirs and asks each what it is. No process stays:
// one is started when it is first used. A program that is not a plugin, or
// cannot be trusted, is logged and shown by Plugins; a directory that cannot be
// trusted is an error.
func New(cfg Config, log *slog.Logger) (*Host, error) {
	cfg.StartTimeout = cmp.Or(cfg.StartTimeout, 10*time.Second)
	cfg.DrainTimeout = cmp.Or(cfg.DrainTimeout, 30*time.Second)
	cfg.HealthEvery = cmp.Or(cfg.HealthEvery, healthEvery)
	cfg.Breaker = cfg.Breaker.withDefaults()
	if cfg.Command == nil {
		cfg.Command = plainCommand
	}
	dirs := make([]string, len(cfg.Dirs))
	for i, d := range cfg.Dirs {
		abs, err := filepath.Abs(d) // processes have another working directory
		if err != nil {
			return nil, fmt.Errorf("plugin directory %q: %w", d, err)
		}
		dirs[i] = abs
	}
	cfg.Dirs = dirs
	run, err := newRunDir(cfg.RunDir)
	if err != nil {
		return nil, err
	}
	h := &Host{cfg: cfg, log: log, run: run, starter: newStarter(), metrics: newMetrics(), slots: make(map[key]*slot)}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	ps, err := h.scan(h.ctx)
	if err != nil {
		h.cancel()
		h.starter.close()
		run.close()
		return nil, err
	}
	h.install(ps)
	return h, nil
}

// command is an exec.Cmd ready for the starter.
type command = exec.Cmd

// command builds the command of a launch with the environment, directory and
// streams that every plugin gets.
func (h *Host) command(l Launch, dir string) (*command, error) {
	cmd, err := h.cfg.Command(l)
	if err != nil {
		return nil, err
	}
	cmd.Env = append(environment(dir), cmd.Env...)
	cmd.Dir = dir
	return cmd, nil
}

// install takes over the outcome of a scan and returns the slots whose plugin
// is gone or was refused.
func (h *Host) install(ps []*plugin) (gone []*slot) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.plugins = ps
	keep := make(map[key]bool)
	for _, p := range ps {
		if p.refused != "" {
			h.log.Error("plugin refused", "path", p.path, "reason", p.refused)
			continue
		}
		k := keyOf(p)
		keep[k] = true
		if h.slots[k] == nil {
			h.slots[k] = newSlot(h, p, k)
		}
	}
	for k, s := range h.slots {
		if !keep[k] {
			gone = append(gone, s)
			delete(h.slots, k)
		}
	}
	return gone
}

func keyOf(p *plugin) key {
	sum := sha256.Sum256(p.settings)
	return key{slotName: p.slot(), settings: hex.EncodeToString(sum[:8])}
}

// find returns the slot and the plugin of a kind and name.
func (h *Host) find(kind, name string) (*slot, *plugin, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range h.plugins {
		if p.refused == "" && p.kind == kind && p.name == name {
			return h.slots[keyOf(p)], p, true
		}
	}
	return nil, nil, false
}

// Reload looks at the directories again. A plugin that is new can be used; one
// that is gone is drained and stopped; of one whose file changed a new process
// takes over while the old one finishes its calls. When a program that was
// used is refused now, nothing changes; a plugin whose new process does not
// start stays as it was. Both are named in the error.
func (h *Host) Reload(ctx context.Context) error {
	h.reload.Lock()
	defer h.reload.Unlock()
	ps, err := h.scan(ctx)
	if err != nil {
		return err
	}
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return errors.New("plugin host is closed")
	}
	if err := lostPlugins(h.plugins, ps); err != nil {
		h.mu.Unlock()
		return err
	}
	before := h.slots
	h.slots = make(map[key]*slot, len(before))
	for k, s := range before {
		h.slots[k] = s
	}
	h.mu.Unlock()
	gone := h.install(ps)
	var errs []error
	for _, p := range ps {
		s := before[keyOf(p)]
		if p.refused != "" || s == nil || s.same(p) {
			continue
		}
		errs = append(errs, s.replace(p))
	}
	for _, s := range gone {
		h.wg.Go(func() { s.close(context.Background()) })
	}
	return errors.Join(errs...)
}

// lostPlugins names the programs that could be used before and are refused now.
func lostPlugins(before, now []*plugin) error {
	usable := make(map[string]bool)
	for _, p := range before {
		usable[p.path] = p.refused == ""
	}
	var errs []error
	for _, p := range now {
		if p.refused != "" && usable[p.path] {
			errs = append(errs, fmt.Errorf("plugin %q: %s", p.path, p.refused))
		}
	}
	return errors.Join(errs...)
}

// Replace starts a fresh process of a running plugin, which takes over while
// the old one finishes its calls. It does nothing when the plugin is not
// running.
func (h *Host) Replace(kind, name string) error {
	s, p, ok := h.find(kind, name)
	if !ok {
		return fmt.Errorf("no %s plugin is named %q", kind, name)
	}
	return s.replace(p)
}

// State says what a plugin is doing.
type State string

// The states.
const (
	Idle     State = "idle" // not started, or ended and not needed again yet
	Starting State = "starting"
	Running  State = "running"
	Broken   State = "broken"  // crashed too often: see LastError and RetryIn
	Refused  State = "refused" // never used: see LastError
)

// Info describes one plugin.
type Info struct {
	Kind      string        `json:"kind,omitempty"`
	Name      string        `json:"name"`
	Version   string        `json:"version,omitempty"`
	Path      string        `json:"path"`
	State     State         `json:"state"`
	PID       int           `json:"pid,omitempty"`
	Started   time.Time     `json:"started,omitzero"`
	InFlight  int           `json:"in_flight,omitempty"`
	Restarts  int           `json:"restarts,omitempty"`
	RetryIn   time.Duration `json:"retry_in,omitempty"` // of Broken
	LastError string        `json:"last_error,omitempty"`

	Calls  uint64        `json:"calls,omitempty"`  // of a tool also its openings; of a provider its translations
	Errors uint64        `json:"errors,omitempty"` // calls that failed, those given up by the caller apart
	P50    time.Duration `json:"p50,omitempty"`    // of the calls of the last ten minutes
	P99    time.Duration `json:"p99,omitempty"`
	Memory int64         `json:"memory,omitempty"` // resident bytes of its processes
}

// Plugins describes every program found, by kind and name.
func (h *Host) Plugins() []Info {
	infos := h.infos()
	for k := range infos {
		if i := &infos[k]; i.State != Refused {
			h.metrics.of(slotName{i.Kind, i.Name}).summary(i)
		}
	}
	return infos
}

func (h *Host) infos() []Info {
	h.mu.Lock()
	defer h.mu.Unlock()
	infos := make([]Info, 0, len(h.plugins))
	for _, p := range h.plugins {
		if p.refused != "" {
			infos = append(infos, Info{Kind: p.kind, Name: p.name, Version: p.version, Path: p.path, State: Refused, LastError: p.refused})
			continue
		}
		infos = append(infos, h.slots[keyOf(p)].info())
	}
	slices.SortFunc(infos, func(a, b Info) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Path, b.Path))
	})
	return infos
}

// Close takes no more calls, waits for those under way until ctx ends or the
// drain timeout, stops every process, and removes the run directory.
func (h *Host) Close(ctx context.Context) error {
	h.reload.Lock()
	defer h.reload.Unlock()
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil
	}
	h.closed = true
	slots := h.slots
	h.mu.Unlock()
	h.cancel()
	var wg sync.WaitGroup
	for _, s := range slots {
		wg.Go(func() { s.close(ctx) })
	}
	wg.Wait()
	h.wg.Wait()
	h.starter.close()
	return h.run.close()
}
