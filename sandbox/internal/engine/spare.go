package engine

import (
	"sync"
	"time"

	"github.com/sallyport-gateway/sallyport/sandbox/internal/wasi"
)

const (
	// maxSpares is how many machines of a guest may wait for a session. Two may
	// have been left by others; only one is made for nobody.
	maxSpares = 2

	// spareDelay is how long after a spare was taken another is made: not beside
	// the program it was taken for, and perhaps that one leaves its machine.
	spareDelay = 20 * time.Millisecond

	// spareMemory is reserved for the memory of a spare until a session may have
	// more. It is the default of a session.
	spareMemory = 256 << 20
)

// spares are machines of a guest that are ready for a session: made before one
// asks, or left by one and renewed. They have the snapshot's state and memory of
// their own for the pages that every program writes to.
//
// Guests whose memory is copied have none: each would hold a whole image.
type spares struct {
	mu      sync.Mutex
	ready   []*machine
	reserve uint64 // what the memory of the next one may be bounded to
	warm    []span // pages that every program writes to
	learned bool   // warm is known
	closed  bool
}

// take returns a machine whose memory may grow to max bytes: a spare, or a new one.
func (e *Engine) take(g *Guest, max uint64) (*machine, error) {
	s := &g.spares
	s.mu.Lock()
	if max > s.reserve {
		s.reserve = max
	}
	reserve := s.reserve
	var m *machine
	if n := len(s.ready); n > 0 {
		m, s.ready = s.ready[n-1], s.ready[:n-1]
	}
	s.mu.Unlock()
	if m != nil {
		if m.mem.bound(max) {
			e.refill()
			return m, nil
		}
		_ = m.close() // it is from before somebody might have so much
	}
	m, err := e.newMachine(g, reserve)
	if err != nil {
		return nil, err
	}
	e.refill()
	m.mem.bound(max)
	return m, nil
}

// leave takes back a machine that a session has done with and whose programs all
// returned: as a spare if there is room.
func (g *Guest) leave(m *machine) error {
	warm, room := g.spares.room()
	if !room || m.renew() != nil {
		return m.close()
	}
	m.mem.warm(warm)
	return g.spares.put(m)
}

// room says whether a spare is wanted, and which pages it should have.
func (s *spares) room() ([]span, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.warm, !s.closed && len(s.ready) < maxSpares
}

// put keeps a spare, or closes it when meanwhile there are enough.
func (s *spares) put(m *machine) error {
	s.mu.Lock()
	room := !s.closed && len(s.ready) < maxSpares
	if room {
		s.ready = append(s.ready, m)
	}
	s.mu.Unlock()
	if !room {
		return m.close()
	}
	return nil
}

// close ends the spares; machines that are left later are closed.
func (s *spares) close() (err error) {
	s.mu.Lock()
	ready := s.ready
	s.ready, s.closed = nil, true
	s.mu.Unlock()
	for _, m := range ready {
		err = m.close()
	}
	return err
}

// refill asks the engine's goroutine for spares.
func (e *Engine) refill() {
	select {
	case e.taken <- struct{}{}:
	default:
	}
}

// makeSpares is the engine's goroutine. It rests until a spare was taken.
func (e *Engine) makeSpares() {
	defer close(e.done)
	for {
		select {
		case <-e.taken:
		case <-e.quit:
			return
		}
		select {
		case <-time.After(spareDelay):
		case <-e.quit:
			return
		}
		for _, g := range e.guests {
			e.fill(g)
		}
	}
}

// fill makes a spare if g has none. What goes wrong is told by the next Start,
// which then makes its own.
func (e *Engine) fill(g *Guest) {
	s := &g.spares
	if !g.image.mapped() {
		return
	}
	for {
		s.mu.Lock()
		enough, reserve, learned := len(s.ready) > 0 && s.learned, s.reserve, s.learned
		s.mu.Unlock()
		select {
		case <-e.quit:
			return
		default:
		}
		if enough {
			return
		}
		m, err := e.newMachine(g, reserve)
		if err != nil {
			return
		}
		if !learned {
			warm := e.learn(m)
			s.mu.Lock()
			s.warm, s.learned = warm, true
			s.mu.Unlock()
			continue
		}
		warm, _ := s.room()
		m.mem.warm(warm)
		if s.put(m) != nil {
			return
		}
	}
}

// first is a program of each language that does what all of them do.
var first = map[string]string{"python": "print(1)", "shell": "echo 1", "sql": "SELECT 1"}

// learn runs a first program on m, which ends with that, and returns the pages
// that it wrote to.
func (e *Engine) learn(m *machine) []span {
	defer m.close()
	fs, err := wasi.NewFS(e.tree, nil, wasi.Quota{Bytes: 1 << 20, Inodes: 10, Files: 10})
	if err != nil {
		return nil
	}
	i := bind(m, fs, Bounds{Output: 1 << 10})
	defer i.Proc.Close()
	c := NewControl()
	c.MaxCPU = time.Second
	if o, err := i.Exec(first[m.guest.Language], c); err != nil || o.Killed != None {
		return nil
	}
	return m.mem.written()
}
