package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// key tells the processes of the pool apart. Two calls share a process only
// when all of it is equal.
type key struct {
	slotName
	settings  string // hash of the operator's settings
	principal string // for whom alone the process works; "" for everybody
}

// slot is one place of the pool: at most one process that takes calls, started
// when the first one comes and again when it died.
type slot struct {
	host  *Host
	key   key
	log   *slog.Logger
	stats stats

	callers int       // of a user's slot: who keep it in the pool; guarded by the host's lock
	left    time.Time // when the last of them left

	renewing sync.Mutex // one renew at a time

	mu        sync.Mutex
	plugin    *plugin
	cur       *process
	starting  *startCall
	crashes   *crashes
	restarts  int
	ended     bool   // a process did, without being asked to
	lastError string // for the operator
	lastTold  string // the same for clients
	closed    bool
}

// startCall is a start under way that callers wait for together.
type startCall struct {
	done chan struct{}
	err  error
}

func newSlot(h *Host, p *plugin, k key) *slot {
	return &slot{host: h, key: k, plugin: p, log: h.logOf(p), stats: h.metrics.of(k.slotName), crashes: newCrashes(h.cfg.Breaker)}
}

func unavailable(cause error, format string, args ...any) *apierror.Error {
	return apierror.Wrap(apierror.Unavailable, cause, format, args...)
}

// acquire returns a running process, with one call counted on it: release it.
// It waits for a start, and for the pause between restarts, not for the
// breaker.
func (s *slot) acquire(ctx context.Context) (*process, error) {
	for {
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return nil, unavailable(nil, "The plugin %q is not running: the gateway is stopping or no longer uses it.", s.key.name)
		}
		if p := s.cur; p != nil && !p.alive() {
			s.mu.Unlock()
			<-p.program.ended // its last words, at most outputGrace from now
			s.mu.Lock()
			s.crashed(p)
			s.mu.Unlock()
			continue
		} else if p != nil {
			p.calls.add(1)
			s.mu.Unlock()
			return p, nil
		}
		call := s.starting
		if call == nil {
			pause, open := s.crashes.wait(time.Now())
			if open {
				err := s.brokenLocked(pause)
				s.mu.Unlock()
				return nil, err
			}
			call = s.begin(pause)
		}
		s.mu.Unlock()
		select {
		case <-call.done:
			if call.err != nil {
				return nil, call.err
			}
		case <-ctx.Done():
			return nil, apierror.Wrap(apierror.Canceled, context.Cause(ctx), "The request was cancelled.")
		}
	}
}

func (s *slot) brokenLocked(pause time.Duration) *apierror.Error {
	e := unavailable(nil, "The plugin %q keeps crashing and is not started again for %s. Last: %s", s.key.name, pause.Round(time.Second), s.lastTold)
	e.RetryAfter = pause
	return e
}

// begin makes the slot's process after pause, in the background. The lock is
// held, and no other start is under way.
func (s *slot) begin(pause time.Duration) *startCall {
	call := &startCall{done: make(chan struct{})}
	s.starting = call
	s.host.wg.Go(func() { s.start(call, pause) })
	return call
}

// start makes the slot's process after pause. It runs alone.
func (s *slot) start(call *startCall, pause time.Duration) {
	defer close(call.done)
	wait := time.NewTimer(pause)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-s.host.ctx.Done():
	}
	s.mu.Lock()
	p := s.plugin
	s.mu.Unlock()
	proc, err := s.host.startProcess(p, s.key.principal)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.starting = nil
	if err != nil && s.host.ctx.Err() == nil {
		s.lastError, s.lastTold = err.Error(), s.told(err)
		s.crashes.add(time.Now())
		s.log.Error("plugin did not start", "error", err)
		if s.lastTold == s.lastError {
			err = nil // a log would say it twice
		}
		call.err = unavailable(err, "The %s.", s.lastTold)
		return
	}
	if s.closed || err != nil {
		if proc != nil {
			s.host.wg.Go(func() { proc.stop(context.Background()) })
		}
		call.err = unavailable(nil, "The plugin %q is not running: the gateway is stopping.", s.key.name)
		return
	}
	s.adopt(proc)
}

// told is what a client hears of a failed start, as a sentence without its end.
// Where the gateway keeps its files is no affair of theirs.
func (s *slot) told(err error) string {
	if _, ok := errors.AsType[*trustError](err); ok {
		return fmt.Sprintf("plugin %q is not run: its files are not the ones that were added; the gateway's log has more", s.key.name)
	}
	return strings.ReplaceAll(err.Error(), s.host.run.path, "…")
}

