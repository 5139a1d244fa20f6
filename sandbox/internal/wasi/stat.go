package wasi

// Every right of WASI preview 1 but those on sockets. Libraries ask for a part
// of these; what a handle may do is decided by path_open and the tree.
const allRights = 1<<28 - 1

func fdFdstatGet(c *call) Errno {
	h, errno := c.file(c.u32(0))
	if errno != 0 {
		return errno
	}
	b, ok := c.mem.Read(c.u32(1), 24)
	if !ok {
		return EFAULT
	}
	clear(b)
	b[0] = h.filetype()
	if h.append {
		b[2] = fdAppend
	}
	rights := uint64(allRights)
	switch {
	case h.n == nil && h.stdin:
		rights = rightRead
	case h.n == nil:
		rights = rightWrite
	case !h.n.dir && !h.write:
		rights &^= rightWrite
	case !h.n.dir && !h.read:
		rights &^= rightRead
	}
	le.PutUint64(b[8:], rights)
	if h.n != nil && h.n.dir {
		le.PutUint64(b[16:], allRights)
	}
	return 0
}

func fdFdstatSetFlags(c *call) Errno {
	h, errno := c.file(c.u32(0))
	if errno != 0 {
		return errno
	}
	const syncAndNonblock = 0x1e // every write is "synchronous", nothing blocks
	flags := c.u32(1)
	if flags&^(fdAppend|syncAndNonblock) != 0 {
		return EINVAL
	}
	h.append = flags&fdAppend != 0
	return 0
}

func fdFilestatGet(c *call) Errno {
	h, errno := c.file(c.u32(0))
	if errno != 0 {
		return errno
	}
	return c.putStat(c.u32(1), h.n)
}

// putStat writes the 64 bytes of a filestat; n is nil for a stream.
func (c *call) putStat(at uint32, n *node) Errno {
	b, ok := c.mem.Read(at, 64)
	if !ok {
		return EFAULT
	}
	clear(b)
	b[16] = typeBlockDevice
	le.PutUint64(b[24:], 1) // links
	if n == nil {
		return 0
	}
	b[16] = n.filetype()
	le.PutUint64(b[0:], 1) // device
	le.PutUint64(b[8:], n.ino)
	if n.removed {
		le.PutUint64(b[24:], 0)
	}
	le.PutUint64(b[32:], uint64(n.size))
	for i := 40; i < 64; i += 8 {
		le.PutUint64(b[i:], uint64(n.mtime))
	}
	return 0
}

func fdFilestatSetSize(c *call) Errno {
	h, errno := c.file(c.u32(0))
	switch {
	case errno != 0:
		return errno
	case h.n == nil || !h.write:
		return EINVAL
	}
	return c.FS.truncate(h.n, c.i64(1))
}

func fdFilestatSetTimes(c *call) Errno {
	h, errno := c.file(c.u32(0))
	if errno != 0 {
		return errno
	}
	return c.setTimes(h.n, c.i64(2), c.u32(3))
}

// setTimes sets the one time that a node has, that of modification.
func (c *call) setTimes(n *node, mtime int64, flags uint32) Errno {
	switch {
	case flags > 15 || flags&3 == 3 || flags&12 == 12:
		return EINVAL
	case n == nil || n.readOnly:
		return EROFS
	case flags&8 != 0:
		n.mtime = c.FS.now().UnixNano()
	case flags&4 != 0:
		n.mtime = mtime
	}
	return 0
}

// fdReaddir lists a directory from a cookie, which is a position in the list
// taken when the guest read from the start: 0 is ".", 1 is "..".
func fdReaddir(c *call) Errno {
	h, errno := c.file(c.u32(0))
	switch {
	case errno != 0:
		return errno
	case h.n == nil || !h.n.dir:
		return ENOTDIR
	}
	size := min(c.u32(2), 1<<20)
	b, ok := c.mem.Read(c.u32(1), size)
	if !ok {
		return EFAULT
	}
	cookie := uint64(c.args[3])
	if cookie == 0 || h.names == nil {
		h.names = h.n.names()
	}
	used := 0
	for i := cookie; i < uint64(len(h.names))+2 && used < len(b); i++ {
		name, ino, typ := ".", h.n.ino, byte(typeDirectory)
		switch {
		case i == 1:
			name = ".."
			if h.n.parent != nil {
				ino = h.n.parent.ino
			}
		case i > 1:
			name = h.names[i-2]
			n := h.n.children[name]
			if n == nil {
				continue // removed meanwhile
			}
			ino, typ = n.ino, n.filetype()
		}
		var head [24]byte
		le.PutUint64(head[0:], i+1)
		le.PutUint64(head[8:], ino)
		le.PutUint32(head[16:], uint32(len(name)))
		head[20] = typ
		used += copy(b[used:], head[:])
		used += copy(b[used:], name)
	}
	c.enter(int64(used) >> costShift)
	return c.put32(c.u32(4), uint32(used))
}
