package pluginhost

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// Change is a change of the plugins that can still be taken back. Either Keep or
// Undo is called, once.
type Change struct {
	host   *Host
	was    *options
	before []*plugin
	gone   []*slot   // of plugins that are gone or refused now; they go on until Keep
	left   []*plugin // of before, and not of the plugins now
}

// Configure puts settings and perUser in the place of Config.Settings and
// Config.PerUser, and then does what Reload does, so that it can be taken back.
// After an error everything is as it was.
func (h *Host) Configure(_ context.Context, settings map[string]json.RawMessage, perUser map[string]bool) (*Change, error) {
	h.reload.Lock()
	defer h.reload.Unlock()
	was := h.options.Swap(&options{settings, perUser})
	c, err := h.scanned(was)
	if err != nil {
		h.options.Store(was)
	}
	return c, err
}

// Reload reads the lists again. A plugin that is new can be used; one that is
// gone is drained and stopped; of one that was added anew a fresh process takes
// over while the old one finishes its calls. When a plugin that was used is
// refused now, or a new process does not start, everything stays as it was, and
// the error names them.
func (h *Host) Reload(context.Context) error {
	h.reload.Lock()
	defer h.reload.Unlock()
	c, err := h.scanned(h.options.Load())
	if err != nil {
		return err
	}
	c.Keep()
	return nil
}

// scanned puts the plugins of the lists in the place of those there are. reload
// is held. was are the options to go back to.
func (h *Host) scanned(was *options) (*Change, error) {
	ps, err := h.scan()
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	ps = h.withDevs(ps)
	h.mu.Unlock()
	return h.swap(ps, was)
}

// withDevs keeps the plugins under development, which no list has. mu is held.
func (h *Host) withDevs(ps []*plugin) []*plugin {
	for _, p := range h.plugins {
		if p.dev {
			ps = overrule(ps, p)
		}
	}
	return ps
}

// swap puts ps in the place of the plugins. After an error they are those of
// before.
func (h *Host) swap(ps []*plugin, was *options) (*Change, error) {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil, errors.New("plugin host is closed")
	}
	if err := lostPlugins(h.plugins, ps); err != nil {
		h.mu.Unlock()
		return nil, err
	}
	c := &Change{host: h, was: was, before: h.plugins}
	old := make(map[string]*plugin)
	for _, p := range h.plugins {
		old[p.path] = p
	}
	for k, p := range ps {
		if was := old[p.path]; was != nil && p.same(was) {
			ps[k] = was // with its private copy
			delete(old, p.path)
		}
	}
	for _, p := range old {
		c.left = append(c.left, p)
	}
	c.gone = h.install(ps)
	stale := h.stale(ps)
	h.mu.Unlock()
	if err := replaceAll(stale); err != nil {
		return nil, errors.Join(err, c.undo())
	}
	return c, nil
}

// stale are the slots that run something else than ps say, with what they
// should run. mu is held.
func (h *Host) stale(ps []*plugin) map[*slot]*plugin {
	stale := make(map[*slot]*plugin)
	for _, p := range ps {
		if !p.usable() {
			continue
		}
		for k, s := range h.slots {
			if k.principal = ""; k == keyOf(p, "") && !s.runs(p) {
				stale[s] = p
			}
		}
	}
	return stale
}

func replaceAll(stale map[*slot]*plugin) error {
	var errs []error
	for s, p := range stale {
		errs = append(errs, s.replace(p))
	}
	return errors.Join(errs...)
}

// Keep makes the change final: plugins that are gone are drained and stopped.
func (c *Change) Keep() { c.host.leave(c.gone, c.left) }

// leave drains and stops what nobody asks for any more.
func (h *Host) leave(slots []*slot, plugins []*plugin) {
	for _, s := range slots {
		h.wg.Go(func() { s.close(context.Background()) })
	}
	for _, p := range plugins {
		if p.image != nil {
			p.image.drop()
		}
	}
}

// Undo brings back the settings and the plugins of before. Those that were gone
// have served on all the while. One that was added anew since stays so: the files
// of before are not there any more.
func (c *Change) Undo() error {
	c.host.reload.Lock()
	defer c.host.reload.Unlock()
	return c.undo()
}

func (c *Change) undo() error {
	h := c.host
	h.options.Store(c.was)
	ps, err := h.scan()
	if err != nil {
		ps = nil // the plugins of before are all that is known
	}
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		h.leave(c.gone, nil)
		return nil
	}
	ps = h.withDevs(restored(c.before, h.plugins, ps))
	stays := make(map[*plugin]bool)
	for _, p := range ps {
		stays[p] = true
	}
	for _, s := range c.gone {
		if h.slots[s.key] == nil {
			h.slots[s.key] = s
		}
	}
	left := slices.DeleteFunc(slices.Concat(c.left, h.plugins), func(p *plugin) bool { return stays[p] })
	gone := h.install(ps)
	stale := h.stale(ps)
	h.mu.Unlock()
	err = replaceAll(stale)
	h.leave(gone, left)
	return err
}

// restored are the plugins found, and those of before whose place none of them
// takes. Of what is the same as before or now it takes the one there is, with its
// private copy.
func restored(before, now, found []*plugin) []*plugin {
	taken := make(map[slotName]bool)
	for k, p := range found {
		for _, was := range slices.Concat(now, before) {
			if p.same(was) {
				found[k] = was
			}
		}
		taken[p.slot()] = taken[p.slot()] || p.usable()
	}
	for _, p := range before {
		if p.usable() && !taken[p.slot()] {
			found = append(slices.DeleteFunc(found, func(f *plugin) bool { return f.path == p.path }), p)
		}
	}
	return found
}

// same reports whether nothing is to be done to get from was to p.
func (p *plugin) same(was *plugin) bool {
	return p.usable() && was.usable() && p.digest == was.digest && p.path == was.path && bytes.Equal(p.settings, was.settings)
}

// lostPlugins names the plugins that could be used before and are refused now.
func lostPlugins(before, now []*plugin) error {
	usable := make(map[string]bool)
	for _, p := range before {
		usable[p.path] = p.usable()
	}
	var errs []error
	for _, p := range now {
		if p.refused != "" && !p.unlisted && usable[p.path] {
			errs = append(errs, fmt.Errorf("plugin %q: %s", p.path, p.refused))
		}
	}
	return errors.Join(errs...)
}
