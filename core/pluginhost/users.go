package pluginhost

import (
	"context"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// Defaults for tool types with a process for each user.
const (
	userProcesses = 64
	userIdle      = 10 * time.Minute
)

// userSlot returns the slot of the pool that works for principal alone, and
// keeps it there until leave is called. When there are as many as there may be,
// the one that has been idle for longest makes room.
//
// # Isolation
//
// The principal is part of the key, and a slot never changes its key: what a
// process learned from one user cannot come out to another.
func (h *Host) userSlot(p *plugin, principal string) (s *slot, leave func(), err error) {
	if principal == "" {
		return nil, nil, apierror.New(apierror.Internal, "The plugin %q works for one user at a time and was asked for nobody.", p.Name)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, nil, unavailable(nil, "The plugin %q is not running: the gateway is stopping.", p.Name)
	}
	k := keyOf(p, principal)
	if s = h.slots[k]; s == nil {
		if !h.makeRoom() {
			e := unavailable(nil, "All %d processes that plugins may have for single users are at work; try again.", h.cfg.UserProcesses)
			e.RetryAfter = time.Second
			return nil, nil, e
		}
		s = newSlot(h, p, k)
		h.slots[k] = s
	}
	s.callers++
	return s, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		s.callers--
		s.left = time.Now()
	}, nil
}

// makeRoom ends the process that has been idle for longest when there is no
// room for another one. The lock is held.
func (h *Host) makeRoom() bool {
	n := 0
	var oldest *slot
	for k, s := range h.slots {
		if k.principal == "" {
			continue
		}
		n++
		if s.callers == 0 && (oldest == nil || s.left.Before(oldest.left)) {
			oldest = s
		}
	}
	if n < h.cfg.UserProcesses {
		return true
	}
	if oldest == nil {
		return false
	}
	h.endUser(oldest)
	return true
}

// endUser takes the slot of a user, who has no call under way, out of the pool.
// The lock is held.
func (h *Host) endUser(s *slot) {
	delete(h.slots, s.key)
	shared := s.key
	shared.principal = ""
	if all := h.slots[shared]; all != nil { // keep the sum
		restarts := s.info().Restarts
		all.mu.Lock()
		all.restarts += restarts
		all.mu.Unlock()
	}
	h.wg.Go(func() { s.close(context.Background()) })
}

// reapUsers ends processes of single users that had nothing to do for a while.
func (h *Host) reapUsers() {
	tick := time.NewTicker(max(h.cfg.UserIdle/10, 10*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-h.ctx.Done():
			return
		case now := <-tick.C:
			h.mu.Lock()
			for k, s := range h.slots {
				if !h.closed && k.principal != "" && s.callers == 0 && now.Sub(s.left) >= h.cfg.UserIdle {
					h.endUser(s)
				}
			}
			h.mu.Unlock()
		}
	}
}
