package wasi

import "encoding/binary"

var le = binary.LittleEndian

// Bounds of what one call may move. Reading and writing may be short, so a
// guest that asks for more loses nothing.
const (
	maxVectors = 1024
	maxMove    = 8 << 20
	costShift  = 7 // one unit of fuel for each 128 bytes
)

// vectors calls f for each buffer of a list in guest memory, until f moves less
// than the buffer holds. It stops after maxMove bytes.
func (c *call) vectors(at, count uint32, f func([]byte) (int, Errno)) (uint32, Errno) {
	if count > maxVectors {
		return 0, EINVAL
	}
	list, ok := c.mem.Read(at, count*8)
	if !ok {
		return 0, EFAULT
	}
	moved := 0
	for ; len(list) > 0 && moved < maxMove; list = list[8:] {
		b, ok := c.mem.Read(le.Uint32(list), le.Uint32(list[4:]))
		if !ok {
			return 0, EFAULT
		}
		want := min(len(b), maxMove-moved)
		if want == 0 {
			continue
		}
		n, errno := f(b[:want])
		moved += n
		if errno != 0 && moved == 0 {
			return 0, errno
		}
		if errno != 0 || n < want {
			break
		}
	}
	c.enter(int64(moved) >> costShift)
	return uint32(moved), 0
}

func fdRead(c *call) Errno {
	h, errno := c.file(c.u32(0))
	if errno != 0 {
		return errno
	}
	if h.stdin {
		return c.put32(c.u32(3), 0)
	}
	if errno := h.readable(); errno != 0 {
		return errno
	}
	n, errno := c.vectors(c.u32(1), c.u32(2), func(b []byte) (int, Errno) {
		n := h.n.readAt(b, h.off)
		h.off += int64(n)
		return n, 0
	})
	if errno != 0 {
		return errno
	}
	return c.put32(c.u32(3), n)
}

func fdPread(c *call) Errno {
	h, errno := c.file(c.u32(0))
	if errno != 0 {
		return errno
	}
	if h.n == nil {
		return ESPIPE
	}
	if errno := h.readable(); errno != 0 {
		return errno
	}
	off := c.i64(3)
	if off < 0 {
		return EINVAL
	}
	n, errno := c.vectors(c.u32(1), c.u32(2), func(b []byte) (int, Errno) {
		n := h.n.readAt(b, off)
		off += int64(n)
		return n, 0
	})
	if errno != 0 {
		return errno
	}
	return c.put32(c.u32(4), n)
}

func (h *handle) readable() Errno {
	switch {
	case h.n == nil:
		return EBADF
	case h.n.dir:
		return EISDIR
	case !h.read:
		return EBADF
	}
	return 0
}

func fdWrite(c *call) Errno {
	h, errno := c.file(c.u32(0))
	if errno != 0 {
		return errno
	}
	var n uint32
	switch {
	case h.out != nil:
		n, errno = c.vectors(c.u32(1), c.u32(2), func(b []byte) (int, Errno) {
			h.out.write(b)
			return len(b), 0
		})
	case h.n == nil || !h.write:
		return EBADF
	default:
		n, errno = c.vectors(c.u32(1), c.u32(2), func(b []byte) (int, Errno) {
			if h.append {
				h.off = h.n.size
			}
			n, errno := c.FS.writeAt(h.n, b, h.off)
			h.off += int64(n)
			return n, errno
		})
	}
	if errno != 0 {
		return errno
	}
	return c.put32(c.u32(3), n)
}

func fdPwrite(c *call) Errno {
	h, errno := c.file(c.u32(0))
	switch {
	case errno != 0:
		return errno
	case h.n == nil:
		return ESPIPE
	case !h.write:
		return EBADF
	}
	off := c.i64(3)
	if off < 0 {
		return EINVAL
	}
	n, errno := c.vectors(c.u32(1), c.u32(2), func(b []byte) (int, Errno) {
		n, errno := c.FS.writeAt(h.n, b, off)
		off += int64(n)
		return n, errno
	})
	if errno != 0 {
		return errno
	}
	return c.put32(c.u32(4), n)
}

func fdSeek(c *call) Errno {
	return c.seek(c.u32(0), c.i64(1), c.u32(2), c.u32(3))
}

func fdTell(c *call) Errno { return c.seek(c.u32(0), 0, 1, c.u32(1)) }

func (c *call) seek(fd uint32, off int64, whence, result uint32) Errno {
	h, errno := c.file(fd)
	switch {
	case errno != 0:
		return errno
	case h.n == nil:
		return ESPIPE
	case h.n.dir:
		return EISDIR
	}
	base := int64(0)
	switch whence {
	case 0:
	case 1:
		base = h.off
	case 2:
		base = h.n.size
	default:
		return EINVAL
	}
	to := base + off
	if to < 0 || off > 0 && to < base || to > 1<<40 {
		return EINVAL
	}
	h.off = to
	return c.put64(result, uint64(to))
}

func fdClose(c *call) Errno {
	fd := c.u32(0)
	h, errno := c.file(fd)
	switch {
	case errno != 0:
		return errno
	case h.root:
		return ENOTSUP // every later path would be lost
	}
	c.FS.close(h)
	c.files[fd] = nil
	return 0
}

// fdRenumber moves a descriptor onto another one, which it closes. The root
// stays where it is.
func fdRenumber(c *call) Errno {
	from, to := c.u32(0), c.u32(1)
	h, errno := c.file(from)
	if errno != 0 {
		return errno
	}
	old, errno := c.file(to)
	switch {
	case errno != 0:
		return errno
	case h.root || old.root:
		return ENOTSUP
	case from == to:
		return 0
	}
	c.FS.close(old)
	c.files[to], c.files[from] = h, nil
	return 0
}

func fdSync(c *call) Errno {
	_, errno := c.file(c.u32(0))
	return errno
}

func fdAdvise(c *call) Errno {
	h, errno := c.file(c.u32(0))
	switch {
	case errno != 0:
		return errno
	case h.n == nil:
		return ESPIPE
	case c.i64(1) < 0 || c.i64(2) < 0 || c.u32(3) > 5:
		return EINVAL
	}
	return 0
}

func fdAllocate(c *call) Errno {
	h, errno := c.file(c.u32(0))
	off, n := c.i64(1), c.i64(2)
	switch {
	case errno != 0:
		return errno
	case h.n == nil || !h.write:
		return EBADF
	case off < 0 || n <= 0 || off+n < 0:
		return EINVAL
	case off+n <= h.n.size:
		return 0
	}
	return c.FS.truncate(h.n, off+n)
}

func fdPrestatGet(c *call) Errno {
	h, errno := c.file(c.u32(0))
	if errno != 0 || !h.root {
		return EBADF
	}
	return c.put64(c.u32(1), 1<<32) // a directory with a name of one byte
}

func fdPrestatDirName(c *call) Errno {
	h, errno := c.file(c.u32(0))
	switch {
	case errno != 0 || !h.root:
		return EBADF
	case c.u32(2) < 1:
		return ENAMETOOLONG
	case !c.mem.WriteByte(c.u32(1), '/'):
		return EFAULT
	}
	return 0
}
