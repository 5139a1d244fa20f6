package wasi

// charge is what a file of size bytes costs: whole blocks, holes included, so
// that what is charged is never less than the memory in use.
func charge(size int64) int64 { return (size + block - 1) / block * block }

// truncate gives a scratch file a new size.
func (f *FS) truncate(n *node, size int64) Errno {
	switch {
	case n.dir:
		return EISDIR
	case n.readOnly:
		return EROFS
	case size < 0:
		return EINVAL
	}
	if size > f.quota.Bytes {
		return ENOSPC
	}
	more := charge(size) - charge(n.size)
	if more > 0 && more > f.quota.Bytes-f.bytes {
		return ENOSPC
	}
	if more != 0 {
		blocks := make([]*[block]byte, charge(size)/block)
		copy(blocks, n.blocks)
		n.blocks = blocks
	}
	if used := size % block; size < n.size && used != 0 {
		if last := n.blocks[size/block]; last != nil {
			clear(last[used:]) // a later growth must read zeros
		}
	}
	f.bytes += more
	n.size = size
	f.touch(n)
	return 0
}

func (f *FS) touch(n *node) {
	n.mtime = f.now().UnixNano()
	n.run = f.run
}

// readAt copies from a file; n is less than len(b) at its end.
func (n *node) readAt(b []byte, off int64) int {
	if off >= n.size {
		return 0
	}
	b = b[:min(int64(len(b)), n.size-off)]
	if n.readOnly {
		return copy(b, n.shared[off:])
	}
	for done := 0; done < len(b); {
		at := off + int64(done)
		part := b[done:min(len(b), done+block-int(at%block))]
		if blk := n.blocks[at/block]; blk != nil {
			copy(part, blk[at%block:])
		} else {
			clear(part)
		}
		done += len(part)
	}
	return len(b)
}

// writeAt copies into a scratch file, which grows as needed. When the quota is
// used up it writes what still fits and fails only if that is nothing.
func (f *FS) writeAt(n *node, b []byte, off int64) (int, Errno) {
	if len(b) == 0 {
		return 0, 0
	}
	if off < 0 {
		return 0, EINVAL
	}
	if off >= f.quota.Bytes {
		return 0, ENOSPC
	}
	if end := off + int64(len(b)); end > n.size {
		room := charge(n.size) + f.quota.Bytes - f.bytes // largest size this file may have
		if off >= room {
			return 0, ENOSPC
		}
		b = b[:min(int64(len(b)), room-off)]
		if errno := f.grow(n, off+int64(len(b))); errno != 0 {
			return 0, errno
		}
	}
	for done := 0; done < len(b); {
		at := off + int64(done)
		blk := n.blocks[at/block]
		if blk == nil {
			blk = new([block]byte)
			n.blocks[at/block] = blk
		}
		done += copy(blk[at%block:], b[done:])
	}
	f.touch(n)
	return len(b), 0
}

// grow is truncate for appending: the list of blocks doubles, so that many
// small writes stay cheap. It holds pointers only; the blocks are exact.
func (f *FS) grow(n *node, size int64) Errno {
	if size <= n.size {
		return 0
	}
	more := charge(size) - charge(n.size)
	if more > f.quota.Bytes-f.bytes {
		return ENOSPC
	}
	for int64(len(n.blocks))*block < size {
		n.blocks = append(n.blocks, nil)
	}
	f.bytes += more
	n.size = size
	return 0
}

// contents copies a whole file.
func (n *node) contents() []byte {
	b := make([]byte, n.size)
	n.readAt(b, 0)
	return b
}
