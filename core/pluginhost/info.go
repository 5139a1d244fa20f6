package pluginhost

import (
	"cmp"
	"slices"
	"time"
)

// State says what a plugin is doing.
type State string

// The states.
const (
	Idle     State = "idle" // not started, or ended and not needed again yet
	Starting State = "starting"
	Running  State = "running"
	Broken   State = "broken"    // crashed too often: see LastError and RetryIn
	Refused  State = "refused"   // never used: see LastError
	Unlisted State = "not added" // lies in a plugins directory, but nobody added it: see LastError
)

// Info describes one plugin.
type Info struct {
	Kind      string        `json:"kind,omitempty"`
	Name      string        `json:"name"`
	Version   string        `json:"version,omitempty"`
	Path      string        `json:"path"`
	State     State         `json:"state"`
	Dev       bool          `json:"dev,omitempty"`       // under development: not pinned, see Dev
	PID       int           `json:"pid,omitempty"`       // of one that is shared by all callers
	Processes int           `json:"processes,omitempty"` // that run: more than one for one with a process a user
	Started   time.Time     `json:"started,omitzero"`
	InFlight  int           `json:"in_flight,omitempty"`
	Restarts  int           `json:"restarts,omitempty"`
	RetryIn   time.Duration `json:"retry_in,omitempty"` // of Broken
	LastError string        `json:"last_error,omitempty"`

	Calls  uint64        `json:"calls,omitempty"`  // of a tool also its openings; of a provider its translations
	Errors uint64        `json:"errors,omitempty"` // calls that failed, those given up by the caller apart
	P50    time.Duration `json:"p50,omitempty"`    // of the calls of the last five to ten minutes
	P99    time.Duration `json:"p99,omitempty"`
	Memory int64         `json:"memory,omitempty"` // resident bytes of its processes
}

// stillRuns goes on after what is wrong with the files of a plugin that runs.
const stillRuns = " (it still runs as it was added, and would not be started again)"

// Plugins describes every plugin found, by kind and name.
func (h *Host) Plugins() []Info {
	infos := h.infos()
	for k := range infos {
		if i := &infos[k]; i.State != Refused && i.State != Unlisted {
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
		infos = append(infos, h.info(p))
	}
	slices.SortFunc(infos, func(a, b Info) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Path, b.Path))
	})
	return infos
}

// info describes one plugin with all its processes. The lock is held.
func (h *Host) info(p *plugin) Info {
	if !p.usable() {
		i := Info{Kind: p.Kind, Name: p.Name, Version: p.Version, Path: p.path, State: Refused, LastError: p.refused}
		if p.unlisted {
			i.State = Unlisted
		}
		return i
	}
	shared := keyOf(p, "")
	i := h.slots[shared].info()
	i.Path, i.Dev = p.path, p.dev
	for k, s := range h.slots {
		if principal := k.principal; principal == "" {
			continue
		}
		if k.principal = ""; k == shared {
			i.add(s.info())
		}
	}
	if wrong := p.image.wrong(); wrong != "" {
		i.LastError = wrong
		if i.State != Running {
			i.State = Refused
		} else {
			i.LastError += stillRuns
		}
	}
	return i
}

// add sums up another slot of the same plugin.
func (i *Info) add(o Info) {
	if o.State == Running {
		i.State = Running
	}
	i.Processes += o.Processes
	i.InFlight += o.InFlight
	i.Restarts += o.Restarts
	i.Memory += o.Memory
	i.LastError = cmp.Or(i.LastError, o.LastError)
}
