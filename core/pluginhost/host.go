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
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Config says where plugins are and how they are run.
type Config struct {
	Dirs     []string                   // directories of plugin programs; relative ones against the working directory
	Settings map[string]json.RawMessage // the operator's settings by tool type: a JSON object each. A provider's come with each call
	RunDir   string                     // parent of the private run directory; "" means the system's directory for temporary files

	StartTimeout  time.Duration // from start to handshake; 0 means 10 s
	DrainTimeout  time.Duration // for the calls of a process that is replaced or stopped; 0 means 30 s
	HealthEvery   time.Duration // between health checks; 0 means 10 s
	AnswerTimeout time.Duration // for a provider's translator to do something about a request; 0 means 30 s
	Breaker       Breaker

	Launcher   string          // path of the program that confines a plugin and becomes it: sallyport-confine
	Unconfined bool            // start plugins also where this system cannot confine them
	TableDirs  func() []string // directories of the catalog's tables, which engines read; nil means none

	Dev []Dev // plugins under development

	PerUser       map[string]bool // tool types with a process of its own for each user
	UserProcesses int             // such processes at most; 0 means 64
	UserIdle      time.Duration   // after which such a process ends; 0 means 10 m
}

// Host runs the plugins of one gateway process.
type Host struct {
	cfg     Config
	log     *slog.Logger
	run     *runDir
	starter *starter
	metrics *metrics
	conns   int             // to a provider's process at most
	scarce  atomic.Int64    // when the operator was told that there are no descriptors, in Unix seconds
	ctx     context.Context // ends with Close: of the host's own work, not of calls
	cancel  context.CancelFunc
	wg      sync.WaitGroup // every goroutine of the host

	options atomic.Pointer[options]

	reload    sync.Mutex     // one Reload or Close at a time
	verifying sync.WaitGroup // checks of the plugins' files in the background

	mu      sync.Mutex
	plugins []*plugin
	slots   map[key]*slot
	closed  bool
}

// New reads which plugins the operator accepted from the lists in cfg.Dirs. It
// starts none: a process is started when it is first used. A plugin that cannot
// be used is logged and shown by Plugins; a directory or a list that others can
// change is an error.
func New(cfg Config, log *slog.Logger) (*Host, error) {
	cfg.StartTimeout = cmp.Or(cfg.StartTimeout, 10*time.Second)
	cfg.DrainTimeout = cmp.Or(cfg.DrainTimeout, 30*time.Second)
	cfg.AnswerTimeout = cmp.Or(cfg.AnswerTimeout, 30*time.Second)
	cfg.HealthEvery = cmp.Or(cfg.HealthEvery, healthEvery)
	cfg.Breaker = cfg.Breaker.withDefaults()
	cfg.UserProcesses = cmp.Or(cfg.UserProcesses, userProcesses)
	cfg.UserIdle = cmp.Or(cfg.UserIdle, userIdle)
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
	h := &Host{cfg: cfg, log: log, run: run, starter: newStarter(), metrics: newMetrics(), conns: maxConns(), slots: make(map[key]*slot)}
	h.options.Store(&options{cfg.Settings, cfg.PerUser})
	h.ctx, h.cancel = context.WithCancel(context.Background())
	ps, err := h.scan()
	if err != nil {
		h.cancel()
		h.starter.close()
		run.close()
		return nil, err
	}
	h.mu.Lock()
	h.install(ps)
	h.mu.Unlock()
	h.wg.Go(h.reapUsers)
	if err := h.startDev(); err != nil {
		h.Close(h.ctx)
		return nil, err
	}
	return h, nil
}

// install takes over the outcome of a scan, and has the files of the plugins
// checked. It returns the slots whose plugin is gone or was refused. The lock is
// held.
func (h *Host) install(ps []*plugin) (gone []*slot) {
	h.plugins = ps
	keep := make(map[key]bool)
	for _, p := range ps {
		switch {
		case p.unlisted:
			h.log.Warn("plugin is not used: nobody added it", "path", p.path, "run", "sallyport plugin add "+p.path+" --to "+filepath.Dir(p.path))
			continue
		case p.refused != "":
			h.log.Error("plugin refused", "path", p.path, "reason", p.refused)
			continue
		}
		k := keyOf(p, "")
		keep[k] = true
		if h.slots[k] == nil {
			h.slots[k] = newSlot(h, p, k)
		}
	}
	for k, s := range h.slots {
		k.principal = ""
		if !keep[k] {
			gone = append(gone, s)
			delete(h.slots, s.key)
		}
	}
	h.verifying.Go(func() { h.verifyAll(ps) })
	return gone
}

// keyOf is the key of the processes of p that work for a principal, "" for
// everybody.
func keyOf(p *plugin, principal string) key {
	sum := sha256.Sum256(p.settings)
	return key{slotName: p.slot(), settings: hex.EncodeToString(sum[:8]), principal: principal}
}

// find returns the slot and the plugin of a kind and name.
func (h *Host) find(kind, name string) (*slot, *plugin, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range h.plugins {
		if p.usable() && p.Kind == kind && p.Name == name {
			return h.slots[keyOf(p, "")], p, true
		}
	}
	return nil, nil, false
}

// options are the parts of Config that Configure changes.
type options struct {
	settings map[string]json.RawMessage
	perUser  map[string]bool
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

// Close takes no more calls, waits for those under way until ctx ends or the
// drain timeout, stops every process, and removes the run directory.
func (h *Host) Close(ctx context.Context) error {
	h.cancel() // a start under way, which a reload may wait for
	h.reload.Lock()
	defer h.reload.Unlock()
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil
	}
	h.closed = true
	slots := slices.Collect(maps.Values(h.slots))
	h.mu.Unlock()
	var wg sync.WaitGroup
	for _, s := range slots {
		wg.Go(func() { s.close(ctx) })
	}
	wg.Wait()
	h.wg.Wait()
	h.verifying.Wait()
	h.starter.close()
	return h.run.close()
}
