package engine

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mapped is an image in a sealed memory file. Each instance maps it privately:
// pages are shared until the guest writes to them.
type mapped struct {
	file *os.File
	size uint64
}

// newImage makes an image. Where the kernel or a policy refuses a memory file,
// instances get copies.
func newImage(name string, b []byte) (image, error) {
	fd, err := unix.MemfdCreate("sallyport-"+name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		return copied(b), nil
	}
	if err != nil {
		return nil, fmt.Errorf("memory file: %w", err)
	}
	m := &mapped{file: os.NewFile(uintptr(fd), name), size: uint64(len(b))}
	if err := m.fill(b); err != nil {
		m.file.Close()
		return nil, fmt.Errorf("memory file: %w", err)
	}
	return m, nil
}

// fill writes the pages that are not zero and seals the file.
func (m *mapped) fill(b []byte) error {
	if err := m.file.Truncate(int64(len(b))); err != nil {
		return err
	}
	const page = 4096
	for start := 0; start < len(b); {
		if zero(b[start:min(start+page, len(b))]) {
			start += page
			continue
		}
		end := start + page
		for end < len(b) && !zero(b[end:min(end+page, len(b))]) {
			end += page
		}
		end = min(end, len(b))
		if _, err := m.file.WriteAt(b[start:end], int64(start)); err != nil {
			return err
		}
		start = end
	}
	const seals = unix.F_SEAL_WRITE | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL
	if _, err := unix.FcntlInt(m.file.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	return nil
}

func zero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

func (m *mapped) close() error { return m.file.Close() }

// reserve takes max bytes of addresses and maps the image at their start. The
// base never moves, so growing copies nothing.
func (m *mapped) reserve(max uint64) (memory, error) {
	max = (max + pageSize - 1) / pageSize * pageSize
	if max < m.size {
		return nil, fmt.Errorf("a memory of %d bytes is smaller than the guest's image of %d", max, m.size)
	}
	base, err := unix.MmapPtr(-1, 0, nil, uintptr(max), unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("reserve %d bytes of addresses: %w", max, err)
	}
	_, err = unix.MmapPtr(int(m.file.Fd()), 0, base, uintptr(m.size), unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_FIXED|unix.MAP_NORESERVE)
	if err != nil {
		_ = unix.MunmapPtr(base, uintptr(max)) // the first error is the one to tell
		return nil, fmt.Errorf("map the guest's image: %w", err)
	}
	return &mappedMemory{base: base, b: unsafe.Slice((*byte)(base), max), open: m.size}, nil
}

type mappedMemory struct {
	base unsafe.Pointer
	b    []byte // all of the reservation
	open uint64 // bytes that may be used
	over bool
}

func (m *mappedMemory) Reallocate(size uint64) []byte {
	if size > uint64(len(m.b)) {
		m.over = true
		return nil
	}
	if size > m.open {
		if err := unix.Mprotect(m.b[m.open:size], unix.PROT_READ|unix.PROT_WRITE); err != nil {
			m.over = true
			return nil
		}
		m.open = size
	}
	return m.b[:size:size]
}

func (m *mappedMemory) Free()          {}
func (m *mappedMemory) restore([]byte) {}

func (m *mappedMemory) refused() bool {
	over := m.over
	m.over = false
	return over
}

func (m *mappedMemory) release() error {
	if m.b == nil {
		return nil
	}
	n := uintptr(len(m.b))
	m.b = nil
	return unix.MunmapPtr(m.base, n)
}
