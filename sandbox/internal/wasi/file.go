package wasi

// handle is an open file or directory of one guest.
type handle struct {
	n      *node
	read   bool
	write  bool
	append bool
	off    int64
	names  []string // of a directory, as of the last reading from its start
	out    *Output  // of stdout and stderr, which have no node
	stdin  bool
	root   bool // the preopened directory
}

// The flags of path_open. Source: WASI preview 1, oflags and rights.
const (
	oCreate = 1 << iota
	oDirectory
	oExclusive
	oTruncate
)

const (
	rightRead  = 1 << 1
	rightWrite = 1 << 6
)

// fdflags.
const fdAppend = 1

// open opens path below dir.
func (f *FS) open(dir *node, path string, oflags uint32, read, write, append bool) (*handle, Errno) {
	n, parent, name, errno := f.walk(dir, path)
	if errno != 0 {
		return nil, errno
	}
	switch {
	case n == nil && oflags&oCreate == 0:
		return nil, ENOENT
	case n == nil && oflags&oDirectory != 0:
		return nil, EINVAL
	case n == nil && path[len(path)-1] == '/':
		return nil, EISDIR
	case n == nil:
		if n, errno = f.create(parent, name); errno != 0 {
			return nil, errno
		}
	case oflags&(oCreate|oExclusive) == oCreate|oExclusive:
		return nil, EEXIST
	case oflags&oDirectory != 0 && !n.dir:
		return nil, ENOTDIR
	case n.dir && (oflags&(oCreate|oTruncate) != 0 || write && oflags&oDirectory == 0):
		return nil, EISDIR
	case !n.dir && n.readOnly && (write || oflags&oTruncate != 0):
		return nil, EROFS
	case oflags&oTruncate != 0:
		if errno := f.truncate(n, 0); errno != 0 {
			return nil, errno
		}
	}
	if !n.readOnly {
		n.open++
	}
	return &handle{n: n, read: read && !n.dir, write: write && !n.dir, append: append}, 0
}

// close ends a handle; the last one of a removed file frees its contents.
func (f *FS) close(h *handle) {
	if h.n != nil && !h.n.readOnly {
		h.n.open--
		f.release(h.n)
	}
	*h = handle{}
}

// file types of WASI preview 1.
const (
	typeBlockDevice = 1
	typeDirectory   = 3
	typeRegular     = 4
)

func (h *handle) filetype() byte {
	switch {
	case h.n == nil:
		return typeBlockDevice // a stream, and no terminal
	case h.n.dir:
		return typeDirectory
	}
	return typeRegular
}

func (n *node) filetype() byte {
	if n.dir {
		return typeDirectory
	}
	return typeRegular
}

// Output keeps what a guest writes to stdout or stderr, up to a cap. Writes
// beyond it succeed and are dropped.
type Output struct {
	b         []byte
	max       int
	truncated bool
}

func (o *Output) write(b []byte) {
	if room := o.max - len(o.b); len(b) > room {
		b = b[:room]
		o.truncated = true
	}
	o.b = append(o.b, b...)
}

// Take returns what was written since the last Take, and whether something was
// dropped.
func (o *Output) Take() (b []byte, truncated bool) {
	b, truncated = o.b, o.truncated
	o.b, o.truncated = nil, false
	return b, truncated
}
