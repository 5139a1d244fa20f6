package engine

import (
	"errors"

	"github.com/tetratelabs/wazero/experimental"
)

// image is the memory of a guest at its start.
type image interface {
	// reserve makes the memory of one instance that may grow to max bytes.
	reserve(max uint64) (memory, error)
	// mapped says whether instances share the pages that they do not write to.
	mapped() bool
	close() error
}

// span is a range of bytes of a memory, of whole pages of the kernel.
type span struct{ from, to uint64 }

// memory is the memory of one instance. wazero calls Free when a module closes,
// perhaps with frames of the guest still on the stack; therefore Free does
// nothing, and the owner calls release after the guest's last call returned.
type memory interface {
	experimental.LinearMemory
	// bound limits the memory to max bytes, which it refuses above its reservation.
	bound(max uint64) bool
	// restore writes the image where the kernel does not map it.
	restore(b []byte)
	// refused says whether the guest wanted more than it may have since the
	// last time it was asked.
	refused() bool
	// renew brings the image back, as after reserve.
	renew() error
	// written lists where the memory differs from the image.
	written() []span
	// warm gives the memory pages of its own before they are written to. It
	// changes nothing but the time that takes.
	warm([]span)
	release() error
}

// copied is an image that each instance gets a copy of: for systems without
// memory files.
type copied []byte

func (c copied) reserve(max uint64) (memory, error) {
	return &copiedMemory{image: c, max: max}, nil
}

func (c copied) mapped() bool { return false }
func (c copied) close() error { return nil }

type copiedMemory struct {
	image []byte
	b     []byte
	max   uint64
	over  bool
}

func (m *copiedMemory) Reallocate(size uint64) []byte {
	if size > m.max {
		m.over = true
		return nil
	}
	if size > uint64(cap(m.b)) {
		b := make([]byte, size, min(m.max, size+size/4))
		copy(b, m.b)
		m.b = b
	}
	m.b = m.b[:size]
	return m.b
}

func (m *copiedMemory) bound(max uint64) bool {
	m.max = max
	return true
}

func (m *copiedMemory) Free()            {}
func (m *copiedMemory) restore(b []byte) { copy(b, m.image) }

func (m *copiedMemory) refused() bool {
	over := m.over
	m.over = false
	return over
}

func (m *copiedMemory) renew() error    { return errors.New("the memory is a copy") }
func (m *copiedMemory) written() []span { return nil }
func (m *copiedMemory) warm([]span)     {}

func (m *copiedMemory) release() error {
	m.b = nil
	return nil
}
