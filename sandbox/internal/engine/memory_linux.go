package engine

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// osPage is the page of the kernel, or a part of it.
const osPage = 4096

// imageFile is an image in a sealed memory file. Each instance maps it privately:
// pages are shared until the guest writes to them.
type imageFile struct {
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
	m := &imageFile{file: os.NewFile(uintptr(fd), name), size: uint64(len(b))}
	if err := m.fill(b); err != nil {
		m.file.Close()
		return nil, fmt.Errorf("memory file: %w", err)
	}
	return m, nil
}

// fill writes the pages that are not zero and seals the file.
func (m *imageFile) fill(b []byte) error {
	if err := m.file.Truncate(int64(len(b))); err != nil {
		return err
	}
	for start := 0; start < len(b); {
		if zero(b[start:min(start+osPage, len(b))]) {
			start += osPage
			continue
		}
		end := start + osPage
		for end < len(b) && !zero(b[end:min(end+osPage, len(b))]) {
			end += osPage
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

func (m *imageFile) mapped() bool { return true }
func (m *imageFile) close() error { return m.file.Close() }

// reserve takes max bytes of addresses and maps the image at their start. The
// base never moves, so growing copies nothing.
func (m *imageFile) reserve(max uint64) (memory, error) {
	max = (max + pageSize - 1) / pageSize * pageSize
	if max < m.size {
		max = m.size
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
	return &mappedMemory{image: m, base: base, b: unsafe.Slice((*byte)(base), max), max: max, open: m.size}, nil
}

type mappedMemory struct {
	image *imageFile
	base  unsafe.Pointer
	b     []byte // all of the reservation
	max   uint64 // bytes that the guest may have
	open  uint64 // bytes that may be used
	over  bool
}

func (m *mappedMemory) bound(max uint64) bool {
	m.max = max
	return max <= uint64(len(m.b))
}

func (m *mappedMemory) Reallocate(size uint64) []byte {
	if size > m.max {
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

// renew drops the pages that were written to, so that the image shows again.
func (m *mappedMemory) renew() error {
	m.over = false
	return unix.Madvise(m.b[:m.image.size], unix.MADV_DONTNEED)
}

func (m *mappedMemory) written() (spans []span) {
	image := make([]byte, pageSize)
	for at := uint64(0); at < m.image.size; at += pageSize {
		if _, err := m.image.file.ReadAt(image, int64(at)); err != nil {
			return nil
		}
		for p := uint64(0); p < pageSize; p += osPage {
			if bytes.Equal(image[p:p+osPage], m.b[at+p:at+p+osPage]) {
				continue
			}
			if n := len(spans); n > 0 && spans[n-1].to == at+p {
				spans[n-1].to += osPage
			} else {
				spans = append(spans, span{at + p, at + p + osPage})
			}
		}
	}
	return spans
}

// warm saves a fault for each page, which takes several times as long as making
// them in one call. Linux before 5.14 refuses, and the faults come.
func (m *mappedMemory) warm(spans []span) {
	for _, s := range spans {
		if unix.Madvise(m.b[s.from:s.to], unix.MADV_POPULATE_WRITE) != nil {
			return
		}
	}
}

func (m *mappedMemory) release() error {
	if m.b == nil {
		return nil
	}
	n := uintptr(len(m.b))
	m.b = nil
	return unix.MunmapPtr(m.base, n)
}
