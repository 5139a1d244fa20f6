package wasi

// at returns the directory and the path that three arguments from i name.
func (c *call) at(i int) (*node, string, Errno) {
	dir, errno := c.dir(c.u32(i))
	if errno != 0 {
		return nil, "", errno
	}
	path, errno := c.path(i + 1)
	return dir, path, errno
}

func (c *call) path(i int) (string, Errno) {
	n := c.u32(i + 1)
	if n > maxPath {
		return "", ENAMETOOLONG
	}
	b, ok := c.mem.Read(c.u32(i), n)
	if !ok {
		return "", EFAULT
	}
	return string(b), 0
}

func pathOpen(c *call) Errno {
	dir, errno := c.dir(c.u32(0))
	if errno != 0 {
		return errno
	}
	path, errno := c.path(2)
	if errno != 0 {
		return errno
	}
	oflags, rights, flags := c.u32(4), c.args[5], c.u32(7)
	if oflags > 15 || flags > 0x1f {
		return EINVAL
	}
	if c.full() {
		return EMFILE
	}
	h, errno := c.FS.open(dir, path, oflags, rights&rightRead != 0, rights&rightWrite != 0, flags&fdAppend != 0)
	if errno != 0 {
		return errno
	}
	fd := c.add(h)
	if errno := c.put32(c.u32(8), fd); errno != 0 {
		c.FS.close(h)
		c.files[fd] = nil
		return errno
	}
	return 0
}

func pathCreateDirectory(c *call) Errno {
	dir, path, errno := c.at(0)
	if errno != 0 {
		return errno
	}
	return c.FS.mkdir(dir, path)
}

func pathRemoveDirectory(c *call) Errno {
	dir, path, errno := c.at(0)
	if errno != 0 {
		return errno
	}
	return c.FS.remove(dir, path, true)
}

func pathUnlinkFile(c *call) Errno {
	dir, path, errno := c.at(0)
	if errno != 0 {
		return errno
	}
	return c.FS.remove(dir, path, false)
}

func pathRename(c *call) Errno {
	from, fromPath, errno := c.at(0)
	if errno != 0 {
		return errno
	}
	to, toPath, errno := c.at(3)
	if errno != 0 {
		return errno
	}
	return c.FS.rename(from, fromPath, to, toPath)
}

func pathFilestatGet(c *call) Errno {
	n, errno := c.existing()
	if errno != 0 {
		return errno
	}
	return c.putStat(c.u32(4), n)
}

func pathFilestatSetTimes(c *call) Errno {
	n, errno := c.existing()
	if errno != 0 {
		return errno
	}
	return c.setTimes(n, c.i64(5), c.u32(6))
}

// existing returns the node that arguments 0 (directory), 2 and 3 (path) name;
// argument 1 says whether to follow links, and there are none.
func (c *call) existing() (*node, Errno) {
	dir, errno := c.dir(c.u32(0))
	if errno != 0 {
		return nil, errno
	}
	path, errno := c.path(2)
	if errno != 0 {
		return nil, errno
	}
	n, _, _, errno := c.FS.walk(dir, path)
	if errno == 0 && n == nil {
		errno = ENOENT
	}
	return n, errno
}