// adopt makes proc the process that takes calls. The lock is held.
func (s *slot) adopt(proc *process) {
	if s.ended || s.cur != nil {
		s.restarts++
	}
	s.cur = proc
	dev := s.plugin.dev
	s.host.wg.Go(func() { proc.watch(s.host.cfg.HealthEvery, dev) })
	s.host.wg.Go(func() {
		<-proc.program.ended
		s.mu.Lock()
		s.crashed(proc)
		s.mu.Unlock()
	})
}

// crashed notes that proc has ended. The lock is held. It does nothing when it
// was noted before or the end was wanted.
func (s *slot) crashed(proc *process) {
	if s.cur != proc || proc.stopping.Load() {
		return
	}
	s.cur, s.ended = nil, true
	s.lastError = fmt.Sprintf("plugin %q %s", s.key.name, proc.program.exitReason(""))
	s.lastTold = strings.ReplaceAll(s.lastError, s.host.run.path, "…")
	if proc.served.Load() {
		s.crashes.lost(time.Now(), time.Since(proc.started))
	} else {
		s.crashes.add(time.Now())
	}
	wait, open := s.crashes.wait(time.Now())
	s.log.Error("plugin ended", "pid", proc.program.pid, "reason", proc.program.exitReason(""), "after", time.Since(proc.started),
		"restart_in", wait, "breaker_open", open)
	s.host.wg.Go(func() { proc.stop(context.Background()) }) // sockets and connections
	if proc.served.Load() && s.starting == nil && !s.closed && s.host.ctx.Err() == nil {
		s.begin(wait) // whoever used it will use it again, and need not wait for it
	}
}

// replace starts a process of p, gives it the calls from now on, and lets the
// old process finish what it has. When the new one does not start, the old one
// stays.
func (s *slot) replace(p *plugin) error {
	s.mu.Lock()
	running := s.cur != nil
	if !running {
		s.plugin, s.crashes = p, newCrashes(s.host.cfg.Breaker)
	}
	s.mu.Unlock()
	if !running {
		return nil
	}
	proc, err := s.host.startProcess(p, s.key.principal)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		s.host.wg.Go(func() { proc.stop(context.Background()) })
		return nil
	}
	old := s.cur
	s.plugin, s.crashes = p, newCrashes(s.host.cfg.Breaker)
	s.adopt(proc)
	if old != nil {
		s.host.wg.Go(func() { s.retire(context.Background(), old) })
	}
	return nil
}

// retire drains a process that takes no new calls, and stops it. It is killed
// when ctx ends.
func (s *slot) retire(ctx context.Context, proc *process) {
	proc.stopping.Store(true)
	wait, cancel := context.WithTimeout(ctx, s.host.cfg.DrainTimeout)
	defer cancel()
	proc.tellDrain(wait)
	if err := proc.drain(wait); err != nil {
		s.log.Warn("plugin stopped with calls under way", "pid", proc.program.pid, "calls", proc.inFlight())
	}
	proc.stop(ctx)
	s.log.Info("plugin stopped", "pid", proc.program.pid)
}

// close takes no more calls, drains and stops.
func (s *slot) close(ctx context.Context) {
	s.mu.Lock()
	s.closed = true
	cur, starting := s.cur, s.starting
	s.cur = nil
	s.mu.Unlock()
	if starting != nil {
		<-starting.done
	}
	if cur != nil {
		s.retire(ctx, cur)
	}
}

// info describes the slot.
func (s *slot) info() Info {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := Info{
		Kind: s.key.kind, Name: s.key.name, Version: s.plugin.Version, Path: s.plugin.path,
		State: Idle, Restarts: s.restarts, LastError: s.lastError,
	}
	wait, open := s.crashes.wait(time.Now())
	switch {
	case s.cur != nil && s.cur.alive():
		i.State, i.PID, i.InFlight, i.Started = Running, s.cur.program.pid, s.cur.inFlight(), s.cur.started
		i.Processes, i.Memory = 1, residentMemory(i.PID)
	case s.starting != nil:
		i.State = Starting
	case open:
		i.State, i.RetryIn = Broken, wait
	}
	return i
}

// runs reports whether the slot runs, or would run, p.
func (s *slot) runs(p *plugin) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.plugin == p
}
